import { type ReactNode, useEffect, useRef, useState } from "react";
import s from "./Scroll.module.css";

/** Something wide, such as a table, that scrolls sideways by itself; with the keyboard, too, when it has to. */
export function Scroll({ label, children }: { label: string; children: ReactNode }) {
  const box = useRef<HTMLElement>(null);
  const [wide, setWide] = useState(false);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setWide(element.scrollWidth > element.clientWidth));
    observer.observe(element);
    for (const child of element.children) observer.observe(child);
    return () => observer.disconnect();
  }, []);
  return (
    <section ref={box} className={s.scroll} aria-label={label} tabIndex={wide ? 0 : undefined}>
      {children}
    </section>
  );
}
