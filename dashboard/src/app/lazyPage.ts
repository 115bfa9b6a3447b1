/** Loads the code of a screen, and what happens when it does not come: no network, or names of a version that is gone. */

/** The code of a screen did not come. Only loading the whole page anew asks for it again: browsers keep the failure. */
export class PageLoadError extends Error {
  constructor(cause: unknown) {
    super("The code of this screen could not be loaded.", { cause });
    this.name = "PageLoadError";
  }
}

/** An import whose failure is a PageLoadError. */
export function lazyPage<M>(load: () => Promise<M>): () => Promise<M> {
  return async () => {
    try {
      return await load();
    } catch (cause) {
      throw new PageLoadError(cause);
    }
  };
}

/** By itself the page is loaded anew at most this often, in milliseconds: a screen that never comes is no loop. */
export const RELOAD_EVERY_MS = 30_000;

const RELOADED_AT = "recon.reloaded-at";

/** Whether the page may be loaded anew by itself now; yes counts as done. */
export function mayReload(
  storage: Pick<Storage, "getItem" | "setItem">,
  now: number,
  online: boolean,
): boolean {
  if (!online) return false;
  const last = Number(storage.getItem(RELOADED_AT));
  if (last > 0 && now - last < RELOAD_EVERY_MS) return false;
  storage.setItem(RELOADED_AT, String(now));
  return true;
}
