import { useEffect } from "react";
import { Button } from "@/ui/Button";
import { Empty } from "@/ui/States";
import { mayReload, PageLoadError } from "./lazyPage";

/** An error of our own: the screen is gone, the rest stands. */
export function Crash({ error, reset }: { error: unknown; reset: () => void }) {
  if (error instanceof PageLoadError) return <NotLoaded />;
  return (
    <Empty
      title="This screen failed"
      action={
        <Button kind="primary" onClick={reset}>
          Try again
        </Button>
      }
    >
      {error instanceof Error ? error.message : String(error)}
    </Empty>
  );
}

const reloadPage = () => window.location.reload();

/**
 * The code of a screen did not come. After a new deployment one reload brings it, which happens by itself; without
 * network it happens when there is one again.
 */
export function NotLoaded({ reload = reloadPage }: { reload?: () => void }) {
  useEffect(() => {
    const again = () => {
      if (mayReload(window.sessionStorage, Date.now(), window.navigator.onLine)) reload();
    };
    again();
    window.addEventListener("online", again);
    return () => window.removeEventListener("online", again);
  }, [reload]);
  return (
    <Empty
      title="This screen could not be loaded"
      action={
        <Button kind="primary" onClick={reload}>
          Load it again
        </Button>
      }
    >
      The network is not there, or the service was updated while this page was open.
    </Empty>
  );
}
