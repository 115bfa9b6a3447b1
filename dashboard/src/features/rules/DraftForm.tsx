import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "@/api/client";
import type { BreakName, RuleSet, RulesBody, Severity } from "@/api/types";
import { BREAK_NAMES, BREAKS, SEVERITIES } from "@/lib/labels";
import { Button, IconButton } from "@/ui/Button";
import { Area, Field, Input, Select } from "@/ui/Field";
import { Panel } from "@/ui/Panel";
import { FailedLine } from "@/ui/States";
import { say } from "@/ui/Toasts";
import {
  ANY,
  anyMoney,
  type DraftFields,
  draftBody,
  draftFields,
  type Levels,
  minorOf,
  sameMoney,
  type Tolerance,
} from "./draft";
import s from "./RulesPage.module.css";

/** A new version, beginning from an old one. */
export function DraftForm({ base, onDone }: { base: RuleSet; onDone: (made: RuleSet | null) => void }) {
  const client = useQueryClient();
  const [fields, setFields] = useState<DraftFields>(() => draftFields(base.body));
  const [note, setNote] = useState("");
  const set = (change: Partial<DraftFields>) => setFields((now) => ({ ...now, ...change }));
  const body = draftBody(fields, base.body);
  const draft = useMutation({
    mutationFn: (rules: RulesBody) =>
      take(api.POST("/api/v1/rules", { body: { body: rules, note: note.trim() } })) as Promise<RuleSet>,
    onSuccess: (made) => {
      say(`Version ${made.version} drafted`, "Backtest it, then another administrator activates it.");
      void client.invalidateQueries({ queryKey: ["rules"] }).then(() => onDone(made));
    },
  });
  return (
    <Panel title={`A draft from version ${base.version}`}>
      <form
        className={s.form}
        onSubmit={(event) => {
          event.preventDefault();
          if (body.ok) draft.mutate(body.body);
        }}
      >
        <fieldset className={s.set}>
          <legend>Matching</legend>
          <div className={s.three}>
            <Field label="Match window" hint="As 30 s, 5 min or 2 h; at most 7 d">
              <Input value={fields.window} onChange={(e) => set({ window: e.target.value })} />
            </Field>
            <Field label="Clocks may differ by" hint="As 5 s, 12 h or 3 d; at most 366 d">
              <Input value={fields.clock} onChange={(e) => set({ clock: e.target.value })} />
            </Field>
            <Field label="Expected sources" hint="Separated by commas">
              <Input value={fields.sources} onChange={(e) => set({ sources: e.target.value })} />
            </Field>
          </div>
        </fieldset>
        <Tolerances value={fields.tolerances} onChange={(tolerances) => set({ tolerances })} />
        <fieldset className={s.set}>
          <legend>Severity by kind</legend>
          <div className={s.four}>
            {BREAK_NAMES.map((kind) => (
              <KindSeverity
                key={kind}
                kind={kind}
                value={fields.kinds[kind] ?? "medium"}
                onChange={(level) => set({ kinds: { ...fields.kinds, [kind]: level } })}
              />
            ))}
          </div>
        </fieldset>
        <LevelLines value={fields.levels} onChange={(levels) => set({ levels })} />
        <Field label="Note" hint="Why the rules change">
          <Area rows={2} maxLength={500} value={note} onChange={(event) => setNote(event.target.value)} />
        </Field>
        {!body.ok && (
          <p className={s.problem} role="alert">
            {body.problem}
          </p>
        )}
        {draft.isError && <FailedLine error={draft.error} retry={() => body.ok && draft.mutate(body.body)} />}
        <div className={s.buttons}>
          <Button onClick={() => onDone(null)}>Cancel</Button>
          <Button kind="primary" type="submit" busy={draft.isPending} disabled={!body.ok}>
            Save the draft
          </Button>
        </div>
      </form>
    </Panel>
  );
}

