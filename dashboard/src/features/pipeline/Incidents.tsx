import { useQuery } from "@tanstack/react-query";
import { queries } from "@/api/queries";
import { incidentDetail, incidentTitle } from "@/app/IncidentBar";
import table from "@/features/transaction/TransactionPage.module.css";
import { span } from "@/lib/time";
import { Panel } from "@/ui/Panel";
import { Scroll } from "@/ui/Scroll";
import { Empty, FailedLine, Loading } from "@/ui/States";
import { At } from "@/ui/Time";

/** What went wrong, and when it was over. */
export function Incidents() {
  const found = useQuery(queries.incidents(false));
  return (
    <Panel title="Incidents" flush>
      {found.isPending && <Loading lines={3} label="Loading the incidents" />}
      {found.isError && !found.data && <FailedLine error={found.error} retry={() => void found.refetch()} />}
      {found.data?.items.length === 0 && <Empty title="No incident on record" />}
      {found.data && found.data.items.length > 0 && (
        <Scroll label="Incidents">
          <table className={table.table}>
            <thead>
              <tr>
                <th scope="col">Incident</th>
                <th scope="col">Began</th>
                <th scope="col">Lasted</th>
                <th scope="col">Detail</th>
              </tr>
            </thead>
            <tbody>
              {found.data.items.map((incident) => (
                <tr key={incident.incident_id}>
                  <th scope="row">{incidentTitle(incident)}</th>
                  <td className="nowrap">
                    <At at={incident.opened_at} />
                  </td>
                  <td className="nowrap">
                    {incident.closed_at === null ? (
                      <strong>still open</strong>
                    ) : (
                      span(incident.closed_at - incident.opened_at)
                    )}
                  </td>
                  <td className="quiet">{incidentDetail(incident)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </Panel>
  );
}
