import { expect } from "@playwright/test";
import { livePage, pageOf, test } from "./people";
import { plantAmountBreak } from "./steer";

test("a break is seen live, filtered to, opened, commented on, resolved by two people, and found in the audit trail", async ({
  browser,
}) => {
  test.setTimeout(180_000);
  const anna = await livePage(browser, "anna");
  const planted = await plantAmountBreak(2_500_000); // above the four-eyes threshold
  const live = anna.getByRole("grid", { name: "Mismatches, newest first" });
  const row = live.getByRole("row").filter({ hasText: planted.txnId });
  await expect(row).toBeVisible();
  await expect(row).toContainText("Amount");
  await expect(row.getByText(planted.odd).last()).toBeVisible();

  await anna.getByRole("link", { name: "Transactions" }).click();
  await anna.getByRole("button", { name: "Mismatched" }).click();
  await anna.getByRole("button", { name: "Filters", exact: true }).click();
  await anna.getByRole("checkbox", { name: "Amount" }).check();
  await anna.keyboard.press("Escape");
  await expect(anna).toHaveURL(/verdict=MISMATCHED&break=AMOUNT/);
  await anna.getByRole("searchbox", { name: "Transaction id" }).fill(`${planted.txnId.slice(0, 10)}*`);
  await anna.keyboard.press("Enter");
  await anna.getByRole("link", { name: planted.txnId }).click();

  await expect(anna.getByRole("heading", { name: "What each source says" })).toBeVisible();
  await expect(anna.getByRole("cell", { name: `differs: ${planted.odd}` })).toBeVisible();
  await expect(anna.getByText("+100.00")).toBeVisible();

  await anna.getByRole("textbox", { name: "Comment" }).fill("The gateway posted a fee.");
  await anna.getByRole("button", { name: "Comment" }).click();
  await expect(anna.getByRole("region", { name: "Comments" })).toContainText("The gateway posted a fee.");

  await anna.getByRole("button", { name: "Propose to resolve" }).click();
  const dialog = anna.getByRole("dialog", { name: "Propose to resolve" });
  await dialog.getByRole("combobox", { name: "Reason" }).selectOption("fee_or_fx");
  await dialog.getByRole("button", { name: "Propose" }).click();
  await expect(anna.getByText("proposes to resolve it")).toBeVisible();
  await expect(anna.getByRole("button", { name: "Approve" })).toHaveCount(0); // not the maker

  const arno = await pageOf(browser, "arno", "/exceptions?bucket=awaiting_me");
  await arno
    .getByRole("row")
    .filter({ hasText: planted.txnId })
    .click({ position: { x: 12, y: 12 } });
  const desk = arno.getByRole("complementary", { name: "The selected exception" });
  await expect(desk).toContainText("The gateway posted a fee.");
  await desk.getByRole("button", { name: "Approve" }).click();
  await expect(desk.getByText("Resolved", { exact: true })).toBeVisible();

  // The maker's page learns of it by itself.
  await expect(anna.getByText("approved by arno")).toBeVisible();

  const adam = await pageOf(browser, "adam", `/audit?object=${planted.txnId}`);
  const trail = adam.getByRole("grid", { name: "Audit entries" });
  await expect(
    trail.getByRole("row").filter({ hasText: "arno" }).filter({ hasText: "approve" }),
  ).toBeVisible();
  await expect(
    trail.getByRole("row").filter({ hasText: "anna" }).filter({ hasText: "comment" }),
  ).toBeVisible();
  await adam.getByRole("button", { name: "Verify" }).click();
  await expect(adam.getByRole("region", { name: "Hash chains" })).toContainText("verified to", {
    timeout: 60_000,
  });
});
