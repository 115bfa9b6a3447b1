/**
 * The connection to the live feed: one socket for the whole console, kept up across restarts of the service.
 *
 *     connecting -> live -> waiting -> connecting -> live ...
 *                              |-> refused     too many connections, or the role does not allow it
 *
 * A connection that comes back sends the number of the last message seen and gets what it missed, or is told to refetch.
 */

import { io, type Socket } from "socket.io-client";
import type { DashboardConfig } from "@/api/types";
import { session } from "@/auth/session";
import type { ClientEvents, FeedEvents, ServerEvents, Topic } from "./messages";
import { FeedPosition } from "./sequence";

export type FeedState = "connecting" | "live" | "waiting" | "refused";

export interface FeedStatus {
  state: FeedState;
  /** When the last message came, by this browser's clock. */
  lastMessageAt: number | null;
  detail: string;
}

const RETRY_MS = { first: 500, most: 8_000 };
const BASE_TOPICS: readonly Topic[] = ["verdict", "summary", "incident", "exception"];

type Handler<K extends keyof FeedEvents> = (data: FeedEvents[K]) => void;

export class LiveFeed {
  private socket: Socket<ServerEvents, ClientEvents> | null = null;
  private readonly position = new FeedPosition();
  private readonly handlers = new Map<keyof FeedEvents, Set<Handler<never>>>();
  private readonly statusListeners = new Set<() => void>();
  private status: FeedStatus = { state: "connecting", lastMessageAt: null, detail: "" };
  private readonly extraTopics = new Map<Topic, number>();
  private retries = 0;
  private retryTimer: ReturnType<typeof setTimeout> | null = null;

  readonly subscribeStatus = (listener: () => void): (() => void) => {
    this.statusListeners.add(listener);
    return () => this.statusListeners.delete(listener);
  };

  readonly currentStatus = (): FeedStatus => this.status;

  on<K extends keyof FeedEvents>(event: K, handler: Handler<K>): () => void {
    const known = this.handlers.get(event) ?? new Set<Handler<never>>();
    known.add(handler as Handler<never>);
    this.handlers.set(event, known);
    return () => known.delete(handler as Handler<never>);
  }

  /** Asks for a topic that is not sent by default, for as long as somebody wants it. */
  want(topic: Topic): () => void {
    this.extraTopics.set(topic, (this.extraTopics.get(topic) ?? 0) + 1);
    this.announceTopics();
    return () => {
      const left = (this.extraTopics.get(topic) ?? 1) - 1;
      if (left <= 0) this.extraTopics.delete(topic);
      else this.extraTopics.set(topic, left);
      this.announceTopics();
    };
  }

  connect(config: DashboardConfig): void {
    if (this.socket) return;
    const socket: Socket<ServerEvents, ClientEvents> = io(window.location.origin, {
      path: config.socket_path,
      transports: ["websocket"],
      reconnection: false, // done here, because a refusal needs a new token before the next try
      auth: (give) => {
        const last = this.position.last;
        const lastSeq = last === null ? {} : { last_seq: last };
        void session
          .token()
          .then((token) => give({ token: token ?? "", topics: this.topics(), merge: true, ...lastSeq }));
      },
    });
    this.socket = socket;
    this.listen(socket);
    session.onRenewed((token) => {
      if (socket.connected) socket.emit("auth.refresh", { token }, () => undefined);
    });
    session.subscribe(() => {
      if (session.current() !== "ended") return;
      socket.disconnect();
      this.setStatus({ state: "refused", detail: "Your session has ended." });
    });
    window.addEventListener("online", () => this.retryNow());
  }

  retryNow(): void {
    if (!this.socket || this.socket.connected || session.current() !== "signed_in") return;
    if (this.retryTimer !== null) clearTimeout(this.retryTimer);
    this.retryTimer = null;
    this.setStatus({ state: "connecting", detail: "" });
    this.socket.connect();
  }

  private listen(socket: Socket<ServerEvents, ClientEvents>): void {
    socket.on("hello", (hello) => {
      this.retries = 0;
      const first = this.position.last === null;
      if (first || hello.replay !== "missed") this.position.reset(hello.seq);
      this.setStatus({ state: "live", lastMessageAt: Date.now(), detail: "" });
      if (hello.replay === "resync") this.emit("resync", { reason: "too far behind" });
    });
    socket.on("verdict", (batch) => {
      this.heard();
      const step = this.position.take(batch.seq, batch.first_seq);
      if (step === "repeat") return;
      if (step === "gap") this.emit("resync", { reason: "a gap in the feed" });
      this.emit("verdict", batch);
    });
    socket.on("resync", (gap) => {
      this.heard();
      this.position.reset(gap.seq);
      this.emit("resync", { reason: gap.reason });
    });
    socket.on("summary", (data) => this.pass("summary", data));
    socket.on("pipeline", (data) => this.pass("pipeline", data));
    socket.on("incident", (data) => this.pass("incident", data));
    socket.on("exception", (data) => this.pass("exception", data));
    socket.on("feed.mark", (_mark, done) => done());
    socket.on("bye", (bye) => {
      if (bye.reason === "expired") void session.renew(-1);
    });
    socket.on("disconnect", () => this.retryLater("The connection was lost"));
    socket.on("connect_error", (error: Error & { data?: { status?: number; detail?: string } }) => {
      const status = error.data?.status;
      if (status === 403) {
        this.setStatus({
          state: "refused",
          detail: error.data?.detail ?? "Your role does not allow the feed.",
        });
        return;
      }
      if (status === 401) void session.renew(-1).then(() => this.retryLater("The sign-in had to be renewed"));
      else this.retryLater(error.data?.detail ?? "The service does not answer");
    });
  }

  private retryLater(detail: string): void {
    if (session.current() !== "signed_in" || this.retryTimer !== null) return;
    this.setStatus({ state: "waiting", detail });
    const most = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** this.retries);
    this.retries += 1;
    // Half fixed, half by chance: five hundred consoles must not come back in the same instant.
    this.retryTimer = setTimeout(() => this.retryNow(), most / 2 + (Math.random() * most) / 2);
  }

  private topics(): Topic[] {
    return [...BASE_TOPICS, ...this.extraTopics.keys()];
  }

  private announceTopics(): void {
    if (this.socket?.connected) this.socket.emit("subscribe", { topics: this.topics() }, () => undefined);
  }

  private pass<K extends keyof FeedEvents>(event: K, data: FeedEvents[K]): void {
    this.heard();
    this.emit(event, data);
  }

  private emit<K extends keyof FeedEvents>(event: K, data: FeedEvents[K]): void {
    for (const handler of this.handlers.get(event) ?? []) (handler as Handler<K>)(data);
  }

  private heard(): void {
    this.status.lastMessageAt = Date.now(); // read by a clock, not worth a rendering of its own
  }

  private setStatus(change: Partial<FeedStatus>): void {
    this.status = { ...this.status, ...change };
    for (const listener of this.statusListeners) listener();
  }
}

export const feed = new LiveFeed();
