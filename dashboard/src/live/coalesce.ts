/** Gathers what comes in quick succession and hands it on in one go, at most once per interval. */

export class Coalescer<T> {
  private waiting: T[] = [];
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(
    private readonly deliver: (items: T[], dropped: number) => void,
    private readonly intervalMs = 250,
    private readonly itemsMax = 5_000,
  ) {}

  private dropped = 0;

  push(items: readonly T[]): void {
    for (const item of items) this.waiting.push(item);
    const over = this.waiting.length - this.itemsMax;
    if (over > 0) {
      this.waiting.splice(0, over); // the oldest go: the newest matter on a live screen
      this.dropped += over;
    }
    this.timer ??= setTimeout(() => this.flush(), this.intervalMs);
  }

  flush(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    if (this.waiting.length === 0) return;
    const items = this.waiting;
    const dropped = this.dropped;
    this.waiting = [];
    this.dropped = 0;
    this.deliver(items, dropped);
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.waiting = [];
  }
}
