/** A column as screens describe it. */

import type { ReactNode } from "react";

export interface GridColumn<T> {
  id: string;
  header: string;
  /** CSS grid track: fixed or with a fraction, never by content, so that nothing moves while rows change. */
  width: string;
  align?: "end";
  cell: (row: T) => ReactNode;
  /** Values of the list's `sort` for the two directions; the first is taken at the first click. */
  sorts?: readonly string[];
  /** Cannot be hidden. */
  fixed?: boolean;
  /** Hidden until asked for. */
  extra?: boolean;
}
