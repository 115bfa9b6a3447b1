import { expect, test } from "@playwright/test";
import { cookies, PEOPLE, signIn } from "./people";

for (const person of PEOPLE) {
  test(`${person} signs in on the real page`, async ({ page, context }) => {
    await signIn(page, person);
    await expect(page.getByRole("button", { name: `Signed in as ${person}` })).toBeVisible();
    await expect(page.getByRole("status").filter({ hasText: "Live" })).toBeVisible();
    const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
    expect(stored).not.toContain("eyJ"); // no token in any storage
    expect(page.url()).not.toContain("code=");
    await context.storageState({ path: cookies(person) });
  });
}
