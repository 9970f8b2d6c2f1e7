// The console's journeys, with a real guard and scripted parts.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import AxeBuilder from '@axe-core/playwright';
import { expect, type Page } from '@playwright/test';

import { HOOK_TOKEN, TOKEN, test, type Guard } from '../guard.js';

const LOOKS = [['light', 1280], ['dark', 1280], ['light', 360]] as const;
const PAGES = ['/', '/labels', '/labels?rule=groceries&model=restaurants', '/ramp', '/model', '/audit', '/login'];

async function signIn(page: Page): Promise<void> {
  await page.goto('/login');
  await page.getByLabel('Your name').fill('ada');
  await page.getByLabel('token').fill(TOKEN);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('button', { name: 'Sign out' })).toBeVisible();
}

async function screenshot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `test-results/screens/${name}.png`, fullPage: true });
}

/** The ramp at its third step, where it stays. */
async function rampAtTen(guard: Guard, page: Page): Promise<void> {
  await guard.startRamp();
  await page.goto('/');
  await expect(page.locator('#state')).toContainText('10%of users', { timeout: 60_000 });
  await expect(page.locator('#state')).toContainText('Holding', { timeout: 20_000 });
}

test('every page is accessible, in light and dark, and fits a phone', async ({ guard, page, baseURL }) => {
  test.setTimeout(600_000);
  const elsewhere: string[] = [];
  const complaints: string[] = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(baseURL ?? '')) elsewhere.push(request.url());
  });
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  await rampAtTen(guard, page);
  await signIn(page);
  for (const path of [...PAGES, '/set?share=25%25']) {
    const name = path === '/' ? 'overview' : path.replaceAll(/[^a-z]+/g, '-').replace(/^-|-$/g, '');
    for (const [colorScheme, width] of LOOKS) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await page.setViewportSize({ width, height: width === 360 ? 740 : 900 });
      await page.goto(path);
      const found = await new AxeBuilder({ page }).analyze();
      expect(found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target)}`), `${path} ${colorScheme} ${width}`).toEqual([]);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      expect(overflow, `${path} scrolls sideways at ${width}`).toBeLessThanOrEqual(0);
      if (colorScheme === 'light' || name === 'overview') await screenshot(page, `${name}-${colorScheme}-${width}`);
    }
  }
  expect(elsewhere, 'nothing is asked of another host').toEqual([]);
  expect(complaints, 'the browser has nothing to say').toEqual([]);
});

test('on a phone what can be pressed is large enough, and within reach of the keyboard', async ({ page }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await signIn(page);
  for (const button of await page.locator('#operate button, #operate input:not([type=hidden])').all()) {
    const box = await button.boundingBox();
    expect(box?.height).toBeGreaterThanOrEqual(40);
    expect((box?.x ?? -1) >= 0 && (box?.x ?? 0) + (box?.width ?? 999) <= 360).toBe(true);
  }
  await page.goto('/');
  await page.keyboard.press('Tab');
  await expect(page.getByRole('link', { name: 'Skip to the content' })).toBeFocused();
  const wanted = page.getByRole('button', { name: 'Roll back to 0%' });
  for (let presses = 0; presses < 30 && !(await wanted.evaluate((button) => button === document.activeElement)); presses++) {
    await page.keyboard.press('Tab');
  }
  await expect(wanted).toBeFocused();
});

test('looking needs no token, acting does', async ({ guard, page }) => {
  await page.goto('/');
  await expect(page.getByRole('button')).toHaveCount(0);
  await page.goto('/set?share=50');
  await expect(page).toHaveURL(/\/login$/);
  await page.getByLabel('Your name').fill('mallory');
  await page.getByLabel('token').fill('not-the-token-of-this-guard');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('alert')).toHaveText('This is not the operator’s token.');
  expect(guard.parts.share).toBe('0');
});

test('an operator sets the share, which pauses the ramp, and lets it go on', async ({ guard, page }) => {
  test.setTimeout(120_000);
  await rampAtTen(guard, page);
  await signIn(page);
  await page.getByLabel('Share of users').fill('25%');
  await page.getByRole('button', { name: 'Set …' }).click();
  await expect(page.getByRole('main')).toContainText('15.00% of all users join the candidate arm.');
  await expect(page.getByRole('main')).toContainText('the guard pauses until you resume it');
  await page.getByLabel('Reason, for the audit log').fill('the week looked good');
  await page.getByRole('button', { name: 'Set to 25%' }).click();
  await expect(page.getByRole('status').filter({ hasText: 'entry' })).toContainText('ada set the share from 10% to 25%: the week looked good');
  expect(guard.parts.share).toBe('25');
  await expect(page.locator('#state')).toContainText('Paused', { timeout: 20_000 });
  await expect(page.locator('#recent')).toContainText('the week looked good');
  await page.getByRole('button', { name: 'Resume the rollout' }).click();
  await expect(page.locator('#state')).not.toContainText('Paused', { timeout: 20_000 });
  expect(guard.auditLog().filter((line) => line.startsWith('ada'))).toEqual(['ada share_set 25', 'ada resume']);
});

test('rolling back takes one press, and stays', async ({ guard, page }) => {
  test.setTimeout(120_000);
  await rampAtTen(guard, page);
  await signIn(page);
  await page.getByRole('button', { name: 'Roll back to 0%' }).click();
  await expect(page.getByRole('status').filter({ hasText: 'entry' })).toContainText('ada rolled back');
  expect(guard.parts.share).toBe('0');
  await expect(page.locator('#state')).toContainText('Rolled back', { timeout: 20_000 });
  await expect(page.locator('#state')).toContainText('0%of users');
  await expect(page.getByRole('button', { name: 'Start again from 0%' })).toBeVisible();
  await screenshot(page, 'rolled-back');
});

test('a form that is sent again, or comes from another site, does nothing', async ({ guard, page, context }) => {
  await signIn(page);
  const ticket = await page.locator('input[name=ticket]').first().inputValue();
  const press = () => page.request.post('/act', { form: { act: 'set', share: '10%', ticket }, headers: { origin: guard.url } });
  expect((await press()).status()).toBe(200);
  expect(guard.parts.share).toBe('10');
  await guard.perch('canary', 'set', '0%', '--gateway', guard.parts.url('admin'));
  expect((await press()).status()).toBe(409);
  expect(guard.parts.share).toBe('0');

  const fresh = await page.locator('input[name=ticket]').last().inputValue();
  const forged = `<form method="post" action="${guard.url}/act"><input name="act" value="set"><input name="share" value="100%"><input name="ticket" value="${fresh}"></form><script>document.forms[0].submit()</script>`;
  const stranger = createServer((_, response) => response.setHeader('content-type', 'text/html').end(forged));
  await new Promise<void>((ready) => stranger.listen(0, '127.0.0.1', ready));
  const other = await context.newPage();
  // `localhost` is another site than 127.0.0.1.
  const answered = other.waitForResponse((response) => response.url().endsWith('/act'));
  await other.goto(`http://localhost:${(stranger.address() as AddressInfo).port}/`, { waitUntil: 'commit' });
  expect((await answered).status()).toBe(403);
  stranger.close();
  expect(guard.parts.share).toBe('0');
});

