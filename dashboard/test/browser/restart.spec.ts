import { expect } from "@playwright/test";
import { pageOf, test } from "./people";
import { plantAmountBreak, restartApi } from "./steer";

test("after the API restarts the feed comes back by itself, and nothing is missed", async ({ browser }) => {
  test.setTimeout(150_000);
  const anna = await pageOf(browser, "anna", "/live");
  const feed = anna.getByRole("banner").getByRole("status");
  await expect(feed).toHaveText("Live");
  const before = await plantAmountBreak(50_000);
  const rows = anna.getByRole("grid").getByRole("row");
  await expect(rows.filter({ hasText: before.txnId })).toBeVisible();

  const restarted = restartApi();
  await expect(feed).toHaveText(/Reconnecting|Connecting/, { timeout: 60_000 });
  const during = await plantAmountBreak(60_000); // decided while nobody could tell this page
  await restarted;
  await expect(feed).toHaveText("Live", { timeout: 60_000 });

  await expect(rows.filter({ hasText: during.txnId })).toBeVisible({ timeout: 30_000 });
  await expect(rows.filter({ hasText: before.txnId })).toHaveCount(1);
  const after = await plantAmountBreak(70_000);
  await expect(rows.filter({ hasText: after.txnId })).toBeVisible();
});
