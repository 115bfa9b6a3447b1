-- Sources as a bank configures them: the text of recon.yaml by version, and what a mapping reads beside the fields.

-- A record is read by the version in force at its arrival, on replay too, so no version is ever changed or removed.
create table configurations (
    version        integer primary key check (version >= 1),
    effective_from timestamptz not null,
    reconciliation text not null,              -- the one of the file's reconciliations that this ledger is for
    body           text not null,              -- the whole file
    schemas        jsonb not null default '{}', -- by path as the file has it: the schema file's bytes in base64
    activated_by   text not null,
    activated_at   timestamptz not null default now()
);
create unique index configurations_in_order on configurations (effective_from);
create trigger configurations_append_only before update or delete on configurations
    for each row execute function refuse_change();
create trigger configurations_no_truncate before truncate on configurations
    for each statement execute function refuse_change();
comment on table configurations is 'Append-only; without a row the three built-in sources are read.';

-- Files whose rows are in the log. A row is `writing` from before its Kafka transaction begins: after a crash the log
-- itself says, by the file's end marker at or after `log_offset`, whether that transaction was committed.
create table ingested_files (
    source      text not null,
    digest      text not null,          -- SHA-256 of the unpacked bytes, in hex
    name        text not null,
    state       text not null check (state in ('writing', 'done')),
    rows        bigint not null default 0,
    rejected    bigint not null default 0,
    statements  jsonb not null default '[]', -- account, number, closed_on and digest of each
    log_offset  bigint not null,
    began_at    timestamptz not null default now(),
    done_at     timestamptz,
    ingested_by text not null,
    primary key (source, digest)
);

-- One topic may feed several sources.
alter table sources drop constraint sources_topic_key;

-- A block without attributes has null instead of an array of nulls.
alter table event_blocks add column attributes text[];
alter table event_blocks alter attributes set storage external;
comment on column event_blocks.attributes is 'Compact JSON objects with sorted names; null where an event has none.';

drop view raw_events;
drop function events_at(smallint[], bigint[], date);
drop view event_log;
create view event_log as
select b.key_group, e.seq, e.txn_id, s.name as source, e.event_id, e.amount_minor, e.currency,
       status_name(e.status) as status, to_timestamp(e.event_time_ms::float8 / 1000) as event_time,
       to_timestamp(e.arrival_ms::float8 / 1000) as arrival, e.account_id, e.original_txn_id, e.kafka_partition,
       e.kafka_offset, e.attributes
from event_blocks b
cross join lateral unnest(b.seq, b.txn_id, b.source, b.event_id, b.amount_minor, b.currency, b.status, b.event_time_ms,
                          b.arrival_ms, b.account_id, b.original_txn_id, b.kafka_partition, b.kafka_offset, b.attributes)
    as e (seq, txn_id, source, event_id, amount_minor, currency, status, event_time_ms, arrival_ms, account_id,
          original_txn_id, kafka_partition, kafka_offset, attributes)
join sources s on s.source_id = e.source;
comment on view event_log is 'One row per accepted event; the topic is sources.topic of the source.';

create view raw_events as
select e.key_group, e.seq, e.txn_id, e.source, e.event_id, e.amount_minor, e.currency, e.status, e.event_time, e.arrival,
       e.account_id, e.original_txn_id, e.kafka_partition, e.kafka_offset, r.seq is not null as redelivery, e.attributes
from event_log e left join redeliveries r on r.key_group = e.key_group and r.seq = e.seq;

-- As before (0003), with the attributes.
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
           e.original_txn_id, e.kafka_partition, e.kafka_offset, e.attributes
    from places p
    join event_blocks b on b.key_group = p.key_group and b.seq_from = p.seq_from and b.written_on = p.written_on
    cross join lateral unnest(b.seq, b.txn_id, b.source, b.event_id, b.amount_minor, b.currency, b.status,
                              b.event_time_ms, b.arrival_ms, b.account_id, b.original_txn_id, b.kafka_partition,
                              b.kafka_offset, b.attributes)
        as e (seq, txn_id, source, event_id, amount_minor, currency, status, event_time_ms, arrival_ms, account_id,
              original_txn_id, kafka_partition, kafka_offset, attributes)
    join sources s on s.source_id = e.source
    where (b.key_group, e.seq) in (select w.key_group, w.seq from wanted w)
$$;

do $$
begin
    if exists (select from pg_roles where rolname = 'recon_app') then
        grant select on configurations, ingested_files, event_log, raw_events to recon_app;
    end if;
    if exists (select from pg_roles where rolname = 'recon_api') then
        grant select on configurations, ingested_files, event_log, raw_events to recon_api;
    end if;
end $$;
