import type { RawEvent } from "@/api/types";
import { sourceLabel } from "@/lib/labels";
import { preciseClock } from "@/lib/time";
import { Scroll } from "@/ui/Scroll";
import { Sum } from "@/ui/Sum";
import s from "./TransactionPage.module.css";

/** The events behind the legs, in order of arrival. */
export function RawEvents({ events }: { events: readonly RawEvent[] }) {
  return (
    <Scroll label="Events">
      <table className={s.table}>
        <thead>
          <tr>
            <th scope="col">Source, account</th>
            <th scope="col">Happened</th>
            <th scope="col">Arrived</th>
            <th scope="col" className={s.num}>
              Amount
            </th>
            <th scope="col">Status</th>
            <th scope="col">Event, place in the log</th>
          </tr>
        </thead>
        <tbody>
          {events.map((event) => (
            <tr key={event.seq}>
              <th scope="row">
                <span className={s.cell}>
                  {sourceLabel(event.source)}
                  <span className="mono muted">{event.account_id}</span>
                </span>
              </th>
              <td className="nowrap">{preciseClock(event.event_time)}</td>
              <td className="nowrap">{preciseClock(event.arrival)}</td>
              <td className={s.num}>
                <Sum minor={event.amount_minor} currency={event.currency} />
              </td>
              <td>
                {event.status.toLowerCase()}
                {event.redelivery && <span className="muted">, sent again</span>}
              </td>
              <td>
                <span className={s.cell}>
                  <span className="mono">{event.event_id}</span>
                  <span className="mono muted">
                    {event.topic}:{event.kafka_partition}:{event.kafka_offset}
                  </span>
                </span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
