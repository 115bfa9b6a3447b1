/**
 * Where a feed stands, from the numbers of its messages.
 *
 *     no position  + n         -> next      the first message sets the position
 *     position p   + p+1       -> next
 *     position p   + n <= p    -> repeat    replayed twice: ignore
 *     position p   + n > p+1   -> gap       something was missed: refetch, then go on from n
 *
 * A message of several flushes is taken by its first number, and the position is then its last.
 */
export type Step = "next" | "repeat" | "gap";

export class FeedPosition {
  private seq: number | null = null;

  get last(): number | null {
    return this.seq;
  }

  /** Takes a message's number, the first and the last when it holds several flushes, and says what it means. */
  take(seq: number, first: number = seq): Step {
    const before = this.seq;
    if (before !== null && seq <= before) return "repeat";
    this.seq = seq;
    return before === null || first <= before + 1 ? "next" : "gap";
  }

  /** Goes to a number without having seen what lies before: after a refetch, or when the feed began anew. */
  reset(seq: number): void {
    this.seq = seq;
  }
}
