import { useQuery } from "@tanstack/react-query";
import { queries } from "@/api/queries";
import type { Incident } from "@/api/types";
import { BREAKS, sourceLabel } from "@/lib/labels";
import { Age } from "@/ui/Time";
import s from "./IncidentBar.module.css";

/** Open incidents, above every screen for as long as they last. */
export function IncidentBar() {
  const { data } = useQuery(queries.incidents(true));
  if (!data || data.items.length === 0) return null;
  return (
    <ul className={s.bar} aria-label="Open incidents">
      {data.items.slice(0, 3).map((incident) => (
        <li key={incident.incident_id} className={s.incident}>
          <svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true">
            <path
              d="M7 1 13 12.5H1z"
              fill="none"
              stroke="currentColor"
              strokeWidth="1.5"
              strokeLinejoin="round"
            />
            <path d="M7 5v3.5M7 10.3v.2" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" />
          </svg>
          <strong>{incidentTitle(incident)}</strong>
          <span className={s.detail}>{incident.detail}</span>
          <span className={s.since}>
            <Age at={incident.opened_at} />
          </span>
        </li>
      ))}
      {data.items.length > 3 && <li className={s.incident}>and {data.items.length - 3} more</li>}
    </ul>
  );
}

export function incidentTitle(incident: Incident): string {
  switch (incident.kind) {
    case "source_silent":
      return `${sourceLabel(incident.subject)} is silent`;
    case "break_burst":
      return `A burst of breaks: ${BREAKS[incident.subject as keyof typeof BREAKS]?.label.toLowerCase() ?? incident.subject}`;
    case "pipeline_stalled":
      return "The pipeline does not report";
  }
}
