import { expect } from "@playwright/test";
import { feedState, livePage, test } from "./people";
import { plantAmountBreak, restartApi } from "./steer";

test("after the API restarts the feed comes back by itself, and nothing is missed", async ({ browser }) => {
  test.setTimeout(300_000);
  const anna = await livePage(browser, "anna");
  const feed = feedState(anna);
  const before = await plantAmountBreak(50_000);
  const rows = anna.getByRole("grid").getByRole("row");
  await expect(rows.filter({ hasText: before.txnId })).toBeVisible();

  const [during] = await Promise.all([
    expect(feed)
      .toHaveText(/Reconnecting|Connecting/, { timeout: 90_000 })
      .then(() => plantAmountBreak(60_000)), // decided while nobody could tell this page
    restartApi(),
  ]);
  await expect(feed).toHaveText("Live", { timeout: 90_000 });

  await expect(rows.filter({ hasText: during.txnId })).toBeVisible({ timeout: 60_000 });
  await expect(rows.filter({ hasText: before.txnId })).toHaveCount(1);
  const after = await plantAmountBreak(70_000);
  await expect(rows.filter({ hasText: after.txnId })).toBeVisible();
});
