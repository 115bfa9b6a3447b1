/**
 * The tape: the mismatches of this sitting, newest first, capped. A transaction has one row; a later revision changes
 * the row where it stands, so that nothing jumps. While held (paused, or scrolled away from the top), new rows wait.
 */

import type { LiveResult } from "@/api/types";

export interface TapeRow extends LiveResult {
  /** When this browser got it. */
  seenAt: number;
}

export interface TapeView {
  rows: readonly TapeRow[];
  waiting: number;
  held: boolean;
}

export const TAPE_ROWS_MAX = 5_000;

export class Tape {
  private view: TapeView = { rows: [], waiting: 0, held: false };
  private queue: TapeRow[] = [];
  /** What was decided up to here was cleared away by hand, and what is stored does not bring it back. */
  private clearedTo = Number.NEGATIVE_INFINITY;
  private readonly listeners = new Set<() => void>();

  constructor(private readonly rowsMax = TAPE_ROWS_MAX) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): TapeView => this.view;

  /** Results in the order in which they were decided. */
  add(results: readonly LiveResult[], seenAt: number): void {
    const latest = new Map<string, TapeRow>();
    for (const result of results) {
      const known = latest.get(result.txn_id);
      if (!known || result.revision >= known.revision) latest.set(result.txn_id, { ...result, seenAt });
    }
    const rows = this.replace(this.view.rows, latest);
    this.queue = this.replace(this.queue, latest);
    // What is left is new to the tape; only mismatches begin a row.
    const fresh = [...latest.values()].filter((row) => row.verdict === "MISMATCHED").reverse();
    if (this.view.held) {
      this.queue = [...fresh, ...this.queue].slice(0, this.rowsMax);
      this.publish({ ...this.view, rows, waiting: this.queue.length });
    } else {
      this.publish({ ...this.view, rows: [...fresh, ...rows].slice(0, this.rowsMax) });
    }
  }

  /** What it has by now, on screen and waiting: says of stored rows whether all behind them are known, too. */
  reach(): (row: Pick<LiveResult, "txn_id" | "decided_at">) => boolean {
    const rows = [...this.view.rows, ...this.queue];
    const known = new Set(rows.map((row) => row.txn_id));
    const oldest = rows.reduce((least, row) => Math.min(least, row.decided_at), Number.POSITIVE_INFINITY);
    return (row) => known.has(row.txn_id) || row.decided_at < oldest;
  }

  /** Takes in what is stored, at the beginning and after a gap; keeps what the feed brought. While held it waits, too. */
  seed(results: readonly LiveResult[], seenAt: number): void {
    const known = new Set([...this.view.rows, ...this.queue].map((row) => row.txn_id));
    const fresh = results
      .filter((row) => !known.has(row.txn_id) && row.decided_at > this.clearedTo)
      .map((row) => ({ ...row, seenAt }));
    const merged = (rows: readonly TapeRow[]) =>
      [...rows, ...fresh].sort((a, b) => b.decided_at - a.decided_at).slice(0, this.rowsMax);
    if (this.view.held && this.view.rows.length > 0) {
      this.queue = merged(this.queue);
      this.publish({ ...this.view, waiting: this.queue.length });
    } else {
      this.publish({ ...this.view, rows: merged(this.view.rows) });
    }
  }

  hold(held: boolean): void {
    if (held === this.view.held) return;
    if (held) this.publish({ ...this.view, held });
    else this.release(false);
  }

  /** Lets the waiting rows in; stays held when asked to. */
  release(held: boolean): void {
    const rows = [...this.queue, ...this.view.rows].slice(0, this.rowsMax);
    this.queue = [];
    this.publish({ rows, waiting: 0, held });
  }

  clear(): void {
    for (const row of [...this.view.rows, ...this.queue])
      this.clearedTo = Math.max(this.clearedTo, row.decided_at);
    this.queue = [];
    this.publish({ ...this.view, rows: [], waiting: 0 });
  }

  private replace(rows: readonly TapeRow[], latest: Map<string, TapeRow>): TapeRow[] {
    return rows.map((row) => {
      const next = latest.get(row.txn_id);
      if (!next) return row;
      latest.delete(row.txn_id);
      return next.revision >= row.revision ? { ...next, seenAt: row.seenAt } : row;
    });
  }

  private publish(view: TapeView): void {
    this.view = view;
    for (const listener of this.listeners) listener();
  }
}
