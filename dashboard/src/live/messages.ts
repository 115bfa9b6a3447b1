/** What the live feed says and takes; the contract is in docs/api.md. */

import type { ExceptionState, Incident, LiveResult, Pipeline, Role, Summary, Verdict } from "@/api/types";

export interface Hello {
  seq: number;
  replay: "none" | "missed" | "resync";
  role: Role;
  token_expires: number;
  topics: string[];
}

/** One flush, or several that follow one another: those of the numbers `first_seq` to `seq`. */
export interface VerdictBatch {
  seq: number;
  first_seq: number;
  at: number;
  /** The number of the matcher shard whose flush it is. */
  shard: number;
  flush: number;
  omitted: number;
  counts: Partial<Record<Verdict, number>>;
  results: LiveResult[];
}

export interface ExceptionChange {
  txn_id: string;
  state: ExceptionState;
  version: number;
  assignee: string | null;
  actor: string;
  at: number;
}

export interface FeedEvents {
  verdict: VerdictBatch;
  summary: Summary;
  pipeline: Pipeline;
  incident: Incident;
  exception: ExceptionChange;
  /** Something was missed: what is on screen must be asked for again. */
  resync: { reason: string };
}

export type Topic = "verdict" | "summary" | "pipeline" | "incident" | "exception";

export interface ServerEvents {
  hello: (hello: Hello) => void;
  verdict: (batch: VerdictBatch) => void;
  resync: (gap: { seq: number; reason: string }) => void;
  summary: (summary: Summary) => void;
  pipeline: (pipeline: Pipeline) => void;
  incident: (incident: Incident) => void;
  exception: (change: ExceptionChange) => void;
  "feed.mark": (mark: { seq: number }, done: () => void) => void;
  bye: (bye: { reason: "expired" | "slow" | "draining" }) => void;
}

export interface ClientEvents {
  "auth.refresh": (data: { token: string }, answer: (a: { ok: boolean }) => void) => void;
  subscribe: (data: { topics: Topic[] }, answer: (a: { ok: boolean }) => void) => void;
}
