/** Loading, empty and failed: three designs, so that nobody takes one for another. */

import type { ReactNode } from "react";
import { explain } from "@/api/problem";
import { Button } from "./Button";
import s from "./States.module.css";

/** Placeholders in the shape of lines; announced once. */
export function Loading({ lines = 6, label = "Loading" }: { lines?: number; label?: string }) {
  return (
    <div className={s.loading} role="status" aria-label={label}>
      {Array.from({ length: lines }, (_, at) => (
        <span key={at} className={s.line} style={{ width: `${[92, 78, 86, 64, 90, 72][at % 6]}%` }} />
      ))}
    </div>
  );
}

/** Nothing here: says why, and what to do about it. */
export function Empty({
  title,
  children,
  action,
}: {
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}) {
  return (
    <div className={s.state}>
      <svg width="56" height="36" viewBox="0 0 56 36" fill="none" aria-hidden="true" className={s.art}>
        <path d="M4 9h48M4 18h48M4 27h48" strokeDasharray="3 5" />
      </svg>
      <p className={s.title}>{title}</p>
      {children && <div className={s.text}>{children}</div>}
      {action}
    </div>
  );
}

/** A request failed. Background refreshing goes on; the button asks at once. */
export function Failed({ error, retry }: { error: unknown; retry?: () => void }) {
  const { title, detail, requestId } = explain(error);
  return (
    <div className={s.state} role="alert">
      <svg width="56" height="36" viewBox="0 0 56 36" fill="none" aria-hidden="true" className={s.artBad}>
        <path d="M4 9h48M4 27h48M4 18h16M36 18h16M24 14l8 8M32 14l-8 8" />
      </svg>
      <p className={s.title}>{title}</p>
      <p className={s.text}>{detail}</p>
      {requestId && (
        <p className={s.request}>
          Request <code>{requestId}</code>
        </p>
      )}
      {retry && (
        <Button icon="refresh" onClick={retry}>
          Try again
        </Button>
      )}
    </div>
  );
}

/** A failure of one part of a screen whose other parts stand. */
export function FailedLine({ error, retry }: { error: unknown; retry: () => void }) {
  const { title, detail } = explain(error);
  return (
    <p className={s.failedLine} role="alert">
      <span>
        <strong>{title}.</strong> {detail}
      </span>
      <Button small onClick={retry}>
        Try again
      </Button>
    </p>
  );
}
