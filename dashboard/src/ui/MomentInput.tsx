import { fromLocalInput, toLocalInput } from "@/lib/time";
import { useTyped } from "@/lib/useTyped";
import { Input } from "./Field";

/** A moment of the browser's own zone, to the minute; it speaks up once the moment is whole, or gone. */
export function MomentInput({
  value,
  onMoment,
}: {
  value: number | undefined;
  onMoment: (at: number | undefined) => void;
}) {
  const { field } = useTyped(toLocalInput(value), (text) => {
    const at = fromLocalInput(text);
    // While a year is typed it reads 0002, 0020, 0202: that is no moment to ask for.
    if (text === "" || (at !== undefined && at >= 0)) onMoment(at);
  });
  return <Input type="datetime-local" {...field} />;
}
