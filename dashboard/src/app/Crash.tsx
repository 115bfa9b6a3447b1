import { Button } from "@/ui/Button";
import { Empty } from "@/ui/States";

/** An error of our own: the screen is gone, the rest stands. */
export function Crash({ error, reset }: { error: unknown; reset: () => void }) {
  const message = error instanceof Error ? error.message : String(error);
  const outdated = /dynamically imported module|Importing a module/.test(message);
  return (
    <Empty
      title={outdated ? "A newer version is out" : "This screen failed"}
      action={
        <Button kind="primary" onClick={outdated ? () => window.location.reload() : reset}>
          {outdated ? "Load it" : "Try again"}
        </Button>
      }
    >
      {outdated ? "The service was updated while this page was open." : message}
    </Empty>
  );
}
