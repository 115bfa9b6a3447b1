-- Dead letters by hand. Own queries, so that the service may change its own.

-- name: search
-- Newest first.
select key_group, topic, kafka_partition, kafka_offset, arrival, reason, detail, coalesce(length(payload), 0) as size_bytes,
       state, state_changed_at, state_changed_by
from dead_letters
where ($1::text is null or state = $1) and ($2::text is null or reason = $2) and ($3::text is null or topic = $3)
order by arrival desc, topic desc, kafka_partition desc, kafka_offset desc limit $4

-- name: one
-- By its place in the log: one probe in each key group.
select key_group, topic, kafka_partition, kafka_offset, arrival, reason, detail, key, payload, headers,
       coalesce(length(payload), 0) as size_bytes, state, state_changed_at, state_changed_by
from dead_letters
where key_group = any ($1::smallint[]) and topic = $2 and kafka_partition = $3 and kafka_offset = $4

-- name: mark_replayed
-- Unless somebody else did.
update dead_letters set state = 'replayed', state_changed_at = now(), state_changed_by = $5
where key_group = $1 and topic = $2 and kafka_partition = $3 and kafka_offset = $4 and state <> 'replayed'
returning topic, kafka_partition, kafka_offset, state, state_changed_at, state_changed_by

-- name: ensure_head
insert into audit_heads (chain, seq, hash) values ($1, 0, '\x') on conflict (chain) do nothing

-- name: lock_head
-- One writer at a time, until its transaction ends.
select seq, hash from audit_heads where chain = $1 for update

-- name: append_entry
insert into audit_logs (chain, seq, occurred_at, actor, action, object_type, object_id, request_id, source_ip, details,
                        prev_hash, hash)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11, $12)

-- name: move_head
update audit_heads set seq = $2, hash = $3, at = now() where chain = $1
