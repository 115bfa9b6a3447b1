-- What the check of the audit trail reads.

-- name: chains
-- Every chain that has an entry, by a walk over the primary key (one probe per chain, however long they are).
with recursive walk as (
    (select chain from audit_logs order by chain limit 1)
    union all
    select (select a.chain from audit_logs a where a.chain > walk.chain order by a.chain limit 1)
    from walk where walk.chain is not null
)
select chain from walk where chain is not null

-- name: entries
-- Every entry of one chain in order.
select chain, seq, occurred_at, actor, action, object_type, object_id, request_id, source_ip, details::text as details,
       prev_hash, hash
from audit_logs where chain = $1 order by seq

-- name: service_heads
-- Where the service's chains end, as recorded apart from them.
select chain, seq, hash from audit_heads

-- name: shard_heads
-- Where the pipeline's chains end, as the checkpoints record them; 0 before the first flush of a new layout.
select 'shard-' || key_group_from as chain, audit_seq as seq, audit_hash as hash from checkpoints where audit_seq > 0

-- name: checkpoints
-- How far each range of key groups has come, to be compared with the last entry of its flushes.
select 'shard-' || key_group_from as chain, key_group_from, key_group_to, epoch, next_seq, low_seq, flushes,
       positions::text as positions, audit_seq
from checkpoints order by key_group_from

-- name: triggers
-- The triggers that keep tables append-only, and the functions that judge changes, which are there and on.
select c.relname || '.' || t.tgname as name
from pg_trigger t join pg_class c on c.oid = t.tgrelid
where not t.tgisinternal and t.tgenabled in ('O', 'A') and c.relnamespace = 'public'::regnamespace

-- name: replaced
-- Replaced results without the one that replaced them: the moment of the replacement is that of its successor.
select h.key_group, h.txn_id, h.history_id
from result_history h
where h.event_seqs is not null
  and not exists (select from results r where r.key_group = h.key_group and r.txn_id = h.txn_id
                                          and r.decided_at = h.replaced_at)
  and not exists (select from result_history n where n.key_group = h.key_group and n.txn_id = h.txn_id
                                                 and n.decided_at = h.replaced_at)
limit $1

-- name: log_rows
select coalesce(sum(events), 0) from event_blocks

-- name: vouched_events
-- The blocks that one flush wrote, as it wrote them: column by column and in its order. One index probe a key group.
select b.key_group, b.seq_from, b.seq_to, b.events, b.written_on, b.seq, b.txn_id, b.source, b.event_id, b.amount_minor,
       b.currency, b.status, b.event_time_ms, b.arrival_ms, b.account_id, b.original_txn_id, b.kafka_partition,
       b.kafka_offset, b.attributes
from generate_series($1::smallint, $2::smallint - 1) as g (key_group)
cross join lateral (
    select * from event_blocks l
    where l.key_group = g.key_group::smallint and l.seq_from >= $3 and l.seq_from < $4 order by l.seq_from
) b
order by b.key_group, b.seq_from

-- name: vouched_blocks
-- The same of an older version, whose events had no attributes.
select b.key_group, b.seq_from, b.seq_to, b.events, b.written_on, b.seq, b.txn_id, b.source, b.event_id, b.amount_minor,
       b.currency, b.status, b.event_time_ms, b.arrival_ms, b.account_id, b.original_txn_id, b.kafka_partition,
       b.kafka_offset
from generate_series($1::smallint, $2::smallint - 1) as g (key_group)
cross join lateral (
    select * from event_blocks l
    where l.key_group = g.key_group::smallint and l.seq_from >= $3 and l.seq_from < $4 order by l.seq_from
) b
order by b.key_group, b.seq_from

-- name: vouched_rows
-- The same of an older version, which wrote a row an event.
select key_group, seq, txn_id, source, event_id, amount_minor, currency, status, event_time, arrival, account_id,
       original_txn_id, kafka_partition, kafka_offset
from event_log where key_group >= $1 and key_group < $2 and seq >= $3 and seq < $4 order by key_group, seq

-- name: orders_by_bytes
-- Whether texts are ordered by their bytes: the built-in provider's locales are, and C of the system's.
select datlocprovider::text = 'b' or (datlocprovider::text = 'c' and datcollate in ('C', 'POSIX'))
from pg_database where datname = current_database()

-- name: with_result
-- Of these transactions the ones that have a result, final or not.
select r.txn_id from unnest($1::smallint[], $2::text[]) as t (key_group, txn_id)
join results r on r.key_group = t.key_group and r.txn_id = t.txn_id

-- name: shown_now
-- Some results that are not final. Times in microseconds.
select true as is_current, key_group, txn_id, verdict, final, revision, rules_version, breaks, missing, late, present,
       currency, amount_minor, spread_minor, (extract(epoch from first_arrival) * 1000000)::bigint as first_arrival,
       (extract(epoch from last_arrival) * 1000000)::bigint as last_arrival, legs, event_seqs
from results where not final and key_group = $1 and txn_id = $2

