/** Made-up data in the shapes of the API: seeded, so that screens look alike from run to run. */

import type {
  AuditRow,
  BreakName,
  DeadLetter,
  ExceptionDetail,
  ExceptionRow,
  Leg,
  LiveResult,
  Pipeline,
  RuleSet,
  RulesBody,
  Series,
  SourceState,
  Summary,
  TransactionDetail,
  TransactionRow,
} from "../../src/api/types";

const SOURCES = ["CORE", "GATEWAY", "MOBILE"];
const MARKETS: readonly [string, number, number][] = [
  ["EUR", 34, 5_400],
  ["USD", 26, 6_100],
  ["GBP", 14, 4_600],
  ["INR", 8, 190_000],
  ["JPY", 7, 5_400],
  ["CHF", 5, 7_200],
  ["KWD", 2, 17_500],
];
const KINDS: readonly [BreakName, number][] = [
  ["MISSING", 40],
  ["AMOUNT", 26],
  ["STATUS", 14],
  ["TIMESTAMP", 10],
  ["CURRENCY", 4],
  ["DUPLICATE", 4],
  ["CONFLICT", 2],
];

/** mulberry32. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function pick<T>(rng: () => number, weighted: readonly [T, number][]): T {
  let left = rng() * weighted.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [value, weight] of weighted) {
    left -= weight;
    if (left <= 0) return value;
  }
  return (weighted[0] as [T, number])[0];
}

function hex(rng: () => number, length: number): string {
  return Array.from({ length }, () => Math.floor(rng() * 16).toString(16)).join("");
}

export function transaction(rng: () => number, at: number, kind: BreakName | null): TransactionRow {
  const [currency, , median] = pick(
    rng,
    MARKETS.map((market) => [market, market[1]] as [(typeof MARKETS)[number], number]),
  );
  const base = Math.max(50, Math.round(median * Math.exp((rng() + rng() + rng() - 1.5) * 2.6)));
  const first = at - Math.round(400 + rng() * 2_500);
  const status = rng() < 0.06 ? ("FAILED" as const) : ("SUCCESS" as const);
  const legs: Record<string, Leg> = {};
  for (const source of SOURCES) {
    legs[source] = { amount_minor: base, currency, status, event_time: first - Math.round(rng() * 300) };
  }
  const odd = SOURCES[Math.floor(rng() * 3)] as string;
  const leg = legs[odd] as Leg;
  if (kind === "AMOUNT") leg.amount_minor += Math.max(2, Math.round(base * (rng() * 0.12)));
  if (kind === "STATUS") leg.status = status === "FAILED" ? "SUCCESS" : "FAILED";
  if (kind === "CURRENCY") leg.currency = currency === "USD" ? "EUR" : "USD";
  if (kind === "TIMESTAMP") leg.event_time -= 7_000 + Math.round(rng() * 20_000);
  if (kind === "MISSING") delete legs[odd];
  const field = kind && FIELD_OF[kind];
  const amounts = Object.values(legs).map((each) => each.amount_minor);
  const largest = Math.max(...amounts);
  const severity =
    largest > 100_000 ? "critical" : largest > 30_000 ? "high" : kind === "TIMESTAMP" ? "low" : "medium";
  return {
    txn_id: `TX${hex(rng, 16).toUpperCase()}`,
    revision: kind && rng() < 0.2 ? 2 : 1,
    verdict: kind ? "MISMATCHED" : rng() < 0.04 ? "PENDING" : "MATCHED",
    final: true,
    breaks: kind ? (kind === "AMOUNT" && rng() < 0.15 ? [kind, "STATUS"] : [kind]) : [],
    missing_sources: kind === "MISSING" ? [odd] : [],
    late_sources: !kind && rng() < 0.03 ? [odd] : [],
    sources: Object.keys(legs),
    legs,
    differing: field ? { [odd]: [field] } : {},
    currency,
    amount_minor: largest,
    spread_minor: largest - Math.min(...amounts),
    first_arrival: first,
    last_arrival: at - 120,
    decided_at: kind === "MISSING" ? first + 30_400 : at,
    rules_version: 3,
    severity: kind ? severity : null,
    exception_state: kind ? "open" : null,
    assignee: null,
  };
}

const FIELD_OF: Partial<Record<BreakName, "amount_minor" | "currency" | "status" | "event_time">> = {
  AMOUNT: "amount_minor",
  STATUS: "status",
  CURRENCY: "currency",
  TIMESTAMP: "event_time",
};

export function someBreak(rng: () => number): BreakName {
  return pick(rng, KINDS);
}

/** What a screen must have room for: amounts in the billions, dates of another year, ids that are UUIDs. */
function makeHard(rows: readonly TransactionRow[]): void {
  rows.forEach((row, at) => {
    if (at % 17 === 3) {
      const factor = 10_000_000;
      row.amount_minor *= factor;
      row.spread_minor *= factor;
      for (const leg of Object.values(row.legs)) leg.amount_minor *= factor;
    }
    if (at % 23 === 5) row.txn_id = `7c9e6679-7425-40de-944b-e07fc1f9${String(at).padStart(4, "0")}`;
    if (at > 700) row.decided_at -= 400 * 86_400_000;
    else if (at > 500) row.decided_at -= 3 * 86_400_000;
  });
}

