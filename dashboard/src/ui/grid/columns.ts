/** A column as screens describe it. */

import type { ReactNode } from "react";

export interface GridColumn<T> {
  id: string;
  header: string;
  /** The least width in px, at the usual size of type. */
  width: number;
  /** The share of the room that is left over. */
  grow?: number;
  /**
   * Characters that the value of a row takes: the column is as wide as the longest among the rows that are loaded, and
   * does not shrink again while the list stands. Without it, a long value is cut.
   */
  characters?: (row: T) => number;
  align?: "end";
  cell: (row: T) => ReactNode;
  /** Values of the list's `sort` for the two directions; the first is taken at the first click. */
  sorts?: readonly string[];
  /** Cannot be hidden. */
  fixed?: boolean;
  /** Hidden until asked for. */
  extra?: boolean;
  /** At which stages it is shown, the first and the last; at all of them when left out. See `fitting`. */
  stages?: readonly [number, number];
}

/** The tightest stage of columns: what does not fit even then is shown as cards. */
export const LAST_STAGE = 2;

/** The widest character of figures and codes, in px, at the usual size of type. */
const CHARACTER_PX = 7.8;
const GAP_PX = 14;
const EDGES_PX = 32;

/** How wide each column must be at least, in px, for the rows that there are. */
export function leastWidths<T>(columns: readonly GridColumn<T>[], rows: readonly T[]): Map<string, number> {
  return new Map(
    columns.map((column) => {
      const longest = column.characters
        ? rows.reduce((most, row) => Math.max(most, column.characters?.(row) ?? 0), 0)
        : 0;
      return [column.id, Math.max(column.width, Math.ceil(longest * CHARACTER_PX))];
    }),
  );
}

export function atStage<T>(columns: readonly GridColumn<T>[], stage: number): GridColumn<T>[] {
  return columns.filter(({ stages: [first, last] = [0, LAST_STAGE] }) => first <= stage && stage <= last);
}

/**
 * The columns for a width: those of the first stage at which all fit, from much room to little. Nothing is cut and
 * nothing lies beyond the edge; null where not even the last stage fits.
 */
export function fitting<T>(
  columns: readonly GridColumn<T>[],
  widths: ReadonlyMap<string, number>,
  roomPx: number,
): GridColumn<T>[] | null {
  for (let stage = 0; stage <= LAST_STAGE; stage += 1) {
    const shown = atStage(columns, stage);
    const needs = shown.reduce(
      (sum, column) => sum + (widths.get(column.id) ?? 0) + GAP_PX,
      EDGES_PX - GAP_PX,
    );
    if (needs <= roomPx) return shown;
  }
  return null;
}

/** As CSS grid tracks. The root's size of type scales them, as it does the type. */
export function tracks<T>(columns: readonly GridColumn<T>[], widths: ReadonlyMap<string, number>): string {
  return columns
    .map((column) => {
      const least = `${(widths.get(column.id) ?? column.width) / 16}rem`;
      // Tenths: of factors that sum up to less than one, CSS leaves the rest of the room empty.
      return column.grow ? `minmax(${least}, ${column.grow * 10}fr)` : least;
    })
    .join(" ");
}
