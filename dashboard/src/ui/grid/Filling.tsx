import type { ReactNode } from "react";
import type { AmountOrder } from "@/api/types";
import { span } from "@/lib/time";
import type { Fill } from "@/lib/useFill";
import { useNow } from "@/live/hooks";
import { Button } from "../Button";
import { Empty } from "../States";

/** An empty list whose search has not come to its end, or `children` when it has. */
export function EmptySearch({
  fill,
  searchedTo,
  children,
}: {
  fill: Fill;
  searchedTo?: number | null | undefined;
  children: ReactNode;
}) {
  const now = useNow();
  if (fill.state === "idle") return children;
  const searching = fill.state === "searching";
  return (
    <Empty
      title={searching ? "Still searching" : "Nothing so far"}
      action={!searching && <Button onClick={fill.goOn}>Look further back</Button>}
    >
      {searchedTo ? `Looked back to ${span(now - searchedTo)} ago.` : "There is more to look through."}
    </Empty>
  );
}

/** How the loading of a list stands, for the line below it. */
export function FillState({ fill }: { fill: Fill }) {
  if (fill.state === "searching") return ", loading more";
  if (fill.state === "idle") return null;
  return (
    <>
      {fill.state === "failed" ? ", more could not be loaded " : ", there may be more "}
      <Button small kind="ghost" onClick={fill.goOn}>
        {fill.state === "failed" ? "Try again" : "Look further back"}
      </Button>
    </>
  );
}

/** How amounts of several currencies were put in order; nothing where there is but one. */
export function OrderNote({ order }: { order: AmountOrder | null | undefined }) {
  if (!order || order.currencies < 2) return null;
  const { base_currency: base, without_rate: without } = order;
  if (base === null) return <span>No exchange rates are set: one currency after another</span>;
  if (without.length === order.currencies) return <span>No rates for these: one currency after another</span>;
  return (
    <span>
      By worth in {base}
      {without.length > 0 && `; no rate for ${without.join(", ")}: last, each by itself`}
    </span>
  );
}
