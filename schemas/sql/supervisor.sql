-- What the supervisor asks of PostgreSQL when it lays the pipeline out.

-- name: put_source
insert into sources (source_id, name, topic, expected) values ($1, $2, $3, $4)
on conflict (source_id) do update set topic = excluded.topic, expected = excluded.expected
where sources.name = excluded.name
returning source_id

-- name: sources
select source_id, name, topic, expected from sources order by source_id

-- name: shard_heads
-- Where the chains of the shards end by now, those of earlier layouts too.
with recursive walk as (
    (select chain from audit_logs where chain > 'shard-' order by chain limit 1)
    union all
    select (select a.chain from audit_logs a where a.chain > walk.chain order by a.chain limit 1)
    from walk where walk.chain is not null
)
select w.chain, last.seq, last.hash
from walk w
cross join lateral (select seq, hash from audit_logs a where a.chain = w.chain order by seq desc limit 1) last
where w.chain like 'shard-%'

-- name: layout
select key_group_from, key_group_to, epoch, next_seq, low_seq, positions, next_seq > low_seq as has_open
from checkpoints order by key_group_from for update

-- name: put_range
insert into checkpoints (key_group_from, key_group_to, epoch, next_seq, low_seq, positions)
values ($1, $2, $3, $4, $5, $6)

-- name: drop_ranges
delete from checkpoints

-- name: set_first_rules
-- Before anything was judged, rule set 1 takes its window and the expected sources from the settings. By the owner: the
-- application may not. Nothing when they are so already.
update rule_sets set body = body || jsonb_build_object('match_window_ms', $1::bigint, 'expected_sources', $2::text[])
where version = 1 and (select count(*) from rule_sets) = 1
  and not exists (select from checkpoints where next_seq > 1 or positions <> '{}')
  and body is distinct from body || jsonb_build_object('match_window_ms', $1::bigint, 'expected_sources', $2::text[])
returning version, state, effective_from, body, note, created_by, created_at, activated_by
