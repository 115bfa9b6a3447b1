import { expect } from "@playwright/test";
import { pageOf, test } from "./people";
import { newId, plantBreaks } from "./steer";

test("the palette goes to a screen, to a view and to a transaction, by keys alone", async ({ browser }) => {
  const [id = ""] = await plantBreaks("EUR", 40_000, [newId()]);
  const anna = await pageOf(browser, "anna", "/");
  const palette = anna.getByRole("dialog", { name: "Command palette" });
  const box = palette.getByRole("combobox");
  const active = palette.getByRole("option", { selected: true });

  await anna.keyboard.press("Control+k");
  await expect(box).toBeFocused();
  await expect(palette.getByRole("option", { name: /Rules|Dead letters|Audit/ })).toHaveCount(0); // not her role
  await anna.keyboard.type("mis");
  await expect(active).toHaveText(/Mismatched transactions, largest first/);
  await anna.keyboard.press("Enter");
  await expect(palette).toHaveCount(0);
  await expect(anna).toHaveURL(/\/transactions\?verdict=MISMATCHED&sort=-amount_minor/);

  await anna.keyboard.press("Control+k");
  await expect(active).toHaveText(/Overview/); // it is there, and listens
  await anna.keyboard.press("ArrowUp"); // from the first to the last
  await expect(active).toHaveText(/Sign out everywhere/);
  await anna.keyboard.press("ArrowDown");
  await expect(active).toHaveText(/Overview/);
  await anna.keyboard.press("Escape");
  await expect(palette).toHaveCount(0);

  await anna.keyboard.press("Control+k");
  await box.fill(id);
  await expect(active).toHaveText(`Open transaction ${id}`);
  await anna.keyboard.press("Enter");
  await expect(anna.getByRole("heading", { name: "What each source says" })).toBeVisible();
  await expect(anna).toHaveURL(new RegExp(`/transactions/${id}$`));

  await anna.keyboard.press("Control+k");
  await box.fill("nothing of this kind!");
  await expect(palette).toContainText("Nothing of that name");
  await anna.keyboard.press("Enter");
  await expect(palette).toBeVisible();
});

test("keys are letters where somebody types", async ({ browser }) => {
  const anna = await pageOf(browser, "anna", "/transactions");
  const find = anna.getByRole("searchbox", { name: "Transaction id" });
  await find.focus();
  await anna.keyboard.type("gejk");
  await expect(find).toHaveValue("gejk");
  await expect(anna.getByRole("heading", { level: 1, name: "Transactions" })).toBeVisible();
  await expect(anna.getByRole("row", { selected: true })).toHaveCount(0);
});
