import { Popover as Base } from "@base-ui/react/popover";
import type { ReactElement, ReactNode } from "react";
import s from "./Popover.module.css";

/** A panel at a button, for filters and forms that are no dialog. */
export function Popover({
  trigger,
  label,
  children,
  end,
}: {
  trigger: ReactElement;
  label: string;
  children: ReactNode;
  end?: boolean;
}) {
  return (
    <Base.Root>
      <Base.Trigger render={trigger} />
      <Base.Portal>
        <Base.Positioner className={s.positioner} sideOffset={6} align={end ? "end" : "start"}>
          <Base.Popup className={s.popup} aria-label={label}>
            {children}
          </Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  );
}
