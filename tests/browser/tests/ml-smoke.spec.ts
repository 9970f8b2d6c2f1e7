// Three smoke tests that are older than Perch (docs/names.md), through the gateway.

import { readFileSync } from 'node:fs';

import { expect, test, type APIRequestContext } from '@playwright/test';

/** The operator's token, which `make up` leaves here; a training is refused without it. */
const TOKEN_FILE = process.env.PERCH_TOKEN_FILE ?? new URL('../../../.perch/console-token', import.meta.url);

function authorization(): Record<string, string> {
  const [token] = readFileSync(TOKEN_FILE, 'utf8').trim().split('\n');
  return { authorization: `Bearer ${token}` };
}

/** Items compared so far, whatever came of it. */
async function compared(request: APIRequestContext): Promise<number> {
  const response = await request.get('/metrics');
  expect(response.status()).toBe(200);
  const samples = (await response.text()).matchAll(/^lm_suggest_compare_total\{[^}]*\} (\d+)$/gm);
  const counts = [...samples].map((sample) => Number(sample[1]));
  expect(counts, 'True, False and None are there from the first scrape').toHaveLength(3);
  return counts.reduce((sum, count) => sum + count, 0);
}

async function status(request: APIRequestContext): Promise<{ available: boolean; meta?: Record<string, unknown> }> {
  const response = await request.get('/ml/v2/model/status');
  expect(response.status()).toBe(200);
  const body = await response.json();
  expect(typeof body.available).toBe('boolean');
  return body;
}

test('ML pipeline: status → train(no-data tolerant) → status', async ({ request }) => {
  test.setTimeout(15 * 60_000);
  const before = await status(request);

  const stranger = await request.post('/ml/v2/train?limit=3000');
  expect(stranger.status(), 'nobody trains without the token').toBe(401);
  const training = await request.post('/ml/v2/train?limit=3000', {
    headers: authorization(),
    timeout: 14 * 60_000,
  });
  const outcome = await training.json();
  if (training.status() === 400) {
    expect(JSON.stringify(outcome), 'nothing else than a want of labels may refuse it').toContain('no data');
  } else {
    expect(training.status(), JSON.stringify(outcome)).toBe(200);
    expect(outcome.run_id).toBeTruthy();
    expect(typeof outcome.deployed).toBe('boolean');
  }

  const after = await status(request);
  // A model that serves is not lost by training another.
  expect(after.available).toBe(before.available || outcome.deployed === true);
  if (after.available) expect(after.meta).toMatchObject({ run_id: expect.anything(), class_count: expect.any(Number) });
});

test('Suggestions endpoint emits compare metric after one call', async ({ request }) => {
  const before = await compared(request);
  const response = await request.post('/ml/suggestions', {
    headers: { 'x-user-id': 'ml-smoke' },
    data: { txn_ids: [88, '89', 90], top_k: 3, mode: 'auto' },
  });
  expect(response.status()).toBe(200);
  const { items } = await response.json();
  expect(items.length).toBeGreaterThan(0);
  for (const item of items) {
    for (const candidate of item.candidates) {
      expect(candidate.confidence).toBeGreaterThanOrEqual(0);
      expect(candidate.confidence).toBeLessThanOrEqual(1);
    }
  }
  // The comparison follows the answer; nobody waits for it.
  await expect.poll(() => compared(request)).toBeGreaterThanOrEqual(before + items.length);
});

test('Prediction endpoint returns model or no_model', async ({ request }) => {
  const { available } = await status(request);
  const response = await request.post('/ml/v2/predict', {
    data: {
      amount: -42.5,
      abs_amount: 42.5,
      merchant: 'costco',
      mcc: '5411',
      channel: 'pos',
      hour_of_day: 17,
      dow: 5,
      is_weekend: true,
      is_subscription: false,
      norm_desc: 'costco whse',
    },
  });
  const prediction = await response.json();
  expect(prediction.available).toBe(available);
  if (prediction.available) {
    expect(response.status()).toBe(200);
    expect(prediction.label).toEqual(expect.any(String));
    expect(prediction.confidence).toBeGreaterThan(0);
    expect(prediction.probs[prediction.label]).toBeCloseTo(prediction.confidence, 5);
  } else {
    expect(prediction.reason).toBe('no_model');
  }
});
