/** The live feed for components. */

import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
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

/** How many transactions that belong to a list have come up since it was last asked for. */
export function useNewArrivals(
  matches: (row: LiveResult) => boolean,
  known: ReadonlySet<string>,
  enabled: boolean,
): { count: number; reset: () => void } {
  const [count, setCount] = useState(0);
  const fresh = useRef(new Set<string>());
  const latest = useRef({ matches, known });
  latest.current = { matches, known };

  useEffect(() => {
    if (!enabled) return;
    const coalescer = new Coalescer<LiveResult>((results) => {
      for (const row of results) {
        if (fresh.current.size > NEW_MAX) break;
        if (!latest.current.known.has(row.txn_id) && latest.current.matches(row))
          fresh.current.add(row.txn_id);
      }
      setCount(fresh.current.size);
    });
    const off = feed.on("verdict", (batch) => coalescer.push(batch.results));
    return () => {
      off();
      coalescer.stop();
      fresh.current.clear();
      setCount(0);
    };
  }, [enabled]);

  const reset = useMemo(
    () => () => {
      fresh.current.clear();
      setCount(0);
    },
    [],
  );
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