function Tolerances({
  value,
  onChange,
}: {
  value: readonly Tolerance[];
  onChange: (value: Tolerance[]) => void;
}) {
  const edit = (at: number, change: Partial<Tolerance>) =>
    onChange(value.map((each, index) => (index === at ? { ...each, ...change } : each)));
  const any = minorOf(value.find((each) => each.currency === ANY)?.absolute ?? "", ANY);
  return (
    <fieldset className={s.set}>
      <legend>Amounts may differ by the larger of</legend>
      <ul className={s.tolerances}>
        {value.map((each, at) => (
          <li key={at} className={s.tolerance}>
            <CurrencyCell value={each.currency} onChange={(currency) => edit(at, { currency })} />
            <Input
              aria-label={`Amount for ${named(each.currency)}`}
              inputMode="decimal"
              value={each.absolute}
              onChange={(event) => edit(at, { absolute: event.target.value })}
            />
            <span>or</span>
            <Input
              aria-label={`Percent for ${named(each.currency)}`}
              inputMode="decimal"
              value={each.percent}
              onChange={(event) => edit(at, { percent: event.target.value })}
            />
            <span>%</span>
            <Remove
              currency={each.currency}
              onRemove={() => onChange(value.filter((_, index) => index !== at))}
            />
          </li>
        ))}
      </ul>
      {any !== null && any > 0 && (
        <p className={s.reading}>For any currency as written with two decimals: {anyMoney(any)}.</p>
      )}
      <Button
        small
        icon="plus"
        onClick={() => onChange([...value, { currency: "", absolute: "0", percent: "0" }])}
      >
        A currency
      </Button>
    </fieldset>
  );
}

/** From which amounts on a mismatch is grave, and above which resolving it takes two; by currency, in its major units. */
function LevelLines({ value, onChange }: { value: readonly Levels[]; onChange: (value: Levels[]) => void }) {
  const edit = (at: number, change: Partial<Levels>) =>
    onChange(value.map((each, index) => (index === at ? { ...each, ...change } : each)));
  const any = value.find((each) => each.currency === ANY);
  return (
    <fieldset className={s.set}>
      <legend>Amounts that matter</legend>
      <ul className={s.tolerances}>
        <li className={s.levelHead} aria-hidden="true">
          <span>Currency</span>
          <span>High from</span>
          <span>Critical from</span>
          <span>Second person above</span>
        </li>
        {value.map((each, at) => (
          <li key={at} className={s.level}>
            <CurrencyCell value={each.currency} onChange={(currency) => edit(at, { currency })} />
            {LEVEL_FIELDS.map(([field, label]) => (
              <div key={field}>
                <span className={s.levelName} aria-hidden="true">
                  {label}
                </span>
                <Input
                  aria-label={`${label}, ${named(each.currency)}`}
                  inputMode="decimal"
                  placeholder={each.currency === ANY ? "" : "as any"}
                  value={each[field]}
                  onChange={(event) => edit(at, { [field]: event.target.value })}
                />
              </div>
            ))}
            <Remove
              currency={each.currency}
              onRemove={() => onChange(value.filter((_, index) => index !== at))}
            />
          </li>
        ))}
      </ul>
      {any && <Readings levels={any} />}
      <Button
        small
        icon="plus"
        onClick={() => onChange([...value, { currency: "", high: "", critical: "", second: "" }])}
      >
        A currency with limits of its own
      </Button>
    </fieldset>
  );
}

const LEVEL_FIELDS = [
  ["high", "High from"],
  ["critical", "Critical from"],
  ["second", "Second person above"],
] as const;

/** What the limits for any currency are in some of them, so that a zero too many is seen. */
function Readings({ levels }: { levels: Levels }) {
  const shown = LEVEL_FIELDS.flatMap(([field, label]) => {
    const minor = minorOf(levels[field], ANY);
    if (minor === null) return [];
    return [`${label} ${field === "second" ? sameMoney(minor) : anyMoney(minor)}`];
  });
  return (
    <div className={s.reading}>
      <p>For any currency as written with two decimals:</p>
      <ul>
        {shown.map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
    </div>
  );
}

function named(currency: string): string {
  return currency === ANY ? "any currency" : currency;
}

function CurrencyCell({ value, onChange }: { value: string; onChange: (currency: string) => void }) {
  if (value === ANY) return <span>Any currency</span>;
  return (
    <Input
      aria-label="Currency"
      value={value}
      maxLength={3}
      onChange={(event) => onChange(event.target.value.toUpperCase())}
    />
  );
}

function Remove({ currency, onRemove }: { currency: string; onRemove: () => void }) {
  if (currency === ANY) return <span />;
  return <IconButton icon="close" label={`Remove ${currency || "this line"}`} onClick={onRemove} />;
}

function KindSeverity({
  kind,
  value,
  onChange,
}: {
  kind: BreakName;
  value: Severity;
  onChange: (level: Severity) => void;
}) {
  return (
    <Field label={BREAKS[kind].label}>
      <Select value={value} onChange={(event) => onChange(event.target.value as Severity)}>
        {Object.entries(SEVERITIES).map(([id, label]) => (
          <option key={id} value={id}>
            {label}
          </option>
        ))}
      </Select>
    </Field>
  );
}
