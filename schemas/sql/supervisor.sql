-- What the supervisor asks of PostgreSQL when it lays the pipeline out.

-- name: put_source
insert into sources (source_id, name, topic, expected) values ($1, $2, $3, $4)
on conflict (source_id) do update set topic = excluded.topic, expected = excluded.expected
where sources.name = excluded.name
returning source_id

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
-- application may not.
update rule_sets set body = body || jsonb_build_object('match_window_ms', $1::bigint, 'expected_sources', $2::text[])
where version = 1 and (select count(*) from rule_sets) = 1
  and not exists (select from checkpoints where next_seq > 1 or positions <> '{}')
