/** What browser tests ask of the stack: planted transactions and records, the end of a session, a restart of the API. */

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { promisify } from "node:util";

const run = promisify(execFile);

async function steer(...words: string[]): Promise<string> {
  const command = JSON.parse(process.env.RECON_STEER ?? "[]") as string[];
  const [program, ...rest] = command;
  if (!program) throw new Error("RECON_STEER is not set");
  const { stdout } = await run(program, [...rest, ...words], { timeout: 150_000 });
  return stdout.trim();
}

export interface Planted {
  txnId: string;
  /** The odd amount, as the console writes it. */
  odd: string;
}

export function newId(prefix = "UI"): string {
  return `${prefix}${randomBytes(8).toString("hex").toUpperCase()}`;
}

/** Three sources report one transaction; the gateway's amount is 100.00 too high. */
export async function plantAmountBreak(amountMinor: number): Promise<Planted> {
  const [txnId = ""] = await plantBreaks("EUR", amountMinor, [newId()]);
  const odd = ((amountMinor + 10_000) / 100).toLocaleString("en-GB", { minimumFractionDigits: 2 });
  return { txnId, odd };
}

/** The same of several at once; a currency that the traffic does not use keeps a test's own apart. */
export async function plantBreaks(
  currency: string,
  amountMinor: number,
  txnIds: readonly string[],
): Promise<readonly string[]> {
  await steer("plant", currency, String(amountMinor), ...txnIds);
  return txnIds;
}

/** A record whose end is cut off; its place in the log. */
export const plantUnreadable = (txnId: string): Promise<string> => steer("plant-unreadable", txnId);

/** A record that can be read and is refused for its currency; its place in the log. */
export const plantRefused = (txnId: string): Promise<string> => steer("plant-refused", txnId);

/** A record whose time is a little more than a day ahead: refused now, an event in some seconds; its place in the log. */
export const plantEarly = (txnId: string): Promise<string> => steer("plant-early", txnId);

/** Ends the session that a user began last, as an operator of Keycloak would. */
export const endSession = (username: string): Promise<string> => steer("end-session", username);

export const restartApi = (): Promise<string> => steer("restart-api");
