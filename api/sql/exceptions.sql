-- The exceptions desk.

-- name: result
-- What the exception is about; only a mismatch, or one that was.
select r.key_group, r.txn_id, r.verdict, r.final, r.revision, r.rules_version, r.breaks, r.missing, r.late, r.present,
       r.currency, r.amount_minor, r.spread_minor, r.first_arrival, r.last_arrival, r.decided_at, r.legs,
       e.state, e.version, e.assignee, e.reason_code, e.needs_checker, e.proposed_by, e.resolved_by, e.approved_by,
       e.healed_at, e.updated_at,
       (select count(*) from exception_comments c where c.key_group = r.key_group and c.txn_id = r.txn_id) as comments
from results r left join exceptions e on e.key_group = r.key_group and e.txn_id = r.txn_id
where r.key_group = $1 and r.txn_id = $2;

-- name: lock
-- The exception's row for a change.
select state, version, assignee, reason_code, needs_checker, proposed_by, resolved_by, approved_by, healed_at
from exceptions where key_group = $1 and txn_id = $2 for update;

-- name: insert
-- The first touch. Nothing when somebody was faster.
insert into exceptions (key_group, txn_id, state, assignee, reason_code, proposed_by, resolved_by)
values ($1, $2, $3, $4, $5, $6, $7) on conflict (key_group, txn_id) do nothing
returning key_group, txn_id, state, version, assignee, reason_code, needs_checker, proposed_by, resolved_by, approved_by,
          healed_at, updated_at;

-- name: update
-- A change of exactly the version that the caller saw.
update exceptions set state = $4, assignee = $5, reason_code = $6, proposed_by = $7, resolved_by = $8, approved_by = $9,
    version = version + 1
where key_group = $1 and txn_id = $2 and version = $3
returning key_group, txn_id, state, version, assignee, reason_code, needs_checker, proposed_by, resolved_by, approved_by,
          healed_at, updated_at;

-- name: history_add
-- One step.
insert into exception_history (key_group, txn_id, actor, action, state, note) values ($1, $2, $3, $4, $5, $6)
returning history_id, key_group, txn_id, at, actor, action, state, note;

-- name: history
-- Steps, newest first.
select at, actor, action, state, note from exception_history
where key_group = $1 and txn_id = $2 order by history_id desc limit 200;

-- name: comments
-- Comments, oldest first.
select comment_id, author, at, body from exception_comments
where key_group = $1 and txn_id = $2 order by comment_id limit 500;

-- name: comment_add
-- One comment.
insert into exception_comments (key_group, txn_id, author, body) values ($1, $2, $3, $4)
returning comment_id, key_group, txn_id, author, at, body;

-- name: in_work
-- Counts of what people have in hand; few rows, by the partial index.
select count(*) filter (where state = 'open') as reopened,
       count(*) filter (where state = 'assigned') as assigned,
       count(*) filter (where state = 'in_review') as in_review,
       count(*) filter (where assignee = $1) as mine,
       count(*) filter (where state = 'in_review' and proposed_by is not null and proposed_by <> $1) as awaiting
from exceptions where state <> 'resolved';

-- name: resolved
-- Resolved ones, from their counters.
select coalesce(sum(n) filter (where not healed), 0)::bigint as settled, coalesce(sum(n), 0)::bigint as resolved
from exception_counts;

-- name: bulk_insert
-- First touches, many at once.
insert into exceptions (key_group, txn_id, state, assignee, reason_code, proposed_by, resolved_by)
select * from unnest($1::smallint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
returning key_group, txn_id, state, version, assignee, reason_code, needs_checker, proposed_by, resolved_by, approved_by,
          healed_at, updated_at;

-- name: bulk_update
-- Changes of exactly the versions that were seen.
update exceptions e set state = c.state, assignee = c.assignee, reason_code = c.reason_code, proposed_by = c.proposed_by,
    resolved_by = c.resolved_by, version = e.version + 1
from unnest($1::smallint[], $2::text[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
    as c (key_group, txn_id, version, state, assignee, reason_code, proposed_by, resolved_by)
where e.key_group = c.key_group and e.txn_id = c.txn_id and e.version = c.version
returning e.key_group, e.txn_id, e.state, e.version, e.assignee, e.reason_code, e.needs_checker, e.proposed_by,
          e.resolved_by, e.approved_by, e.healed_at, e.updated_at;

-- name: bulk_history
-- One step each.
insert into exception_history (key_group, txn_id, actor, action, state, note)
select key_group, txn_id, $4, $5, state, $6 from unnest($1::smallint[], $2::text[], $3::text[]) as c (key_group, txn_id, state)
returning history_id, key_group, txn_id, at, actor, action, state, note;

-- name: settled
-- Exceptions as they are, of transactions that were just settled.
select e.key_group, e.txn_id, e.state, e.version, e.assignee, e.reason_code, e.needs_checker, e.proposed_by, e.resolved_by,
       e.approved_by, e.healed_at, e.updated_at
from unnest($1::smallint[], $2::text[]) as t (key_group, txn_id)
join exceptions e on e.key_group = t.key_group and e.txn_id = t.txn_id;

-- name: settled_steps
-- The steps that this very transaction added to their history, in order: a step's time is its transaction's.
select h.history_id, h.key_group, h.txn_id, h.at, h.actor, h.action, h.state, h.note
from unnest($1::smallint[], $2::text[]) as t (key_group, txn_id)
join exception_history h on h.key_group = t.key_group and h.txn_id = t.txn_id
where h.at = now() and h.actor = 'recon' order by h.history_id;

-- name: settle_signals
-- Close what healed, open again what changed.
select txn_id, state, version from apply_exception_signals($1);
