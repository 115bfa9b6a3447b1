import { Link } from "@tanstack/react-router";
import type { Summary } from "@/api/types";
import { BREAKS } from "@/lib/labels";
import { count } from "@/lib/numbers";
import { span } from "@/lib/time";
import { Panel } from "@/ui/Panel";
import { Empty } from "@/ui/States";
import s from "./OverviewPage.module.css";

/** Breaks by kind, the most frequent first. */
export function BreakBars({ breaks, windowMs }: { breaks: Summary["breaks"]; windowMs: number }) {
  const sorted = breaks.filter((each) => each.count > 0).sort((a, b) => b.count - a.count);
  const most = sorted[0]?.count ?? 1;
  return (
    <Panel title="Breaks by kind" aside={`last ${span(windowMs)}`}>
      {sorted.length === 0 && <Empty title="No breaks">Everything that was decided agreed.</Empty>}
      <ul className={s.bars}>
        {sorted.map((each) => (
          <li key={each.kind}>
            <Link
              className={s.bar}
              to="/transactions"
              search={{ verdict: "MISMATCHED", break: [each.kind] }}
              title={BREAKS[each.kind].means}
            >
              <span>{BREAKS[each.kind].label}</span>
              <span className={s.track} aria-hidden="true">
                <span className={s.fill} style={{ width: `${(each.count / most) * 100}%` }} />
              </span>
              <span className="num">{count(each.count)}</span>
            </Link>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
