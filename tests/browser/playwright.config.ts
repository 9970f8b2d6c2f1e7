// ml-smoke runs against a stack that is up (`make up`), console starts a guard of its own. Debian's Chromium; PERCH_CHROMIUM names another.

import { defineConfig, devices } from '@playwright/test';

import { GATEWAY } from './ports.js';

export default defineConfig({
  testDir: 'tests',
  outputDir: 'test-results/artefacts',
  reporter: [['list'], ['html', { outputFolder: 'test-results/report', open: 'never' }]],
  // One stack, one share: tests must not meet each other.
  workers: 1,
  fullyParallel: false,
  forbidOnly: !!process.env.CI,
  retries: 0,
  use: {
    ...devices['Desktop Chrome'],
    baseURL: GATEWAY,
    launchOptions: { executablePath: process.env.PERCH_CHROMIUM || '/usr/bin/chromium' },
    screenshot: 'only-on-failure',
    trace: 'retain-on-failure',
  },
});
