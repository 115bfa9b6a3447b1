-- What the check of the audit trail reads.

-- name: entries
-- Every entry of every chain, each chain in order.
select chain, seq, occurred_at, actor, action, object_type, object_id, request_id, source_ip, details::text as details,
       prev_hash, hash
from audit_logs order by chain, seq

-- name: service_heads
-- Where the service's chains end, as recorded apart from them.
select chain, seq, hash from audit_heads

-- name: shard_heads
-- Where the pipeline's chains end, as the checkpoints record them; 0 before the first flush of a new layout.
select 'shard-' || key_group_from as chain, audit_seq as seq, audit_hash as hash from checkpoints where audit_seq > 0

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

-- name: newest
-- The end of the trail, newest first, optionally of one chain, action or object.
select chain, seq, occurred_at, actor, action, object_type, object_id, request_id, source_ip, details::text as details
from audit_logs
where ($2::text is null or chain = $2) and ($3::text is null or action = $3) and ($4::text is null or object_id = $4)
order by occurred_at desc, chain desc, seq desc limit $1
