-- Summary and series, from counters only.

-- name: totals
-- All metrics since ever: the hours that are rolled up and the minutes since.
select metric, currency, sum(n)::bigint as n, sum(amount_minor)::bigint as amount_minor
from (
    select metric, currency, n, amount_minor from stats_by_hour
    union all
    select metric, currency, n, amount_minor from stats_by_minute
    where minute >= (select upto from rollups where name = 'stats_by_hour')
) parts
group by metric, currency;

-- name: pending
-- Undecided transactions that are shown already, at most so many.
select count(*)::bigint from (select 1 from results where verdict = 0 limit $1) undecided;

-- name: totals_since
-- All metrics from a minute on: whole hours where they are rolled up.
with bounds as (
    select $1::timestamptz as since, upto,
           date_trunc('hour', $1::timestamptz + interval '59 minutes 59.999999 seconds') as first_hour
    from rollups where name = 'stats_by_hour'
)
select metric, currency, sum(n)::bigint as n, sum(amount_minor)::bigint as amount_minor
from (
    select metric, currency, n, amount_minor from stats_by_hour, bounds where hour >= first_hour and hour < upto
    union all
    select metric, currency, n, amount_minor from stats_by_minute, bounds
    where minute >= since and minute < least(first_hour, greatest(since, upto))
    union all
    select metric, currency, n, amount_minor from stats_by_minute, bounds where minute >= greatest(since, upto)
) parts
group by metric, currency;

-- name: series_minutes
-- Buckets of $3 seconds between two minutes.
select to_timestamp(floor(extract(epoch from minute) / $3::integer) * $3::integer) as bucket, metric, currency,
       sum(n)::bigint as n, sum(amount_minor)::bigint as amount_minor
from stats_by_minute
where minute >= $1 and minute < $2 and (cardinality($4::text[]) = 0 or metric ^@ any($4::text[]))
group by 1, 2, 3 order by 1;

-- name: series_hours
-- The same over rolled-up hours and the minutes since.
select to_timestamp(floor(extract(epoch from at) / $3::integer) * $3::integer) as bucket, metric, currency,
       sum(n)::bigint as n, sum(amount_minor)::bigint as amount_minor
from (
    select hour as at, metric, currency, n, amount_minor from stats_by_hour where hour >= $1 and hour < $2
    union all
    select minute, metric, currency, n, amount_minor from stats_by_minute
    where minute >= greatest($1::timestamptz, (select upto from rollups where name = 'stats_by_hour')) and minute < $2
) parts
where cardinality($4::text[]) = 0 or metric ^@ any($4::text[])
group by 1, 2, 3 order by 1;

-- name: open_exceptions
-- Resolved ones that have not healed; with the MISMATCHED total it gives all that is not resolved.
select coalesce(sum(n), 0)::bigint as n from exception_counts where not healed;

-- name: ageing
-- As last refreshed.
select label, currency, n, amount_minor::bigint as amount_minor, as_of from desk_ageing;

-- name: incidents
-- Newest first.
select incident_id, kind, subject, opened_at, closed_at, detail from incidents
where incident_id < $1 and (not $2::boolean or closed_at is null)
order by incident_id desc limit $3;

-- name: open_incident
-- Null when it is open already.
insert into incidents (kind, subject, detail) values ($1, $2, $3)
on conflict (kind, subject) where closed_at is null do nothing
returning incident_id, kind, subject, opened_at, closed_at, detail;

-- name: close_incident
-- Null when it is not open.
update incidents set closed_at = now() where kind = $1 and subject = $2 and closed_at is null
returning incident_id, kind, subject, opened_at, closed_at, detail;

-- name: open_incidents
-- What is open now.
select incident_id, kind, subject, opened_at, closed_at, detail from incidents where closed_at is null;
