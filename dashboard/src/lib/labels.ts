/** The console's words for the API's codes, and what each means. */

import type { ActionName, BreakName, ExceptionState, ReasonCode, Severity, Verdict } from "@/api/types";

export const BREAKS: Readonly<Record<BreakName, { label: string; means: string }>> = {
  CONFLICT: { label: "Conflict", means: "One source said two things that cannot both be true." },
  DUPLICATE: { label: "Duplicate", means: "One source reported the same step twice." },
  AMOUNT: { label: "Amount", means: "Amounts differ by more than the tolerance." },
  CURRENCY: { label: "Currency", means: "The sources name different currencies." },
  STATUS: { label: "Status", means: "The sources disagree on how it ended." },
  TIMESTAMP: { label: "Time", means: "The sources' clocks are further apart than allowed." },
  ATTRIBUTE: { label: "Attribute", means: "A compared attribute, such as the merchant, differs." },
  MISSING: { label: "Missing", means: "A source did not report within the match window." },
};

export const BREAK_NAMES = Object.keys(BREAKS) as BreakName[];

export const VERDICTS: Readonly<Record<Verdict, string>> = {
  MATCHED: "Matched",
  MISMATCHED: "Mismatched",
  PENDING: "Pending",
};

export const VERDICT_NAMES = Object.keys(VERDICTS) as Verdict[];

export const SEVERITIES: Readonly<Record<Severity, string>> = {
  critical: "Critical",
  high: "High",
  medium: "Medium",
  low: "Low",
};

export const STATES: Readonly<Record<ExceptionState, string>> = {
  open: "Open",
  assigned: "Assigned",
  in_review: "In review",
  resolved: "Resolved",
};

export const REASONS: Readonly<Record<ReasonCode, string>> = {
  timing: "Timing",
  source_error: "Error at the source",
  duplicate_posting: "Duplicate posting",
  fee_or_fx: "Fee or exchange rate",
  written_off: "Written off",
  corrected_at_source: "Corrected at the source",
  false_alarm: "False alarm",
  healed: "Healed by itself",
};

export const GIVEN_REASONS = (Object.keys(REASONS) as ReasonCode[]).filter((code) => code !== "healed");

export const ACTIONS: Readonly<Record<ActionName, string>> = {
  assign: "Assign",
  unassign: "Unassign",
  start_review: "Start review",
  resolve: "Resolve",
  approve: "Approve",
  reject: "Reject",
  reopen: "Reopen",
};

/** Past tense, for histories. Unknown actions are shown as they are, with blanks for underscores. */
export function actionDone(action: string): string {
  const known: Record<string, string> = {
    assign: "assigned it",
    unassign: "gave it back",
    start_review: "started a review",
    resolve: "resolved it",
    propose: "proposed a resolution",
    approve: "approved the resolution",
    reject: "rejected the proposal",
    reopen: "reopened it",
    comment: "commented",
    heal: "it healed by itself",
    healed: "it healed by itself",
  };
  return known[action] ?? action.replaceAll(/[._]/g, " ");
}

const SOURCE_LABELS: Readonly<Record<string, string>> = {
  CORE: "Core",
  GATEWAY: "Gateway",
  MOBILE: "Mobile",
};

/** A source's name as shown. Sources are configuration: unknown ones are shown in title case. */
export function sourceLabel(name: string): string {
  return SOURCE_LABELS[name] ?? name.charAt(0) + name.slice(1).toLowerCase().replaceAll("_", " ");
}

/** Known sources first, in the order of the book of record; then the rest by name. */
export function sourceOrder(names: Iterable<string>): string[] {
  const rank = (name: string) => {
    const at = Object.keys(SOURCE_LABELS).indexOf(name);
    return at === -1 ? 99 : at;
  };
  return [...new Set(names)].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}
