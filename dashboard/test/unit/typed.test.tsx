import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { useState } from "react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { keepPlace, placeOf } from "@/lib/places";
import { PAUSE_MS, useTyped } from "@/lib/useTyped";
import { useNewArrivals } from "@/live/hooks";
import { CurrencyInput } from "@/ui/CurrencyInput";
import { fitting, type GridColumn, leastWidths, tracks } from "@/ui/grid/columns";
import { MomentInput } from "@/ui/MomentInput";
import { result } from "./samples";

const { handlers } = vi.hoisted(() => ({ handlers: new Set<(batch: unknown) => void>() }));
vi.mock("@/live/feed", () => ({
  feed: {
    on: (_event: string, handler: (batch: unknown) => void) => {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
  },
}));

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

const type = (element: HTMLElement, text: string) => {
  for (let at = 1; at <= text.length; at += 1)
    fireEvent.change(element, { target: { value: text.slice(0, at) } });
};

describe("a filter that is typed", () => {
  function Typed({ onText }: { onText: (text: string) => void }) {
    const [value, setValue] = useState("");
    const typed = useTyped(value, (text) => {
      onText(text);
      setValue(text);
    });
    return <input aria-label="Amount" {...typed.field} />;
  }

  test("asks once, after a pause, not at each key", () => {
    const onText = vi.fn();
    render(<Typed onText={onText} />);
    type(screen.getByLabelText("Amount"), "1234.50");
    expect(onText).not.toHaveBeenCalled();
    act(() => void vi.advanceTimersByTime(PAUSE_MS));
    expect(onText.mock.calls).toEqual([["1234.50"]]);
  });

  test("asks at once by Enter and when it is left, and not again for the same", () => {
    const onText = vi.fn();
    render(<Typed onText={onText} />);
    const field = screen.getByLabelText("Amount");
    type(field, "12");
    fireEvent.keyDown(field, { key: "Enter" });
    fireEvent.blur(field);
    act(() => void vi.advanceTimersByTime(PAUSE_MS * 2));
    expect(onText.mock.calls).toEqual([["12"]]);
    type(field, "123");
    fireEvent.blur(field);
    expect(onText.mock.calls).toEqual([["12"], ["123"]]);
  });

  test("is not lost when its form closes", () => {
    const onText = vi.fn();
    const { unmount } = render(<Typed onText={onText} />);
    type(screen.getByLabelText("Amount"), "9");
    unmount();
    expect(onText.mock.calls).toEqual([["9"]]);
  });

  test("is asked for as a currency only once it is one", () => {
    const onCurrency = vi.fn();
    render(<CurrencyInput aria-label="Currency" value={undefined} onCurrency={onCurrency} />);
    const field = screen.getByLabelText("Currency");
    type(field, "gb");
    act(() => void vi.advanceTimersByTime(PAUSE_MS * 2));
    expect(onCurrency).not.toHaveBeenCalled();
    type(field, "gbx");
    expect(onCurrency).not.toHaveBeenCalled();
    expect(screen.getByRole("alert")).toHaveTextContent(
      "GBX is no currency of ISO 4217: write the amount in GBP",
    );
    type(field, "gbp");
    expect(onCurrency.mock.calls).toEqual([["GBP"]]);
    expect(screen.queryByRole("alert")).toBeNull();
  });

  test("shows the currency in force again when it is left half typed", () => {
    const onCurrency = vi.fn();
    render(<CurrencyInput aria-label="Currency" value="EUR" onCurrency={onCurrency} />);
    const field = screen.getByLabelText("Currency");
    fireEvent.change(field, { target: { value: "EU" } });
    fireEvent.blur(field);
    expect(field).toHaveValue("EUR");
    fireEvent.change(field, { target: { value: "" } });
    expect(onCurrency.mock.calls).toEqual([[undefined]]);
  });

  test("is asked for as a moment only once its year is one", () => {
    const onMoment = vi.fn();
    render(<MomentInput value={undefined} onMoment={onMoment} />);
    const field = document.querySelector("input") as HTMLInputElement;
    fireEvent.change(field, { target: { value: "0202-11-23T10:00" } });
    act(() => void vi.advanceTimersByTime(PAUSE_MS));
    expect(onMoment).not.toHaveBeenCalled();
    fireEvent.change(field, { target: { value: "2026-11-23T10:00" } });
    act(() => void vi.advanceTimersByTime(PAUSE_MS));
    expect(onMoment.mock.calls).toEqual([[new Date("2026-11-23T10:00").getTime()]]);
  });
});

describe("new arrivals", () => {
  const say = (...results: unknown[]) => {
    for (const handler of handlers) handler({ results });
    act(() => void vi.advanceTimersByTime(300));
  };
  function Count({ currency, known = [] }: { currency: string; known?: string[] }) {
    const { count } = useNewArrivals((row) => row.currency === currency, new Set(known), true, currency);
    return <output>{count}</output>;
  }
  const shown = () => screen.getByRole("status").textContent;

  test("are those that the list's filters would show, and that are not in it yet", () => {
    const { rerender } = render(<Count currency="EUR" />);
    say(result("a"), result("b"), result("c", { currency: "USD" }));
    expect(shown()).toBe("2");
    say(result("b", { revision: 2, currency: "USD" })); // no longer one of these
    expect(shown()).toBe("1");
    rerender(<Count currency="EUR" known={["a"]} />);
    expect(shown()).toBe("0");
  });

  test("of one list are not those of another", () => {
    const { rerender } = render(<Count currency="EUR" />);
    say(...Array.from({ length: 133 }, (_, at) => result(`t${at}`)));
    expect(shown()).toBe("133");
    rerender(<Count currency="KWD" />);
    expect(shown()).toBe("0");
    say(result("k", { currency: "KWD" }));
    expect(shown()).toBe("1");
  });
});

describe("the columns of a list", () => {
  interface Row {
    id: string;
    sum: string;
  }
  const cell = () => null;
  const columns: GridColumn<Row>[] = [
    { id: "id", header: "Id", width: 140, grow: 1, characters: (row) => row.id.length, cell },
    { id: "sum", header: "Sum", width: 100, characters: (row) => row.sum.length, cell },
    { id: "leg", header: "Leg", width: 300, stages: [0, 0], cell },
    { id: "glyph", header: "Legs", width: 36, stages: [1, 1], cell },
  ];

  test("are wide enough for the longest value, so that no amount is cut", () => {
    const rows = [
      { id: "T1", sum: "EUR 1.00" },
      { id: "T2", sum: "KWD 123,456,789,012.345" },
    ];
    const widths = leastWidths(columns, rows);
    expect(widths.get("sum")).toBe(180); // 23 characters of 7.8 px
    expect(widths.get("id")).toBe(140);
    const shown = fitting(columns, widths, 2_000) ?? [];
    expect(tracks(shown, widths)).toBe("minmax(8.75rem, 10fr) 11.25rem 18.75rem");
  });

  test("give way to what stands for them where there is no room", () => {
    const widths = leastWidths(columns, []);
    const shown = (px: number) => fitting(columns, widths, px)?.map(({ id }) => id);
    expect(shown(600)).toEqual(["id", "sum", "leg"]);
    expect(shown(599)).toEqual(["id", "sum", "glyph"]);
    expect(shown(335)).toEqual(["id", "sum"]);
    expect(shown(285)).toBeUndefined(); // cards
  });

  test("a list's place is kept, and the oldest of many forgotten", () => {
    for (let at = 0; at < 51; at += 1) keepPlace(`list ${at}`, at + 1);
    expect(placeOf("list 0")).toBe(0);
    expect(placeOf("list 50")).toBe(51);
  });
});
