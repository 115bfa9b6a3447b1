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
import { type DraftFields, draftBody, draftFields, type Tolerance } from "./draft";
import s from "./RulesPage.module.css";
import { anyMoney } from "./RulesView";

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
            <Field label="Match window, seconds">
              <Input
                inputMode="decimal"
                value={fields.window}
                onChange={(e) => set({ window: e.target.value })}
              />
            </Field>
            <Field label="Clocks may differ by, seconds">
              <Input
                inputMode="decimal"
                value={fields.clock}
                onChange={(e) => set({ clock: e.target.value })}
              />
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
        <fieldset className={s.set}>
          <legend>Amounts, in minor units of any currency</legend>
          <div className={s.three}>
            <Field label="High from" hint={inWords(fields.high)}>
              <Input
                inputMode="numeric"
                value={fields.high}
                onChange={(e) => set({ high: e.target.value })}
              />
            </Field>
            <Field label="Critical from" hint={inWords(fields.critical)}>
              <Input
                inputMode="numeric"
                value={fields.critical}
                onChange={(e) => set({ critical: e.target.value })}
              />
            </Field>
            <Field label="Second person above" hint={inWords(fields.second)}>
              <Input
                inputMode="numeric"
                value={fields.second}
                onChange={(e) => set({ second: e.target.value })}
              />
            </Field>
          </div>
        </fieldset>
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

/** A typed number of minor units as it will read, so that a zero too many is seen. */
function inWords(text: string): string {
  return /^\d{1,15}$/.test(text.trim()) ? anyMoney(Number(text)) : "A whole number";
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
  return (
    <fieldset className={s.set}>
      <legend>Amounts may differ by the larger of</legend>
      <ul className={s.tolerances}>
        {value.map((each, at) => (
          <li key={at} className={s.tolerance}>
            <Input
              aria-label="Currency"
              value={each.currency}
              disabled={each.currency === "default"}
              maxLength={7}
              onChange={(event) => edit(at, { currency: event.target.value.toUpperCase() })}
            />
            <Input
              aria-label={`Minor units for ${each.currency}`}
              inputMode="numeric"
              value={each.absolute}
              onChange={(event) => edit(at, { absolute: event.target.value })}
            />
            <span>minor units, or</span>
            <Input
              aria-label={`Basis points for ${each.currency}`}
              inputMode="numeric"
              value={each.bps}
              onChange={(event) => edit(at, { bps: event.target.value })}
            />
            <span>basis points</span>
            {each.currency === "default" ? (
              <span />
            ) : (
              <IconButton
                icon="close"
                label={`Remove ${each.currency || "this line"}`}
                onClick={() => onChange(value.filter((_, index) => index !== at))}
              />
            )}
          </li>
        ))}
      </ul>
      <Button
        small
        icon="plus"
        onClick={() => onChange([...value, { currency: "", absolute: "0", bps: "0" }])}
      >
        A currency
      </Button>
    </fieldset>
  );
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
