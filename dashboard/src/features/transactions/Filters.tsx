import { useQuery } from "@tanstack/react-query";
import { queries } from "@/api/queries";
import type { BreakName } from "@/api/types";
import { BREAK_NAMES, BREAKS, sourceLabel } from "@/lib/labels";
import { amount, isCurrency, money, notAnAmount, parseAmount } from "@/lib/money";
import { moment } from "@/lib/time";
import { useTyped } from "@/lib/useTyped";
import { Button } from "@/ui/Button";
import { CurrencyInput } from "@/ui/CurrencyInput";
import { Field, Input, Select } from "@/ui/Field";
import { Icon } from "@/ui/Icon";
import { MomentInput } from "@/ui/MomentInput";
import { Popover } from "@/ui/Popover";
import s from "./list.module.css";
import { filterCount, type TransactionSearch } from "./search";

type Change = (change: Partial<TransactionSearch>) => void;

export function useSourceNames(): string[] {
  const { data } = useQuery(queries.sources());
  return data && data.items.length > 0
    ? data.items.map((source) => source.name)
    : ["CORE", "GATEWAY", "MOBILE"];
}

/** The filters that are not always on screen. */
export function FilterButton({ search, change }: { search: TransactionSearch; change: Change }) {
  const count = filterCount({ ...search, verdict: undefined });
  return (
    <Popover
      label="Filters"
      trigger={<Button icon="filter">{count > 0 ? `Filters (${count})` : "Filters"}</Button>}
    >
      <FilterForm search={search} change={change} />
    </Popover>
  );
}

function FilterForm({ search, change }: { search: TransactionSearch; change: Change }) {
  const sources = useSourceNames();
  const toggle = (kind: BreakName, on: boolean) => {
    const next = BREAK_NAMES.filter((each) => (each === kind ? on : (search.break ?? []).includes(each)));
    change({ break: next.length > 0 ? next : undefined });
  };
  return (
    <div className={s.form}>
      <fieldset className={s.checks}>
        <legend>Any of these breaks</legend>
        {BREAK_NAMES.map((kind) => (
          <label key={kind} className={s.check} title={BREAKS[kind].means}>
            <input
              type="checkbox"
              checked={(search.break ?? []).includes(kind)}
              onChange={(event) => toggle(kind, event.target.checked)}
            />
            {BREAKS[kind].label}
          </label>
        ))}
      </fieldset>
      <div className={s.pair}>
        <Field label="Source present">
          <SourceSelect sources={sources} value={search.source} onChange={(source) => change({ source })} />
        </Field>
        <Field label="Source missing">
          <SourceSelect
            sources={sources}
            value={search.missing}
            onChange={(missing) => change({ missing })}
          />
        </Field>
      </div>
      <Field label="Currency" hint="Amounts below are in this currency">
        <CurrencyInput
          placeholder="Any"
          value={search.currency}
          onCurrency={(currency) => change({ currency, min: undefined, max: undefined })}
        />
      </Field>
      <div className={s.pair}>
        <AmountField label="Amount from" search={search} field="min" change={change} />
        <AmountField label="Amount to" search={search} field="max" change={change} />
      </div>
      <div className={s.pair}>
        <Field label="Decided from">
          <MomentInput value={search.since} onMoment={(since) => change({ since })} />
        </Field>
        <Field label="Decided before">
          <MomentInput value={search.until} onMoment={(until) => change({ until })} />
        </Field>
      </div>
      <div className={s.pair}>
        <Field label="Late legs">
          <YesNo value={search.late} onChange={(late) => change({ late })} yes="With" no="Without" />
        </Field>
        <Field label="Window">
          <YesNo value={search.final} onChange={(final) => change({ final })} yes="Closed" no="Still open" />
        </Field>
      </div>
    </div>
  );
}

function SourceSelect({
  sources,
  value,
  onChange,
}: {
  sources: readonly string[];
  value: string | undefined;
  onChange: (value: string | undefined) => void;
}) {
  return (
    <Select value={value ?? ""} onChange={(event) => onChange(event.target.value || undefined)}>
      <option value="">Any</option>
      {sources.map((name) => (
        <option key={name} value={name}>
          {sourceLabel(name)}
        </option>
      ))}
    </Select>
  );
}

function YesNo({
  value,
  onChange,
  yes,
  no,
}: {
  value: boolean | undefined;
  onChange: (value: boolean | undefined) => void;
  yes: string;
  no: string;
}) {
  return (
    <Select
      value={value === undefined ? "" : String(value)}
      onChange={(event) => onChange(event.target.value === "" ? undefined : event.target.value === "true")}
    >
      <option value="">Any</option>
      <option value="true">{yes}</option>
      <option value="false">{no}</option>
    </Select>
  );
}

function AmountField({
  label,
  search,
  field,
  change,
}: {
  label: string;
  search: TransactionSearch;
  field: "min" | "max";
  change: Change;
}) {
  const currency = search.currency ?? "";
  const known = isCurrency(currency);
  const stored = search[field];
  const read = (typed: string) => (typed.trim() === "" ? undefined : parseAmount(typed, currency));
  const typed = useTyped(stored === undefined ? "" : amount(stored, currency), (text) => {
    const next = read(text);
    if (next !== null) change({ [field]: next });
  });
  const wrong = known && read(typed.text) === null;
  return (
    <Field label={label} error={wrong ? notAnAmount(typed.text, currency) : null}>
      <Input
        inputMode="decimal"
        disabled={!known}
        placeholder={known ? "0.00" : "Choose a currency"}
        {...typed.field}
        value={known ? typed.text : ""}
      />
    </Field>
  );
}

/** What is filtered, in words, each with a button that takes it away. */
export function FilterChips({ search, change }: { search: TransactionSearch; change: Change }) {
  const currency = search.currency ?? "";
  const chips: [string, Partial<TransactionSearch>][] = [];
  for (const kind of search.break ?? []) {
    const rest = (search.break ?? []).filter((each) => each !== kind);
    chips.push([BREAKS[kind].label, { break: rest.length > 0 ? rest : undefined }]);
  }
  if (search.source) chips.push([`${sourceLabel(search.source)} present`, { source: undefined }]);
  if (search.missing) chips.push([`${sourceLabel(search.missing)} missing`, { missing: undefined }]);
  if (search.currency) chips.push([search.currency, { currency: undefined, min: undefined, max: undefined }]);
  if (search.min !== undefined) chips.push([`from ${money(search.min, currency)}`, { min: undefined }]);
  if (search.max !== undefined) chips.push([`to ${money(search.max, currency)}`, { max: undefined }]);
  if (search.since !== undefined) chips.push([`since ${moment(search.since)}`, { since: undefined }]);
  if (search.until !== undefined) chips.push([`before ${moment(search.until)}`, { until: undefined }]);
  if (search.late !== undefined)
    chips.push([search.late ? "With late legs" : "Without late legs", { late: undefined }]);
  if (search.final !== undefined)
    chips.push([search.final ? "Window closed" : "Window open", { final: undefined }]);
  if (chips.length === 0) return null;
  return (
    <ul className={s.chips} aria-label="Filters in force">
      {chips.map(([label, without]) => (
        <li key={label} className={s.chip}>
          {label}
          <button type="button" aria-label={`Remove the filter ${label}`} onClick={() => change(without)}>
            <Icon name="close" size={10} />
          </button>
        </li>
      ))}
    </ul>
  );
}
