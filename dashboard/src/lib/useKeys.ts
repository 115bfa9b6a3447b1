import { useEffect, useRef } from "react";

/** Whether keys belong to what has the focus: a field, a menu or a dialog. */
function taken(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.closest("input, textarea, select, [contenteditable], [role=dialog], [role=menu]") !== null;
}

/** Whether a key press is a command: nobody types, no menu or dialog is open, no modifier is held. */
export function isCommand(event: KeyboardEvent): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || taken(event.target)) return false;
  return document.querySelector("[role=dialog]:not([data-toast])") === null; // news at the edge keeps no key away
}

/** Single keys for a screen, as in `{ j: next, k: previous }`. Silent while somebody types or a dialog is open. */
export function useKeys(keys: Readonly<Record<string, (() => void) | undefined>>): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    function onKeyDown(event: KeyboardEvent) {
      if (!isCommand(event)) return;
      if (event.key === "Enter" && (event.target as HTMLElement).closest("a, button")) return;
      const run = latest.current[event.key];
      if (!run) return;
      event.preventDefault();
      run();
    }
    window.addEventListener("keydown", onKeyDown);
    return () => window.removeEventListener("keydown", onKeyDown);
  }, []);
}

/**
 * j and k over rows, Enter to open. A row that was acted on may leave the list while it is selected: what has taken its
 * place is then next, not the first row.
 */
export function useTriage<T>(
  rows: readonly T[],
  rowId: (row: T) => string,
  activeId: string | undefined,
  onActive: (row: T) => void,
  onOpen: (row: T) => void,
): void {
  const place = useRef(-1);
  const at = activeId === undefined ? -1 : rows.findIndex((row) => rowId(row) === activeId);
  if (at >= 0 || activeId === undefined) place.current = at;
  const move = (step: 1 | -1) => () => {
    const gone = at === -1 && place.current >= 0;
    const next = gone ? place.current + (step === 1 ? 0 : -1) : at + step;
    const row = rows[Math.max(0, Math.min(rows.length - 1, next))];
    if (row !== undefined) onActive(row);
  };
  useKeys({
    j: move(1),
    k: move(-1),
    Enter: () => {
      const row = rows[at];
      if (row !== undefined) onOpen(row);
    },
  });
}
