import { useQuery } from "@tanstack/react-query";
import { queries } from "@/api/queries";
import type { Pipeline } from "@/api/types";
import { Page } from "@/app/Page";
import table from "@/features/transaction/TransactionPage.module.css";
import { cx } from "@/lib/cx";
import { sourceLabel } from "@/lib/labels";
import { count, rate } from "@/lib/numbers";
import { ago, fineSpan } from "@/lib/time";
import { useNow, useTopic } from "@/live/hooks";
import { Icon } from "@/ui/Icon";
import { Panel } from "@/ui/Panel";
import { Scroll } from "@/ui/Scroll";
import { Empty, Failed, Loading } from "@/ui/States";
import { Age } from "@/ui/Time";
import { Incidents } from "./Incidents";
import { KeyGroups } from "./KeyGroups";
import s from "./PipelinePage.module.css";

const STALE_MS = 10_000;
const STATES: Readonly<Record<Pipeline["state"], string>> = {
  running: "Running",
  degraded: "Degraded",
  stopped: "Stopped",
};
const HEARTBEAT_WARN_MS = 5_000;

export default function PipelinePage() {
  useTopic("pipeline");
  const found = useQuery(queries.pipeline());
  const now = useNow();
  const data = found.data;
  const stale = data !== undefined && (data.at === null || now - data.at > STALE_MS);
  return (
    <Page
      title="Pipeline"
      lead={
        data && (
          <span className={cx(s.state, stale ? s.bad : data.state === "running" ? s.good : s.warn)}>
            {stale ? "Does not report" : (STATES[data.state] ?? data.state)}
            {data.at !== null && (
              <span className={s.reported}>
                , reported <Age at={data.at} />
              </span>
            )}
          </span>
        )
      }
      actions={
        data?.ray_dashboard_url && (
          <a className={s.external} href={data.ray_dashboard_url} target="_blank" rel="noreferrer">
            Ray dashboard <Icon name="external" size={14} />
          </a>
        )
      }
    >
      {found.isPending && <Loading lines={12} label="Loading the pipeline" />}
      {found.isError && !data && <Failed error={found.error} retry={() => void found.refetch()} />}
      {data && data.shards.length === 0 && data.actors.length === 0 && (
        <Empty title="The pipeline does not run">It reports here as soon as it is started.</Empty>
      )}
      {data && (data.shards.length > 0 || data.actors.length > 0) ? (
        <Parts data={data} />
      ) : (
        <div id="incidents">
          <Incidents />
        </div>
      )}
    </Page>
  );
}

function Parts({ data }: { data: Pipeline }) {
  return (
    <>
      <Panel title="Key groups and shards" aside="filled by the rate, the busiest is full">
        <KeyGroups shards={data.shards} />
      </Panel>
      <Panel title="Shards" flush>
        <Shards data={data} />
      </Panel>
      <div className={s.two}>
        <Panel title="Partitions" flush>
          <Partitions data={data} />
        </Panel>
        <div className={s.column}>
          <Panel title="Actors" flush>
            <Actors data={data} />
          </Panel>
          <div id="incidents">
            <Incidents />
          </div>
        </div>
      </div>
    </>
  );
}

function Shards({ data }: { data: Pipeline }) {
  return (
    <Scroll label="Shards">
      <table className={table.table}>
        <thead>
          <tr>
            <th scope="col">Shard</th>
            <th scope="col">Key groups</th>
            <th scope="col" className={table.num}>
              Events a second
            </th>
            <th scope="col" className={table.num}>
              Pending
            </th>
            <th scope="col" className={table.num}>
              Spilled
            </th>
            <th scope="col" className={table.num}>
              Flush p50
            </th>
            <th scope="col" className={table.num}>
              Flush p99
            </th>
            <th scope="col" className={table.num}>
              Flushes
            </th>
            <th scope="col" className={table.num}>
              Last flush
            </th>
            <th scope="col" className={table.num}>
              Epoch
            </th>
          </tr>
        </thead>
        <tbody>
          {data.shards.map((shard) => (
            <tr key={shard.name}>
              <th scope="row" className="mono">
                {shard.name}
              </th>
              <td>
                {shard.key_group_from} to {shard.key_group_to - 1}
              </td>
              <td className={table.num}>{rate(shard.events_per_s)}</td>
              <td className={table.num}>{count(shard.pending_rows)}</td>
              <td className={table.num}>{count(shard.spilled_txns)}</td>
              <td className={table.num}>
                {shard.flush_ms_p50 === null ? "none" : fineSpan(shard.flush_ms_p50)}
              </td>
              <td className={table.num}>
                {shard.flush_ms_p99 === null ? "none" : fineSpan(shard.flush_ms_p99)}
              </td>
              <td className={table.num}>{count(shard.flushes)}</td>
              <td className={table.num}>
                {shard.last_flush === null ? "never" : <Age at={shard.last_flush} />}
              </td>
              <td className={table.num}>{shard.epoch}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function Partitions({ data }: { data: Pipeline }) {
  return (
    <Scroll label="Partitions">
      <table className={table.table}>
        <thead>
          <tr>
            <th scope="col">Source</th>
            <th scope="col" className={table.num}>
              Partition
            </th>
            <th scope="col" className={table.num}>
              Position
            </th>
            <th scope="col" className={table.num}>
              Lag
            </th>
            <th scope="col" className={table.num}>
              Read up to
            </th>
            <th scope="col">Reader</th>
          </tr>
        </thead>
        <tbody>
          {data.partitions.map((each) => (
            <tr key={`${each.topic}.${each.partition}`}>
              <td>{sourceLabel(each.source)}</td>
              <td className={table.num}>{each.partition}</td>
              <td className={table.num}>{count(each.position)}</td>
              <td className={table.num}>{each.lag === null ? "unknown" : count(each.lag)}</td>
              <td className={table.num}>
                {each.watermark === null ? "unknown" : <Age at={each.watermark} />}
              </td>
              <td className="mono">{each.reader}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function Actors({ data }: { data: Pipeline }) {
  return (
    <Scroll label="Actors">
      <table className={table.table}>
        <thead>
          <tr>
            <th scope="col">Actor</th>
            <th scope="col">Kind</th>
            <th scope="col" className={table.num}>
              Restarts
            </th>
            <th scope="col" className={table.num}>
              Heartbeat
            </th>
            <th scope="col" className={table.num}>
              Process
            </th>
          </tr>
        </thead>
        <tbody>
          {data.actors.map((actor) => {
            const late = actor.heartbeat_age_ms === null || actor.heartbeat_age_ms > HEARTBEAT_WARN_MS;
            return (
              <tr key={actor.name}>
                <th scope="row" className="mono">
                  {actor.name}
                </th>
                <td>{actor.kind}</td>
                <td className={cx(table.num, actor.restarts > 0 && s.warn)}>{count(actor.restarts)}</td>
                <td className={cx(table.num, late && s.bad)}>
                  {actor.heartbeat_age_ms === null ? "none" : ago(-actor.heartbeat_age_ms, 0)}
                </td>
                <td className={cx(table.num, "mono")}>{actor.pid ?? "none"}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Scroll>
  );
}
