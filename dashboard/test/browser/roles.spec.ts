import { expect } from "@playwright/test";
import { pageOf, test } from "./people";

test("a viewer sees no governing screen, no action and no export, not even by address", async ({
  browser,
}) => {
  const vera = await pageOf(browser, "vera", "/");
  const rail = vera.getByRole("navigation", { name: "Screens" });
  await expect(rail.getByRole("link", { name: "Exceptions" })).toBeVisible();
  for (const name of ["Rules", "Dead letters", "Audit"])
    await expect(rail.getByRole("link", { name })).toHaveCount(0);
  await vera.goto("/exceptions");
  await expect(vera.getByRole("grid", { name: "Exceptions" })).toBeVisible();
  await expect(vera.getByRole("button", { name: "Act on all found" })).toHaveCount(0);
  await expect(vera.getByRole("button", { name: /^Mine/ })).toHaveCount(0);
  await vera.goto("/audit");
  await expect(vera.getByText("This screen is not for your role")).toBeVisible();
});

test("an analyst works on exceptions and exports; an administrator governs, too", async ({ browser }) => {
  const anna = await pageOf(browser, "anna", "/transactions");
  await expect(anna.getByRole("button", { name: "Export" })).toBeVisible();
  await expect(anna.getByRole("link", { name: "Rules" })).toHaveCount(0);
  const adam = await pageOf(browser, "adam", "/rules");
  await expect(adam.getByText("judges what arrives now")).toBeVisible();
  await adam.getByRole("link", { name: "Dead letters" }).click();
  await expect(adam.getByRole("heading", { name: "Dead letters" })).toBeVisible();
});

test("signing out ends the session in every tab", async ({ browser }) => {
  const first = await pageOf(browser, "vera", "/");
  const second = await first.context().newPage();
  await second.goto("/live");
  await expect(second.getByRole("button", { name: "Signed in as vera" })).toBeVisible();
  await first.getByRole("button", { name: "Signed in as vera" }).click();
  await first.getByRole("menuitem", { name: "Sign out everywhere" }).click();
  await expect(second.getByRole("dialog", { name: "Your session has ended" })).toBeVisible();
  await expect(first.getByRole("heading", { name: "You are signed out" })).toBeVisible();
  await first.goto("/");
  await expect(first.getByLabel("Username")).toBeVisible(); // nobody is let in without the page
});