export function makeWorld(now: number) {
  const rng = random(7);
  const rows: TransactionRow[] = [];
  for (let at = 0; at < 900; at += 1) {
    rows.push(
      transaction(
        rng,
        now - 4_000 - at * 900 - Math.round(rng() * 700),
        rng() < 0.35 ? someBreak(rng) : null,
      ),
    );
  }
  makeHard(rows);
  rows.sort((a, b) => b.decided_at - a.decided_at);
  const mismatched = rows.filter((row) => row.verdict === "MISMATCHED");
  const desk: ExceptionRow[] = mismatched.map((row, at) => {
    const state =
      at % 9 === 3 ? "assigned" : at % 13 === 5 ? "in_review" : at % 17 === 8 ? "resolved" : "open";
    const assignee = state === "open" ? null : (["anna", "arno", "adam"][at % 3] ?? null);
    row.exception_state = state;
    row.assignee = assignee;
    return {
      txn_id: row.txn_id,
      state,
      version: state === "open" ? 0 : 2,
      severity: row.severity ?? "low",
      assignee,
      proposed_by: state === "in_review" ? "anna" : null,
      reason_code: state === "resolved" || state === "in_review" ? "corrected_at_source" : null,
      needs_second_person: row.amount_minor > 60_000,
      resolved_by: state === "resolved" ? "anna" : null,
      approved_by: null,
      updated_at: state === "open" ? null : row.decided_at + 200_000,
      comments: at % 4,
      transaction: row,
    };
  });
  return { rng, rows, mismatched, desk };
}

export type World = ReturnType<typeof makeWorld>;

export function exceptionDetail(world: World, id: string): ExceptionDetail | null {
  const exception = world.desk.find((row) => row.txn_id === id);
  if (!exception) return null;
  const at = exception.transaction.decided_at;
  return {
    exception,
    comments: [
      {
        comment_id: 1,
        author: "anna",
        at: at + 90_000,
        text: "The gateway settled in two parts; the second is due tonight.",
      },
      {
        comment_id: 2,
        author: "arno",
        at: at + 140_000,
        text: "Seen the same on four others from this merchant.",
      },
    ],
    history: [
      { at, actor: "recon", action: "opened", state: "open", note: "" },
      { at: at + 60_000, actor: "anna", action: "assign", state: "assigned", note: "" },
    ],
    actions:
      exception.state === "resolved"
        ? ["reopen"]
        : exception.proposed_by
          ? ["assign", "unassign", "approve", "reject"]
          : ["assign", "unassign", "start_review", "resolve"],
  };
}

