import type { AnyRouter } from "@tanstack/react-router";

/** To the page before this one; after a reload or a deep link, before which there is none of ours, to the list. */
export function goBack(router: AnyRouter): void {
  if (router.history.canGoBack()) router.history.back();
  else void router.navigate({ to: "/transactions" });
}