test('an alert rolls back once, and a stranger’s post not at all', async ({ guard, request }) => {
  await guard.perch('canary', 'set', '10%', '--gateway', guard.parts.url('admin'));
  const alert = (startsAt: Date) => ({
    version: '4',
    alerts: [{ status: 'firing', labels: { alertname: 'FilterReloaded', perch_action: 'rollback' }, annotations: { summary: 'Perch’s filter crashed in Envoy' }, startsAt, fingerprint: 'a1' }],
  });
  const fired = alert(new Date(Date.now() + 1000));
  const post = (token: string) => request.post('/hooks/alertmanager', { data: fired, headers: { authorization: `Bearer ${token}` } });
  expect((await post('a-token-that-somebody-made-up')).status()).toBe(401);
  expect(guard.parts.share).toBe('10');
  expect(await (await post(HOOK_TOKEN)).json()).toEqual({ rolled_back: 1 });
  expect(guard.parts.share).toBe('0');
  await guard.perch('canary', 'set', '5%', '--gateway', guard.parts.url('admin'));
  expect(await (await post(HOOK_TOKEN)).json()).toEqual({ rolled_back: 0 });
  expect(guard.parts.share).toBe('5');
});

test('the page outlives the guard', async ({ guard, page }) => {
  test.setTimeout(120_000);
  await signIn(page);
  await page.goto('/');
  await guard.kill();
  const gone = page.getByText('The guard does not respond');
  await expect(gone).toBeVisible({ timeout: 20_000 });
  await guard.launch();
  await expect(gone).toBeHidden({ timeout: 20_000 });
  // The form was made before the restart, and so was the session.
  await page.getByRole('button', { name: 'Pause the guard' }).click();
  await expect(page.getByRole('status').filter({ hasText: 'entry' })).toContainText('ada paused the guard');
});

test('what cannot be known is said to be no data', async ({ guard, page }) => {
  guard.parts.telling = false;
  await page.goto('/');
  await expect(page.locator('#figures')).toContainText('no data');
  await expect(page.getByText('No history: Prometheus does not respond.').first()).toBeVisible();
  await expect(page.locator('#figures')).not.toContainText('0.0%');
  await page.goto('/model');
  await expect(page.getByRole('main')).toContainText('No data');
  await screenshot(page, 'no-data');
});

test.describe('without scripts', () => {
  test.use({ javaScriptEnabled: false });
  test('everything can be read and done', async ({ guard, page }) => {
    await signIn(page);
    await expect(page.locator('#state')).toContainText('of users');
    await page.getByLabel('Share of users').fill('5');
    await page.getByRole('button', { name: 'Set …' }).click();
    await page.getByRole('button', { name: 'Set to 5%' }).click();
    await expect(page.locator('#recent')).toContainText('ada');
    expect(guard.parts.share).toBe('5');
  });
});
