-- Topics as the ledger knows them.

-- name: newest
-- The incarnation in force of each topic.
select distinct on (topic) topic, incarnation, topic_id, bases::text as bases, skipped::text as skipped
from log_topics order by topic, incarnation desc

-- name: first_seen
-- A topic that was never seen before. Another supervisor may have been quicker.
insert into log_topics (topic, incarnation, topic_id, accepted_by) values ($1, 1, $2, $3)
on conflict do nothing
returning topic, incarnation, topic_id, bases, skipped, known_since, accepted_by

-- name: accept
insert into log_topics (topic, incarnation, topic_id, bases, skipped, accepted_by)
values ($1, $2, $3, $4, $5, $6)
returning topic, incarnation, topic_id, bases, skipped, known_since, accepted_by

-- name: positions
select positions::text as positions from checkpoints
