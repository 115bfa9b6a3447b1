-- Chains whose end is their last entry, written by the owner's commands.

-- name: one_writer
select pg_advisory_xact_lock(hashtext('audit-' || $1))

-- name: chain_head
select seq, hash from audit_logs where chain = $1 order by seq desc limit 1

-- name: append_audit
insert into audit_logs (chain, seq, occurred_at, actor, action, object_type, object_id, request_id, source_ip, details,
                        prev_hash, hash)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
