-- The ledger: events, verdicts, audit chain, dead letters and the positions that make them exactly once in effect.
-- Run by the owner role; recon_app (pipeline) and recon_api (service) get only the rights they need.

create table sources (
    source_id smallint primary key check (source_id between 0 and 14),
    name      text not null unique,
    topic     text not null unique,
    expected  boolean not null
);
comment on table sources is 'Configured sources; source_id is the bit in results.missing, late and present.';

create table rule_sets (
    version        integer primary key check (version >= 1),
    effective_from timestamptz,
    body           jsonb not null,
    state          text not null default 'active' check (state in ('draft', 'active', 'retired')),
    created_by     text not null default 'recon',
    created_at     timestamptz not null default now(),
    activated_by   text,
    check (state = 'draft' or effective_from is not null)
);
comment on table rule_sets is 'A transaction is judged by the active version with the latest effective_from at or before its first arrival.';
insert into rule_sets (version, effective_from, body)
values (1, 'epoch', '{"match_window_ms": 30000, "time_tolerance_ms": 5000, "tolerances": {},
        "default_tolerance": {"absolute_minor": 0, "bps": 0}, "expected_sources": ["CORE", "GATEWAY", "MOBILE"]}');

-- One row per range of key groups. A flush moves it in the same transaction as the rows it covers.
create table checkpoints (
    key_group_from smallint primary key,
    key_group_to   smallint not null,          -- exclusive
    epoch          bigint not null default 0,  -- fencing token: raised by every new owner
    owner          text not null default '',
    next_seq       bigint not null default 1,  -- next event_log.seq to hand out in this range
    low_seq        bigint not null default 1,  -- every event below it belongs to a final result
    flushes        bigint not null default 0,
    positions      jsonb not null default '{}', -- {"topic": {"partition": next offset}}
    watermarks     jsonb not null default '{}', -- {"SOURCE": arrival ms}
    audit_seq      bigint not null default 0,
    audit_hash     bytea not null default '\x',
    flushed_at     timestamptz,
    check (key_group_from < key_group_to)
);

-- The log. One row per accepted event, redeliveries at another offset included.
create table event_log (
    key_group       smallint not null,
    seq             bigint not null,
    txn_id          text not null,
    source          text not null,
    event_id        text not null,
    amount_minor    bigint not null,
    currency        text not null,
    status          text not null,
    event_time      timestamptz not null,
    arrival         timestamptz not null,
    account_id      text not null,
    original_txn_id text,
    kafka_partition integer not null,
    kafka_offset    bigint not null,
    primary key (key_group, seq, arrival)
) partition by range (arrival);
create table event_log_default partition of event_log default;
comment on table event_log is 'Append-only, partitioned by UTC day of arrival; the topic is sources.topic of the source.';

-- Marks of redeliveries. A table of its own, because whether an event repeats another is often known only after its row
-- was written, and a row of the log is never changed.
create table redeliveries (
    key_group smallint not null,
    seq       bigint not null,
    txn_id    text not null,
    arrival   timestamptz not null,
    primary key (key_group, seq)
);
create index redeliveries_by_txn on redeliveries (key_group, txn_id);

create view raw_events as
select e.*, r.seq is not null as redelivery
from event_log e left join redeliveries r on r.key_group = e.key_group and r.seq = e.seq;

-- One row per transaction, packed; reconciliation_results below is the readable form.
create table results (
    key_group      smallint not null,
    txn_id         text not null,
    verdict        smallint not null check (verdict between 0 and 2),
    final          boolean not null,
    revision       integer not null,
    rules_version  integer not null,
    breaks         smallint not null,
    missing        smallint not null,
    late           smallint not null,
    present        smallint not null,
    currency       text not null,
    amount_minor   bigint not null,
    spread_minor   bigint not null,
    first_arrival  timestamptz not null,
    last_arrival   timestamptz not null,
    decided_at     timestamptz not null,
    legs           text not null,
    event_seqs     bigint[] not null,
    primary key (key_group, txn_id)
) with (fillfactor = 95);
comment on column results.event_seqs is 'event_log.seq of every distinct event of the transaction; its redeliveries are in redeliveries.';
comment on column results.amount_minor is 'Largest leg, in minor units of currency (the currency of the first leg in source order).';
comment on column results.spread_minor is 'Largest less smallest leg, in minor units.';

create index results_by_decision on results (decided_at, txn_id);

-- What a result was before a revision replaced it.
create table result_history (
    key_group      smallint not null,
    txn_id         text not null,
    revision       integer not null,
    verdict        smallint not null,
    final          boolean not null,
    rules_version  integer not null,
    breaks         smallint not null,
    missing        smallint not null,
    late           smallint not null,
    present        smallint not null,
    currency       text not null,
    amount_minor   bigint not null,
    spread_minor   bigint not null,
    decided_at     timestamptz not null,
    replaced_at    timestamptz not null default now(),
    legs           text not null,
    history_id     bigint generated always as identity,
    primary key (key_group, txn_id, history_id)
);

create table dead_letters (
    key_group       smallint not null,
    topic           text not null,
    kafka_partition integer not null,
    kafka_offset    bigint not null,
    arrival         timestamptz not null,
    reason          text not null,
    detail          text not null,
    key             bytea,
    payload         bytea,
    state           text not null default 'new' check (state in ('new', 'replayed', 'dismissed')),
    state_changed_at timestamptz,
    state_changed_by text,
    primary key (key_group, topic, kafka_partition, kafka_offset)
);

