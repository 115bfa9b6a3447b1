-- Stored history for a backtest.

-- name: results
-- Final results between two decisions, newest first.
select key_group, txn_id, verdict, breaks, currency, amount_minor, spread_minor, first_arrival, last_arrival, decided_at,
       event_seqs
from results
where decided_at >= $1 and decided_at < $2 and final
order by decided_at desc, key_group desc, txn_id desc limit $3;

-- name: events
-- Their events in one key group, and not in partitions older than the first arrival.
select key_group, seq, txn_id, source, event_id, amount_minor, currency, status,
       (extract(epoch from event_time) * 1000)::bigint as event_time, (extract(epoch from arrival) * 1000)::bigint as arrival,
       kafka_partition, kafka_offset, attributes
from events_at(array_fill($1::smallint, array[cardinality($2::bigint[])]), $2, ($3::timestamptz at time zone 'UTC')::date)
where arrival between $3 and $4;
