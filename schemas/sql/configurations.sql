-- Versions of the configuration, and the sources that they name. $n are asyncpg's parameters.

-- name: lock
select pg_advisory_xact_lock(hashtext('configurations'))

-- name: versions
select version, (extract(epoch from effective_from) * 1000)::bigint as effective_from_ms, reconciliation, body, schemas
from configurations order by effective_from, version

-- name: newest
select version, reconciliation, body, schemas from configurations order by version desc limit 1

-- name: put_version
insert into configurations (version, effective_from, reconciliation, body, schemas, activated_by)
values ($1, $2, $3, $4, $5, $6)
returning version, effective_from, reconciliation, body, schemas, activated_by, activated_at

-- name: sources
select source_id, name, topic, expected from sources order by source_id

-- name: put_source
insert into sources (source_id, name, topic, expected) values ($1, $2, $3, $4)

-- name: set_expected
update sources set expected = $2 where name = $1

-- name: is_untouched
-- Whether nothing was ever read, so that no stored number means a source yet.
select not exists (select from checkpoints where next_seq > 1 or positions <> '{}')
   and not exists (select from event_blocks) as untouched

-- name: rule_sets
select version, (extract(epoch from effective_from) * 1000)::bigint as effective_from_ms, body, state
from rule_sets order by version

-- name: set_first_rules
update rule_sets set body = body || $1::jsonb, created_by = $2 where version = 1
returning version, state, effective_from, body, note, created_by, created_at, activated_by

-- name: put_rules
insert into rule_sets (version, effective_from, body, state, created_by, activated_by)
values ($1, $2, $3, 'active', $4, $5)
returning version, state, effective_from, body, note, created_by, created_at, activated_by
