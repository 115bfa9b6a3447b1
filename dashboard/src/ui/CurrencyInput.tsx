import { type InputHTMLAttributes, useEffect, useState } from "react";
import { cx } from "@/lib/cx";
import { isCurrency, notACurrency } from "@/lib/money";
import s from "./CurrencyInput.module.css";
import { Input } from "./Field";

interface CurrencyInputProps extends Omit<InputHTMLAttributes<HTMLInputElement>, "value" | "onChange"> {
  value: string | undefined;
  onCurrency: (currency: string | undefined) => void;
}

/**
 * Letters of a currency's code. It speaks up once they are a currency, or gone: half a code would ask for nothing, and
 * three letters that are none are refused here. Left half typed, it shows again what is in force.
 */
export function CurrencyInput({ value, onCurrency, className, ...rest }: CurrencyInputProps) {
  const [typed, setTyped] = useState(value ?? "");
  useEffect(() => setTyped(value ?? ""), [value]);
  const problem = typed.length === 3 && !isCurrency(typed) ? notACurrency(typed) : null;
  return (
    <span className={cx(s.box, className)}>
      <Input
        {...rest}
        value={typed}
        maxLength={3}
        aria-invalid={problem !== null || undefined}
        onChange={(event) => {
          const code = event.target.value.toUpperCase().replace(/[^A-Z]/g, "");
          setTyped(code);
          if (code === "" ? value !== undefined : isCurrency(code)) onCurrency(code || undefined);
        }}
        onBlur={() => setTyped(value ?? "")}
      />
      {problem && (
        <span role="alert" className={s.problem}>
          {problem}
        </span>
      )}
    </span>
  );
}
