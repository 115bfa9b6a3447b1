-- The audit trail: appending to the service's chain, searching, verifying.

-- name: ensure_head
-- The row that is the chain's lock and end; made once.
insert into audit_heads (chain, seq, hash) values ($1, 0, '\x') on conflict (chain) do nothing;

-- name: lock_head
-- One writer at a time per chain, over all replicas, until the transaction ends.
select seq, hash from audit_heads where chain = $1 for update;

-- name: insert_entries
-- Columns as arrays, one statement however many entries; and the new end of the chain.
with added as (
    insert into audit_logs (chain, seq, occurred_at, actor, action, object_type, object_id, request_id, source_ip, details,
                            prev_hash, hash)
    select $1, * from unnest($2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                             $9::text[], $10::jsonb[], $11::bytea[], $12::bytea[])
)
update audit_heads set seq = $13, hash = $14, at = now() where chain = $1;

-- name: of_object
-- The trail of one object, newest first.
select chain, seq, occurred_at, actor, action, object_type, object_id, request_id, source_ip, details, hash
from audit_logs where object_id = $1 order by occurred_at desc limit $2;

-- name: chains
-- Every chain that has an entry, by a walk over the primary key (one probe per chain, however long they are).
with recursive walk as (
    (select chain from audit_logs order by chain limit 1)
    union all
    select (select a.chain from audit_logs a where a.chain > walk.chain order by a.chain limit 1)
    from walk where walk.chain is not null
)
select w.chain, last.seq, last.hash, v.seq as verified_seq, v.hash as verified_hash, v.intact, v.problem, v.verified_at
from walk w
cross join lateral (select seq, hash from audit_logs a where a.chain = w.chain order by seq desc limit 1) last
left join audit_verifications v on v.chain = w.chain
where w.chain is not null order by w.chain;

-- name: heads
-- Ends of the service's own chains.
select chain, seq, hash from audit_heads;

-- name: shard_heads
-- Ends of the pipeline's chains as the checkpoints record them.
select key_group_from, audit_seq, audit_hash from checkpoints where audit_seq > 0;

-- name: entries_after
-- The next entries of a chain in order, for verification.
select seq, occurred_at, actor, action, object_type, object_id, request_id, source_ip, details, prev_hash, hash
from audit_logs where chain = $1 and seq > $2 order by seq limit $3;

-- name: hash_at
-- The stored hash of one entry.
select hash from audit_logs where chain = $1 and seq = $2;

-- name: store_verification
-- How far a chain is verified.
insert into audit_verifications (chain, seq, hash, intact, problem) values ($1, $2, $3, $4, $5)
on conflict (chain) do update set seq = excluded.seq, hash = excluded.hash, intact = excluded.intact,
    problem = excluded.problem, verified_at = now();
