import { useNavigate } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { useMay } from "@/auth/me";
import { session } from "@/auth/session";
import { isCommand } from "@/lib/useKeys";
import { SCREENS } from "./nav";

const CHORD_MS = 1_200;

/** Ctrl-K or Cmd-K opens the palette; `g` and a letter goes to a screen. */
export function useGoKeys(openPalette: () => void): void {
  const navigate = useNavigate();
  const may = useMay();
  const latest = useRef({ navigate, may, openPalette });
  latest.current = { navigate, may, openPalette };

  useEffect(() => {
    let pressedAt = Number.NEGATIVE_INFINITY;
    function onKeyDown(event: KeyboardEvent) {
      if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        if (session.current() === "signed_in") latest.current.openPalette();
        return;
      }
      if (!isCommand(event)) return;
      if (event.key === "g") {
        pressedAt = event.timeStamp;
        return;
      }
      const chord = event.timeStamp - pressedAt < CHORD_MS;
      pressedAt = Number.NEGATIVE_INFINITY;
      const screen = SCREENS.find(({ key }) => key === event.key);
      if (!chord || !screen || !latest.current.may(screen.needs)) return;
      // The second key of a chord is no key of the screen: on the desk `g a` must not assign what is selected.
      event.preventDefault();
      event.stopImmediatePropagation();
      void latest.current.navigate({ to: screen.to });
    }
    window.addEventListener("keydown", onKeyDown, true);
    return () => window.removeEventListener("keydown", onKeyDown, true);
  }, []);
}
