import { expect, type Page } from "@playwright/test";
import { pageOf, test } from "./people";
import { newId, plantBreaks } from "./steer";

/** A tolerance of this currency alone: no other test's verdicts change. */
const CURRENCY = "SEK";

const version = (page: Page, number: string) =>
  page.getByRole("region", { name: `Version ${number}`, exact: true });
const inList = (page: Page, number: string) =>
  page
    .getByRole("region", { name: "Versions" })
    .getByRole("button", { name: new RegExp(`^Version ${number}\\b`) });

test("rules are drafted, tried on history, activated by a second person, and judge what arrives then", async ({
  browser,
}) => {
  test.setTimeout(300_000);
  const [before = ""] = await plantBreaks(CURRENCY, 50_000, [newId()]);
  const arno = await pageOf(browser, "arno", `/transactions/${before}`);
  await expect(arno.getByRole("region", { name: "Result" })).toContainText("Mismatched");

  // The draft: what cannot be applied is said before anything is sent.
  const adam = await pageOf(browser, "adam", "/rules");
  await adam.getByRole("button", { name: /^Draft from version/ }).click();
  const form = adam.getByRole("region", { name: /^A draft from version/ });
  await form.getByRole("button", { name: "A currency", exact: true }).click();
  await expect(form.getByRole("alert")).toContainText("A currency has three letters");
  await expect(form.getByRole("button", { name: "Save the draft" })).toBeDisabled();
  await form.getByRole("textbox", { name: "Currency", exact: true }).last().fill("gbx");
  await expect(form.getByRole("alert")).toContainText(
    "GBX is no currency of ISO 4217: write the amount in GBP",
  );
  await form.getByRole("textbox", { name: "Currency", exact: true }).last().fill("sek");
  await form.getByRole("textbox", { name: `Amount for ${CURRENCY}` }).fill("100");
  await form.getByRole("textbox", { name: "Note" }).fill("The gateway's fee in kronor");
  await expect(form.getByRole("alert")).toHaveCount(0);
  await form.getByRole("button", { name: "Save the draft" }).click();
  await expect(adam).toHaveURL(/\/rules\?version=\d+$/);
  const number = new URL(adam.url()).searchParams.get("version") ?? "?";
  await expect(version(adam, number)).toContainText("The gateway's fee in kronor");
  await expect(version(adam, number)).toContainText("SEK 100.00");
  await expect(inList(adam, number)).toContainText("draft");

  // The backtest shows what would flip, and changes nothing.
  const backtest = adam.getByRole("region", { name: "Backtest" });
  await backtest.getByRole("button", { name: "Run" }).click();
  const report = backtest.getByRole("status");
  await expect(report).toContainText(/\d+ verdicts? would change/, { timeout: 60_000 });
  await expect(report).toContainText(/Mismatched.*would become.*Matched/s);
  await expect(report).toContainText(CURRENCY);
  await report.getByText(/largest example/).click();
  await expect(report.getByRole("link", { name: before })).toBeVisible();

  // Nobody activates what he drafted himself.
  await expect(version(adam, number)).toContainText("another administrator must activate it");
  await expect(version(adam, number).getByRole("button", { name: "Activate" })).toBeDisabled();
  const ada = await pageOf(browser, "ada", `/rules?version=${number}`);
  await version(ada, number).getByRole("button", { name: "Activate" }).click();
  const dialog = ada.getByRole("dialog", { name: `Activate version ${number}` });
  await dialog.getByRole("button", { name: "Activate" }).click();
  await expect(inList(ada, number)).toContainText(/scheduled|in force/);
  await expect(inList(ada, number)).toContainText("in force", { timeout: 60_000 }); // by itself
  await expect(ada.getByText(`Version ${number} judges what arrives now`)).toBeVisible();
  await expect(version(ada, number)).toContainText("by ada");

  // What arrives now is judged by it; what was judged before keeps its verdict.
  const [after = ""] = await plantBreaks(CURRENCY, 50_000, [newId()]);
  await arno.goto(`/transactions/${after}`);
  const result = arno.getByRole("region", { name: "Result" });
  await expect(result).toContainText(`Version ${number},`);
  await expect(result.getByText("Matched", { exact: true })).toBeVisible();
  await arno.goto(`/transactions/${before}`);
  await expect(result.getByText("Mismatched", { exact: true })).toBeVisible();

  await adam.goto(`/audit?action=rules.activate`);
  const trail = adam.getByRole("grid", { name: "Audit entries" });
  await expect(trail.getByRole("row").filter({ hasText: "ada" }).first()).toContainText("rules.activate");
});

test("a draft is discarded only after a question, and then nobody can activate it", async ({ browser }) => {
  const adam = await pageOf(browser, "adam", "/rules");
  await adam.getByRole("button", { name: /^Draft from version/ }).click();
  const window = adam.getByRole("textbox", { name: "Match window" });
  const inForce = await window.inputValue(); // depends on who used the stack before
  await window.fill("45 s");
  await adam.getByRole("button", { name: "Save the draft" }).click();
  await expect(adam).toHaveURL(/\/rules\?version=\d+$/);
  const number = new URL(adam.url()).searchParams.get("version") ?? "?";
  await expect(version(adam, number)).toContainText(`in force: ${inForce}`);
  const question = adam.getByRole("dialog", { name: `Discard version ${number}?` });
  await version(adam, number).getByRole("button", { name: "Discard" }).click();
  await question.getByRole("button", { name: "Cancel" }).click();
  await expect(inList(adam, number)).toContainText("draft");
  await version(adam, number).getByRole("button", { name: "Discard" }).click();
  await question.getByRole("button", { name: "Discard" }).click();
  await expect(inList(adam, number)).toContainText("discarded");
  await expect(version(adam, number).getByRole("button", { name: "Activate" })).toHaveCount(0);
});
