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
select count(*) from event_log

-- name: vouched_rows
-- The rows that one flush wrote, as it wrote them: column by column and in its order. One index probe a key group.
select e.key_group, e.seq, e.txn_id, e.source, e.event_id, e.amount_minor, e.currency, e.status, e.event_time, e.arrival,
       e.account_id, e.original_txn_id, e.kafka_partition, e.kafka_offset
from generate_series($1::smallint, $2::smallint - 1) as g (key_group)
cross join lateral (
    select * from event_log l
    where l.key_group = g.key_group::smallint and l.seq >= $3 and l.seq < $4 order by l.seq
) e
order by e.key_group, e.seq

-- name: newest
-- The end of the trail, newest first, optionally of one chain, action or object.
select chain, seq, occurred_at, actor, action, object_type, object_id, request_id, source_ip, details::text as details
from audit_logs
where ($2::text is null or chain = $2) and ($3::text is null or action = $3) and ($4::text is null or object_id = $4)
order by occurred_at desc, chain desc, seq desc limit $1
