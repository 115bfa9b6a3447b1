import { useQuery } from "@tanstack/react-query";
import { queries } from "@/api/queries";
import type { Summary } from "@/api/types";
import { cx } from "@/lib/cx";
import { useNow } from "@/live/hooks";
import { At } from "@/ui/Time";
import { type Health, judge } from "./health";
import s from "./OverviewPage.module.css";

/** The first thing to read: the state in a word or two, and since when. */
export function HealthLine({ summary, heardAt }: { summary: Summary; heardAt: number | null }) {
  const sources = useQuery(queries.sources());
  const incidents = useQuery(queries.incidents(false));
  const now = useNow(5_000);
  // Nothing is claimed before the sources have been heard of: green by default would be a guess.
  if (sources.isPending) return <div className={s.health} role="status" aria-label="Loading the health" />;
  const known = sources.isError ? null : sources.data.items;
  const health = judge(summary, known, incidents.data?.items ?? [], now, heardAt);
  return (
    <div className={s.health}>
      <p className={cx(s.headline, s[health.level])}>
        <Sign level={health.level} />
        {health.headline}
      </p>
      <p className={s.healthText}>
        {health.detail}{" "}
        {health.since !== null && (
          <>
            {health.level === "good" ? "No incident since" : "Since"} <At at={health.since} />.
          </>
        )}
      </p>
    </div>
  );
}

/** A check in a circle, an exclamation in a triangle, a cross in an octagon: told apart without their colours. */
function Sign({ level }: { level: Health["level"] }) {
  return (
    <svg
      width="24"
      height="24"
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="2"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      {level === "good" && <path d="M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM8 12.2l2.8 2.8L16 9.5" />}
      {level === "warn" && <path d="M12 3.5 22 20.5H2zM12 10v4.5M12 17.4v.1" />}
      {level === "bad" && <path d="M8.3 3h7.4L21 8.3v7.4L15.7 21H8.3L3 15.7V8.3zM9 9l6 6M15 9l-6 6" />}
    </svg>
  );
}
