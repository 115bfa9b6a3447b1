/** The console's icons: drawn for it on a grid of 16, one stroke. Decorative: names belong to what they sit in. */

const PATHS = {
  overview: "M2.5 13.5v-5M6.2 13.5v-9M9.8 13.5v-6M13.5 13.5v-11",
  live: "M1.5 8.5h3l2-5 3 9.5 2-4.5h3",
  transactions: "M2 4h12M2 8h12M2 12h12M5.5 2.5v11",
  exceptions: "M8 1.8 14.2 8 8 14.2 1.8 8zM8 5.2v3.4M8 10.9v.1",
  rules: "M2 4.5h7M12 4.5h2M2 11.5h2M7 11.5h7M10.5 3v3M5.5 10v3",
  deadLetters: "M1.8 3.5h12.4v9H1.8zM5.8 6.3l4.4 3.6M10.2 6.3 5.8 9.9",
  audit: "M8 1.8 13.2 4v4c0 3-2.2 5.2-5.2 6.2C5 13.2 2.8 11 2.8 8V4zM5.7 8l1.7 1.7 3-3.3",
  pipeline: "M3.2 3.2h.1M3.2 12.8h.1M12.7 8h.1M3.5 3.5 12 7.8M3.5 12.5 12 8.2",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.5 10.5l3.5 3.5",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
  moon: "M13.5 9.5A6 6 0 0 1 6.5 2.5 6 6 0 1 0 13.5 9.5z",
  menu: "M2 4h12M2 8h12M2 12h12",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  check: "M3 8.5l3.3 3.3L13 4.8",
  down: "M4 6l4 4 4-4",
  up: "M4 10l4-4 4 4",
  right: "M6 4l4 4-4 4",
  left: "M10 4 6 8l4 4",
  download: "M8 2v8M4.5 7 8 10.5 11.5 7M2.5 13.5h11",
  pause: "M5.5 3v10M10.5 3v10",
  play: "M5 3l7.5 5L5 13z",
  columns: "M2 3h12v10H2zM6 3v10M10 3v10",
  bookmark: "M4 2h8v12l-4-3-4 3z",
  external: "M6.5 3.5h-3v9h9v-3M9 3h4v4M13 3 7.5 8.5",
  user: "M8 2.5a2.7 2.7 0 1 0 0 5.4 2.7 2.7 0 0 0 0-5.4zM2.8 14c.5-2.8 2.5-4.2 5.2-4.2s4.7 1.4 5.2 4.2",
  filter: "M2 3.5h12M4.5 8h7M6.8 12.5h2.4",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  refresh: "M13.5 8a5.5 5.5 0 1 1-1.7-4M13.5 2v3h-3",
  clock: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 4.8V8l2.2 1.6",
  plus: "M8 3v10M3 8h10",
  signOut: "M6.5 2.5h-4v11h4M6 8h8M11 5l3 3-3 3",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      <path d={PATHS[name]} />
      {name === "pipeline" && (
        <g fill="currentColor" stroke="none">
          <circle cx="3.2" cy="3.2" r="1.7" />
          <circle cx="3.2" cy="12.8" r="1.7" />
          <circle cx="12.7" cy="8" r="1.7" />
        </g>
      )}
    </svg>
  );
}
