import type { ReactNode } from "react";
import type { RuleSet, RulesBody } from "@/api/types";
import { durationText } from "@/lib/durations";
import { BREAK_NAMES, BREAKS, SEVERITIES, sourceLabel } from "@/lib/labels";
import { money } from "@/lib/money";
import { At } from "@/ui/Time";
import { ANY, anyMoney, percentText, sameMoney } from "./draft";
import s from "./RulesPage.module.css";

/** One rule as a line: its name and its value in words. */
export interface RuleLine {
  group: string;
  name: string;
  value: string;
}

function tolerance(absolute: number, bps: number, currency: string): string {
  const parts = [];
  if (absolute > 0) parts.push(threshold(absolute, currency));
  if (bps > 0) parts.push(`${percentText(bps)} %`);
  return parts.length === 0 ? "exact" : parts.join(" or ");
}

/** A limit in words. One for any currency is so many minor units of it, which is another amount in each. */
function threshold(minor: number, currency: string): string {
  return currency === ANY ? anyMoney(minor) : money(minor, currency);
}

/** A rule set as lines: for reading, and for comparing two of them. */
export function ruleLines(body: RulesBody): RuleLine[] {
  const lines: RuleLine[] = [
    { group: "Matching", name: "Match window", value: durationText(body.match_window_ms) },
    { group: "Matching", name: "Clocks may differ by", value: durationText(body.time_tolerance_ms) },
    { group: "Matching", name: "Expected sources", value: body.expected_sources.map(sourceLabel).join(", ") },
    {
      group: "Amounts may differ by",
      name: "Any currency",
      value: tolerance(body.default_tolerance.absolute_minor, body.default_tolerance.bps, ANY),
    },
  ];
  for (const [currency, each] of Object.entries(body.tolerances).sort()) {
    lines.push({
      group: "Amounts may differ by",
      name: currency,
      value: tolerance(each.absolute_minor, each.bps, currency),
    });
  }
  for (const kind of BREAK_NAMES) {
    const level = body.severities.kinds[kind];
    if (level) lines.push({ group: "Severity by kind", name: BREAKS[kind].label, value: SEVERITIES[level] });
  }
  for (const [currency, levels] of Object.entries(body.severities.amounts).sort()) {
    lines.push({
      group: "Severity by amount",
      name: currency === ANY ? "Any currency" : currency,
      value: `high from ${threshold(levels.high_minor, currency)}, critical from ${threshold(levels.critical_minor, currency)}`,
    });
  }
  for (const [currency, minor] of Object.entries(body.severities.second_person_above_minor).sort()) {
    lines.push({
      group: "Second person above",
      name: currency === ANY ? "Any currency" : currency,
      value: currency === ANY ? sameMoney(minor) : money(minor, currency),
    });
  }
  return lines;
}

/** The rules in words; what differs from the version in force is marked with what it was. */
export function RulesView({ set, compareWith }: { set: RuleSet; compareWith: RuleSet | undefined }) {
  const lines = ruleLines(set.body);
  const before = new Map(
    (compareWith ? ruleLines(compareWith.body) : []).map((line) => [
      `${line.group}/${line.name}`,
      line.value,
    ]),
  );
  const groups = [...new Set(lines.map((line) => line.group))];
  return (
    <div className={s.rules}>
      <Facts set={set} />
      {groups.map((group) => (
        <section key={group} className={s.ruleGroup}>
          <h3 className={s.groupName}>{group}</h3>
          <dl className={s.lines}>
            {lines
              .filter((line) => line.group === group)
              .map((line) => {
                const was = before.get(`${group}/${line.name}`);
                const changed = compareWith !== undefined && was !== line.value;
                return (
                  <div key={line.name} className={changed ? s.changed : s.line}>
                    <dt>{line.name}</dt>
                    <dd>
                      {line.value}
                      {changed && (
                        <span className={s.was}>{was === undefined ? "new" : `in force: ${was}`}</span>
                      )}
                    </dd>
                  </div>
                );
              })}
          </dl>
        </section>
      ))}
    </div>
  );
}

function Facts({ set }: { set: RuleSet }) {
  const facts: [string, ReactNode][] = [
    [
      "Drafted",
      <>
        <At key="at" at={set.created_at} /> by {set.created_by}
      </>,
    ],
  ];
  if (set.activated_by) facts.push(["Activated", `by ${set.activated_by}`]);
  if (set.effective_from !== null)
    facts.push([
      "Judges arrivals from",
      set.effective_from > 0 ? <At key="from" at={set.effective_from} /> : "the beginning",
    ]);
  if (set.note) facts.push(["Note", set.note]);
  return (
    <dl className={s.facts}>
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
