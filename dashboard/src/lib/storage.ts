/** Preferences of this browser: theme, columns, saved views. Nothing about people or transactions goes here. */

export function readPreference<T>(key: string, otherwise: T): T {
  try {
    const stored = localStorage.getItem(`recon.${key}`);
    return stored === null ? otherwise : (JSON.parse(stored) as T);
  } catch {
    return otherwise;
  }
}

export function writePreference(key: string, value: unknown): void {
  try {
    localStorage.setItem(`recon.${key}`, JSON.stringify(value));
  } catch {
    // storage may be off or full: the preference lasts as long as the page
  }
}
