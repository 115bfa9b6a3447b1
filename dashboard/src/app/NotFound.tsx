import { Link } from "@tanstack/react-router";
import { Empty } from "@/ui/States";

export function NotFound() {
  return (
    <Empty title="There is no such page" action={<Link to="/">Overview</Link>}>
      The address may be mistyped, or from an older version.
    </Empty>
  );
}
