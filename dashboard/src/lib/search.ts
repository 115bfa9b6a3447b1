/** View state in the URL: plain query strings in, checked values out. Unknown or broken values are left out. */

export type RawSearch = Readonly<Record<string, unknown>>;

/** Query string to an object of strings; for the router. */
export function parseSearch(text: string): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(text));
}

/** Object to a query string; for the router. Empty values are left out, so that a plain view has a plain address. */
export function stringifySearch(search: Record<string, unknown>): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(search)) {
    if (value === undefined || value === null || value === "" || value === false) continue;
    if (Array.isArray(value) && value.length === 0) continue;
    params.set(key, Array.isArray(value) ? value.join(",") : String(value));
  }
  const query = params.toString().replaceAll("%2C", ",");
  return query ? `?${query}` : "";
}

export function text(raw: RawSearch, key: string): string | undefined {
  const value = raw[key];
  return value === undefined || value === null || value === "" ? undefined : String(value);
}

export function oneOf<T extends string>(raw: RawSearch, key: string, allowed: readonly T[]): T | undefined {
  const value = text(raw, key);
  return allowed.find((each) => each === value);
}

export function someOf<T extends string>(
  raw: RawSearch,
  key: string,
  allowed: readonly T[],
): T[] | undefined {
  const value = raw[key];
  const given = Array.isArray(value) ? value.map(String) : String(value ?? "").split(",");
  const known = allowed.filter((each) => given.includes(each));
  return known.length > 0 ? known : undefined;
}

export function whole(raw: RawSearch, key: string): number | undefined {
  const value = text(raw, key);
  return value !== undefined && /^\d{1,16}$/.test(value) ? Number(value) : undefined;
}

export function flag(raw: RawSearch, key: string): boolean | undefined {
  const value = text(raw, key);
  return value === "true" ? true : value === "false" ? false : undefined;
}

/** Leaves out what is undefined: exact optional properties want it so. */
export function compact<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
