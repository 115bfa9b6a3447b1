import { Dialog } from "@base-ui/react/dialog";
import { useNavigate } from "@tanstack/react-router";
import { type KeyboardEvent, useId, useMemo, useState } from "react";
import { useMay } from "@/auth/me";
import { session } from "@/auth/session";
import { cx } from "@/lib/cx";
import { Icon, type IconName } from "@/ui/Icon";
import { SCREENS } from "./nav";
import s from "./Palette.module.css";
import { setTheme, useTheme } from "./theme";

export interface Command {
  id: string;
  label: string;
  hint: string;
  icon: IconName;
  run: () => void;
}

/** Commands whose words all begin somewhere in the label. */
export function findCommands(commands: readonly Command[], text: string): Command[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return commands.filter((command) => {
    const label = ` ${command.label.toLowerCase()}`;
    return words.every((word) => label.includes(` ${word}`));
  });
}

/** The command palette: screens, views, a transaction by its id. */
export function Palette({ open, onClose }: { open: boolean; onClose: () => void }) {
  return (
    <Dialog.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <Dialog.Portal>
        <Dialog.Backdrop className={s.scrim} />
        <Dialog.Popup className={s.popup} aria-label="Command palette">
          <Commands onClose={onClose} />
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

function Commands({ onClose }: { onClose: () => void }) {
  const navigate = useNavigate();
  const may = useMay();
  const theme = useTheme();
  const id = useId();
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);

  const commands = useMemo<Command[]>(() => {
    const screens = SCREENS.filter((screen) => may(screen.needs)).map((screen) => ({
      id: screen.to,
      label: screen.label,
      hint: `g ${screen.key}`,
      icon: screen.icon,
      run: () => void navigate({ to: screen.to }),
    }));
    const views: Command[] = [
      {
        id: "mine",
        label: "My exceptions",
        hint: "",
        icon: "exceptions",
        run: () => void navigate({ to: "/exceptions", search: { bucket: "mine" } }),
      },
      {
        id: "awaiting",
        label: "Exceptions awaiting my approval",
        hint: "",
        icon: "exceptions",
        run: () => void navigate({ to: "/exceptions", search: { bucket: "awaiting_me" } }),
      },
      {
        id: "mismatched",
        label: "Mismatched transactions, largest first",
        hint: "",
        icon: "transactions",
        run: () =>
          void navigate({ to: "/transactions", search: { verdict: "MISMATCHED", sort: "-amount_minor" } }),
      },
    ];
    return [
      ...screens,
      ...views.filter((view) => view.id === "mismatched" || may("actOnException")),
      {
        id: "theme",
        label: `Switch to ${theme === "dark" ? "light" : "dark"} colours`,
        hint: "",
        icon: theme === "dark" ? "sun" : "moon",
        run: () => setTheme(theme === "dark" ? "light" : "dark"),
      },
      {
        id: "out",
        label: "Sign out everywhere",
        hint: "",
        icon: "signOut",
        run: () => void session.signOut(),
      },
    ];
  }, [may, navigate, theme]);

  const typed = text.trim();
  const found = findCommands(commands, typed);
  if (/^\S{4,}$/.test(typed)) {
    found.push(
      {
        id: "open",
        label: `Open transaction ${typed}`,
        hint: "",
        icon: "right",
        run: () => void navigate({ to: "/transactions/$txnId", params: { txnId: typed } }),
      },
      {
        id: "search",
        label: `Transactions that begin with ${typed}`,
        hint: "",
        icon: "search",
        run: () => void navigate({ to: "/transactions", search: { q: `${typed}*`, sort: "txn_id" } }),
      },
    );
  }
  const active = found[Math.min(at, found.length - 1)];

  function onKeyDown(event: KeyboardEvent) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined && found.length > 0) {
      event.preventDefault();
      setAt((found.length + Math.min(at, found.length - 1) + step) % found.length);
    }
    if (event.key === "Enter" && active) {
      event.preventDefault();
      onClose();
      active.run();
    }
  }

  return (
    <>
      <Dialog.Title className="sr">Command palette</Dialog.Title>
      <div className={s.inputRow}>
        <Icon name="search" />
        <input
          className={s.input}
          role="combobox"
          aria-label="Search commands and transactions"
          aria-expanded="true"
          aria-controls={id}
          aria-activedescendant={active ? `${id}-${active.id}` : undefined}
          placeholder="A screen, a view, or a transaction id"
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setAt(0);
          }}
          onKeyDown={onKeyDown}
          spellCheck={false}
          autoComplete="off"
        />
      </div>
      <div id={id} role="listbox" aria-label="Commands" className={s.list}>
        {found.map((command) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: keys are handled by the input
          <div
            key={command.id}
            id={`${id}-${command.id}`}
            role="option"
            tabIndex={-1}
            aria-selected={command === active}
            className={cx(s.option, command === active && s.active)}
            onPointerMove={() => setAt(found.indexOf(command))}
            onClick={() => {
              onClose();
              command.run();
            }}
          >
            <Icon name={command.icon} />
            <span className={s.label}>{command.label}</span>
            {command.hint && <kbd className={s.hint}>{command.hint}</kbd>}
          </div>
        ))}
        {found.length === 0 && <p className={s.none}>Nothing of that name</p>}
      </div>
    </>
  );
}
