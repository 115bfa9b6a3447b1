-- The log in blocks: all events that one flush brings a key group are one row, a column of the log an array in it.
--
-- A row of its own for every event was most of what PostgreSQL did for the pipeline: 3.0 us of a core and 244 bytes an
-- event, against 1.1 us and 134 bytes in blocks (300,000 events in flushes of 50,000). What reads the log reads it by
-- place, (key_group, seq), and finds the block by its first seq. The view event_log gives the rows back.

create table event_blocks (
    key_group       smallint not null,
    seq_from        bigint not null,   -- lowest and highest seq in the block; blocks of a key group do not overlap
    seq_to          bigint not null,
    events          integer not null,
    written_on      date not null,     -- UTC; never before the day of arrival
    seq             bigint[] not null, -- rising
    txn_id          text[] not null,
    source          smallint[] not null, -- sources.source_id
    event_id        text[] not null,
    amount_minor    bigint[] not null,
    currency        text[] not null,
    status          smallint[] not null, -- see status_name()
    event_time_ms   bigint[] not null, -- since 1970, UTC
    arrival_ms      bigint[] not null,
    account_id      text[] not null,
    original_txn_id text[] not null,   -- null where an event refers to no other
    kafka_partition integer[] not null,
    kafka_offset    bigint[] not null,
    primary key (key_group, seq_from, written_on),
    check (seq_from <= seq_to and events > 0)
) partition by range (written_on);
create table event_blocks_default partition of event_blocks default;
comment on table event_blocks is 'Append-only, partitioned by the UTC day of writing; read it through event_log or raw_events.';

-- Compressing what is read by place costs more CPU than the disk saves.
do $$
declare
    name text;
begin
    for name in select attname from pg_attribute
                where attrelid = 'event_blocks'::regclass and attnum > 0 and atttypid::regtype::text like '%[]' loop
        execute format('alter table event_blocks alter %I set storage external', name);
        execute format('alter table event_blocks_default alter %I set storage external', name);
    end loop;
end $$;

create trigger event_blocks_append_only before update or delete on event_blocks
    for each row execute function refuse_change();
create trigger event_blocks_no_truncate before truncate on event_blocks
    for each statement execute function refuse_change();

create function status_name(code smallint) returns text language sql immutable strict parallel safe as $$
    select (array['PENDING', 'SUCCESS', 'FAILED', 'REVERSED'])[code + 1]
$$;

-- Daily partitions are made ahead by whoever writes; the owner's function keeps DDL rights away from the application.
create function ensure_event_blocks_partition(day date) returns void language plpgsql security definer
    set search_path = public, pg_temp as $$
declare
    name text := 'event_blocks_' || to_char(day, 'YYYYMMDD');
begin
    if to_regclass(name) is null then
        perform pg_advisory_xact_lock(hashtext('ensure_event_blocks_partition'));
        execute format('create table %I partition of event_blocks for values from (%L) to (%L)', name, day, day + 1);
    end if;
exception when duplicate_table then
    null; -- another shard made it while this one waited for the lock
end $$;

-- What an older version wrote, a row an event, moves over.
select ensure_event_blocks_partition(day) from (select distinct (arrival at time zone 'UTC')::date as day from event_log) d;
insert into event_blocks
select e.key_group, min(e.seq), max(e.seq), count(*), max((e.arrival at time zone 'UTC')::date),
       array_agg(e.seq order by e.seq), array_agg(e.txn_id order by e.seq), array_agg(s.source_id order by e.seq),
       array_agg(e.event_id order by e.seq), array_agg(e.amount_minor order by e.seq),
       array_agg(e.currency order by e.seq),
       array_agg((array_position(array['PENDING', 'SUCCESS', 'FAILED', 'REVERSED'], e.status) - 1)::smallint order by e.seq),
       array_agg((extract(epoch from e.event_time) * 1000)::bigint order by e.seq),
       array_agg((extract(epoch from e.arrival) * 1000)::bigint order by e.seq),
       array_agg(e.account_id order by e.seq), array_agg(e.original_txn_id order by e.seq),
       array_agg(e.kafka_partition order by e.seq), array_agg(e.kafka_offset order by e.seq)
