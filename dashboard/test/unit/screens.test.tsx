import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import {
  createMemoryHistory,
  createRootRoute,
  createRoute,
  createRouter,
  RouterProvider,
} from "@tanstack/react-router";
import { cleanup, render, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { type ReactNode, useState } from "react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ApiProblem, explain } from "@/api/problem";
import { queries } from "@/api/queries";
import type { ExceptionDetail, Me } from "@/api/types";
import { session } from "@/auth/session";
import { DeskPanel } from "@/features/exceptions/DeskPanel";
import { Difference } from "@/features/exceptions/Difference";
import { Ageing } from "@/features/overview/Ageing";
import { NeedsYou } from "@/features/overview/NeedsYou";
import { LegCell } from "@/features/transactions/LegCell";
import { useTriage } from "@/lib/useKeys";
import { OrderNote } from "@/ui/grid/Filling";
import { Grid } from "@/ui/grid/Grid";
import { LegGlyph, VerdictMark } from "@/ui/marks";
import { exceptionDetail, makeWorld, summary } from "../mock/data";
import { row } from "./samples";

const world = makeWorld(1_700_000_000_000);

function me(role: Me["role"], allowed: string[]): Me {
  return { username: "anna", name: "Anna", role, subject: "1", token_expires: 0, allowed };
}

async function show(node: ReactNode, fill: (client: QueryClient) => void = () => undefined) {
  const client = new QueryClient({
    defaultOptions: { queries: { staleTime: Number.POSITIVE_INFINITY, retry: false } },
  });
  fill(client);
  const root = createRootRoute();
  const index = createRoute({ getParentRoute: () => root, path: "/", component: () => node });
  const other = createRoute({
    getParentRoute: () => root,
    path: "/transactions/$txnId",
    component: () => <p>opened</p>,
  });
  const router = createRouter({
    routeTree: root.addChildren([index, other]),
    history: createMemoryHistory({ initialEntries: ["/"] }),
  });
  render(
    <QueryClientProvider client={client}>
      <RouterProvider router={router as never} />
    </QueryClientProvider>,
  );
  await waitFor(() => expect(document.body.querySelector("div > *")).not.toBeNull());
  return client;
}

describe("a leg", () => {
  test("that differs says so in words, not in colour alone", async () => {
    await show(<LegCell row={row("a")} source="MOBILE" odd={new Set(["MOBILE.amount_minor"])} />);
    expect(screen.getByText("differs:")).toBeInTheDocument();
    expect(screen.getByText("12.00")).toBeInTheDocument();
  });

  test("that is missing is told from one that has not come yet", async () => {
    const gone = row("a", { legs: {}, missing_sources: ["CORE"] });
    await show(
      <>
        <LegCell row={gone} source="CORE" odd={new Set()} />
        <LegCell row={gone} source="MOBILE" odd={new Set()} />
      </>,
    );
    expect(screen.getByText("missing")).toBeInTheDocument();
    expect(screen.getByText("not yet")).toBeInTheDocument();
  });

  test("the glyph of three has a name", async () => {
    await show(
      <LegGlyph sources={["CORE", "GATEWAY", "MOBILE"]} legs={row("a").legs} odd={new Set(["MOBILE"])} />,
    );
    expect(
      screen.getByRole("img", { name: "Core agrees, Gateway agrees, Mobile differs" }),
    ).toBeInTheDocument();
  });

  test("a provisional verdict says that it is one", async () => {
    await show(<VerdictMark verdict="MISMATCHED" final={false} />);
    expect(screen.getByText(/so far/)).toBeInTheDocument();
  });
});

describe("the desk by role", () => {
  const detail = exceptionDetail(
    world,
    world.desk.find((each) => each.state === "open")?.txn_id ?? "",
  ) as ExceptionDetail;
  const id = detail.exception.txn_id;
  const fill =
    (role: Me["role"], allowed: string[], change: Partial<ExceptionDetail> = {}) =>
    (client: QueryClient) => {
      client.setQueryData(queries.me().queryKey, me(role, allowed));
      client.setQueryData(queries.exception(id).queryKey, { ...detail, ...change });
      client.setQueryData(queries.people().queryKey, [{ username: "arno", name: "Arno", role: "analyst" }]);
    };
  const analyst = ["actOnException", "addExceptionComment"];

  test("a viewer reads comments and is shown no action", async () => {
    await show(<DeskPanel txnId={id} />, fill("viewer", []));
    expect(await screen.findByText(/second is due tonight/)).toBeInTheDocument();
    expect(screen.queryByRole("button")).toBeNull();
    expect(screen.queryByRole("textbox")).toBeNull();
  });

  test("an analyst is shown what the service says is possible", async () => {
    await show(
      <DeskPanel txnId={id} />,
      fill("analyst", analyst, { actions: ["assign", "start_review", "resolve"] }),
    );
    expect(await screen.findByRole("button", { name: /Resolve|Propose/ })).toBeInTheDocument();
    expect(screen.getByRole("button", { name: "Start review" })).toBeInTheDocument();
    expect(screen.queryByRole("button", { name: "Approve" })).toBeNull();
  });

  test("the checker is shown who proposed", async () => {
    const exception = { ...detail.exception, state: "in_review" as const, proposed_by: "arno" };
    await show(
      <DeskPanel txnId={id} />,
      fill("analyst", analyst, { exception, actions: ["approve", "reject"] }),
    );
    expect(await screen.findByRole("button", { name: "Approve" })).toBeInTheDocument();
    expect(screen.getByText(/proposes to resolve/)).toBeInTheDocument();
  });

  describe("with the service", () => {
    const fetched = vi.fn<(request: Request) => Promise<Response>>();
    beforeEach(() => {
      fetched.mockReset();
      vi.stubGlobal("fetch", fetched);
      vi.spyOn(session, "token").mockResolvedValue("token-1");
    });
    afterEach(() => vi.unstubAllGlobals());

    test("a step carries the version that it is based on, and the token", async () => {
      fetched.mockImplementation(async () => Response.json(detail));
      await show(<DeskPanel txnId={id} />, fill("analyst", analyst, { actions: ["start_review"] }));
      await userEvent.click(await screen.findByRole("button", { name: "Start review" }));
      const request = fetched.mock.calls.map(([each]) => each).find((each) => each.method === "POST");
      expect(request?.headers.get("authorization")).toBe("Bearer token-1");
      expect(await request?.json()).toMatchObject({
        action: "start_review",
        version: detail.exception.version,
      });
    });

    test("rejecting a proposal asks for the reason and sends it", async () => {
      fetched.mockImplementation(async () => Response.json(detail));
      const exception = { ...detail.exception, state: "in_review" as const, proposed_by: "arno" };
      await show(
        <DeskPanel txnId={id} />,
        fill("analyst", analyst, { exception, actions: ["approve", "reject"] }),
      );
      await userEvent.click(await screen.findByRole("button", { name: "Reject" }));
      const dialog = within(await screen.findByRole("dialog", { name: "Reject the proposal" }));
      expect(dialog.getByRole("button", { name: "Reject" })).toBeDisabled();
      expect(fetched.mock.calls.filter(([each]) => each.method === "POST")).toEqual([]);
      await userEvent.type(dialog.getByLabelText(/Reason/), "The bank has not confirmed it.");
      await userEvent.click(dialog.getByRole("button", { name: "Reject" }));
      const request = fetched.mock.calls.map(([each]) => each).find((each) => each.method === "POST");
      expect(await request?.json()).toMatchObject({
        action: "reject",
        note: "The bank has not confirmed it.",
        version: exception.version,
      });
    });

    test("what a colleague did while the dialog was open is not overwritten", async () => {
      fetched.mockImplementation(async () => Response.json({ title: "Stale" }, { status: 409 }));
      let client: QueryClient | undefined;
      await show(<DeskPanel txnId={id} />, (made) => {
        client = made;
        fill("analyst", analyst, { actions: ["resolve"] })(made);
      });
      await userEvent.click(await screen.findByRole("button", { name: /^Resolve|^Propose/ }));
      const dialog = within(await screen.findByRole("dialog"));
      await userEvent.selectOptions(dialog.getByLabelText("Reason"), "fee_or_fx");
      const reviewed = {
        ...detail.exception,
        state: "in_review" as const,
        version: detail.exception.version + 1,
      };
      client?.setQueryData(queries.exception(id).queryKey, {
        ...detail,
        exception: reviewed,
        actions: ["resolve"],
      });
      await userEvent.click(dialog.getByRole("button", { name: /^Resolve|^Propose/ }));
      const request = fetched.mock.calls.map(([each]) => each).find((each) => each.method === "POST");
      expect(await request?.json()).toMatchObject({ action: "resolve", version: detail.exception.version });
      await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
    });

    test("a refusal with 401 is tried once more with a new token, then the session is over", async () => {
      const renew = vi.spyOn(session, "renew").mockResolvedValue(true);
      const end = vi.spyOn(session, "end").mockImplementation(() => undefined);
      fetched.mockImplementation(async () =>
        Response.json({ type: "/problems/not-signed-in" }, { status: 401 }),
      );
      await show(<DeskPanel txnId={id} />, fill("analyst", analyst, { actions: ["start_review"] }));
      await userEvent.click(await screen.findByRole("button", { name: "Start review" }));
      await waitFor(() => expect(end).toHaveBeenCalled());
      expect(renew).toHaveBeenCalledWith(-1);
    });
  });
});

test("triage shows what each source says of the selected exception", async () => {
  const found = exceptionDetail(world, world.desk[0]?.txn_id ?? "") as ExceptionDetail;
  const transaction = row("a", { missing_sources: ["CORE"], breaks: ["AMOUNT", "MISSING"] });
  const { CORE: _gone, ...legs } = transaction.legs;
  const detail = { ...found, exception: { ...found.exception, transaction: { ...transaction, legs } } };
  await show(<Difference txnId="a" />, (client) => {
    client.setQueryData(queries.exception("a").queryKey, detail);
  });
  expect(await screen.findByRole("link", { name: "a" })).toBeInTheDocument();
  const said = screen.getAllByRole("definition").map((each) => each.textContent);
  expect(said.slice(1)).toEqual(["missing", "10.00success", "≠differs: 12.00success"]);
});

test("the ageing of exceptions keeps each currency to its own column", async () => {
  const age = (label: "under_1h" | "under_1d", at_risk: [string, number][]) => ({
    label,
    count: at_risk.length,
    at_risk: at_risk.map(([currency, amount_minor]) => ({ currency, amount_minor, count: 1 })),
  });
  const ageing = [
    age("under_1h", [
      ["EUR", 1_234_500],
      ["JPY", 5_000],
    ]),
    age("under_1d", [["EUR", 100]]),
  ];
  const sum = { ...summary(world, 1_700_000_000_000, 3_600_000), ageing };
  await show(<Ageing summary={sum} />);
  const table = await screen.findByRole("table");
  const cells = within(table)
    .getAllByRole("row")
    .map((each) => each.textContent);
  expect(cells).toEqual(["WaitingExceptionsEURJPY", "under 1 hour212,345.005,000", "under 1 day11.00none"]);
});

describe("how amounts were put in order", () => {
  const order = (base_currency: string | null, currencies: number, without_rate: string[]) => ({
    base_currency,
    currencies,
    without_rate,
  });
  test.each([
    [order("EUR", 3, []), "By worth in EUR"],
    [order("EUR", 3, ["ISK", "KWD"]), "By worth in EUR; no rate for ISK, KWD: last, each by itself"],
    [order(null, 2, ["EUR", "USD"]), "No exchange rates are set: one currency after another"],
    [order("EUR", 2, ["ISK", "KWD"]), "No rates for these: one currency after another"],
    [order(null, 1, ["EUR"]), ""],
    [null, ""],
  ])("%o", async (given, text) => {
    await show(
      <p data-testid="note">
        <OrderNote order={given} />
      </p>,
    );
    expect((await screen.findByTestId("note")).textContent).toBe(text);
  });

  test("the overview shows the gravest where the largest cannot be told", async () => {
    const page = (ids: string[], without_rate: string[]) => ({
      pages: [
        {
          items: ids.map((id) => ({ ...world.desk[0], txn_id: id })),
          next_cursor: null,
          searched_to: null,
          amount_order: order(null, 2, without_rate),
        },
      ],
      pageParams: [null],
    });
    await show(<NeedsYou />, (client) => {
      client.setQueryData(queries.me().queryKey, me("viewer", []));
      client.setQueryData(queries.buckets().queryKey, {
        open: { value: 2, relation: "exact", at_most: null },
        assigned: 0,
        in_review: 0,
        resolved: 0,
        mine: 0,
        awaiting_me: 0,
      });
      const largest = queries.exceptions({ bucket: "open", sort: "-amount_minor" }).queryKey;
      const gravest = queries.exceptions({ bucket: "open", severity: "critical" }).queryKey;
      client.setQueryData(largest, page(["largest-in-aed"], ["AED", "EUR"]) as never);
      client.setQueryData(gravest, page(["gravest"], []) as never);
    });
    expect(await screen.findByText("Critical and open, newest first")).toBeInTheDocument();
    expect(screen.getByText("gravest")).toBeInTheDocument();
    expect(screen.queryByText("largest-in-aed")).toBeNull();
  });
});

describe("the grid", () => {
  interface Item {
    id: string;
  }
  const items: Item[] = Array.from({ length: 5_000 }, (_, at) => ({ id: `row-${at}` }));
  const rowId = (item: Item) => item.id;
  const columns = [
    { id: "name", header: "Name", width: 100, cell: (item: Item) => item.id, sorts: ["-name", "name"] },
    { id: "more", header: "More", width: 100, cell: () => "x", extra: true },
  ];

  test("draws a few dozen of thousands of rows, and says how many there are", async () => {
    await show(<Grid label="Items" rows={items} columns={columns} rowId={rowId} card={() => null} />);
    const grid = await screen.findByRole("grid", { name: "Items" });
    expect(grid).toHaveAttribute("aria-rowcount", "5001");
    expect(within(grid).getAllByRole("row").length).toBeLessThan(80);
  });

  test("hides columns, and tells the order in force", async () => {
    const onSort = vi.fn();
    await show(
      <Grid
        label="Items"
        rows={items}
        columns={columns}
        rowId={rowId}
        card={() => null}
        visibility={{ more: false }}
        sort="-name"
        onSort={onSort}
      />,
    );
    expect(await screen.findByRole("columnheader", { name: "Name" })).toHaveAttribute(
      "aria-sort",
      "descending",
    );
    expect(screen.queryByRole("columnheader", { name: "More" })).toBeNull();
    await userEvent.click(screen.getByRole("button", { name: "Name" }));
    expect(onSort).toHaveBeenCalledWith("name");
  });

  test("as cards, it is ordered by a choice instead of its headings", async () => {
    vi.spyOn(window, "matchMedia").mockImplementation(
      (media) =>
        ({
          matches: true,
          media,
          addEventListener: () => undefined,
          removeEventListener: () => undefined,
        }) as unknown as MediaQueryList,
    );
    const onSort = vi.fn();
    await show(
      <Grid
        label="Items"
        rows={items}
        columns={columns}
        rowId={rowId}
        card={(item) => item.id}
        sort="-name"
        onSort={onSort}
      />,
    );
    const order = await screen.findByRole("combobox", { name: "Order" });
    expect(
      within(order)
        .getAllByRole("option")
        .map((each) => each.textContent),
    ).toEqual(["Name, descending", "Name, ascending"]);
    await userEvent.selectOptions(order, "name");
    expect(onSort).toHaveBeenCalledWith("name");
    vi.restoreAllMocks();
  });

  test("j and k go through the rows, Enter opens, and typing in a field does nothing of it", async () => {
    const onActive = vi.fn();
    const onOpen = vi.fn();
    function Triage() {
      useTriage(items, rowId, "row-1", onActive, onOpen);
      return <input aria-label="Field" />;
    }
    await show(<Triage />);
    await screen.findByRole("textbox");
    await userEvent.keyboard("jk{Enter}");
    expect(onActive.mock.calls.map(([item]) => item.id)).toEqual(["row-2", "row-0"]);
    expect(onOpen).toHaveBeenCalledWith(items[1]);
    await userEvent.type(screen.getByRole("textbox"), "jjj");
    expect(onActive).toHaveBeenCalledTimes(2);
  });

  test("when the selected row leaves the list, j goes on with what took its place", async () => {
    const chosen: string[] = [];
    function Triage() {
      const [rows, setRows] = useState(items.slice(0, 4));
      const [active, setActive] = useState<string>();
      const choose = (item: Item) => {
        chosen.push(item.id);
        setActive(item.id);
      };
      useTriage(rows, rowId, active, choose, choose);
      return (
        <button type="button" onClick={() => setRows(rows.filter(({ id }) => id !== active))}>
          Settle
        </button>
      );
    }
    await show(<Triage />);
    const settle = await screen.findByRole("button", { name: "Settle" });
    await userEvent.keyboard("jj");
    await userEvent.click(settle);
    await userEvent.keyboard("j");
    await userEvent.click(settle);
    await userEvent.keyboard("k");
    expect(chosen).toEqual(["row-0", "row-1", "row-2", "row-0"]);
  });

  test("news at the edge of the screen keep no key away, a dialog does", async () => {
    const onActive = vi.fn();
    function Triage({ toast }: { toast: boolean }) {
      useTriage(items, rowId, undefined, onActive, onActive);
      return (
        <div role="dialog" aria-label="Anything" {...(toast ? { "data-toast": "" } : {})}>
          x
        </div>
      );
    }
    await show(<Triage toast />);
    await screen.findByRole("dialog");
    await userEvent.keyboard("j");
    expect(onActive).toHaveBeenCalledTimes(1);
    cleanup();
    await show(<Triage toast={false} />);
    await screen.findByRole("dialog");
    await userEvent.keyboard("j");
    expect(onActive).toHaveBeenCalledTimes(1);
  });
});

test("problems are explained with their fields and the request's id", () => {
  const problem = new ApiProblem({
    type: "/problems/invalid",
    status: 422,
    detail: "not valid",
    request_id: "req-1",
    errors: [{ where: "query.limit", problem: "too large" }],
  });
  expect(explain(problem)).toEqual({
    title: "The request is not valid",
    detail: "query.limit: too large",
    requestId: "req-1",
  });
  expect(explain(new ApiProblem({ status: 0 })).title).toBe("The service does not answer");
});
