import type { InputHTMLAttributes, ReactNode, SelectHTMLAttributes, TextareaHTMLAttributes } from "react";
import { cx } from "@/lib/cx";
import s from "./Field.module.css";

/** A labelled control. */
export function Field({
  label,
  hint,
  error,
  children,
  inline,
}: {
  label: string;
  hint?: ReactNode;
  error?: string | null;
  children: ReactNode;
  inline?: boolean;
}) {
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the control is the child
    <label className={cx(s.field, inline && s.inline)}>
      <span className={s.label}>{label}</span>
      {children}
      {hint && <span className={s.hint}>{hint}</span>}
      {error && (
        <span className={s.error} role="alert">
          {error}
        </span>
      )}
    </label>
  );
}

export function Input({ className, ...rest }: InputHTMLAttributes<HTMLInputElement>) {
  return <input className={cx(s.control, className)} autoComplete="off" spellCheck={false} {...rest} />;
}

export function Select({ className, children, ...rest }: SelectHTMLAttributes<HTMLSelectElement>) {
  return (
    <select className={cx(s.control, s.select, className)} {...rest}>
      {children}
    </select>
  );
}

export function Area({ className, ...rest }: TextareaHTMLAttributes<HTMLTextAreaElement>) {
  return <textarea className={cx(s.control, s.area, className)} rows={3} {...rest} />;
}
