-- One transaction: always by key group and id, the primary key.

-- name: one
-- The result in force.
select key_group, txn_id, verdict, final, revision, rules_version, breaks, missing, late, present, currency, amount_minor,
       spread_minor, first_arrival, last_arrival, decided_at, legs, event_seqs
from results where key_group = $1 and txn_id = $2;

-- name: events
-- Its events: by their places in the key group's log, and not in partitions older than the first arrival.
select e.seq, e.source, e.event_id, e.amount_minor, e.currency, e.status, e.event_time, e.arrival, e.account_id,
       e.original_txn_id, e.kafka_partition, e.kafka_offset, false as redelivery
from events_at(array_fill($1::smallint, array[cardinality($2::bigint[])]), $2, ($3::timestamptz at time zone 'UTC')::date) e
where e.arrival between $3 and $4 and e.txn_id = $5;

-- name: redeliveries
-- Where its redeliveries are in the log.
select seq, arrival from redeliveries where key_group = $1 and txn_id = $2 order by seq limit 200;

-- name: history
-- Revisions that were replaced, newest first.
select revision, verdict, final, rules_version, breaks, missing, late, present, currency, amount_minor, spread_minor,
       decided_at, replaced_at, legs
from result_history where key_group = $1 and txn_id = $2 order by history_id desc limit 100;

-- name: exceptions_of
-- The touched exceptions among the rows of a page.
select e.key_group, e.txn_id, e.state, e.assignee
from unnest($1::smallint[], $2::text[]) as page (key_group, txn_id)
join exceptions e using (key_group, txn_id);

-- name: mismatched_currencies
-- The currencies that mismatches have: one step down an index each.
with recursive found (currency) as (
    (select r.currency from results r where r.verdict = 2 order by r.currency limit 1)
    union all
    select (select r.currency from results r where r.verdict = 2 and r.currency > found.currency
            order by r.currency limit 1)
    from found where found.currency is not null
)
select currency from found where currency is not null;

-- name: by_prefix
-- Ids that start alike, from every key group's part of the primary key: 128 short walks of the index alone, then the rows.
select r.key_group, r.txn_id, r.verdict, r.final, r.revision, r.rules_version, r.breaks, r.missing, r.late, r.present,
       r.currency, r.amount_minor, r.spread_minor, r.first_arrival, r.last_arrival, r.decided_at, r.legs
from (
    select groups.key_group, found.txn_id
    from generate_series(0, 127) as groups (key_group)
    cross join lateral (
        select t.txn_id from results t
        where t.key_group = groups.key_group and t.txn_id >= $1 and t.txn_id < $2 and t.txn_id > $4
        order by t.txn_id limit $3
    ) found
    order by found.txn_id limit $3
) hits
join results r on r.key_group = hits.key_group and r.txn_id = hits.txn_id
order by r.txn_id;
