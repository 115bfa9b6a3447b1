/** The live feed for components. */

import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import type { LiveResult } from "@/api/types";
import { Coalescer } from "./coalesce";
import { type FeedStatus, feed } from "./feed";
import type { Topic } from "./messages";
import { Tape, type TapeView } from "./tape";

/** The one tape of this page: it goes on while other screens are looked at. */
export const tape = new Tape();

export function useTape(): TapeView {
  return useSyncExternalStore(tape.subscribe, tape.snapshot);
}

export function useFeedStatus(): FeedStatus {
  return useSyncExternalStore(feed.subscribeStatus, feed.currentStatus);
}

export function useTopic(topic: Topic): void {
  useEffect(() => feed.want(topic), [topic]);
}

const NEW_MAX = 999;
const NONE: ReadonlySet<string> = new Set();

/**
 * How many transactions that belong to a list have come up since it was last asked for. `scope` names the list: what came
 * up for another one, with other filters, counts for nothing here.
 */
export function useNewArrivals(
  matches: (row: LiveResult) => boolean,
  known: ReadonlySet<string>,
  enabled: boolean,
  scope: string,
): { count: number; reset: () => void } {
  const [fresh, setFresh] = useState<ReadonlySet<string>>(NONE);
  const latest = useRef({ matches, known });
  latest.current = { matches, known };

  // biome-ignore lint/correctness/useExhaustiveDependencies: another list begins anew
  useEffect(() => {
    if (!enabled) return;
    const coalescer = new Coalescer<LiveResult>((results) => {
      setFresh((before) => {
        const next = new Set(before);
        for (const row of results) {
          // A later revision may no longer belong to the list.
          if (latest.current.known.has(row.txn_id) || !latest.current.matches(row)) next.delete(row.txn_id);
          else if (next.size <= NEW_MAX) next.add(row.txn_id);
        }
        return next;
      });
    });
    const off = feed.on("verdict", (batch) => coalescer.push(batch.results));
    return () => {
      off();
      coalescer.stop();
      setFresh(NONE);
    };
  }, [enabled, scope]);

  const reset = useCallback(() => setFresh(NONE), []);
  const count = useMemo(() => [...fresh].filter((id) => !known.has(id)).length, [fresh, known]);
  return { count, reset };
}

/** The time, renewed every `everyMs`: for ages on screen. */
export function useNow(everyMs = 1_000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
