import { type InputHTMLAttributes, useEffect, useState } from "react";
import { Input } from "./Field";

interface CurrencyInputProps extends Omit<InputHTMLAttributes<HTMLInputElement>, "value" | "onChange"> {
  value: string | undefined;
  onCurrency: (currency: string | undefined) => void;
}

/** Letters of a currency's code. It speaks up once the code is whole, or gone: half a code would ask for nothing. */
export function CurrencyInput({ value, onCurrency, ...rest }: CurrencyInputProps) {
  const [typed, setTyped] = useState(value ?? "");
  useEffect(() => setTyped(value ?? ""), [value]);
  return (
    <Input
      {...rest}
      value={typed}
      maxLength={3}
      onChange={(event) => {
        const code = event.target.value.toUpperCase().replace(/[^A-Z]/g, "");
        setTyped(code);
        if (code.length === 3 || (code === "" && value !== undefined)) onCurrency(code || undefined);
      }}
    />
  );
}
