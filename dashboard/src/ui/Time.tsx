import { ago, fullMoment, moment } from "@/lib/time";
import { useNow } from "@/live/hooks";

/** A moment; the whole date in its title. */
export function At({ at, now }: { at: number; now?: number }) {
  return (
    <time dateTime={new Date(at).toISOString()} title={fullMoment(at)}>
      {moment(at, now)}
    </time>
  );
}

/** An age that goes on counting. */
export function Age({ at }: { at: number }) {
  const now = useNow();
  return (
    <time dateTime={new Date(at).toISOString()} title={fullMoment(at)}>
      {ago(at, now)}
    </time>
  );
}
