/** A stand-in for the service while screens are built: answers from made-up data. It is no part of the bundle. */

import type { IncomingMessage, ServerResponse } from "node:http";
import { Server } from "socket.io";
import type { Plugin } from "vite";
import {
  auditRows,
  deadLetters,
  detailOf,
  exceptionDetail,
  live,
  makeWorld,
  pipeline,
  random,
  ruleSets,
  series,
  someBreak,
  sources,
  summary,
  transaction,
} from "./data";

const ALL = [
  "getSummary getSeries listSources getPipeline listIncidents listTransactions exportTransactions getTransaction",
  "getTransactionAudit listExceptions getExceptionBuckets getException actOnException addExceptionComment",
  "previewBulkAction applyBulkAction listPeople listRuleSets getRuleSet draftRuleSet backtestRuleSet activateRuleSet",
  "discardRuleSet listDeadLetters getDeadLetter replayDeadLetter dismissDeadLetter searchAudit exportAudit",
  "listAuditChains verifyAudit",
]
  .join(" ")
  .split(" ");

const world = makeWorld(Date.now());
const page = <T>(items: readonly T[]) => ({
  items: items.slice(0, 300),
  next_cursor: null,
  searched_to: null,
});

const ORDER = { base_currency: "EUR", currencies: 7, without_rate: ["INR", "KWD"] };

function answer(method: string, url: URL): unknown {
  const now = Date.now();
  const query = url.searchParams;
  const path = url.pathname.replace("/api/v1", "");
  const [, head, id, tail] = path.split("/").map(decodeURIComponent);
  switch (head) {
    case "me":
      return {
        username: "adam",
        name: "Adam Admin",
        role: "admin",
        subject: "1",
        token_expires: now + 3e5,
        allowed: ALL,
      };
    case "summary":
      return summary(world, now, Number(query.get("window_ms") ?? 3_600_000));
    case "series":
      return series(
        Number(query.get("until") ?? now),
        Number(query.get("since") ?? now - 3.6e6),
        Number(query.get("step_ms") ?? 60_000),
      );
    case "sources":
      return sources(now);
    case "pipeline":
      return pipeline(now);
    case "incidents": {
      const items = [
        {
          incident_id: 2,
          kind: "source_silent",
          subject: "MOBILE",
          opened_at: now - 1_320_000,
          closed_at: now - 1_000_000,
          detail: "No event for 60 s",
        },
      ];
      return page(query.get("open_only") === "true" ? [] : items);
    }
    case "transactions": {
      if (id === "count") {
        const filtered = [...query.keys()].some((key) => key !== "verdict");
        return filtered
          ? { value: 1_699, relation: "at_least", at_most: 5_794 }
          : { value: 184_221, relation: "exact", at_most: null };
      }
      if (tail === "audit") return { items: auditRows(world, now).slice(0, 6) };
      if (id) return detailOf(world, id);
      const verdict = query.get("verdict");
      const breaks = query.getAll("break");
      const rows = world.rows.filter(
        (row) =>
          (!verdict || row.verdict === verdict) &&
          (breaks.length === 0 || row.breaks.some((b) => breaks.includes(b))),
      );
      const sort = query.get("sort") ?? "";
      if (sort !== "-amount_minor") return page(rows);
      rows.sort((a, b) => b.amount_minor - a.amount_minor);
      return { ...page(rows), amount_order: ORDER };
    }
    case "exceptions": {
      if (id === "buckets") {
        return {
          open: { value: 271, relation: "exact" },
          assigned: 35,
          in_review: 21,
          resolved: 18,
          mine: 11,
          awaiting_me: 7,
        };
      }
      if (id === "bulk" && tail === "preview") {
        return {
          count: 271,
          kinds: [{ kind: "TIMESTAMP", count: 271 }],
          capped: false,
          at_risk: summary(world, now, 3.6e6).at_risk,
          second_person: 12,
          token: "t",
        };
      }
      if (id === "bulk") return { changed: 271, awaiting_second_person: 12 };
      if (id) return exceptionDetail(world, id);
      const bucket = query.get("bucket");
      const rows = world.desk.filter((row) =>
        bucket === "mine"
          ? row.assignee === "adam"
          : bucket === "awaiting_me"
            ? row.proposed_by
            : row.state === (bucket ?? "open"),
      );
      if (query.get("sort") === "-amount_minor") {
        rows.sort((a, b) => b.transaction.amount_minor - a.transaction.amount_minor);
        return { ...page(rows), amount_order: ORDER };
      }
      return page(rows);
    }
    case "people":
      return ["anna", "arno", "adam", "ada"].map((username) => ({ username, name: "", role: "analyst" }));
    case "rules":
      if (tail === "backtest") {
        return {
          version: 4,
          compared_with: "the stored results",
          transactions: 20_000,
          since: now - 4e6,
          until: now,
          complete: false,
          unchanged: 19_812,
          flips: [
            {
              was: "MISMATCHED",
              would_be: "MATCHED",
              count: 171,
              amounts: summary(world, now, 3.6e6).at_risk.slice(0, 3),
            },
            {
              was: "MATCHED",
              would_be: "MISMATCHED",
              count: 17,
              amounts: summary(world, now, 3.6e6).at_risk.slice(1, 2),
            },
          ],
          breaks_before: { AMOUNT: 301, MISSING: 512, STATUS: 99 },
          breaks_after: { AMOUNT: 188, MISSING: 454, STATUS: 99 },
          examples: world.mismatched.slice(0, 12).map((row) => ({
            txn_id: row.txn_id,
            was: "MISMATCHED",
            would_be: "MATCHED",
            was_breaks: row.breaks,
            would_be_breaks: [],
            currency: row.currency,
            amount_minor: row.amount_minor,
            spread_minor: row.spread_minor,
          })),
          took_ms: 1_310,
        };
      }
      return { items: ruleSets(now), lead_ms: 10_000 };
    case "dead-letters": {
      const letters = deadLetters(now);
      if (!id)
        return page(letters.filter((letter) => !query.get("state") || letter.state === query.get("state")));
      return {
        letter: letters.find((letter) => letter.id === id),
        key_hex: "74786e2d39",
        payload_hex: Buffer.from(
          '{"txn_id":"txn-9","amount":12.5,"currency":"EUR","status":"SUCCESS","note":"not Avro"}',
        ).toString("hex"),
        payload_truncated: false,
        schema_id: null,
        decoded: id.includes(":1:")
          ? { event_id: "G-19", txn_id: "txn-9", source: "MOBILE", amount_minor: 1250, currency: "EUR" }
          : null,
        decode_problem: "The first byte is 0x7b, not the magic byte 0.",
        refusal: id.includes(":1:") ? null : { reason: "not_framed", detail: "no Confluent framing" },
        examined: true,
      };
    }
    case "audit":
      if (id === "chains") {
        return {
          items: ["api", "shard-0", "shard-1"].map((chain, at) => ({
            chain,
            head_seq: 5_210 + at * 1_200,
            head_hash: "ab",
            anchored_seq: 5_200,
            verified_seq: 5_188 + at * 1_200,
            verified_at: at === 2 ? null : now - 60_000,
            intact: at === 2 ? null : true,
            problem: null,
          })),
        };
      }
      if (method === "POST") return { items: [], entries: 22, complete: true, intact: true, took_ms: 12 };
      return page(auditRows(world, now));
  }
  return null;
}