from event_log e join sources s on s.name = e.source
group by e.key_group, e.seq / 4096;

drop view raw_events;
drop table event_log;
drop function ensure_event_log_partition(date);

create view event_log as
select b.key_group, e.seq, e.txn_id, s.name as source, e.event_id, e.amount_minor, e.currency,
       status_name(e.status) as status, to_timestamp(e.event_time_ms::float8 / 1000) as event_time,
       to_timestamp(e.arrival_ms::float8 / 1000) as arrival, e.account_id, e.original_txn_id, e.kafka_partition,
       e.kafka_offset
from event_blocks b
cross join lateral unnest(b.seq, b.txn_id, b.source, b.event_id, b.amount_minor, b.currency, b.status, b.event_time_ms,
                          b.arrival_ms, b.account_id, b.original_txn_id, b.kafka_partition, b.kafka_offset)
    as e (seq, txn_id, source, event_id, amount_minor, currency, status, event_time_ms, arrival_ms, account_id,
          original_txn_id, kafka_partition, kafka_offset)
join sources s on s.source_id = e.source;
comment on view event_log is 'One row per accepted event; the topic is sources.topic of the source.';

create view raw_events as
select e.*, r.seq is not null as redelivery
from event_log e left join redeliveries r on r.key_group = e.key_group and r.seq = e.seq;

-- Events by their places, as many as are still kept: one step down the key's index a place, then each block once.
-- No event was written before the day it arrived, so `since` leaves older partitions out.
create function events_at(key_groups smallint[], seqs bigint[], since date default '-infinity')
returns setof event_log language sql stable parallel safe as $$
    with wanted as (
        select t.key_group, t.seq from unnest(key_groups, seqs) as t (key_group, seq)
    ), places as (
        select distinct w.key_group, p.seq_from, p.written_on
        from wanted w cross join lateral (
            select b.seq_from, b.written_on from event_blocks b
            where b.key_group = w.key_group and b.seq_from <= w.seq and b.written_on >= since
            order by b.seq_from desc limit 1
        ) p
    )
    select b.key_group, e.seq, e.txn_id, s.name, e.event_id, e.amount_minor, e.currency, status_name(e.status),
           to_timestamp(e.event_time_ms::float8 / 1000), to_timestamp(e.arrival_ms::float8 / 1000), e.account_id,
           e.original_txn_id, e.kafka_partition, e.kafka_offset
    from places p
    join event_blocks b on b.key_group = p.key_group and b.seq_from = p.seq_from and b.written_on = p.written_on
    cross join lateral unnest(b.seq, b.txn_id, b.source, b.event_id, b.amount_minor, b.currency, b.status,
                              b.event_time_ms, b.arrival_ms, b.account_id, b.original_txn_id, b.kafka_partition,
                              b.kafka_offset)
        as e (seq, txn_id, source, event_id, amount_minor, currency, status, event_time_ms, arrival_ms, account_id,
              original_txn_id, kafka_partition, kafka_offset)
    join sources s on s.source_id = e.source
    where (b.key_group, e.seq) in (select w.key_group, w.seq from wanted w)
$$;

comment on column results.amount_minor is 'Largest leg, in minor units of currency, which is that leg''s.';

-- What is not final is not decided yet, whenever it was last looked at.
create or replace view reconciliation_results as
select txn_id, verdict_name(verdict) as verdict, break_names(breaks) as breaks,
       source_names(missing) as missing_sources, source_names(late) as late_sources, final, revision, rules_version,
       legs_json(legs) as legs, first_arrival, case when final then decided_at end as decided_at, currency, amount_minor,
       spread_minor, last_arrival, source_names(present) as sources, key_group
from results;

do $$
begin
    if exists (select from pg_roles where rolname = 'recon_app') then
        grant select on event_blocks, event_log, raw_events to recon_app;
        grant insert on event_blocks to recon_app;
        grant execute on function ensure_event_blocks_partition(date) to recon_app;
    end if;
    if exists (select from pg_roles where rolname = 'recon_api') then
        grant select on event_blocks, event_log, raw_events to recon_api;
    end if;
end $$;
