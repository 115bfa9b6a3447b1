-- Stored history for a backtest.

-- name: results
-- Final results between two decisions, newest first.
select key_group, txn_id, verdict, breaks, currency, amount_minor, spread_minor, first_arrival, last_arrival, decided_at,
       event_seqs
from results
where decided_at >= $1 and decided_at < $2 and final
order by decided_at desc, txn_id desc limit $3;

-- name: events
-- Their events in one key group, in the days between the arrivals.
select key_group, seq, txn_id, source, event_id, amount_minor, currency, status,
       (extract(epoch from event_time) * 1000)::bigint as event_time, (extract(epoch from arrival) * 1000)::bigint as arrival,
       kafka_partition, kafka_offset
from event_log
where key_group = $1 and seq = any($2::bigint[]) and arrival between $3 and $4;
