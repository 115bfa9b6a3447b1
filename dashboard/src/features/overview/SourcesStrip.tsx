import { useQuery } from "@tanstack/react-query";
import { queries } from "@/api/queries";
import type { SourceState } from "@/api/types";
import { cx } from "@/lib/cx";
import { sourceLabel } from "@/lib/labels";
import { count, rate } from "@/lib/numbers";
import { Panel } from "@/ui/Panel";
import { Empty, FailedLine, Loading } from "@/ui/States";
import { Age } from "@/ui/Time";
import s from "./OverviewPage.module.css";

/** Each source: its rate, its lag, when it was last heard. */
export function SourcesStrip() {
  const found = useQuery(queries.sources());
  return (
    <Panel title="Sources" aside={found.data?.at && <Age at={found.data.at} />} flush>
      {found.isPending && <Loading lines={3} label="Loading the sources" />}
      {found.isError && !found.data && <FailedLine error={found.error} retry={() => void found.refetch()} />}
      {found.data?.items.length === 0 && <Empty title="No source is configured" />}
      <div className={s.sources}>
        {found.data?.items.map((source) => (
          <Source key={source.name} source={source} />
        ))}
      </div>
    </Panel>
  );
}

function Source({ source }: { source: SourceState }) {
  return (
    <div className={s.source}>
      <div className={s.sourceHead}>
        <span className={s.sourceName}>{sourceLabel(source.name)}</span>
        <span className={cx(s.sourceState, source.silent ? s.warn : s.good)}>
          <svg
            width="14"
            height="10"
            viewBox="0 0 14 10"
            fill="none"
            stroke="currentColor"
            strokeWidth="1.8"
            aria-hidden="true"
          >
            <path
              d={source.silent ? "M1 5h12" : "M1 5h2.5l2-4 3 8 2-4H13"}
              strokeDasharray={source.silent ? "2 2.5" : undefined}
            />
          </svg>
          {source.silent ? "silent" : "speaking"}
        </span>
      </div>
      <dl className={s.sourceFacts}>
        <dt>Events a second</dt>
        <dd>{rate(source.events_per_s)}</dd>
        <dt>Lag</dt>
        <dd>{source.lag === null ? "unknown" : count(source.lag)}</dd>
        <dt>Last event</dt>
        <dd>{source.last_event === null ? "never" : <Age at={source.last_event} />}</dd>
        <dt>Read up to</dt>
        <dd>{source.watermark === null ? "unknown" : <Age at={source.watermark} />}</dd>
      </dl>
    </div>
  );
}
