import type { ButtonHTMLAttributes, Ref } from "react";
import { cx } from "@/lib/cx";
import s from "./Button.module.css";
import { Icon, type IconName } from "./Icon";

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: "plain" | "primary" | "ghost" | "danger";
  small?: boolean;
  icon?: IconName;
  busy?: boolean;
  ref?: Ref<HTMLButtonElement>;
}

/** A button. While busy it keeps its width and its focus, and does nothing. */
export function Button({
  kind = "plain",
  small,
  icon,
  busy,
  className,
  children,
  onClick,
  ...rest
}: ButtonProps) {
  return (
    <button
      type="button"
      className={cx(s.button, s[kind], small && s.small, className)}
      aria-busy={busy || undefined}
      onClick={busy ? (event) => event.preventDefault() : onClick} // a busy button does not submit again, either
      {...rest}
    >
      {icon && <Icon name={icon} size={small ? 14 : 16} />}
      {children !== undefined && <span className={s.text}>{children}</span>}
    </button>
  );
}

export interface IconButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  icon: IconName;
  label: string;
  pressed?: boolean;
  ref?: Ref<HTMLButtonElement>;
}

/** A button that shows only an icon; its label is its name and its title. */
export function IconButton({ icon, label, pressed, className, ...rest }: IconButtonProps) {
  return (
    <button
      type="button"
      className={cx(s.iconButton, className)}
      aria-label={label}
      title={label}
      aria-pressed={pressed}
      {...rest}
    >
      <Icon name={icon} />
    </button>
  );
}