export function detailOf(world: World, id: string): TransactionDetail | null {
  const row = world.rows.find((each) => each.txn_id === id);
  if (!row) return null;
  const events = Object.entries(row.legs).map(([source, leg], at) => ({
    seq: 41_000 + at,
    source,
    topic: `${source.toLowerCase()}_txns`,
    event_id: `${source.slice(0, 1)}-${row.txn_id.slice(4)}`,
    ...leg,
    arrival: row.first_arrival + at * 640,
    account_id: "DE44 **** **** **** 71",
    original_txn_id: null,
    kafka_partition: at * 2,
    kafka_offset: 181_220 + at * 77,
    redelivery: false,
  }));
  const differences: TransactionDetail["differences"] = [];
  const usual = Object.values(row.legs)[0] as Leg;
  for (const [source, leg] of Object.entries(row.legs)) {
    for (const field of ["amount_minor", "currency", "status", "event_time"] as const) {
      if (leg[field] === usual[field]) continue;
      const numeric = field === "amount_minor" || field === "event_time";
      const difference = numeric ? Number(leg[field]) - Number(usual[field]) : null;
      const tolerance = field === "amount_minor" ? 1 : field === "event_time" ? 5_000 : null;
      differences.push({
        source,
        field,
        expected: usual[field],
        actual: leg[field],
        expected_from: ["CORE"],
        difference,
        tolerance,
        breaking: tolerance === null || Math.abs(difference ?? 0) > tolerance,
      });
    }
  }
  const revision = {
    revision: row.revision,
    verdict: row.verdict,
    final: row.final,
    breaks: row.breaks,
    missing_sources: row.missing_sources,
    late_sources: row.late_sources,
    legs: row.legs,
    currency: row.currency,
    amount_minor: row.amount_minor,
    spread_minor: row.spread_minor,
    rules_version: 3,
    decided_at: row.decided_at,
    replaced_at: null,
  };
  return {
    result: row,
    differences,
    events,
    revisions:
      row.revision > 1
        ? [
            revision,
            {
              ...revision,
              revision: 1,
              final: false,
              decided_at: row.decided_at - 900,
              replaced_at: row.decided_at,
            },
          ]
        : [revision],
    rules: {
      version: 3,
      match_window_ms: 30_000,
      time_tolerance_ms: 5_000,
      amount_tolerance_minor: 1,
      expected_sources: SOURCES,
      window_closes: row.first_arrival + 30_000,
    },
    related: [],
  };
}

export function live(row: TransactionRow): LiveResult {
  const { exception_state: _state, assignee: _assignee, ...rest } = row;
  return rest;
}

function sums(rows: readonly TransactionRow[]) {
  const byCurrency = new Map<string, { currency: string; amount_minor: number; count: number }>();
  for (const row of rows) {
    const sum = byCurrency.get(row.currency) ?? { currency: row.currency, amount_minor: 0, count: 0 };
    sum.amount_minor += row.amount_minor;
    sum.count += 1;
    byCurrency.set(row.currency, sum);
  }
  return [...byCurrency.values()];
}

export function summary(world: World, now: number, windowMs: number): Summary {
  const rows = world.mismatched;
  const times = windowMs / 3_600_000;
  const breaks = KINDS.map(([kind]) => ({
    kind,
    count: Math.round(rows.filter((row) => row.breaks.includes(kind)).length * times * 2.3),
  }));
  return {
    at: now,
    window_ms: windowMs,
    verdicts: { PENDING: 42, MATCHED: 184_221 * times, MISMATCHED: 1_214 * times },
    totals: { PENDING: 42, MATCHED: 4_180_332, MISMATCHED: 21_884 },
    match_rate: 0.99345,
    breaks,
    at_risk: sums(rows),
    at_risk_total: null,
    at_risk_unrated: [],
    events: SOURCES.map((source, at) => ({ source, events: 185_000 - at * 900 })),
    events_per_s: 512.4 + Math.sin(now / 4_000) * 30,
    redeliveries: 318,
    dead_letters: 6,
    late: 77,
    open_exceptions: rows.length,
    ageing: [
      { label: "under_1h", count: 214, at_risk: sums(rows.slice(0, 200)) },
      { label: "under_1d", count: 74, at_risk: sums(rows.slice(0, 70)) },
      { label: "under_7d", count: 9, at_risk: sums(rows.slice(0, 5)) },
      { label: "older", count: 0, at_risk: [] },
    ],
    ageing_at: now - 12_000,
    lag: 37,
    latency_p99_ms: 184,
    pipeline: "running",
  };
}

