import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { queries } from "@/api/queries";
import type { Incident } from "@/api/types";
import { BREAKS, sourceLabel } from "@/lib/labels";
import { moment } from "@/lib/time";
import { Age } from "@/ui/Time";
import s from "./IncidentBar.module.css";

/** Open incidents, above every screen for as long as they last: one line, however many there are. */
export function IncidentBar() {
  const { data } = useQuery(queries.incidents(true));
  const first = data?.items[0];
  if (!data || first === undefined) return null;
  const since = Math.min(...data.items.map((incident) => incident.opened_at));
  return (
    <section className={s.bar} aria-label="Open incidents">
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
      <ul className={s.list}>
        {data.items.map((incident) => (
          <li key={incident.incident_id}>{incidentTitle(incident)}</li>
        ))}
      </ul>
      {data.items.length === 1 && <span className={s.detail}>{incidentDetail(first)}</span>}
      <span className={s.since}>
        <Age at={since} />
      </span>
      <Link to="/pipeline" hash="incidents" className={s.more}>
        Incidents
      </Link>
    </section>
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

/** What the service says of it, its moments in the browser's own zone. */
export function incidentDetail(incident: Pick<Incident, "detail">): string {
  return incident.detail.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, (at) =>
    moment(Date.parse(at)),
  );
}
