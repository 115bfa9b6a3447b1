import { amount, money } from "@/lib/money";
import s from "./Sum.module.css";

/** A sum of money: the currency in quieter type, so that the figures line up and stand out. */
export function Sum({ minor, currency }: { minor: number; currency: string }) {
  return (
    <span className={s.sum} title={money(minor, currency)}>
      <span className={s.code}>{currency}</span> {amount(minor, currency)}
    </span>
  );
}
