/**
 * Browser tests against a running stack. They start nothing: tests/browser/test_dashboard.py gives them
 *   RECON_BASE_URL      where the console is served
 *   RECON_PASSWORDS     passwords of the users, a JSON object by user name
 *   RECON_STEER         a command that plants events, and restarts the API
 *   RECON_PEOPLE_DIR    a folder for the cookies of those who signed in
 *   RECON_SHOTS         a folder for pictures of every screen; only then the project `pictures` runs
 */

import { defineConfig } from "@playwright/test";

const flags = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export default defineConfig({
  testDir: "test/browser",
  outputDir: "test-results",
  workers: 1,
  fullyParallel: false,
  forbidOnly: true,
  retries: 0,
  // Bounds for a loaded machine, not measures: whatever waits goes on at once when what it waits for is there.
  timeout: 120_000,
  expect: { timeout: 30_000 },
  reporter: [["list"]],
  use: {
    baseURL: process.env.RECON_BASE_URL ?? "https://localhost:8443",
    ignoreHTTPSErrors: true, // the stack's own certificate authority is not in the browser's store
    viewport: { width: 1440, height: 900 },
    locale: "en-GB",
    timezoneId: "UTC",
    colorScheme: "light",
    trace: "off",
    screenshot: "only-on-failure",
    launchOptions: { executablePath: process.env.RECON_CHROMIUM ?? "/usr/bin/chromium", args: flags },
  },
  projects: [
    { name: "sign-in", testMatch: "sign-in.setup.ts" },
    { name: "console", testMatch: "*.spec.ts", testIgnore: "restart.spec.ts", dependencies: ["sign-in"] },
    { name: "restart", testMatch: "restart.spec.ts", dependencies: ["console"] },
    ...(process.env.RECON_SHOTS
      ? [{ name: "pictures", testMatch: "pictures.ts", dependencies: ["sign-in"], timeout: 240_000 }]
      : []),
  ],
});
