/** Where one was in a list, so that coming back from a row finds it again. Kept while the page is open, and no longer. */

import { useCallback, useState } from "react";

const PLACES_MAX = 50;
const tops = new Map<string, number>();
const chosen = new Map<string, string>();

function keep<T>(kept: Map<string, T>, scope: string, value: T): void {
  kept.delete(scope);
  kept.set(scope, value);
  const oldest = kept.keys().next();
  if (kept.size > PLACES_MAX && !oldest.done) kept.delete(oldest.value);
}

/** How far a list was scrolled, in px. */
export function placeOf(scope: string): number {
  return tops.get(scope) ?? 0;
}

export function keepPlace(scope: string, top: number): void {
  keep(tops, scope, top);
}

/** The row of a list that is chosen, as it was when one left. */
export function useChosen(scope: string): [string | undefined, (id: string) => void] {
  const [made, setMade] = useState<{ scope: string; id: string }>();
  const id = made?.scope === scope ? made.id : chosen.get(scope);
  const choose = useCallback(
    (next: string) => {
      keep(chosen, scope, next);
      setMade({ scope, id: next });
    },
    [scope],
  );
  return [id, choose];
}

/** For tests: as after a reload. */
export function forgetPlaces(): void {
  tops.clear();
  chosen.clear();
}
