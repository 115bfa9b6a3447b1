/** The routes. The overview is in the first load; every other screen is loaded when it is first shown. */

import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
} from "@tanstack/react-router";
import { SIGNED_OUT_PATH } from "@/auth/session";
import { readAuditSearch } from "@/features/audit/search";
import { readDeadLetterSearch } from "@/features/deadletters/search";
import { readExceptionSearch } from "@/features/exceptions/search";
import { readLiveSearch } from "@/features/live/search";
import { OverviewPage } from "@/features/overview/OverviewPage";
import { readTransactionSearch } from "@/features/transactions/search";
import { compact, flag, oneOf, parseSearch, stringifySearch, whole } from "@/lib/search";
import { Crash } from "./Crash";
import { lazyPage } from "./lazyPage";
import { NotFound } from "./NotFound";
import { Shell } from "./Shell";
import { WINDOWS, type WindowName } from "./windows";

const root = createRootRoute({ component: Outlet, notFoundComponent: NotFound });
const app = createRoute({ getParentRoute: () => root, id: "app", component: Shell });

const overview = createRoute({
  getParentRoute: () => app,
  path: "/",
  component: OverviewPage,
  validateSearch: (raw): { window?: WindowName } =>
    compact({ window: oneOf(raw, "window", Object.keys(WINDOWS) as WindowName[]) }),
});
const live = createRoute({
  getParentRoute: () => app,
  path: "live",
  component: lazyRouteComponent(lazyPage(() => import("@/features/live/LivePage"))),
  validateSearch: readLiveSearch,
});
const transactions = createRoute({
  getParentRoute: () => app,
  path: "transactions",
  component: lazyRouteComponent(lazyPage(() => import("@/features/transactions/TransactionsPage"))),
  validateSearch: readTransactionSearch,
});
const transaction = createRoute({
  getParentRoute: () => app,
  path: "transactions/$txnId",
  component: lazyRouteComponent(lazyPage(() => import("@/features/transaction/TransactionPage"))),
});
const exceptions = createRoute({
  getParentRoute: () => app,
  path: "exceptions",
  component: lazyRouteComponent(lazyPage(() => import("@/features/exceptions/ExceptionsPage"))),
  validateSearch: readExceptionSearch,
});
const rules = createRoute({
  getParentRoute: () => app,
  path: "rules",
  component: lazyRouteComponent(lazyPage(() => import("@/features/rules/RulesPage"))),
  validateSearch: (raw): { version?: number; draft?: boolean } =>
    compact({ version: whole(raw, "version"), draft: flag(raw, "draft") }),
});
const deadLetters = createRoute({
  getParentRoute: () => app,
  path: "dead-letters",
  component: lazyRouteComponent(lazyPage(() => import("@/features/deadletters/DeadLettersPage"))),
  validateSearch: readDeadLetterSearch,
});
const audit = createRoute({
  getParentRoute: () => app,
  path: "audit",
  component: lazyRouteComponent(lazyPage(() => import("@/features/audit/AuditPage"))),
  validateSearch: readAuditSearch,
});
const pipeline = createRoute({
  getParentRoute: () => app,
  path: "pipeline",
  component: lazyRouteComponent(lazyPage(() => import("@/features/pipeline/PipelinePage"))),
});
const signedOut = createRoute({ getParentRoute: () => root, path: SIGNED_OUT_PATH, component: () => null });

const routeTree = root.addChildren([
  app.addChildren([
    overview,
    live,
    transactions,
    transaction,
    exceptions,
    rules,
    deadLetters,
    audit,
    pipeline,
  ]),
  signedOut,
]);

export const router = createRouter({
  routeTree,
  parseSearch,
  stringifySearch,
  defaultPreload: "intent",
  defaultErrorComponent: Crash,
  scrollRestoration: false,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
