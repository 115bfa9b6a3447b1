import { useEffect, useRef } from "react";

/** Whether keys belong to what has the focus: a field, a menu or a dialog. */
function taken(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.closest("input, textarea, select, [contenteditable], [role=dialog], [role=menu]") !== null;
}

/** Single keys for a screen, as in `{ j: next, k: previous }`. Silent while somebody types or a dialog is open. */
export function useKeys(keys: Readonly<Record<string, (() => void) | undefined>>): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    function onKeyDown(event: KeyboardEvent) {
      if (event.ctrlKey || event.metaKey || event.altKey || taken(event.target)) return;
      if (document.querySelector("[role=dialog]")) return;
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

/** j and k over rows, Enter to open. */
export function useTriage<T>(
  rows: readonly T[],
  rowId: (row: T) => string,
  activeId: string | undefined,
  onActive: (row: T) => void,
  onOpen: (row: T) => void,
): void {
  const move = (step: number) => () => {
    const at = rows.findIndex((row) => rowId(row) === activeId);
    const row = rows[Math.max(0, Math.min(rows.length - 1, at + step))];
    if (row !== undefined) onActive(row);
  };
  useKeys({
    j: move(1),
    k: move(-1),
    Enter: () => {
      const row = rows.find((each) => rowId(each) === activeId);
      if (row !== undefined) onOpen(row);
    },
  });
}
