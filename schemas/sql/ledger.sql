-- What the pipeline asks of PostgreSQL. $n are asyncpg's parameters.

-- name: claim
-- Become the owner of a range. Raising the epoch makes every flush of an earlier owner update no row.
update checkpoints
set epoch = epoch + 1, owner = $3
where key_group_from = $1 and key_group_to = $2
returning epoch, next_seq, low_seq, flushes, positions

-- name: chain_head
select seq, hash from audit_logs where chain = $1 order by seq desc limit 1

-- name: decided_last
-- When the newest result was written, in ms; 0 when there is none.
select coalesce((extract(epoch from max(decided_at)) * 1000)::bigint, 0) from results

-- name: rule_sets
select version, (extract(epoch from effective_from) * 1000)::bigint as effective_from_ms, body
from rule_sets where state = 'active' order by effective_from, version

-- name: open_events
-- Events of one range from the lowest open seq on that no final result holds and that repeat no other event.
select b.key_group, e.seq, e.txn_id, e.source, e.event_id, e.amount_minor, e.currency, e.status, e.event_time, e.arrival,
       e.partition, e."offset", e.attributes
from event_blocks b
cross join lateral unnest(b.seq, b.txn_id, b.source, b.event_id, b.amount_minor, b.currency, b.status, b.event_time_ms,
                          b.arrival_ms, b.kafka_partition, b.kafka_offset, b.attributes)
    as e (seq, txn_id, source, event_id, amount_minor, currency, status, event_time, arrival, partition, "offset",
          attributes)
where b.key_group >= $1 and b.key_group < $2 and b.seq_to >= $3 and e.seq >= $3
  and not exists (select from results r
                  where r.key_group = b.key_group and r.txn_id = e.txn_id and r.final and e.seq = any (r.event_seqs))
  and not exists (select from redeliveries d where d.key_group = b.key_group and d.seq = e.seq)

-- name: provisional
-- Results of one range that are not final.
select txn_id, breaks from results where key_group >= $1 and key_group < $2 and not final

-- name: decided
-- Of these transactions the ones with a final result.
select r.key_group, r.txn_id, r.event_seqs, r.verdict, r.breaks, r.late, r.missing, r.revision, r.currency,
       r.amount_minor, r.spread_minor, r.legs, r.rules_version, r.present
from unnest($1::smallint[], $2::text[]) as t (key_group, txn_id)
join results r on r.key_group = t.key_group and r.txn_id = t.txn_id and r.final

-- name: standing
-- Of these transactions the ones that have a result, final or not.
select r.key_group, r.txn_id, r.final
from unnest($1::smallint[], $2::text[]) as t (key_group, txn_id)
join results r on r.key_group = t.key_group and r.txn_id = t.txn_id

-- name: events_of
-- Stored events by their place in the log.
select e.key_group, e.seq, e.txn_id, s.source_id as source, e.event_id, e.amount_minor, e.currency,
       array_position(array['PENDING', 'SUCCESS', 'FAILED', 'REVERSED'], e.status) - 1 as status,
       (extract(epoch from e.event_time) * 1000)::bigint as event_time,
       (extract(epoch from e.arrival) * 1000)::bigint as arrival,
       e.kafka_partition as partition, e.kafka_offset as "offset", e.attributes
from events_at($1, $2) e join sources s on s.name = e.source

-- name: checkpoint
-- The fence and the positions, first in every flush: no row updated means that another owner exists, or that this very
-- flush was committed before its answer got lost.
update checkpoints
set next_seq = $4, low_seq = $5, flushes = $6, positions = $7, watermarks = $8, audit_seq = $9, audit_hash = $10,
    flushed_at = now()
where key_group_from = $1 and key_group_to = $2 and epoch = $3 and flushes = $6 - 1

-- name: checkpoint_now
select epoch, flushes, audit_seq, audit_hash from checkpoints where key_group_from = $1 and key_group_to = $2

-- name: make_stage
create temporary table stage (like results)

-- name: clear_stage
truncate stage

-- name: keep_history
-- What a revision replaces, whole: the entry of the flush that wrote it still vouches for every column. It is replaced
-- when its successor is decided.
insert into result_history (key_group, txn_id, revision, verdict, final, rules_version, breaks, missing, late, present,
                            currency, amount_minor, spread_minor, decided_at, legs, first_arrival, last_arrival, event_seqs,
                            replaced_at)
select r.key_group, r.txn_id, r.revision, r.verdict, r.final, r.rules_version, r.breaks, r.missing, r.late, r.present,
       r.currency, r.amount_minor, r.spread_minor, r.decided_at, r.legs, r.first_arrival, r.last_arrival, r.event_seqs,
       s.decided_at
from results r join stage s on s.key_group = r.key_group and s.txn_id = r.txn_id
where r.final

-- name: upsert
-- Over provisional rows only; how many rows it touched tells whether a final one was in the way.
insert into results select * from stage
on conflict (key_group, txn_id) do update
set verdict = excluded.verdict, final = excluded.final, revision = excluded.revision,
    rules_version = excluded.rules_version, breaks = excluded.breaks, missing = excluded.missing, late = excluded.late,
    present = excluded.present, currency = excluded.currency, amount_minor = excluded.amount_minor,
    spread_minor = excluded.spread_minor, first_arrival = excluded.first_arrival,
    last_arrival = excluded.last_arrival, decided_at = excluded.decided_at, legs = excluded.legs,
    event_seqs = excluded.event_seqs
where not results.final

-- name: revise
-- Over final rows, after keep_history.
update results r
set verdict = s.verdict, final = s.final, revision = s.revision, rules_version = s.rules_version, breaks = s.breaks,
    missing = s.missing, late = s.late, present = s.present, currency = s.currency, amount_minor = s.amount_minor,
    spread_minor = s.spread_minor, first_arrival = s.first_arrival, last_arrival = s.last_arrival,
    decided_at = s.decided_at, legs = s.legs, event_seqs = s.event_seqs
from stage s where s.key_group = r.key_group and s.txn_id = r.txn_id

-- name: count_stats
-- Deltas, so that a sum over any time is the truth.
insert into stats_by_minute (key_group_from, minute, metric, currency, n, amount_minor)
select $1, $2, m.metric, m.currency, m.n, m.amount_minor
from unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[]) as m (metric, currency, n, amount_minor)
order by m.metric, m.currency
on conflict (key_group_from, minute, metric, currency)
do update set n = stats_by_minute.n + excluded.n, amount_minor = stats_by_minute.amount_minor + excluded.amount_minor

-- name: ensure_partition
select ensure_event_blocks_partition($1)