function respond(request: IncomingMessage, response: ServerResponse, next: () => void): void {
  const url = new URL(request.url ?? "/", "http://localhost");
  if (url.pathname === "/config.json") {
    response.setHeader("content-type", "application/json");
    response.end(
      JSON.stringify({
        keycloak_url: "",
        realm: "",
        client_id: "",
        api_base: "/api/v1",
        socket_path: "/socket.io",
      }),
    );
    return;
  }
  if (!url.pathname.startsWith("/api/v1/")) {
    next();
    return;
  }
  const body = answer(request.method ?? "GET", url);
  response.statusCode = body === null ? 404 : 200;
  response.setHeader("content-type", body === null ? "application/problem+json" : "application/json");
  response.end(
    JSON.stringify(
      body ?? { type: "/problems/not-found", title: "Not found", status: 404, request_id: "mock" },
    ),
  );
}

function startFeed(io: Server): void {
  const rng = random(99);
  let seq = 100;
  io.on("connection", (socket) => {
    socket.emit("hello", { seq, replay: "none", role: "admin", token_expires: Date.now() + 3e5, topics: [] });
    socket.on("subscribe", (_data, answerIt) => answerIt({ ok: true }));
  });
  setInterval(() => {
    seq += 1;
    const now = Date.now();
    const results = Array.from({ length: 1 + Math.floor(rng() * 2) }, () =>
      live(transaction(rng, now, someBreak(rng))),
    );
    for (const row of results) row.decided_at = now;
    io.emit("verdict", {
      seq,
      first_seq: seq,
      at: now,
      shard: "shard-0",
      flush: seq,
      omitted: 0,
      counts: { MATCHED: 40 },
      results,
    });
  }, 700);
  setInterval(() => io.emit("summary", summary(world, Date.now(), 3_600_000)), 2_000);
}

export function mockService(): Plugin {
  return {
    name: "mock-service",
    configureServer(server) {
      server.middlewares.use(respond);
      if (server.httpServer) startFeed(new Server(server.httpServer as never, { transports: ["websocket"] }));
    },
  };
}
