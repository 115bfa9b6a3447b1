import { expect } from "@playwright/test";
import { pageOf, password, settled, signIn, test } from "./people";
import { endSession } from "./steer";

test("a session that ended leaves the screen in place, and signing in comes back to that very view", async ({
  page,
}) => {
  await page.clock.install();
  const view = "/transactions?verdict=MISMATCHED&sort=-amount_minor";
  await signIn(page, "vera", view);
  const rows = page.getByRole("grid", { name: "Transactions" }).getByRole("row");
  await expect(rows.nth(1)).toBeVisible();
  await expect(page.getByRole("banner").getByRole("status")).toHaveText("Live");

  await endSession("vera");
  const refused: string[] = [];
  page.on("response", (answer) => {
    if (answer.status() === 401) refused.push(answer.url());
  });
  await page.clock.fastForward(280_000); // the token is about to expire and cannot be renewed
  const ended = page.getByRole("dialog", { name: "Your session has ended" });
  await expect(ended).toContainText("Nothing is lost");
  await expect(ended.getByRole("button", { name: "Sign in again" })).toBeFocused();
  await expect(page.locator("[role=row]").nth(1)).toBeVisible(); // what one looked at is still there
  await expect(page.locator("header [role=status]")).toHaveText("No feed");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+k");
  await expect(ended).toBeVisible();
  await expect(page.getByRole("dialog", { name: "Command palette" })).toHaveCount(0);
  await page.clock.fastForward(60_000); // refreshing goes quiet, too
  expect(refused).toEqual([]);

  await ended.getByRole("button", { name: "Sign in again" }).click();
  await page.getByLabel("Username").fill("vera");
  await page.getByRole("textbox", { name: "Password" }).fill(password("vera"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("button", { name: "Signed in as vera" })).toBeVisible();
  await expect(page).toHaveURL(/\/transactions\?verdict=MISMATCHED&sort=-amount_minor/);
  await expect(page.getByRole("button", { name: "Mismatched" })).toHaveAttribute("aria-pressed", "true");
  await expect(rows.nth(1)).toBeVisible();
});

test("an address with names of the sign-in protocol in it opens all the same", async ({ browser }) => {
  const adam = await pageOf(browser, "adam", "/transactions?verdict=MISMATCHED&state=new&error=none");
  await expect(adam.getByRole("heading", { level: 1, name: "Transactions" })).toBeVisible();
  await expect(adam.getByRole("button", { name: "Mismatched" })).toHaveAttribute("aria-pressed", "true");
});

test("Back leads out of a transaction after a reload, by the browser's key and by the page's", async ({
  browser,
}) => {
  const anna = await pageOf(browser, "anna", "/transactions?verdict=MISMATCHED");
  await settled(anna, "Transactions");
  const address = await anna.getByRole("grid").getByRole("link").first().getAttribute("href");
  await anna.goto(address ?? "");
  await settled(anna, "Transaction");
  await anna.reload();
  await settled(anna, "Transaction");
  await expect(anna).toHaveURL(new RegExp(`${(address ?? "").replace(/[.*+?^$()|[\]\\]/g, "\\$&")}$`));
  await anna.goBack();
  await settled(anna, "Transactions");
  await expect(anna).toHaveURL(/\/transactions\?verdict=MISMATCHED$/);
  await anna.goForward();
  await settled(anna, "Transaction");
  await anna.getByRole("button", { name: "Back" }).click();
  await settled(anna, "Transactions");
});