-- name: has_event
-- Whether the log still holds an event's block.
select exists (select from event_blocks b where b.key_group = $1::smallint and $2::bigint between b.seq_from and b.seq_to)

-- name: decided_then
-- The final results of one moment and some key groups, replaced ones too. Times in microseconds.
select true as is_current, key_group, txn_id, verdict, final, revision, rules_version, breaks, missing, late, present,
       currency, amount_minor, spread_minor, (extract(epoch from first_arrival) * 1000000)::bigint as first_arrival,
       (extract(epoch from last_arrival) * 1000000)::bigint as last_arrival, legs, event_seqs
from results
where final and key_group >= $2 and key_group < $3
  and decided_at = timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
union all
select false, key_group, txn_id, verdict, final, revision, rules_version, breaks, missing, late, present, currency,
       amount_minor, spread_minor, (extract(epoch from first_arrival) * 1000000)::bigint,
       (extract(epoch from last_arrival) * 1000000)::bigint, legs, event_seqs
from result_history
where final and key_group >= $2 and key_group < $3
  and decided_at = timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
order by key_group, txn_id

-- name: decided_until
-- The final results of one key group up to a moment, replaced ones too. Times in microseconds.
select true as is_current, key_group, txn_id, verdict, final, revision, rules_version, breaks, missing, late, present,
       currency, amount_minor, spread_minor, (extract(epoch from first_arrival) * 1000000)::bigint as first_arrival,
       (extract(epoch from last_arrival) * 1000000)::bigint as last_arrival, legs, event_seqs
from results
where final and key_group = $2 and decided_at <= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
union all
select false, key_group, txn_id, verdict, final, revision, rules_version, breaks, missing, late, present, currency,
       amount_minor, spread_minor, (extract(epoch from first_arrival) * 1000000)::bigint,
       (extract(epoch from last_arrival) * 1000000)::bigint, legs, event_seqs
from result_history
where final and key_group = $2 and decided_at <= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'

-- name: told_with
-- What the entries after a flush's own, up to the next flush, say of single results.
select object_id, details::text as details from audit_logs
where chain = $1 and seq > $2 and action in ('verdict.mismatched', 'verdict.revised')
  and seq < coalesce((select min(seq) from audit_logs where chain = $1 and seq > $2 and action = 'flush'), 1::bigint << 62)

-- name: without_result
-- Some transactions that are decided by their place in the log and have no result.
select distinct b.key_group, e.txn_id
from checkpoints c
join event_blocks b on b.key_group >= c.key_group_from and b.key_group < c.key_group_to and b.seq_from < c.low_seq
cross join lateral unnest(b.seq, b.txn_id) as e (seq, txn_id)
where e.seq < c.low_seq
  and not exists (select from results r where r.key_group = b.key_group and r.txn_id = e.txn_id)
limit $1

-- name: rules_in_force
select version, (extract(epoch from effective_from) * 1000)::bigint as from_ms, body::text as body
from rule_sets where state = 'active' order by effective_from, version

-- name: sources
select name, topic, expected from sources order by source_id

-- name: events_of
-- Events by their places in the log of one key group.
select e.seq, e.txn_id, e.source, e.event_id, e.amount_minor, e.currency, e.status, e.event_time_ms, e.arrival_ms,
       e.kafka_partition, e.kafka_offset, e.attributes
from event_blocks b
cross join lateral unnest(b.seq, b.txn_id, b.source, b.event_id, b.amount_minor, b.currency, b.status, b.event_time_ms,
                          b.arrival_ms, b.kafka_partition, b.kafka_offset, b.attributes)
    as e (seq, txn_id, source, event_id, amount_minor, currency, status, event_time_ms, arrival_ms, kafka_partition,
          kafka_offset, attributes)
where b.key_group = $1::smallint and e.seq = any ($2::bigint[])
  and exists (select from unnest($2::bigint[]) as w (seq) where w.seq between b.seq_from and b.seq_to)

-- name: events_named
-- Every event of one transaction, by a walk over its key group.
select e.seq, e.txn_id, e.source, e.event_id, e.amount_minor, e.currency, e.status, e.event_time_ms, e.arrival_ms,
       e.kafka_partition, e.kafka_offset, e.attributes
from event_blocks b
cross join lateral unnest(b.seq, b.txn_id, b.source, b.event_id, b.amount_minor, b.currency, b.status, b.event_time_ms,
                          b.arrival_ms, b.kafka_partition, b.kafka_offset, b.attributes)
    as e (seq, txn_id, source, event_id, amount_minor, currency, status, event_time_ms, arrival_ms, kafka_partition,
          kafka_offset, attributes)
where b.key_group = $1::smallint and e.txn_id = $2

-- name: newest
-- The end of the trail, newest first, optionally of one chain, action or object.
select chain, seq, occurred_at, actor, action, object_type, object_id, request_id, source_ip, details::text as details
from audit_logs
where ($2::text is null or chain = $2) and ($3::text is null or action = $3) and ($4::text is null or object_id = $4)
order by occurred_at desc, chain desc, seq desc limit $1
