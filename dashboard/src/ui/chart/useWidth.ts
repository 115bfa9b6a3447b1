import { type RefObject, useLayoutEffect, useRef, useState } from "react";

/** The width of an element, kept up with its changes. */
export function useWidth(): [RefObject<HTMLDivElement | null>, number] {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  // Before the first paint: what depends on the width must not be drawn twice.
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    setWidth(element.offsetWidth);
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [box, width];
}
