import { render, screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { expect, test, vi } from "vitest";
import { useFill } from "@/lib/useFill";
import { EmptySearch } from "@/ui/grid/Filling";

/** A search whose pages are empty up to page `foundAt`, and that fails at page `failsAt`. */
function Search({
  asked,
  foundAt = 99,
  failsAt = 99,
}: {
  asked: () => void;
  foundAt?: number;
  failsAt?: number;
}) {
  const [pages, setPages] = useState(1);
  const [failed, setFailed] = useState(false);
  const rows = pages >= foundAt ? 100 : 0;
  const fill = useFill(
    {
      data: { pages: Array.from({ length: pages }) },
      hasNextPage: pages < foundAt,
      isFetchingNextPage: false,
      isFetchNextPageError: failed,
      fetchNextPage: () => {
        asked();
        if (pages === failsAt) setFailed(true);
        else setPages(pages + 1);
      },
    },
    rows,
  );
  return rows > 0 ? <p>found</p> : <EmptySearch fill={fill}>nothing</EmptySearch>;
}

test("a search goes on through empty pages until it finds something", async () => {
  const asked = vi.fn();
  render(<Search asked={asked} foundAt={5} />);
  expect(await screen.findByText("found")).toBeInTheDocument();
  expect(asked).toHaveBeenCalledTimes(4);
});

test("a long search stops and says so, and goes on when told to", async () => {
  const asked = vi.fn();
  render(<Search asked={asked} foundAt={15} />);
  await screen.findByText("Nothing so far");
  expect(asked).toHaveBeenCalledTimes(11);
  await userEvent.click(screen.getByRole("button", { name: "Look further back" }));
  expect(await screen.findByText("found")).toBeInTheDocument();
});

test("a page that cannot be had is not asked for without end", async () => {
  const asked = vi.fn();
  render(<Search asked={asked} failsAt={3} />);
  await screen.findByText("Nothing so far");
  await waitFor(() => expect(asked).toHaveBeenCalledTimes(3));
});
