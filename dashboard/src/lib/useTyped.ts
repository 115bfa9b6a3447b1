import { type ChangeEvent, type KeyboardEvent, useCallback, useEffect, useRef, useState } from "react";

/** A pause after which what was typed counts as whole. */
export const PAUSE_MS = 700;

/**
 * A text as it is typed. It is handed on when one is done with it (Enter, another field, a pause), never at each key:
 * half a date or amount would be asked for, and each request for a list is an entry in the audit trail.
 */
export function useTyped(value: string, commit: (text: string) => void) {
  const [text, setText] = useState(value);
  const latest = useRef({ text: value, value, commit });
  latest.current.value = value;
  latest.current.commit = commit;
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const hasFocus = useRef(false);

  const show = useCallback((next: string) => {
    latest.current.text = next;
    setText(next);
  }, []);
  const done = useCallback(() => {
    clearTimeout(timer.current);
    const { text: typed, value: known, commit: hand } = latest.current;
    if (typed !== known) hand(typed);
  }, []);
  // What is in force may change elsewhere; but nothing is put into a field under one's hands.
  useEffect(() => {
    if (!hasFocus.current) show(value);
  }, [value, show]);
  useEffect(() => done, [done]); // a form that closes takes nothing back

  return {
    text,
    field: {
      value: text,
      onChange: (event: ChangeEvent<HTMLInputElement>) => {
        show(event.target.value);
        clearTimeout(timer.current);
        timer.current = setTimeout(done, PAUSE_MS);
      },
      onFocus: () => {
        hasFocus.current = true;
      },
      onBlur: () => {
        hasFocus.current = false;
        done();
      },
      onKeyDown: (event: KeyboardEvent<HTMLInputElement>) => {
        if (event.key === "Enter") done();
      },
    },
  };
}
