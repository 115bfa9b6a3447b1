/**
 * A virtual grid: thousands of rows, a few dozen elements. Columns and their visibility are TanStack Table's, rows on
 * screen TanStack Virtual's. The active row follows j and k; the grid itself holds the focus and names the active row.
 */

import { columnVisibilityFeature, tableFeatures, useTable } from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import {
  type KeyboardEvent,
  type ReactNode,
  useEffect,
  useId,
  useLayoutEffect,
  useMemo,
  useRef,
} from "react";
import { cx } from "@/lib/cx";
import { keepPlace, placeOf } from "@/lib/places";
import { useNarrow } from "@/lib/useNarrow";
import { useWidth } from "../chart/useWidth";
import { Select } from "../Field";
import { Icon } from "../Icon";
import { atStage, fitting, type GridColumn, LAST_STAGE, leastWidths, tracks } from "./columns";
import s from "./Grid.module.css";

const features = tableFeatures({ columnVisibilityFeature });
const ROW_PX = 36;
const CARD_PX = 84;
/** The header with its line: it lies over the first pixels of the scroller, so that no row may be brought to rest there. */
const HEADER_PX = 33;
const OVERSCAN_ROWS = 12;
/** What the scroller's gutter may take. */
const SCROLLBAR_PX = 16;
/** Scrolled by less than this, a list still counts as at its top. */
export const TOP_PX = 8;
const NOTHING: Readonly<Record<string, boolean>> = {};

export interface GridProps<T extends object> {
  label: string;
  rows: readonly T[];
  columns: readonly GridColumn<T>[];
  rowId: (row: T) => string;
  /** The same row where there is no room for columns. */
  card: (row: T) => ReactNode;
  /** Names what is listed: with other filters it is another list. Its place is kept while one is elsewhere. */
  scope?: string;
  activeId?: string | undefined;
  onActive?: (row: T) => void;
  onOpen?: (row: T) => void;
  /** A link in the row was followed. */
  onFollow?: (row: T) => void;
  visibility?: Readonly<Record<string, boolean>>;
  sort?: string | undefined;
  onSort?: (sort: string) => void;
  onEnd?: () => void;
  /** Tells when the reader leaves the top or comes back to it. */
  onTop?: (atTop: boolean) => void;
  rowClass?: (row: T) => string | undefined;
  foot?: ReactNode;
  empty?: ReactNode;
}

