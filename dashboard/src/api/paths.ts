/**
 * Paths with ids in them. Banks choose the ids of transactions: a slash is encoded, and an id that reads like a part of the
 * API, such as `count`, has its first letter encoded, by which the API tells the two apart.
 */

const READS_LIKE_A_NAME = /^[a-z]+$/;

export function segment(id: string): string {
  const escaped = encodeURIComponent(id);
  return READS_LIKE_A_NAME.test(id) ? `%${id.charCodeAt(0).toString(16)}${escaped.slice(1)}` : escaped;
}

/** Fills the names in braces. */
export function fillPath(path: string, values: Record<string, unknown>): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => segment(String(values[name])));
}
