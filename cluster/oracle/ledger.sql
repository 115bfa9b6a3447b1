-- What the oracle reads of the ledger. Times leave as whole microseconds since 1970, so that nothing is rounded away.

-- name: sources
select source_id, name, topic, expected from sources order by source_id

-- name: rule_sets
select version, (extract(epoch from effective_from) * 1000)::bigint as effective_from_ms, body::text as body
from rule_sets where state = 'active' order by effective_from, version

-- name: checkpoints
select key_group_from, key_group_to, epoch, next_seq, low_seq, positions::text as positions,
       watermarks::text as watermarks
from checkpoints order by key_group_from

-- name: topic_ids
select distinct on (topic) topic, topic_id from log_topics order by topic, incarnation desc

-- name: topic_bases
-- What is added to Kafka's offsets of each topic's incarnation in force.
select distinct on (topic) topic, bases::text as bases from log_topics order by topic, incarnation desc

-- name: raw_events
-- Every stored event of a range of key groups.
select key_group, seq, txn_id, source, event_id, amount_minor, currency, status,
       (extract(epoch from event_time) * 1000000)::bigint as event_time_us,
       (extract(epoch from arrival) * 1000000)::bigint as arrival_us,
       account_id, original_txn_id, kafka_partition, kafka_offset, redelivery, attributes
from raw_events where key_group >= $1 and key_group < $2

-- name: raw_events_without_attributes
-- The same of a ledger from before events had attributes.
select key_group, seq, txn_id, source, event_id, amount_minor, currency, status,
       (extract(epoch from event_time) * 1000000)::bigint as event_time_us,
       (extract(epoch from arrival) * 1000000)::bigint as arrival_us,
       account_id, original_txn_id, kafka_partition, kafka_offset, redelivery, null::text as attributes
from raw_events where key_group >= $1 and key_group < $2

-- name: has_configurations
-- Whether the ledger is of a version that has configurations and attributes at all.
select to_regclass('configurations') is not null

-- name: configurations
-- Versions of recon.yaml, with the schema files that each names.
select version, (extract(epoch from effective_from) * 1000)::bigint as effective_from_ms, reconciliation, body,
       schemas::text as schemas
from configurations order by effective_from, version

-- name: results
-- Every result of a range of key groups.
select key_group, txn_id, verdict, final, revision, rules_version, breaks, missing, late, present, currency,
       amount_minor, spread_minor,
       (extract(epoch from first_arrival) * 1000000)::bigint as first_arrival_us,
       (extract(epoch from last_arrival) * 1000000)::bigint as last_arrival_us,
       legs, event_seqs
from results where key_group >= $1 and key_group < $2

-- name: dead_letters
select topic, kafka_partition, kafka_offset, (extract(epoch from arrival) * 1000000)::bigint as arrival_us, reason,
       key, payload
from dead_letters

-- name: retired_days
-- Days of the log that retention dropped, by its own account.
select to_date(right(details ->> 'partition', 8), 'YYYYMMDD') as day
from audit_logs where chain = 'retention' and action = 'log.dropped'

-- name: contract_results
-- The contract's view, for some transactions.
select v.txn_id, v.verdict, v.breaks, v.missing_sources, v.late_sources, v.final, v.revision
from unnest($1::smallint[], $2::text[]) as t (key_group, txn_id)
join reconciliation_results v on v.key_group = t.key_group and v.txn_id = t.txn_id

-- name: redelivery_counts
select r.txn_id, count(*) as n
from unnest($1::smallint[], $2::text[]) as t (key_group, txn_id)
join redeliveries r on r.key_group = t.key_group and r.txn_id = t.txn_id
group by r.txn_id

-- name: planted_dead_letters
select topic, key, reason from dead_letters where key = any ($1::bytea[])

-- name: counters
-- The counters' totals. A counter of money is by currency, one of events is not.
select metric, sum(n)::bigint as n from stats_by_minute group by metric
