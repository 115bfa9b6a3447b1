import type { Summary } from "@/api/types";
import { amount, money, shortMoney } from "@/lib/money";
import { count } from "@/lib/numbers";
import { Panel } from "@/ui/Panel";
import { Scroll } from "@/ui/Scroll";
import { Empty } from "@/ui/States";
import { Age } from "@/ui/Time";
import s from "./OverviewPage.module.css";

type Bucket = Summary["ageing"][number];

const LABELS: Record<Bucket["label"], string> = {
  under_1h: "under 1 hour",
  under_1d: "under 1 day",
  under_7d: "under 7 days",
  older: "older",
};
const CURRENCIES_SHOWN = 4;

/** How long open exceptions have been waiting, and the money in them: a column for each frequent currency. */
export function Ageing({ summary }: { summary: Summary }) {
  const any = summary.ageing.some((bucket) => bucket.count > 0);
  return (
    <Panel
      title="Ageing of open exceptions"
      aside={summary.ageing_at !== null && <Age at={summary.ageing_at} />}
      flush
    >
      {any ? <AgeTable buckets={summary.ageing} /> : <Empty title="Nothing is waiting" />}
    </Panel>
  );
}

function AgeTable({ buckets }: { buckets: readonly Bucket[] }) {
  const currencies = frequentCurrencies(buckets);
  const shown = currencies.slice(0, CURRENCIES_SHOWN);
  const rest = currencies.slice(CURRENCIES_SHOWN);
  return (
    <Scroll label="Open exceptions by age">
      <table className={s.ageTable}>
        <caption className="sr">Open exceptions by age, and the money in them</caption>
        <thead>
          <tr>
            <th scope="col">Waiting</th>
            <th scope="col" className={s.num}>
              Exceptions
            </th>
            {shown.map((currency) => (
              <th key={currency} scope="col" className={s.num}>
                {currency}
              </th>
            ))}
            {rest.length > 0 && (
              <th scope="col" className={s.num}>
                Others
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {buckets.map((bucket) => {
            const sums = new Map(bucket.at_risk.map((each) => [each.currency, each.amount_minor]));
            const others = rest.filter((currency) => sums.has(currency));
            return (
              <tr key={bucket.label}>
                <th scope="row">{LABELS[bucket.label]}</th>
                <td className={s.num}>{count(bucket.count)}</td>
                {shown.map((currency) => {
                  const minor = sums.get(currency);
                  return (
                    <td key={currency} className={s.num}>
                      {minor === undefined ? <Nothing /> : amount(minor, currency)}
                    </td>
                  );
                })}
                {rest.length > 0 && (
                  <td
                    className={s.num}
                    title={others.map((each) => money(sums.get(each) ?? 0, each)).join(", ") || undefined}
                  >
                    {others.length === 0 && <Nothing />}
                    {others.length === 1 && others.map((each) => shortMoney(sums.get(each) ?? 0, each))}
                    {others.length > 1 && `${others.length} currencies`}
                  </td>
                )}
              </tr>
            );
          })}
        </tbody>
      </table>
    </Scroll>
  );
}

function Nothing() {
  return <span className="muted">none</span>;
}

/** The currencies of all buckets, those of the most exceptions first. */
export function frequentCurrencies(buckets: readonly Pick<Bucket, "at_risk">[]): string[] {
  const counts = new Map<string, number>();
  for (const { at_risk } of buckets)
    for (const each of at_risk) counts.set(each.currency, (counts.get(each.currency) ?? 0) + each.count);
  return [...counts].sort(([a, x], [b, y]) => y - x || a.localeCompare(b)).map(([currency]) => currency);
}
