/** Transactions and audit as lists: the address, saved views, columns, exports, the chains. */

import { readFile } from "node:fs/promises";
import { expect, type Page } from "@playwright/test";
import { pageOf, test } from "./people";
import { newId, plantBreaks } from "./steer";

const grid = (page: Page) => page.getByRole("grid", { name: "Transactions" });

/** RFC 4180: quoted cells may hold commas, quotes and line ends. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/g)) {
    row.push(quoted?.replaceAll('""', '"') ?? plain ?? "");
    if (end === ",") continue;
    rows.push(row);
    row = [];
  }
  return rows.filter((cells) => cells.some((cell) => cell !== ""));
}

async function exported(
  page: Page,
): Promise<{ name: string; rows: Record<string, string>[]; cells: string[] }> {
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Export" }).click(),
  ]);
  const [heading = [], ...rows] = parseCsv(await readFile(await file.path(), "utf-8"));
  return {
    name: file.suggestedFilename(),
    rows: rows.map((row) => Object.fromEntries(heading.map((key, at) => [key, row[at] ?? ""]))),
    cells: rows.flat(),
  };
}

test("filters, order and columns are kept, and a view is one address for everybody", async ({ browser }) => {
  const anna = await pageOf(browser, "anna", "/transactions");
  await anna.getByRole("button", { name: "Mismatched" }).click();
  await anna.getByRole("button", { name: "Filters" }).click();
  const filters = anna.getByRole("dialog", { name: "Filters" });
  await filters.getByRole("checkbox", { name: "Amount" }).check();
  await filters.getByRole("textbox", { name: "Currency" }).fill("eur");
  await filters.getByRole("textbox", { name: "Amount from" }).fill("1.50");
  await anna.keyboard.press("Escape");
  await grid(anna).getByRole("button", { name: "Amount" }).click();
  await expect(anna).toHaveURL(/sort=-amount_minor/);
  const address = anna.url();
  for (const part of ["verdict=MISMATCHED", "break=AMOUNT", "currency=EUR", "min=150"])
    expect(address).toContain(part);
  await expect(grid(anna).getByRole("columnheader", { name: "Amount" })).toHaveAttribute(
    "aria-sort",
    "descending",
  );

  // A colleague who is sent the address sees the same.
  const arno = await pageOf(browser, "arno", address.slice(new URL(address).origin.length));
  const chips = (page: Page) => page.getByRole("list", { name: "Filters in force" }).getByRole("listitem");
  await expect(chips(arno)).toHaveText(["Amount", "EUR", "from EUR 1.50"]);
  await expect(
    arno.getByRole("button", { name: "Filters (4)" }).or(arno.getByRole("button", { name: "Filters (3)" })),
  ).toBeVisible();
  await expect(grid(arno).getByRole("columnheader", { name: "Amount" })).toHaveAttribute(
    "aria-sort",
    "descending",
  );

  // Saved under a name, by Enter; there after a reload, and gone when it is forgotten.
  await anna.getByRole("button", { name: "Views" }).click();
  await anna.getByRole("menuitem", { name: "Save this view" }).click();
  await anna
    .getByRole("dialog", { name: "Save this view" })
    .getByRole("textbox", { name: "Name" })
    .fill("Fees");
  await anna.keyboard.press("Enter");
  await expect(anna.getByText("View saved")).toBeVisible();
  await chips(anna).filter({ hasText: "EUR 1.50" }).getByRole("button").click();
  await expect(chips(anna)).toHaveText(["Amount", "EUR"]);
  await anna.goto("/transactions");
  await anna.getByRole("button", { name: "Views" }).click();
  await anna.getByRole("menuitem", { name: "Fees", exact: true }).click();
  await expect(anna).toHaveURL(address);
  await anna.getByRole("button", { name: "Views" }).click();
  await anna.getByRole("menuitem", { name: "Forget Fees" }).click();
  await anna.getByRole("button", { name: "Views" }).click();
  await expect(anna.getByRole("menuitem", { name: "Largest mismatches" })).toBeVisible();
  await expect(anna.getByRole("menuitem", { name: "Fees", exact: true })).toHaveCount(0);
  await anna.keyboard.press("Escape");

  // Columns are a preference of the browser.
  await anna.getByRole("button", { name: "Columns" }).click();
  await anna.getByRole("menuitemcheckbox", { name: "Spread" }).click();
  await anna.getByRole("menuitemcheckbox", { name: "Mobile" }).click();
  await anna.reload();
  await expect(grid(anna).getByRole("columnheader", { name: "Spread" })).toBeVisible();
  await expect(grid(anna).getByRole("columnheader", { name: "Mobile" })).toHaveCount(0);
});

test("thousands of rows are a few dozen elements, and more come as one scrolls", async ({ browser }) => {
  const anna = await pageOf(browser, "anna", "/transactions");
  const loaded = async () => Number(await grid(anna).getAttribute("aria-rowcount"));
  // The traffic may still be coming in, and a list that is loaded does not grow by itself.
  await expect(async () => {
    await anna.reload();
    const found = (await anna.getByText(/^[\d,]+ found$/).textContent({ timeout: 10_000 })) ?? "";
    expect(Number(found.replaceAll(/\D/g, ""))).toBeGreaterThan(250);
    expect(await loaded()).toBeGreaterThan(100);
  }).toPass();
  const first = await loaded();
  expect(await grid(anna).getByRole("row").count()).toBeLessThan(80);
  await expect(async () => {
    await grid(anna).evaluate((element) => element.scrollTo(0, element.scrollHeight));
    expect(await loaded()).toBeGreaterThan(first);
  }).toPass();
  expect(await grid(anna).getByRole("row").count()).toBeLessThan(80);
});

test("an export holds what the filters find, and nothing that a spreadsheet would run", async ({
  browser,
}) => {
  const formula = newId("=1+UI");
  const plain = newId();
  await plantBreaks("NOK", 70_000, [formula, plain]);
  const anna = await pageOf(browser, "anna", "/transactions?verdict=MISMATCHED&break=AMOUNT&currency=NOK");
  for (const id of [formula, plain])
    await expect(grid(anna).getByRole("row").filter({ hasText: id })).toBeVisible();
  const { name, rows, cells } = await exported(anna);
  expect(name).toBe("transactions.csv");
  const ids = rows.map((row) => row.txn_id);
  expect(ids).toContain(plain);
  expect(ids).toContain(`'${formula}`);
  for (const row of rows) expect(row).toMatchObject({ verdict: "MISMATCHED", currency: "NOK" });
  expect(cells.filter((cell) => /^[=+@\t\r]|^-(?!\d)/.test(cell))).toEqual([]);

  // The odd id is no trouble for the console itself.
  await grid(anna).getByRole("link", { name: formula }).click();
  await expect(anna.getByRole("heading", { name: "What each source says" })).toBeVisible();
  await expect(anna.getByRole("region", { name: "Exception" })).toContainText("Open");

  // What one did is in the trail, and the trail can be taken away, hashes and all.
  const adam = await pageOf(browser, "adam", "/audit");
  await adam.getByRole("textbox", { name: "Who" }).fill("anna");
  await adam.getByRole("textbox", { name: "What" }).fill("exportTransactions");
  await adam.getByRole("button", { name: "Search" }).click();
  await expect(adam).toHaveURL(/actor=anna&action=exportTransactions/);
  const trail = adam.getByRole("grid", { name: "Audit entries" });
  await expect(trail.getByRole("row").nth(1)).toContainText("exportTransactions");
  const audit = await exported(adam);
  expect(audit.name).toBe("audit.csv");
  expect(audit.rows.length).toBeGreaterThan(0);
  for (const row of audit.rows) {
    expect(row).toMatchObject({ actor: "anna", action: "exportTransactions", chain: "api" });
    expect(row.hash).toMatch(/^[0-9a-f]{64}$/);
  }

  await adam.getByRole("button", { name: "Clear" }).click();
  await expect(adam).toHaveURL(/\/audit$/);
  for (const field of ["Who", "What", "Object"])
    await expect(adam.getByRole("textbox", { name: field })).toHaveValue("");
  await expect(adam.getByRole("button", { name: "Clear" })).toHaveCount(0);
});

test("a count, its list and its export hold the same, and half a currency asks for nothing", async ({
  browser,
}) => {
  await plantBreaks("DKK", 70_000, [newId(), newId(), newId()]);
  const anna = await pageOf(browser, "anna", "/transactions?verdict=MISMATCHED");
  const asked: string[] = [];
  anna.on("request", (request) => {
    if (/\/api\/v1\/transactions(\/count)?\?/.test(request.url())) asked.push(request.url());
  });
  await anna.getByRole("button", { name: "Filters" }).click();
  const filters = anna.getByRole("dialog", { name: "Filters" });
  const currency = filters.getByRole("textbox", { name: "Currency" });
  await currency.pressSequentially("DK", { delay: 50 });
  await expect(anna).toHaveURL(/\/transactions\?verdict=MISMATCHED$/);
  await currency.pressSequentially("K");
  await expect(anna).toHaveURL(/currency=DKK/);
  await filters.getByRole("textbox", { name: "Amount from" }).pressSequentially("650.00", { delay: 50 });
  await anna.keyboard.press("Enter");
  await expect(anna).toHaveURL(/min=65000/);
  await anna.keyboard.press("Escape");
  const found = anna.getByText(/^[\d,]+ found$/);
  const { rows } = await exported(anna);
  await expect(found).toHaveText(`${rows.length} found`);
  await expect(grid(anna)).toHaveAttribute("aria-rowcount", String(rows.length + 1));
  for (const part of ["currency=D&", "currency=DK&", "amount_min=6&", "amount_min=65&", "amount_min=6500&"])
    expect(asked.filter((url) => `${url}&`.includes(part))).toEqual([]);
});

test("coming back from a row, one finds the live tape as it was left", async ({ browser }) => {
  const first = newId();
  await plantBreaks("DKK", 70_000, [first]);
  const anna = await pageOf(browser, "anna", "/live?currency=DKK");
  const tape = anna.getByRole("grid", { name: "Mismatches, newest first" });
  await expect(tape.getByRole("row").filter({ hasText: first })).toBeVisible();
  await anna.getByRole("button", { name: "Pause" }).click();
  const before = await tape.getByRole("row").allTextContents();
  const second = newId();
  await plantBreaks("DKK", 70_000, [second]);
  await expect(anna.getByRole("button", { name: /\d+ new/ })).toBeVisible();
  await tape.getByRole("link", { name: first }).click();
  await expect(anna.getByRole("heading", { name: "What each source says" })).toBeVisible();
  await anna.goBack();
  await expect(anna.getByRole("button", { name: "Go on" })).toBeVisible();
  expect(await tape.getByRole("row").allTextContents()).toEqual(before);
  await anna.getByRole("button", { name: "Go on" }).click();
  await expect(tape.getByRole("row").filter({ hasText: second })).toBeVisible();
  await expect(tape.getByRole("row").filter({ hasText: first })).toBeVisible();
});

test("the chains say how far they are verified, and since when", async ({ browser }) => {
  const adam = await pageOf(browser, "adam", "/audit");
  const chains = adam.getByRole("region", { name: "Hash chains" });
  await chains.getByRole("button", { name: "Verify" }).click();
  await expect(adam.getByText("The chains are intact")).toBeVisible({ timeout: 90_000 }); // long chains take several calls
  const own = chains.getByRole("button", { name: /^api/ });
  await expect(own).toContainText(/verified to [\d,]+ at \d\d:\d\d:\d\d/);
  for (const chain of await chains.getByRole("button", { name: /^shard-/ }).all())
    await expect(chain).toContainText(/verified to [\d,]+ at/);
  await chains.getByRole("button", { name: /^shard-0/ }).click();
  await expect(adam).toHaveURL(/chain=shard-0/);
  const trail = adam.getByRole("grid", { name: "Audit entries" });
  await expect(trail.getByRole("row").nth(1)).toContainText("shard-0 #");
  await expect(chains.getByRole("button", { name: /^shard-0/ })).toHaveAttribute("aria-pressed", "true");
  await adam.keyboard.press("j");
  const entry = adam.getByRole("complementary", { name: "The selected entry" });
  await expect(entry.getByText(/^[0-9a-f]{64}$/)).toBeVisible();
});
