/** Pictures of every screen, light and dark, for the documentation: only when RECON_SHOTS names a folder. */

import { expect, type Page } from "@playwright/test";
import { pageOf, settled, test } from "./people";

const folder = process.env.RECON_SHOTS ?? "";

/** The first row of a list is chosen by key, and what stands beside it is there. */
const chooseFirst = (aside: string, heading: string | RegExp) => async (page: Page) => {
  await expect(page.getByRole("grid").getByRole("row").nth(1)).toBeVisible();
  await page.keyboard.press("j");
  const side = page.getByRole("complementary", { name: aside });
  await expect(side.getByRole("heading", { name: heading })).toBeVisible();
};

const rows = async (page: Page) => expect(page.getByRole("grid").getByRole("link").first()).toBeVisible();

const SHOTS: readonly [name: string, title: string, path: string, prepare: (page: Page) => Promise<void>][] =
  [
    [
      "overview",
      "Overview",
      "/",
      (page) => expect(page.getByText(/^(Largest open|Critical and open)/)).toBeVisible(),
    ],
    ["live", "Live", "/live", rows],
    ["transactions", "Transactions", "/transactions?verdict=MISMATCHED", rows],
    [
      "transaction",
      "Transactions",
      "/transactions?verdict=MISMATCHED&break=AMOUNT&sort=-spread_minor",
      async (page) => {
        await page.getByRole("grid").getByRole("link").first().click();
        await settled(page, "Transaction");
      },
    ],
    [
      "exceptions",
      "Exceptions",
      "/exceptions?sort=-amount_minor",
      chooseFirst("The selected exception", "Comments"),
    ],
    [
      "rules",
      "Rules",
      "/rules",
      (page) => expect(page.getByRole("heading", { name: "Versions" })).toBeVisible(),
    ],
    ["dead-letters", "Dead letters", "/dead-letters", chooseFirst("The selected record", /^Bytes/)],
    ["audit", "Audit", "/audit", chooseFirst("The selected entry", /^Entry/)],
    [
      "pipeline",
      "Pipeline",
      "/pipeline",
      (page) => expect(page.getByText("Shards", { exact: true })).toBeVisible(),
    ],
  ];

async function picture(page: Page, name: string): Promise<void> {
  await expect(page.getByRole("status", { name: /^Loading/ })).toHaveCount(0);
  await expect(page.getByRole("banner").getByRole("status")).toHaveText("Live");
  await page.evaluate(() => document.fonts.ready);
  await page.mouse.move(0, 0); // no row is lit by the pointer
  await page.screenshot({ path: `${folder}/${name}.png` });
}

for (const theme of ["light", "dark"] as const) {
  test(`pictures, ${theme}`, async ({ browser }) => {
    const adam = await pageOf(browser, "adam", "/");
    await adam.setViewportSize({ width: 1360, height: 850 });
    if (theme === "dark") await adam.getByRole("button", { name: "Switch to dark colours" }).click();
    for (const [name, title, path, prepare] of SHOTS) {
      await adam.evaluate((to) => {
        window.history.pushState({}, "", to);
        window.dispatchEvent(new PopStateEvent("popstate"));
      }, path);
      await settled(adam, title);
      await prepare(adam);
      await picture(adam, `${name}-${theme}`);
    }
  });
}

for (const [name, title, path] of [
  ["phone-light", "Overview", "/"],
  ["phone-exceptions-light", "Exceptions", "/exceptions?sort=-amount_minor"],
] as const) {
  test(`picture of a phone: ${title}`, async ({ browser }) => {
    const adam = await pageOf(browser, "adam", path);
    await adam.setViewportSize({ width: 390, height: 844 });
    await settled(adam, title);
    await picture(adam, name);
  });
}
