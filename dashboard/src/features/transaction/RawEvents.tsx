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
            <th scope="col">Arrived</th>
            <th scope="col">Source</th>
            <th scope="col" className={s.num}>
              Amount
            </th>
            <th scope="col">Status</th>
            <th scope="col">Account</th>
            <th scope="col">Event</th>
            <th scope="col">Log position</th>
          </tr>
        </thead>
        <tbody>
          {events.map((event) => (
            <tr key={event.seq}>
              <td className="nowrap">{preciseClock(event.arrival)}</td>
              <td>{sourceLabel(event.source)}</td>
              <td className={s.num}>
                <Sum minor={event.amount_minor} currency={event.currency} />
              </td>
              <td>
                {event.status.toLowerCase()}
                {event.redelivery && <span className="muted">, sent again</span>}
              </td>
              <td className="mono nowrap">{event.account_id}</td>
              <td className="mono">{event.event_id}</td>
              <td className="mono nowrap">
                {event.topic}:{event.kafka_partition}:{event.kafka_offset}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