export function series(now: number, since: number, stepMs: number): Series {
  const rng = random(11);
  const points: Series["points"] = [];
  for (let at = Math.floor(since / stepMs) * stepMs; at < now; at += stepMs) {
    const wave = (3_000 + Math.sin(at / 900_000) * 700 + rng() * 260) * (stepMs / 60_000);
    const outage = at > now - 22 * stepMs && at < now - 17 * stepMs;
    points.push({
      at,
      values: {
        "events.CORE": Math.round(wave),
        "events.GATEWAY": Math.round(wave * 0.99),
        "events.MOBILE": Math.round(wave * (outage ? 0.3 : 0.985)),
        "verdict.MATCHED": Math.round(wave * 0.99),
        "verdict.MISMATCHED": Math.round(20 + rng() * 12),
        "break.MISSING": Math.round((outage ? 190 : 8) + rng() * 6),
        "break.AMOUNT": Math.round(7 + rng() * 6),
        "break.STATUS": Math.round(3 + rng() * 4),
      },
      amounts: {},
    });
  }
  return { step_ms: stepMs, since, until: now, points };
}

export function sources(now: number): { at: number; items: SourceState[] } {
  return {
    at: now - 600,
    items: SOURCES.map((name, at) => ({
      name,
      topic: `${name.toLowerCase()}_txns`,
      expected: true,
      events_per_s: 171.2 - at * 3.1,
      lag: at * 14,
      watermark: now - 900,
      last_event: now - 400 - at * 700,
      silent: false,
      partitions: [],
    })),
  };
}

export function pipeline(now: number): Pipeline {
  return {
    at: now - 700,
    state: "running",
    actors: [
      {
        name: "supervisor",
        kind: "supervisor",
        pid: 4_102,
        node: "head",
        restarts: 0,
        heartbeat_age_ms: 310,
      },
      { name: "reader-0", kind: "reader", pid: 4_188, node: "head", restarts: 0, heartbeat_age_ms: 420 },
      { name: "reader-1", kind: "reader", pid: 4_190, node: "head", restarts: 1, heartbeat_age_ms: 380 },
      { name: "shard-0", kind: "shard", pid: 4_201, node: "head", restarts: 0, heartbeat_age_ms: 290 },
      { name: "shard-1", kind: "shard", pid: 4_203, node: "head", restarts: 0, heartbeat_age_ms: 350 },
    ],
    partitions: SOURCES.flatMap((source, at) =>
      [0, 1, 2, 3].map((partition) => ({
        topic: `${source.toLowerCase()}_txns`,
        source,
        partition,
        position: 181_000 + partition * 311 + at * 17,
        end_offset: 181_020 + partition * 311,
        lag: (partition * 7 + at * 3) % 19,
        watermark: now - 800 - partition * 90,
        reader: `reader-${partition % 2}`,
      })),
    ),
    shards: [0, 1].map((at) => ({
      name: `shard-${at}`,
      key_group_from: at * 64,
      key_group_to: (at + 1) * 64,
      epoch: 3 + at,
      pending_rows: 812 - at * 90,
      spilled_txns: 120 + at,
      flushes: 18_221,
      flush_ms_p50: 22.4,
      flush_ms_p99: 171.8,
      last_flush: now - 350,
      events_per_s: 268.1 - at * 24,
    })),
    ray_dashboard_url: "https://127.0.0.1:8265",
  };
}

