/** Saved views: names for filters, kept in this browser. */

import { readPreference, writePreference } from "@/lib/storage";
import { readTransactionSearch, type TransactionSearch } from "./search";

export interface SavedView {
  name: string;
  search: TransactionSearch;
}

const VIEWS_MAX = 20;

export const BUILT_IN: readonly SavedView[] = [
  { name: "Largest mismatches", search: { verdict: "MISMATCHED", sort: "-amount_minor" } },
  {
    name: "Amounts that differ",
    search: { verdict: "MISMATCHED", break: ["AMOUNT"], sort: "-spread_minor" },
  },
  { name: "Missing at a source", search: { verdict: "MISMATCHED", break: ["MISSING"] } },
  { name: "Healed late", search: { verdict: "MATCHED", late: true } },
];

export function savedViews(): SavedView[] {
  return readPreference<SavedView[]>("views", []).map((view) => ({
    name: String(view.name),
    search: readTransactionSearch(view.search as Record<string, unknown>),
  }));
}

export function saveView(view: SavedView): SavedView[] {
  const views = [view, ...savedViews().filter((each) => each.name !== view.name)].slice(0, VIEWS_MAX);
  writePreference("views", views);
  return views;
}

export function forgetView(name: string): SavedView[] {
  const views = savedViews().filter((each) => each.name !== name);
  writePreference("views", views);
  return views;
}
