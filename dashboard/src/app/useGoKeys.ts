import { useNavigate } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { useMay } from "@/auth/me";
import { useKeys } from "@/lib/useKeys";
import { SCREENS } from "./nav";

const CHORD_MS = 1_200;

/** Ctrl-K or Cmd-K opens the palette; `g` and a letter goes to a screen. */
export function useGoKeys(openPalette: () => void): void {
  const navigate = useNavigate();
  const may = useMay();
  const pressedAt = useRef(0);
  const open = useRef(openPalette);
  open.current = openPalette;

  useEffect(() => {
    function onKeyDown(event: KeyboardEvent) {
      if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        open.current();
      }
    }
    window.addEventListener("keydown", onKeyDown);
    return () => window.removeEventListener("keydown", onKeyDown);
  }, []);

  useKeys({
    g: () => {
      pressedAt.current = Date.now();
    },
    ...Object.fromEntries(
      SCREENS.filter((screen) => may(screen.needs)).map((screen) => [
        screen.key,
        () => {
          if (Date.now() - pressedAt.current < CHORD_MS) void navigate({ to: screen.to });
          pressedAt.current = 0;
        },
      ]),
    ),
  });
}