const BODY: RulesBody = {
  match_window_ms: 30_000,
  time_tolerance_ms: 5_000,
  default_tolerance: { absolute_minor: 0, bps: 0 },
  tolerances: { EUR: { absolute_minor: 1, bps: 0 }, JPY: { absolute_minor: 0, bps: 5 } },
  expected_sources: SOURCES,
  severities: {
    kinds: {
      CONFLICT: "high",
      DUPLICATE: "high",
      AMOUNT: "medium",
      CURRENCY: "high",
      STATUS: "medium",
      TIMESTAMP: "low",
      MISSING: "medium",
    },
    amounts: { default: { high_minor: 1_000_000, critical_minor: 10_000_000 } },
    second_person_above_minor: { default: 1_000_000 },
  },
};

export function ruleSets(now: number): RuleSet[] {
  const day = 86_400_000;
  const set = (version: number, rest: Partial<RuleSet>): RuleSet => ({
    version,
    state: "retired",
    in_force: false,
    effective_from: now - (6 - version) * day,
    body: BODY,
    note: "",
    created_by: "adam",
    created_at: now - (7 - version) * day,
    activated_by: "ada",
    ...rest,
  });
  return [
    set(4, {
      state: "draft",
      effective_from: null,
      activated_by: null,
      created_by: "ada",
      note: "Allow a cent on dollars, wait longer for phones",
      body: {
        ...BODY,
        match_window_ms: 45_000,
        tolerances: { ...BODY.tolerances, USD: { absolute_minor: 1, bps: 0 } },
      },
    }),
    set(3, { state: "active", in_force: true, note: "Yen by basis points" }),
    set(2, { note: "A cent on euros" }),
    set(1, { note: "The beginning", created_by: "recon" }),
  ];
}

export function auditRows(world: World, now: number): AuditRow[] {
  const rng = random(3);
  const actions = [
    "getTransaction",
    "listTransactions",
    "exception.assign",
    "exception.resolve",
    "listExceptions",
    "rules.draft",
  ];
  return Array.from({ length: 160 }, (_, at) => ({
    chain: "api",
    seq: 5_210 - at,
    occurred_at: now - at * 21_000 - Math.round(rng() * 9_000),
    actor: ["anna", "adam", "vera", "arno", "ada"][Math.floor(rng() * 5)] ?? "anna",
    action: actions[Math.floor(rng() * actions.length)] ?? "getTransaction",
    object_type: "transaction",
    object_id: world.mismatched[at % 50]?.txn_id ?? "",
    request_id: hex(rng, 16),
    source_ip: "127.0.0.1",
    details: { query: { verdict: "MISMATCHED", sort: "-amount_minor" } },
    hash: hex(rng, 64),
  }));
}

export function deadLetters(now: number): DeadLetter[] {
  const kinds: readonly [string, string, DeadLetter["state"]][] = [
    ["bad_framing", "the first byte is 0x7b, not 0", "new"],
    ["wrong_source", "the record says MOBILE, the topic is gateway_txns", "new"],
    ["schema_mismatch", "the record ends inside the field currency", "new"],
    ["bad_framing", "shorter than the five bytes of the framing", "replayed"],
    ["unknown_schema", "no schema 9041 in the registry", "dismissed"],
  ];
  return Array.from({ length: 23 }, (_, at) => {
    const [reason, detail, state] = kinds[at % kinds.length] as (typeof kinds)[number];
    return {
      id: `gateway_txns:${at % 4}:${20_300 + at * 41}`,
      topic: "gateway_txns",
      kafka_partition: at % 4,
      kafka_offset: 20_300 + at * 41,
      arrival: now - at * 640_000,
      reason,
      detail,
      size_bytes: 60 + at,
      state,
      state_changed_at: state === "new" ? null : now - at * 500_000,
      state_changed_by: state === "new" ? null : "adam",
    };
  });
}
