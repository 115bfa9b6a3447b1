/** Pictures of every screen, light and dark, for the documentation: only when RECON_SHOTS names a folder. */

import type { Page } from "@playwright/test";
import { pageOf, test } from "./people";

const folder = process.env.RECON_SHOTS ?? "";

const SHOTS: readonly [name: string, path: string, prepare?: (page: Page) => Promise<void>][] = [
  ["overview", "/"],
  ["live", "/live"],
  ["transactions", "/transactions?verdict=MISMATCHED"],
  [
    "transaction",
    "/transactions?verdict=MISMATCHED&break=AMOUNT&sort=-spread_minor",
    async (page) => page.getByRole("grid").getByRole("link").first().click(),
  ],
  ["exceptions", "/exceptions?sort=-amount_minor", async (page) => page.keyboard.press("j")],
  ["rules", "/rules"],
  ["dead-letters", "/dead-letters", async (page) => page.keyboard.press("j")],
  ["audit", "/audit", async (page) => page.keyboard.press("j")],
  ["pipeline", "/pipeline"],
];

for (const theme of ["light", "dark"] as const) {
  test(`pictures, ${theme}`, async ({ browser }) => {
    const adam = await pageOf(browser, "adam", "/");
    await adam.setViewportSize({ width: 1360, height: 850 });
    if (theme === "dark") await adam.getByRole("button", { name: "Switch to dark colours" }).click();
    for (const [name, path, prepare] of SHOTS) {
      await adam.evaluate((to) => {
        window.history.pushState({}, "", to);
        window.dispatchEvent(new PopStateEvent("popstate"));
      }, path);
      await adam.waitForTimeout(2_500);
      await prepare?.(adam);
      await adam.waitForTimeout(1_500);
      await adam.screenshot({ path: `${folder}/${name}-${theme}.png` });
    }
  });
}

test("picture of a phone", async ({ browser }) => {
  const adam = await pageOf(browser, "adam", "/");
  await adam.setViewportSize({ width: 390, height: 844 });
  await adam.waitForTimeout(3_000);
  await adam.screenshot({ path: `${folder}/phone-light.png` });
});
