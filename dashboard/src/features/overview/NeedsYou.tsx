import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { queries } from "@/api/queries";
import { useMay } from "@/auth/me";
import { cx } from "@/lib/cx";
import { oddSources, rowSources } from "@/lib/legs";
import { count, relationCount } from "@/lib/numbers";
import { LegGlyph } from "@/ui/marks";
import { Panel } from "@/ui/Panel";
import { FailedLine, Loading } from "@/ui/States";
import { Sum } from "@/ui/Sum";
import s from "./OverviewPage.module.css";

const TOP_ROWS = 8;

/** What waits for the person who is signed in, and the largest open exceptions. */
export function NeedsYou() {
  const may = useMay();
  const buckets = useQuery(queries.buckets());
  const largest = useInfiniteQuery({
    ...queries.exceptions({ bucket: "open", sort: "-amount_minor" }),
    refetchInterval: 15_000,
  });
  // Without rates the largest of several currencies are not to be told: then the gravest are shown.
  const order = largest.data?.pages[0]?.amount_order;
  const compares = !order || order.without_rate.length < order.currencies || order.currencies < 2;
  const gravest = useInfiniteQuery({
    ...queries.exceptions({ bucket: "open", severity: "critical" }),
    enabled: !compares,
    refetchInterval: 15_000,
  });
  const works = may("actOnException");
  const found = compares ? largest : gravest;
  const rows = found.data?.pages.flatMap((page) => page.items).slice(0, TOP_ROWS) ?? [];
  return (
    <Panel title={works ? "What needs you" : "Exceptions"}>
      {buckets.isPending && <Loading lines={3} label="Loading your work" />}
      {buckets.isError && !buckets.data && (
        <FailedLine error={buckets.error} retry={() => void buckets.refetch()} />
      )}
      {buckets.data && (
        <div className={s.needs}>
          {works && (
            <>
              <Need
                bucket="awaiting_me"
                label="Awaiting your approval"
                value={count(buckets.data.awaiting_me)}
              />
              <Need bucket="mine" label="Assigned to you" value={count(buckets.data.mine)} />
            </>
          )}
          <Need bucket="open" label="Open, with nobody" value={relationCount(buckets.data.open)} />
          <Need bucket="in_review" label="In review" value={count(buckets.data.in_review)} />
        </div>
      )}
      {rows.length > 0 && (
        <>
          <h3 className={s.subhead}>{compares ? "Largest open" : "Critical and open, newest first"}</h3>
          {rows.map((row) => (
            <Link key={row.txn_id} className={s.top} to="/transactions/$txnId" params={{ txnId: row.txn_id }}>
              <LegGlyph
                sources={rowSources(row.transaction)}
                legs={row.transaction.legs}
                odd={oddSources(row.transaction)}
              />
              <span className="mono clip">{row.txn_id}</span>
              <strong>
                <Sum minor={row.transaction.amount_minor} currency={row.transaction.currency} />
              </strong>
            </Link>
          ))}
        </>
      )}
    </Panel>
  );
}

function Need({
  bucket,
  label,
  value,
}: {
  bucket: "awaiting_me" | "mine" | "open" | "in_review";
  label: string;
  value: string;
}) {
  return (
    <Link to="/exceptions" search={{ bucket }} className={s.need}>
      <span>{label}</span>
      <span className={cx(s.needCount, value === "0" && s.zero)}>{value}</span>
    </Link>
  );
}
