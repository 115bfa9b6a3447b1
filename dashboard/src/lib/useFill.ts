import { useCallback, useEffect, useState } from "react";

/** A search in bounded steps gives short pages, or empty ones: so many rows are a screenful. */
const SCREENFUL_ROWS = 40;
/** So many pages in a row without somebody asking for more. */
const PAGES_AT_ONCE = 12;

export interface Pages {
  data: { pages: readonly unknown[] } | undefined;
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  isFetchNextPageError: boolean;
  fetchNextPage: () => unknown;
}

export interface Fill {
  /** The next page, if there is one and it is not under way. */
  more: () => void;
  /** What goes on: asking, waiting to be told to look further, failed, or nothing (a screenful, or the end). */
  state: "searching" | "paused" | "failed" | "idle";
  /** Looks further: after a pause, or once more after a failure. */
  goOn: () => void;
}

/** Asks on by itself until a list has a screenful or has come to its end. */
export function useFill(found: Pages, rows: number): Fill {
  const { hasNextPage, isFetchingNextPage, isFetchNextPageError, fetchNextPage } = found;
  const pages = found.data?.pages.length ?? 0;
  const [pagesMax, setPagesMax] = useState(PAGES_AT_ONCE);
  const short = rows < SCREENFUL_ROWS && pages > 0 && hasNextPage;
  const next = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  const goes = short && pages < pagesMax && !isFetchNextPageError;
  // biome-ignore lint/correctness/useExhaustiveDependencies: each page that came may ask for the next
  useEffect(() => {
    if (goes) next();
  }, [goes, next, pages]);
  return {
    more: useCallback(() => {
      if (!isFetchNextPageError) next(); // what failed is asked for again by a person, not by scrolling
    }, [isFetchNextPageError, next]),
    state: isFetchNextPageError
      ? "failed"
      : goes || isFetchingNextPage
        ? "searching"
        : short
          ? "paused"
          : "idle",
    goOn: () => {
      setPagesMax(pages + PAGES_AT_ONCE);
      next();
    },
  };
}
