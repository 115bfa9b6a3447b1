import type { Summary } from "@/api/types";
import { shortMoney } from "@/lib/money";
import { count } from "@/lib/numbers";
import { Panel } from "@/ui/Panel";
import { Empty } from "@/ui/States";
import { Age } from "@/ui/Time";
import s from "./OverviewPage.module.css";

const LABELS: Record<Summary["ageing"][number]["label"], string> = {
  under_1h: "under 1 hour",
  under_1d: "under 1 day",
  under_7d: "under 7 days",
  older: "older",
};
const CURRENCIES_SHOWN = 2;

/** How long open exceptions have been waiting, and the money in them. */
export function Ageing({ summary }: { summary: Summary }) {
  const any = summary.ageing.some((bucket) => bucket.count > 0);
  return (
    <Panel
      title="Ageing of open exceptions"
      aside={summary.ageing_at !== null && <Age at={summary.ageing_at} />}
    >
      {!any && <Empty title="Nothing is waiting" />}
      {any && (
        <table className={s.ageTable}>
          <caption className="sr">Open exceptions by age</caption>
          <tbody>
            {summary.ageing.map((bucket) => {
              const sums = [...bucket.at_risk].sort((a, b) => b.count - a.count);
              return (
                <tr key={bucket.label}>
                  <th scope="row">{LABELS[bucket.label]}</th>
                  <td className={s.num}>{count(bucket.count)}</td>
                  <td className={s.num}>
                    {sums.slice(0, CURRENCIES_SHOWN).map((each) => (
                      <div key={each.currency}>{shortMoney(each.amount_minor, each.currency)}</div>
                    ))}
                    {sums.length > CURRENCIES_SHOWN && (
                      <div
                        className="muted"
                        title={sums.map((m) => shortMoney(m.amount_minor, m.currency)).join(", ")}
                      >
                        +{sums.length - CURRENCIES_SHOWN} more
                      </div>
                    )}
                    {sums.length === 0 && <span className="muted">none</span>}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
    </Panel>
  );
}
