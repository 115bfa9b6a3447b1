/** The people of the realm, signed in once each on the real sign-in page. */

import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, test as base, expect, type Page } from "@playwright/test";

/** Playwright's `test`, which closes what a test opened: pages left open go on asking, and slow those that follow. */
export const test = base.extend<{ nothingLeftOpen: undefined }>({
  nothingLeftOpen: [
    async ({ browser }, use) => {
      await use(undefined);
      for (const context of browser.contexts()) await context.close();
    },
    { auto: true },
  ],
});

export type Person = "vera" | "anna" | "arno" | "adam" | "ada";
export const PEOPLE: readonly Person[] = ["vera", "anna", "arno", "adam", "ada"];

export function password(person: string): string {
  const passwords = JSON.parse(process.env.RECON_PASSWORDS ?? "{}") as Record<string, string>;
  const found = passwords[person];
  if (!found) throw new Error(`RECON_PASSWORDS has none for ${person}`);
  return found;
}

/** Where a person's cookies of the sign-in service are kept between tests; tokens are never stored. */
export function cookies(person: Person): string {
  return join(process.env.RECON_PEOPLE_DIR ?? join(tmpdir(), "recon-people"), `${person}.json`);
}

export async function signIn(page: Page, person: string, path = "/"): Promise<void> {
  await page.goto(path);
  await page.getByLabel("Username").fill(person);
  await page.getByRole("textbox", { name: "Password" }).fill(password(person));
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** The state of the live feed in the bar. */
export const feedState = (page: Page) => page.getByRole("banner").getByRole("status");

/** Waits until nothing on screen is being loaded for the first time. */
export async function settled(page: Page, title: string): Promise<void> {
  await expect(page.getByRole("heading", { level: 1, name: title, exact: true })).toBeVisible();
  await expect(page.getByRole("status", { name: /^Loading/ })).toHaveCount(0);
}

/** The live screen with its feed up and what was stored before on it: what comes then comes by the feed. */
export async function livePage(browser: Browser, person: Person): Promise<Page> {
  const context = await browser.newContext({ storageState: cookies(person) });
  const page = await context.newPage();
  const stored = page.waitForResponse(
    (answer) => /\/api\/v1\/transactions\?/.test(answer.url()) && answer.ok(),
  );
  await page.goto("/live");
  await stored;
  await expect(feedState(page)).toHaveText("Live");
  // Besides the head: without rows the one row there is says that there are none.
  await expect(page.getByRole("grid").getByRole("row").nth(1).getByRole("link")).toBeVisible();
  return page;
}

/** A page of a person who is signed in already. */
export async function pageOf(browser: Browser, person: Person, path: string): Promise<Page> {
  const context = await browser.newContext({ storageState: cookies(person) });
  const page = await context.newPage();
  await page.goto(path);
  await expect(page.getByRole("button", { name: `Signed in as ${person}` })).toBeVisible();
  return page;
}