-- Hash chain: hash = sha256(prev_hash || canonical JSON of the entry). See schemas/audit.py.
create table audit_logs (
    chain       text not null,
    seq         bigint not null check (seq >= 1),
    occurred_at timestamptz not null,
    actor       text not null,
    action      text not null,
    object_type text not null,
    object_id   text not null,
    request_id  text not null default '',
    source_ip   text not null default '',
    details     jsonb not null,
    prev_hash   bytea not null,
    hash        bytea not null,
    primary key (chain, seq)
);
create index audit_logs_by_object on audit_logs (object_id, occurred_at);
create index audit_logs_by_time on audit_logs (occurred_at);

-- Counters that make summaries and series cheap: deltas by minute of decision, so that a sum is always the truth.
create table stats_by_minute (
    key_group_from smallint not null,
    minute         timestamptz not null,
    metric         text not null,  -- events.CORE, redelivery, dead_letter, verdict.MATCHED, break.AMOUNT, late
    currency       text not null default '',
    n              bigint not null,
    amount_minor   bigint not null default 0,
    primary key (key_group_from, minute, metric, currency)
);
create index stats_by_minute_by_time on stats_by_minute (minute);

-- Append-only for everybody who is not the owner, and by trigger for the owner too.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % refused', tg_table_name, tg_op using errcode = '42501';
end $$;
create trigger audit_logs_append_only before update or delete on audit_logs
    for each row execute function refuse_change();
create trigger audit_logs_no_truncate before truncate on audit_logs
    for each statement execute function refuse_change();
create trigger event_log_append_only before update or delete on event_log
    for each row execute function refuse_change();

-- Readable forms of the packed columns.
create function break_names(mask smallint) returns text[] language sql immutable strict parallel safe as $$
    select coalesce(array_agg(name order by bit), '{}')
    from (values (0, 'CONFLICT'), (1, 'DUPLICATE'), (2, 'AMOUNT'), (3, 'CURRENCY'), (4, 'STATUS'), (5, 'TIMESTAMP'),
                 (6, 'MISSING')) kind (bit, name)
    where mask >> bit & 1 = 1
$$;
create function verdict_name(code smallint) returns text language sql immutable strict parallel safe as $$
    select (array['PENDING', 'MATCHED', 'MISMATCHED'])[code + 1]
$$;
create function source_names(mask smallint) returns text[] language sql stable strict parallel safe as $$
    select coalesce(array_agg(name order by source_id), '{}') from sources where mask >> source_id & 1 = 1
$$;
create function legs_json(packed text) returns jsonb language sql stable strict parallel safe as $$
    select coalesce(jsonb_object_agg(s.name, jsonb_build_object(
        'amount_minor', split_part(leg, ':', 2)::bigint,
        'currency', split_part(leg, ':', 3),
        'status', case split_part(leg, ':', 4)
            when 'P' then 'PENDING' when 'S' then 'SUCCESS' when 'F' then 'FAILED' else 'REVERSED' end,
        'event_time', split_part(leg, ':', 5)::bigint)), '{}')
    from unnest(string_to_array(nullif(packed, ''), ';')) leg
    join sources s on s.source_id = split_part(leg, ':', 1)::smallint
$$;

create view reconciliation_results as
select txn_id, verdict_name(verdict) as verdict, break_names(breaks) as breaks,
       source_names(missing) as missing_sources, source_names(late) as late_sources, final, revision, rules_version,
       legs_json(legs) as legs, first_arrival, decided_at, currency, amount_minor, spread_minor, last_arrival,
       source_names(present) as sources, key_group
from results;

-- Daily partitions are made ahead by whoever writes; the owner's function keeps DDL rights away from the application.
create function ensure_event_log_partition(day date) returns void language plpgsql security definer
    set search_path = public, pg_temp as $$
declare
    name text := 'event_log_' || to_char(day, 'YYYYMMDD');
begin
    if to_regclass(name) is null then
        perform pg_advisory_xact_lock(hashtext('ensure_event_log_partition'));
        execute format('create table %I partition of event_log for values from (%L) to (%L)', name,
                       day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
    end if;
exception when duplicate_table then
    null; -- another shard made it while this one waited for the lock
end $$;

do $$
begin
    if exists (select from pg_roles where rolname = 'recon_app') then
        execute format('grant temporary on database %I to recon_app', current_database()); -- the stage of a flush
        grant usage on schema public to recon_app;
        grant select on all tables in schema public to recon_app;
        grant insert on event_log, redeliveries, audit_logs, dead_letters, result_history to recon_app;
        grant insert, update on results, stats_by_minute, checkpoints, sources to recon_app;
        grant delete on checkpoints to recon_app;
        grant execute on function ensure_event_log_partition(date) to recon_app;
    end if;
    if exists (select from pg_roles where rolname = 'recon_api') then
        grant usage on schema public to recon_api;
        grant select on all tables in schema public to recon_api;
        grant insert on audit_logs to recon_api;
        grant update (state, state_changed_at, state_changed_by) on dead_letters to recon_api;
        grant insert on rule_sets to recon_api;
    end if;
end $$;
