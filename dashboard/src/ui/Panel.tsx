import type { ReactNode } from "react";
import { useId } from "react";
import { cx } from "@/lib/cx";
import s from "./Panel.module.css";

/** A titled part of a screen. */
export function Panel({
  title,
  aside,
  children,
  className,
  flush,
}: {
  title: ReactNode;
  aside?: ReactNode;
  children: ReactNode;
  className?: string | undefined;
  flush?: boolean;
}) {
  const id = useId();
  return (
    <section className={cx(s.panel, className)} aria-labelledby={id}>
      <header className={s.head}>
        <h2 id={id} className={s.title}>
          {title}
        </h2>
        {aside && <div className={s.aside}>{aside}</div>}
      </header>
      <div className={cx(s.body, flush && s.flush)}>{children}</div>
    </section>
  );
}
