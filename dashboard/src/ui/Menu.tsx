import { Menu as Base } from "@base-ui/react/menu";
import type { ReactElement, ReactNode } from "react";
import { cx } from "@/lib/cx";
import { Icon, type IconName } from "./Icon";
import s from "./Menu.module.css";

/** A menu at a button. `trigger` is the button's element. */
export function Menu({
  trigger,
  children,
  end,
}: {
  trigger: ReactElement;
  children: ReactNode;
  end?: boolean;
}) {
  return (
    <Base.Root modal={false}>
      <Base.Trigger render={trigger} />
      <Base.Portal>
        <Base.Positioner className={s.positioner} sideOffset={4} align={end ? "end" : "start"}>
          <Base.Popup className={s.popup}>{children}</Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  );
}

export function MenuItem({
  icon,
  children,
  onClick,
  danger,
}: {
  icon?: IconName;
  children: ReactNode;
  onClick: () => void;
  danger?: boolean;
}) {
  return (
    <Base.Item className={cx(s.item, danger && s.danger)} onClick={onClick}>
      <span className={s.icon}>{icon && <Icon name={icon} />}</span>
      {children}
    </Base.Item>
  );
}

export function MenuCheck({
  checked,
  onChange,
  children,
}: {
  checked: boolean;
  onChange: (checked: boolean) => void;
  children: ReactNode;
}) {
  return (
    <Base.CheckboxItem className={s.item} checked={checked} onCheckedChange={onChange} closeOnClick={false}>
      <span className={s.icon}>{checked && <Icon name="check" />}</span>
      {children}
    </Base.CheckboxItem>
  );
}

export function MenuNote({ children }: { children: ReactNode }) {
  return <div className={s.note}>{children}</div>;
}

export function MenuLine() {
  return <Base.Separator className={s.line} />;
}
