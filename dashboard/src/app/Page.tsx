import { type ReactNode, useEffect } from "react";
import { cx } from "@/lib/cx";
import s from "./Page.module.css";

/** A screen: its heading with what belongs beside it, and its content. `full` gives lists the whole height. */
export function Page({
  title,
  lead,
  actions,
  children,
  full,
}: {
  title: string;
  lead?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  full?: boolean;
}) {
  useEffect(() => {
    document.title = `${title} · recon`;
  }, [title]);
  return (
    <div className={cx(s.page, full && s.full)}>
      <header className={s.head}>
        <div className={s.names}>
          <h1 className={s.title}>{title}</h1>
          {lead && <div className={s.lead}>{lead}</div>}
        </div>
        {actions && <div className={s.actions}>{actions}</div>}
      </header>
      {children}
    </div>
  );
}
