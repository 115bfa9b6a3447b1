import { createMemoryHistory, createRootRoute, createRoute, createRouter } from "@tanstack/react-router";
import { cleanup, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { goBack } from "@/app/back";
import { NotLoaded } from "@/app/Crash";
import { lazyPage, mayReload, PageLoadError, RELOAD_EVERY_MS } from "@/app/lazyPage";

beforeEach(() => window.sessionStorage.clear());
afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
});

describe("the code of a screen that does not come", () => {
  test("is an error of its own, and what comes is given on", async () => {
    const failing = lazyPage(() =>
      Promise.reject(new TypeError("Failed to fetch dynamically imported module: x.js")),
    );
    await expect(failing()).rejects.toBeInstanceOf(PageLoadError);
    await expect(lazyPage(() => Promise.resolve(7))()).resolves.toBe(7);
  });

  test("reloads the page once by itself, then only by the button", async () => {
    const reload = vi.fn();
    render(<NotLoaded reload={reload} />);
    expect(reload).toHaveBeenCalledTimes(1);
    cleanup();
    render(<NotLoaded reload={reload} />);
    expect(reload).toHaveBeenCalledTimes(1);
    await userEvent.click(screen.getByRole("button", { name: "Load it again" }));
    expect(reload).toHaveBeenCalledTimes(2);
  });

  test("waits for the network", () => {
    const online = vi.spyOn(window.navigator, "onLine", "get").mockReturnValue(false);
    const reload = vi.fn();
    render(<NotLoaded reload={reload} />);
    expect(reload).not.toHaveBeenCalled();
    online.mockReturnValue(true);
    window.dispatchEvent(new Event("online"));
    expect(reload).toHaveBeenCalledTimes(1);
  });

  test("may reload again after a while", () => {
    expect(mayReload(window.sessionStorage, 1_000, true)).toBe(true);
    expect(mayReload(window.sessionStorage, 1_000 + RELOAD_EVERY_MS - 1, true)).toBe(false);
    expect(mayReload(window.sessionStorage, 1_000 + RELOAD_EVERY_MS, true)).toBe(true);
  });
});

describe("going back", () => {
  function at(entries: string[]) {
    const root = createRootRoute();
    const list = createRoute({ getParentRoute: () => root, path: "transactions" });
    const one = createRoute({ getParentRoute: () => root, path: "transactions/$txnId" });
    const other = createRoute({ getParentRoute: () => root, path: "exceptions" });
    return createRouter({
      routeTree: root.addChildren([list, one, other]),
      history: createMemoryHistory({ initialEntries: entries }),
    });
  }

  test("leads to the page before", async () => {
    const router = at(["/exceptions"]);
    await router.load();
    await router.navigate({ to: "/transactions/$txnId", params: { txnId: "T1" } });
    goBack(router);
    await vi.waitFor(() => expect(router.history.location.pathname).toBe("/exceptions"));
  });

  test("leads to the list from a deep link, which has no page before it", async () => {
    const router = at(["/transactions/T1"]);
    await router.load();
    goBack(router);
    await vi.waitFor(() => expect(router.history.location.pathname).toBe("/transactions"));
  });
});
