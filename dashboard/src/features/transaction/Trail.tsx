import { useQuery } from "@tanstack/react-query";
import { queries } from "@/api/queries";
import { Scroll } from "@/ui/Scroll";
import { Empty, FailedLine, Loading } from "@/ui/States";
import { At } from "@/ui/Time";
import s from "./TransactionPage.module.css";

/** Who did or saw what with a transaction. */
export function Trail({ txnId }: { txnId: string }) {
  const found = useQuery(queries.transactionAudit(txnId));
  if (found.isPending) return <Loading lines={3} label="Loading the audit trail" />;
  if (found.isError) return <FailedLine error={found.error} retry={() => void found.refetch()} />;
  if (found.data.items.length === 0) return <Empty title="Nothing recorded yet" />;
  return (
    <Scroll label="Audit trail">
      <table className={s.table}>
        <thead>
          <tr>
            <th scope="col">When</th>
            <th scope="col">Who</th>
            <th scope="col">What</th>
            <th scope="col">Entry</th>
          </tr>
        </thead>
        <tbody>
          {found.data.items.map((entry) => (
            <tr key={`${entry.chain}:${entry.seq}`}>
              <td className="nowrap">
                <At at={entry.occurred_at} />
              </td>
              <td>{entry.actor}</td>
              <td className="mono">{entry.action}</td>
              <td className="mono nowrap">
                {entry.chain} #{entry.seq}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
