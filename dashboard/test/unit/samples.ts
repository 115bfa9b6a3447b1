import type { LiveResult, TransactionRow } from "@/api/types";

const leg = { amount_minor: 1_000, currency: "EUR", status: "SUCCESS" as const, event_time: 1_000 };

export function result(txnId: string, change: Partial<LiveResult> = {}): LiveResult {
  return {
    txn_id: txnId,
    revision: 1,
    verdict: "MISMATCHED",
    final: true,
    breaks: ["AMOUNT"],
    missing_sources: [],
    late_sources: [],
    sources: ["CORE", "GATEWAY", "MOBILE"],
    legs: { CORE: leg, GATEWAY: leg, MOBILE: { ...leg, amount_minor: 1_200 } },
    differing: { MOBILE: ["amount_minor"] },
    currency: "EUR",
    amount_minor: 1_200,
    spread_minor: 200,
    first_arrival: 1_000,
    last_arrival: 2_000,
    decided_at: 2_000,
    rules_version: 1,
    severity: "medium",
    ...change,
  };
}

export function row(txnId: string, change: Partial<TransactionRow> = {}): TransactionRow {
  return { ...result(txnId), exception_state: "open", assignee: null, ...change };
}
