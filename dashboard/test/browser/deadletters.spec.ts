import { expect, type Page } from "@playwright/test";
import { pageOf, test } from "./people";
import { newId, plantEarly, plantRefused, plantUnreadable } from "./steer";

const list = (page: Page) => page.getByRole("grid", { name: "Dead letters" });
const record = (page: Page) => page.getByRole("complementary", { name: "The selected record" });

/** A record at this place in the log, as a row: an offset must not match the beginning of a longer one. */
const row = (page: Page, place: string) =>
  list(page)
    .getByRole("row")
    .filter({ has: page.getByText(place, { exact: true }) });

async function seen(page: Page, place: string): Promise<void> {
  await expect(async () => {
    await page.reload();
    await expect(row(page, place)).toBeVisible({ timeout: 5_000 });
  }).toPass();
}

test("a record that was set aside is looked at, not replayed while it is no event, and dismissed", async ({
  browser,
}) => {
  test.setTimeout(180_000);
  const txnId = newId();
  const place = await plantRefused(txnId);
  const adam = await pageOf(browser, "adam", "/dead-letters");
  await adam.getByRole("combobox", { name: "Reason" }).selectOption("unknown_currency");
  await adam.getByRole("button", { name: "New", exact: true }).click();
  await expect(adam).toHaveURL(/show=new/);
  await expect(adam).toHaveURL(/reason=unknown_currency/);
  await seen(adam, place);
  for (const reason of await list(adam).getByRole("row").locator("> :nth-child(3)").allTextContents())
    expect(["Reason", "Unknown currency"]).toContain(reason);

  // The schema can read it: every field is there, and so are the bytes.
  await row(adam, place).click();
  const side = record(adam);
  await expect(side.getByText("Unknown currency", { exact: true })).toBeVisible();
  await expect(side.getByText(txnId, { exact: true })).toBeVisible();
  await expect(side.getByText("ZZZ", { exact: true })).toBeVisible();
  const hex = side.getByRole("region", { name: "Bytes in hexadecimal" });
  await expect(hex.getByRole("row").first()).toContainText("0000");
  await expect(hex).toContainText("00 00 00 00"); // the framing

  await expect(side.getByText("It would be set aside again: unknown currency")).toBeVisible();
  await expect(side.getByRole("button", { name: "Replay" })).toBeDisabled();
  await side.getByRole("button", { name: "Dismiss" }).click();
  const question = adam.getByRole("dialog", { name: "Dismiss this record?" });
  await question.getByRole("button", { name: "Cancel" }).click();
  await expect(side.getByText("by adam")).toHaveCount(0); // nothing has happened
  await side.getByRole("button", { name: "Dismiss" }).click();
  await question.getByRole("button", { name: "Dismiss" }).click();
  await expect(side.getByText("by adam")).toBeVisible();

  await adam.goto(`/audit?object=${encodeURIComponent(place)}`);
  const trail = adam.getByRole("grid", { name: "Audit entries" });
  await expect(trail.getByRole("row").filter({ hasText: "dead_letter.dismiss" })).toBeVisible();
});

test("a record that has become an event is replayed once", async ({ browser }) => {
  test.setTimeout(150_000);
  const place = await plantEarly(newId());
  const adam = await pageOf(browser, "adam", "/dead-letters?reason=absurd_time&show=new");
  await seen(adam, place);
  await row(adam, place).click();
  const side = record(adam);
  await expect(async () => {
    await adam.reload();
    await expect(side.getByText("It would be accepted.")).toBeVisible({ timeout: 3_000 });
  }).toPass();
  await side.getByRole("button", { name: "Replay" }).click();
  const news = adam.getByRole("dialog", { name: "Sent through the log again" });
  await expect(news.getByText(/_txns:\d+:\d+/)).not.toHaveText(place);
  await expect(side.getByText("by adam")).toBeVisible();
  await expect(side.getByRole("button", { name: "Replay" })).toHaveCount(0);
});

test("of a record that cannot be read the reason and the bytes are shown", async ({ browser }) => {
  const place = await plantUnreadable(newId());
  const adam = await pageOf(browser, "adam", "/dead-letters?reason=malformed");
  await seen(adam, place);
  await row(adam, place).click();
  const side = record(adam);
  await expect(side.getByRole("strong").or(side.locator("strong")).first()).toHaveText("Malformed");
  await expect(side.getByRole("heading", { name: "What the schema makes of it" })).toBeVisible();
  await expect(side.locator("dt", { hasText: "event_id" })).toHaveCount(0); // nothing is made up
  await expect(side.getByRole("region", { name: "Bytes in hexadecimal" })).toContainText("0010");

  // On a phone the record takes the place of the list, and one comes back.
  await adam.setViewportSize({ width: 390, height: 844 });
  await expect(list(adam)).toBeHidden();
  await expect(side).toBeInViewport();
  await adam.getByRole("button", { name: "All records" }).click();
  await expect(list(adam)).toBeVisible();
  await expect(side).toBeHidden();
});
