/** What browser tests ask of the stack: a planted transaction, a restart of the API. */

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { promisify } from "node:util";

const run = promisify(execFile);

async function steer(...words: string[]): Promise<void> {
  const command = JSON.parse(process.env.RECON_STEER ?? "[]") as string[];
  const [program, ...rest] = command;
  if (!program) throw new Error("RECON_STEER is not set");
  await run(program, [...rest, ...words], { timeout: 90_000 });
}

export interface Planted {
  txnId: string;
  /** The odd amount, as the console writes it. */
  odd: string;
}

/** Three sources report one transaction; the gateway's amount is 100.00 too high. */
export async function plantAmountBreak(amountMinor: number): Promise<Planted> {
  const txnId = `UI${randomBytes(8).toString("hex").toUpperCase()}`;
  await steer("plant", txnId, String(amountMinor));
  const odd = ((amountMinor + 10_000) / 100).toLocaleString("en-GB", { minimumFractionDigits: 2 });
  return { txnId, odd };
}

export const restartApi = (): Promise<void> => steer("restart-api");