export function Grid<T extends object>(props: GridProps<T>) {
  const { label, rows, columns, rowId, activeId, visibility = NOTHING, onEnd, onTop } = props;
  const isPhone = useNarrow();
  const scroller = useRef<HTMLDivElement>(null);
  const base = useId();
  const byId = useMemo(() => new Map(columns.map((column) => [column.id, column])), [columns]);
  const definitions = useMemo(() => columns.map(({ id, header }) => ({ id, header })), [columns]);
  const table = useTable({
    features,
    columns: definitions,
    data: rows as T[],
    state: { columnVisibility: visibility as Record<string, boolean> },
  });
  const visible = table
    .getVisibleLeafColumns()
    .flatMap((column) => byId.get(column.id) ?? ([] as GridColumn<T>[]));
  const widths = useWidths(columns, rows, props.scope ?? "");
  const [frame, framePx] = useWidth();
  const fit = fitting(visible, widths, rootPx(framePx) - SCROLLBAR_PX);
  const narrow = isPhone || (fit === null && framePx > 0);
  const shown = fit ?? atStage(visible, LAST_STAGE);
  const template = tracks(shown, widths);
  const rowPx = narrow ? CARD_PX : ROW_PX;
  const headerPx = narrow ? 0 : HEADER_PX;
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowPx,
    overscan: OVERSCAN_ROWS,
    scrollMargin: headerPx, // rows begin below the header
    scrollPaddingStart: headerPx, // and what it covers while it sticks is not in view
    initialOffset: props.scope === undefined ? 0 : placeOf(props.scope),
    getItemKey: (at) => (rows[at] === undefined ? at : rowId(rows[at])),
  });
  const items = virtual.getVirtualItems();

  // biome-ignore lint/correctness/useExhaustiveDependencies: heights change with the layout alone
  useEffect(() => virtual.measure(), [narrow]);

  const activeAt = useMemo(
    () => (activeId === undefined ? -1 : rows.findIndex((row) => rowId(row) === activeId)),
    [rows, activeId, rowId],
  );
  const inView = useRef(true);
  const followed = useRef<string>(undefined);
  // A new selection is brought into view. Rows that come or go above it must not push it out; but who has scrolled away
  // from it by hand is not pulled back.
  // biome-ignore lint/correctness/useExhaustiveDependencies: follows the selection and its place, not each rendering
  useLayoutEffect(() => {
    if (activeAt < 0) return;
    const chosen = followed.current !== activeId;
    followed.current = activeId;
    if (!chosen && !inView.current) return;
    inView.current = true;
    virtual.scrollToIndex(activeAt, { align: "auto" });
  }, [activeId, activeAt, rowPx]);

  // A panel that opens below the list takes height from it: what was in view stays in view.
  const active = useRef(activeAt);
  active.current = activeAt;
  useEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const observer = new ResizeObserver(() => {
      if (active.current >= 0 && inView.current) virtual.scrollToIndex(active.current, { align: "auto" });
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [virtual]);

  /** Whether the active row is between the header and the lower edge. */
  function activeInView(element: HTMLElement): boolean {
    const top = activeAt * rowPx;
    const from = element.scrollTop;
    return top >= from - 1 && top + rowPx + headerPx <= from + element.clientHeight + 1;
  }

  const lastShown = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (onEnd && rows.length > 0 && lastShown >= rows.length - 10) onEnd();
  }, [onEnd, rows.length, lastShown]);

  function onKeyDown(event: KeyboardEvent) {
    if (event.target !== event.currentTarget) return;
    const page = Math.max(1, Math.floor((event.currentTarget.clientHeight - headerPx) / rowPx) - 1);
    const step = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -rows.length,
      End: rows.length,
    }[event.key];
    if (step !== undefined && rows.length > 0) {
      event.preventDefault();
      const row = rows[Math.max(0, Math.min(rows.length - 1, activeAt + step))];
      if (row !== undefined) props.onActive?.(row);
    }
  }

  return (
    <div className={s.frame} ref={frame}>
      {narrow && props.onSort && <CardOrder columns={shown} sort={props.sort} onSort={props.onSort} />}
      <div
        ref={scroller}
        className={s.scroller}
        role="grid"
        aria-label={label}
        aria-rowcount={rows.length + 1}
        aria-activedescendant={activeAt >= 0 ? `${base}${activeId}` : undefined}
        tabIndex={0}
        onKeyDown={onKeyDown}
        onScroll={(event) => {
          if (props.scope !== undefined) keepPlace(props.scope, event.currentTarget.scrollTop);
          inView.current = activeInView(event.currentTarget);
          onTop?.(event.currentTarget.scrollTop < TOP_PX);
        }}
      >
        <div className={cx(s.inner, narrow && s.innerNarrow)} role="presentation">
          <div className={cx(s.header, narrow && s.headerNarrow)} role="rowgroup">
            <div className={s.headRow} role="row" aria-rowindex={1} style={{ gridTemplateColumns: template }}>
              {shown.map((column) => (
                <HeadCell key={column.id} column={column} sort={props.sort} onSort={props.onSort} />
              ))}
            </div>
          </div>
          {rows.length === 0 && (
            <div role="rowgroup">
              <div role="row">
                <div role="gridcell" aria-colspan={shown.length}>
                  {props.empty}
                </div>
              </div>
            </div>
          )}
          <div className={s.rows} role="rowgroup" style={{ height: virtual.getTotalSize() }}>
            {items.map((item) => {
              const row = rows[item.index];
              if (row === undefined) return null;
              const id = rowId(row);
              return (
                // biome-ignore lint/a11y/useKeyWithClickEvents: keys are handled by the grid
                <div
                  key={id}
                  id={`${base}${id}`}
                  role="row"
                  aria-rowindex={item.index + 2}
                  aria-selected={id === activeId}
                  className={cx(s.row, id === activeId && s.active, props.rowClass?.(row))}
                  style={{
                    height: rowPx,
                    transform: `translateY(${item.start - headerPx}px)`,
                    gridTemplateColumns: narrow ? "minmax(0, 1fr)" : template,
                  }}
                  onClick={(event) => {
                    const control = (event.target as HTMLElement).closest("a, button, input");
                    if (control?.tagName === "A") props.onFollow?.(row);
                    if (control) return;
                    props.onActive?.(row);
                    props.onOpen?.(row);
                  }}
                >
                  {narrow ? (
                    <div role="gridcell" className={s.card}>
                      {props.card(row)}
                    </div>
                  ) : (
                    shown.map((column) => (
                      <div
                        key={column.id}
                        role="gridcell"
                        className={cx(s.cell, column.align === "end" && s.end)}
                      >
                        {column.cell(row)}
                      </div>
                    ))
                  )}
                </div>
              );
            })}
          </div>
        </div>
      </div>
      {props.foot && <div className={s.foot}>{props.foot}</div>}
    </div>
  );
}

