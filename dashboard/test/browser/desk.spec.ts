/** Triage by keys, and one action on all that a filter finds. */

import { expect, type Page } from "@playwright/test";
import { pageOf, test } from "./people";
import { newId, plantBreaks } from "./steer";

/** A currency that the traffic does not use: what the filter finds is this file's own. */
const CURRENCY = "CZK";

const grid = (page: Page) => page.getByRole("grid", { name: "Exceptions" });
const rows = (page: Page) => grid(page).getByRole("row").filter({ hasText: CURRENCY });
const selected = (page: Page) => page.getByRole("row", { selected: true });

test("exceptions are triaged by keys, then settled all at once after a look at what that touches", async ({
  browser,
}) => {
  test.setTimeout(180_000);
  await plantBreaks(CURRENCY, 30_000, [newId(), newId(), newId()]);
  const anna = await pageOf(browser, "anna", "/exceptions");
  await anna.getByRole("textbox", { name: "Currency" }).fill(CURRENCY);
  await expect(anna).toHaveURL(new RegExp(`currency=${CURRENCY}`));
  await anna.reload(); // the filter is in the address
  await expect(rows(anna)).toHaveCount(3);
  const ids = await rows(anna).getByRole("link").allTextContents();

  // j and k go through the list and stop at its ends; the panel follows.
  for (const [key, at] of [
    ["j", 0],
    ["j", 1],
    ["j", 2],
    ["j", 2],
    ["k", 1],
  ] as const) {
    await anna.keyboard.press(key);
    await expect(selected(anna)).toContainText(ids[at] ?? "?");
  }
  const desk = anna.getByRole("complementary", { name: "The selected exception" });
  await expect(desk.getByRole("link", { name: ids[1] ?? "?" })).toBeVisible();

  // `a` assigns, the row leaves the bucket, and j goes on where one was, not at the top again.
  await expect(desk.getByText("nobody")).toBeVisible();
  await anna.keyboard.press("a");
  await expect(rows(anna)).toHaveCount(2);
  await expect(desk.getByText("anna", { exact: true }).first()).toBeVisible();
  await anna.keyboard.press("j");
  await expect(selected(anna)).toContainText(ids[2] ?? "?");

  // The rest at once: first what it would touch.
  await anna.getByRole("button", { name: "Act on all found" }).click();
  const dialog = anna.getByRole("dialog", { name: "Act on all that the filters find" });
  await dialog.getByRole("button", { name: "Preview" }).click();
  await expect(dialog.getByRole("status")).toContainText("2 exceptions");
  await expect(dialog.getByRole("status")).toContainText(`${CURRENCY} 200.00`); // twice 100.00, by which the amounts differ

  // One more comes in between: nothing is done, the new preview says three.
  const [late = ""] = await plantBreaks(CURRENCY, 30_000, [newId()]);
  await dialog.getByRole("button", { name: "Assign 2" }).click();
  await expect(dialog.getByRole("alert")).toContainText("Somebody was faster");
  await dialog.getByRole("alert").getByRole("button", { name: "Try again" }).click();
  await expect(dialog.getByRole("status")).toContainText("3 exceptions");
  await expect(dialog.getByRole("alert")).toHaveCount(0);
  await dialog.getByRole("button", { name: "Assign 3" }).click();
  await expect(anna.getByText("3 exceptions changed")).toBeVisible();
  await expect(dialog).toHaveCount(0);
  await expect(anna.getByText("Nothing in this bucket")).toBeVisible();

  // All four are hers now, and she settles them with a reason.
  await anna.getByRole("button", { name: /^Mine/ }).click();
  await expect(rows(anna)).toHaveCount(4);
  await anna.getByRole("button", { name: "Act on all found" }).click();
  await dialog.getByRole("combobox", { name: "Action" }).selectOption("resolve");
  await dialog.getByRole("combobox", { name: "Reason" }).selectOption("fee_or_fx");
  await dialog.getByRole("textbox", { name: "Note" }).fill("One fee, booked by the gateway alone.");
  await dialog.getByRole("button", { name: "Preview" }).click();
  await expect(dialog.getByRole("status")).toContainText("4 exceptions");
  await dialog.getByRole("button", { name: "Resolve 4" }).click();
  await expect(anna.getByText("4 exceptions changed")).toBeVisible();

  await anna.getByRole("button", { name: /^Resolved/ }).click();
  for (const id of [...ids, late]) await expect(rows(anna).filter({ hasText: id })).toBeVisible();
  await rows(anna)
    .filter({ hasText: late })
    .click({ position: { x: 12, y: 12 } });
  await expect(desk.getByText("One fee, booked by the gateway alone.")).toBeVisible();
});

test("large amounts in a bulk resolution become proposals for a second person", async ({ browser }) => {
  const currency = "PLN";
  await plantBreaks(currency, 2_500_000, [newId(), newId()]);
  const anna = await pageOf(browser, "anna", `/exceptions?currency=${currency}`);
  await expect(grid(anna).getByRole("row").filter({ hasText: currency })).toHaveCount(2);
  await anna.getByRole("button", { name: "Act on all found" }).click();
  const dialog = anna.getByRole("dialog", { name: "Act on all that the filters find" });
  await dialog.getByRole("combobox", { name: "Action" }).selectOption("resolve");
  await dialog.getByRole("button", { name: "Preview" }).click();
  await expect(dialog.getByRole("status")).toContainText("2 of them for a second person to approve");
  await dialog.getByRole("button", { name: "Resolve 2" }).click();
  await expect(anna.getByText("2 of them wait for a second person.")).toBeVisible();
  const arno = await pageOf(browser, "arno", `/exceptions?bucket=awaiting_me&currency=${currency}`);
  await expect(grid(arno).getByRole("row").filter({ hasText: currency })).toHaveCount(2);
  await expect(arno.getByRole("button", { name: "Act on all found" })).toHaveCount(0); // one by one
});

test("the second key of `g a` goes to the audit trail and assigns nothing", async ({ browser }) => {
  const [id = ""] = await plantBreaks("HUF", 30_000, [newId()]);
  const adam = await pageOf(browser, "adam", "/exceptions?currency=HUF");
  const row = grid(adam).getByRole("row").filter({ hasText: id });
  await row.click({ position: { x: 12, y: 12 } });
  const desk = adam.getByRole("complementary", { name: "The selected exception" });
  await expect(desk.getByRole("button", { name: "Assign to me" })).toBeVisible();
  await adam.keyboard.press("g");
  await adam.keyboard.press("a");
  await expect(adam.getByRole("heading", { level: 1, name: "Audit" })).toBeVisible();
  await adam.goBack();
  await expect(row).toBeVisible();
  await expect(desk.getByText("nobody")).toBeVisible();
});
