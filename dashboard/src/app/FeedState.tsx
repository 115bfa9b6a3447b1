import { cx } from "@/lib/cx";
import { span } from "@/lib/time";
import { feed } from "@/live/feed";
import { useFeedStatus, useNow } from "@/live/hooks";
import s from "./FeedState.module.css";

const STALE_MS = 10_000;

/** The state of the live feed and the age of what it last said. Fixed width: it must not push its neighbours. */
export function FeedState() {
  const status = useFeedStatus();
  const now = useNow();
  const age = status.lastMessageAt === null ? null : now - status.lastMessageAt;
  const stale = status.state === "live" && age !== null && age > STALE_MS;
  const words = {
    live: stale ? "Quiet" : "Live",
    connecting: "Connecting",
    waiting: "Reconnecting",
    refused: "No feed",
  }[status.state];
  return (
    <div
      className={cx(s.feed, s[status.state], stale && s.stale)}
      title={status.detail || (age === null ? "No message yet" : `Last message ${span(age)} ago`)}
    >
      <svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
        {status.state === "live" && !stale ? (
          <circle cx="5" cy="5" r="4" fill="currentColor" />
        ) : (
          <circle
            cx="5"
            cy="5"
            r="3.5"
            fill="none"
            stroke="currentColor"
            strokeWidth="2"
            strokeDasharray="3 2"
          />
        )}
      </svg>
      <span role="status">{words}</span>
      <span className={s.age}>{age === null ? "" : age < 1_500 ? "now" : span(age)}</span>
      {status.state === "waiting" && (
        <button type="button" className={s.retry} onClick={() => feed.retryNow()}>
          Retry
        </button>
      )}
    </div>
  );
}
