-- Sources and rule sets.

-- name: sources
-- Configured sources in order of their ids.
select source_id, name, topic, expected from sources order by source_id;

-- name: active
-- Active versions in order of the time from which they apply.
select version, effective_from, body, effective_from <= now() as in_force
from rule_sets where state = 'active' order by effective_from, version;

-- name: all
-- Every version, newest first.
select version, state, effective_from, body, note, created_by, created_at, activated_by,
       version = (select version from rule_sets where state = 'active' and effective_from <= now()
                  order by effective_from desc, version desc limit 1) as in_force
from rule_sets order by version desc limit 500;

-- name: one
-- One version.
select version, state, effective_from, body, note, created_by, created_at, activated_by,
       version = (select version from rule_sets where state = 'active' and effective_from <= now()
                  order by effective_from desc, version desc limit 1) as in_force
from rule_sets where version = $1;

-- name: draft
-- The next version; two drafts at the same moment queue on the lock.
insert into rule_sets (version, body, state, created_by, note)
select coalesce(max(version), 0) + 1, $1, 'draft', $2, $3 from rule_sets
returning version, state, effective_from, body, note, created_by, created_at, activated_by;

-- name: draft_lock
-- Held to the end of the transaction.
select pg_advisory_xact_lock(hashtext('recon.rule_sets'));

-- name: activate
-- A draft takes over from $2 on.
update rule_sets set state = 'active', effective_from = $2, activated_by = $3 where version = $1 and state = 'draft'
returning version, state, effective_from, body, note, created_by, created_at, activated_by;

-- name: discard
-- A draft that nobody wants.
update rule_sets set state = 'retired' where version = $1 and state = 'draft'
returning version, state, effective_from, body, note, created_by, created_at, activated_by;