/** Widths only grow while a list stands: nothing moves because a long amount has left it. */
function useWidths<T>(
  columns: readonly GridColumn<T>[],
  rows: readonly T[],
  scope: string,
): ReadonlyMap<string, number> {
  const before = useRef<{ scope: string; widths: ReadonlyMap<string, number> }>(undefined);
  return useMemo(() => {
    const least = leastWidths(columns, rows);
    const known = before.current?.scope === scope ? before.current.widths : undefined;
    const widths = new Map([...least].map(([id, px]) => [id, Math.max(px, known?.get(id) ?? 0)]));
    before.current = { scope, widths };
    return widths;
  }, [columns, rows, scope]);
}

/** A width as it would be at the usual size of type: with larger type less fits. */
function rootPx(px: number): number {
  return (px * 16) / Number.parseFloat(getComputedStyle(document.documentElement).fontSize || "16");
}

/** Cards have no headings to order by. */
function CardOrder<T>({
  columns,
  sort,
  onSort,
}: {
  columns: readonly GridColumn<T>[];
  sort: string | undefined;
  onSort: (sort: string) => void;
}) {
  const orders = columns.flatMap((column) =>
    (column.sorts ?? []).map((each) => ({
      id: each,
      label: `${column.header}, ${each.startsWith("-") ? "descending" : "ascending"}`,
    })),
  );
  if (orders.length < 2 || !orders.some(({ id }) => id === sort)) return null;
  return (
    <div className={s.cardOrder}>
      <Select aria-label="Order" value={sort} onChange={(event) => onSort(event.target.value)}>
        {orders.map(({ id, label }) => (
          <option key={id} value={id}>
            {label}
          </option>
        ))}
      </Select>
    </div>
  );
}

function HeadCell<T>({
  column,
  sort,
  onSort,
}: {
  column: GridColumn<T>;
  sort: string | undefined;
  onSort: ((sort: string) => void) | undefined;
}) {
  const at = sort === undefined ? -1 : (column.sorts?.indexOf(sort) ?? -1);
  const direction = at === -1 ? undefined : sort?.startsWith("-") ? "descending" : "ascending";
  const next = column.sorts?.[(at + 1) % column.sorts.length];
  return (
    <div
      role="columnheader"
      className={cx(s.headCell, column.align === "end" && s.end)}
      aria-sort={direction ?? (column.sorts && onSort ? "none" : undefined)}
    >
      {next !== undefined && onSort ? (
        <button type="button" className={s.sort} onClick={() => onSort(next)}>
          {column.header}
          <span className={s.arrow}>
            {direction && <Icon name={direction === "descending" ? "down" : "up"} size={12} />}
          </span>
        </button>
      ) : (
        column.header
      )}
    </div>
  );
}
