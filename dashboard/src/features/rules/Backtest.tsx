import { useMutation } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { api, take } from "@/api/client";
import type { BacktestReport } from "@/api/types";
import table from "@/features/transaction/TransactionPage.module.css";
import { BREAK_NAMES, BREAKS, VERDICTS } from "@/lib/labels";
import { shortMoney } from "@/lib/money";
import { count, plural } from "@/lib/numbers";
import { fineSpan } from "@/lib/time";
import { Button } from "@/ui/Button";
import { Select } from "@/ui/Field";
import { BreakTags, VerdictMark } from "@/ui/marks";
import { Panel } from "@/ui/Panel";
import { Scroll } from "@/ui/Scroll";
import { Empty, FailedLine, Loading } from "@/ui/States";
import { Sum } from "@/ui/Sum";
import { At } from "@/ui/Time";
import s from "./RulesPage.module.css";

const SIZES = [5_000, 20_000, 100_000];

/** Judges stored transactions by a draft and shows which verdicts would change sides. */
export function Backtest({ version }: { version: number }) {
  const [rows, setRows] = useState(20_000);
  const run = useMutation({
    mutationFn: () =>
      take(
        api.POST("/api/v1/rules/{version}/backtest", {
          params: { path: { version } },
          body: { rows_max: rows },
        }),
      ),
  });
  return (
    <Panel
      title="Backtest"
      aside={
        <>
          <Select
            aria-label="How many transactions"
            className={s.size}
            value={rows}
            onChange={(event) => setRows(Number(event.target.value))}
          >
            {SIZES.map((size) => (
              <option key={size} value={size}>
                newest {count(size)}
              </option>
            ))}
          </Select>
          <Button small busy={run.isPending} onClick={() => run.mutate()}>
            Run
          </Button>
        </>
      }
    >
      {run.isIdle && (
        <Empty title="Try it on stored history">
          Nothing changes: it only shows which verdicts this draft would have given otherwise.
        </Empty>
      )}
      {run.isPending && <Loading lines={5} label="Judging stored transactions" />}
      {run.isError && <FailedLine error={run.error} retry={() => run.mutate()} />}
      {run.data && <Report report={run.data} />}
    </Panel>
  );
}

function Report({ report }: { report: BacktestReport }) {
  const flips = report.flips.reduce((sum, flip) => sum + flip.count, 0);
  const kinds = BREAK_NAMES.filter((kind) => report.breaks_before[kind] || report.breaks_after[kind]);
  return (
    <div className={s.report} role="status">
      <p>
        <strong>{plural(flips, "verdict")} would change</strong> of {count(report.transactions)} judged in{" "}
        {fineSpan(report.took_ms)}.{!report.complete && " There is more history than that."}
        {report.since !== null && (
          <>
            {" "}
            Back to <At at={report.since} />.
          </>
        )}
      </p>
      {report.flips.map((flip) => (
        <div key={`${flip.was}${flip.would_be}`} className={s.flip}>
          <span className={s.flipCount}>{count(flip.count)}</span>
          <span className={s.flipWay}>
            <VerdictMark verdict={flip.was} />
            <span aria-hidden="true">→</span>
            <span className="sr">would become</span>
            <VerdictMark verdict={flip.would_be} />
          </span>
          <span className="quiet">
            {flip.amounts.map((each) => shortMoney(each.amount_minor, each.currency)).join(", ")}
          </span>
        </div>
      ))}
      {kinds.length > 0 && (
        <table className={s.kinds}>
          <thead>
            <tr>
              <th scope="col">Break</th>
              <th scope="col" className="num">
                Now
              </th>
              <th scope="col" className="num">
                By the draft
              </th>
              <th scope="col" className="num">
                Change
              </th>
            </tr>
          </thead>
          <tbody>
            {kinds.map((kind) => {
              const now = report.breaks_before[kind] ?? 0;
              const then = report.breaks_after[kind] ?? 0;
              return (
                <tr key={kind}>
                  <th scope="row">{BREAKS[kind].label}</th>
                  <td className="num">{count(now)}</td>
                  <td className="num">{count(then)}</td>
                  <td className="num">
                    {then === now ? "0" : `${then > now ? "+" : "\u2212"}${count(Math.abs(then - now))}`}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
      {report.examples.length > 0 && (
        <details className={s.examples}>
          <summary>The {plural(report.examples.length, "largest example")}</summary>
          <Scroll label="Examples">
            <table className={table.table}>
              <thead>
                <tr>
                  <th scope="col">Transaction</th>
                  <th scope="col">Amount</th>
                  <th scope="col">Was</th>
                  <th scope="col">Would be</th>
                </tr>
              </thead>
              <tbody>
                {report.examples.map((each) => (
                  <tr key={each.txn_id}>
                    <td>
                      <Link to="/transactions/$txnId" params={{ txnId: each.txn_id }} className="mono">
                        {each.txn_id}
                      </Link>
                    </td>
                    <td>
                      <Sum minor={each.amount_minor} currency={each.currency} />
                    </td>
                    <td>
                      {each.was_breaks.length > 0 ? (
                        <BreakTags breaks={each.was_breaks} />
                      ) : (
                        VERDICTS[each.was]
                      )}
                    </td>
                    <td>
                      {each.would_be_breaks.length > 0 ? (
                        <BreakTags breaks={each.would_be_breaks} />
                      ) : (
                        VERDICTS[each.would_be]
                      )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
        </details>
      )}
    </div>
  );
}
