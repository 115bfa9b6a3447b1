import { Dialog as Base } from "@base-ui/react/dialog";
import type { ReactNode } from "react";
import { cx } from "@/lib/cx";
import { IconButton } from "./Button";
import s from "./Dialog.module.css";

/** A modal dialog. Focus goes in and comes back; Escape and the scrim close it unless `firm`. */
export function Dialog({
  open,
  onClose,
  title,
  description,
  children,
  foot,
  wide,
  firm,
}: {
  open: boolean;
  onClose: () => void;
  title: string;
  description?: ReactNode;
  children?: ReactNode;
  foot?: ReactNode;
  wide?: boolean;
  firm?: boolean;
}) {
  return (
    <Base.Root
      open={open}
      onOpenChange={(next) => {
        if (!next && !firm) onClose();
      }}
    >
      <Base.Portal>
        <Base.Backdrop className={s.scrim} />
        <Base.Popup className={cx(s.popup, wide && s.wide)}>
          <header className={s.head}>
            <Base.Title className={s.title}>{title}</Base.Title>
            {!firm && <IconButton icon="close" label="Close" onClick={onClose} />}
          </header>
          {description && <Base.Description className={s.description}>{description}</Base.Description>}
          {children && <div className={s.body}>{children}</div>}
          {foot && <footer className={s.foot}>{foot}</footer>}
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}
