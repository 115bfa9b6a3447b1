-- What the service needs: the exceptions desk, people, incidents, rule activation, audit heads, roll-ups, and indexes for
-- its lists. Nothing here runs per row on the matchers' COPY into results.

-- Lists of mismatches: a few rows in a hundred, so these indexes cost the hot path next to nothing.
create index results_mismatched_by_decision on results (decided_at, txn_id) include (currency, amount_minor)
    where verdict = 2;
create index results_mismatched_by_amount on results (amount_minor, txn_id) where verdict = 2;
create index results_mismatched_by_spread on results (spread_minor, txn_id) where verdict = 2;
create index dead_letters_by_arrival on dead_letters (arrival, topic, kafka_partition, kafka_offset);
-- What people did; the pipeline's own entries are many, and found by their chain.
create index audit_logs_by_actor on audit_logs (actor, occurred_at) where left(chain, 3) = 'api';
create index results_pending on results (decided_at, txn_id) where verdict = 0;

-- People ----------------------------------------------------------------------------------------------------------------
create table people (
    username  text primary key,
    subject   text not null,
    name      text not null default '',
    role      text not null check (role in ('viewer', 'analyst', 'admin')),
    last_seen timestamptz not null default now()
);
comment on table people is 'Who has signed in, as their token named them: the choice for assignments.';

-- Exceptions ------------------------------------------------------------------------------------------------------------
-- A MISMATCHED result is an open exception without any row here; a row comes with the first touch.
create table exceptions (
    key_group     smallint not null,
    txn_id        text not null,
    state         text not null check (state in ('open', 'assigned', 'in_review', 'resolved')),
    version       integer not null default 1 check (version >= 1),
    assignee      text,
    reason_code   text check (reason_code in ('timing', 'source_error', 'duplicate_posting', 'fee_or_fx', 'written_off',
                                              'corrected_at_source', 'false_alarm', 'healed')),
    needs_checker boolean not null default false,
    proposed_by   text,
    resolved_by   text,
    approved_by   text,
    healed_at     timestamptz,
    updated_at    timestamptz not null default now(),
    primary key (key_group, txn_id),
    constraint exceptions_assigned_to_somebody check (state <> 'assigned' or assignee is not null),
    constraint exceptions_resolved_for_a_reason check (state <> 'resolved' or reason_code is not null),
    constraint exceptions_maker_is_not_checker check (approved_by is null or approved_by is distinct from proposed_by),
    constraint exceptions_checked_when_needed check
        (state <> 'resolved' or reason_code = 'healed' or not needs_checker
         or (proposed_by is not null and approved_by is not null))
);
create index exceptions_in_work on exceptions (state, updated_at, txn_id) where state <> 'resolved';
create index exceptions_resolved on exceptions (updated_at, txn_id) where state = 'resolved';
create index exceptions_by_assignee on exceptions (assignee, updated_at, txn_id) where state <> 'resolved';

create table exception_comments (
    comment_id bigint generated always as identity primary key,
    key_group  smallint not null,
    txn_id     text not null,
    author     text not null,
    at         timestamptz not null default now(),
    body       text not null check (length(body) between 1 and 2000)
);
create index exception_comments_by_txn on exception_comments (key_group, txn_id, comment_id);

create table exception_history (
    history_id bigint generated always as identity primary key,
    key_group  smallint not null,
    txn_id     text not null,
    at         timestamptz not null default now(),
    actor      text not null,
    action     text not null,
    state      text not null,
    note       text not null default ''
);
create index exception_history_by_txn on exception_history (key_group, txn_id, history_id);
create trigger exception_comments_append_only before update or delete on exception_comments
    for each row execute function refuse_change();
create trigger exception_history_append_only before update or delete on exception_history
    for each row execute function refuse_change();

-- Resolving above this amount needs a second person: from the rules in force, which themselves need two people.
create function second_person_above_minor(of_currency text) returns bigint language sql stable as $$
    select coalesce((body #>> array['severities', 'second_person_above_minor', of_currency])::bigint,
                    (body #>> '{severities,second_person_above_minor,default}')::bigint, 1000000)
    from rule_sets where state = 'active' and effective_from <= now()
    order by effective_from desc, version desc limit 1
$$;

-- Maker and checker: the amount is read here, not believed; an approval must be of a proposal that was stored before, so
-- one statement cannot be both; only the database itself may say "healed".
create function guard_exception() returns trigger language plpgsql as $$
declare
    found_amount bigint;
    found_currency text;
begin
    select amount_minor, currency into found_amount, found_currency
    from results where key_group = new.key_group and txn_id = new.txn_id;
    if not found then
        raise exception 'no result for this exception' using errcode = '23503';
    end if;
    if tg_op = 'INSERT' or (new.state, new.reason_code) is distinct from (old.state, old.reason_code) then
        new.needs_checker := found_amount > second_person_above_minor(found_currency);
    end if;
    new.updated_at := clock_timestamp();
    if new.reason_code = 'healed' and current_user = 'recon_api'
       and (tg_op = 'INSERT' or old.reason_code is distinct from 'healed') then
        raise exception 'healed is not for people to say' using errcode = '42501';
    end if;
    if tg_op = 'INSERT' then
        if new.approved_by is not null then
            raise exception 'an approval needs a proposal first' using errcode = '23514';
        end if;
        return new;
    end if;
    if new.version <> old.version + 1 then
        raise exception 'version must rise by one' using errcode = '23514';
    end if;
    if new.approved_by is not null and new.approved_by is distinct from old.approved_by
       and (old.state <> 'in_review' or old.proposed_by is null or new.proposed_by is distinct from old.proposed_by
            or new.reason_code is distinct from old.reason_code) then
        raise exception 'an approval needs a proposal first' using errcode = '23514';
    end if;
    return new;
end $$;
create trigger exceptions_guard before insert or update on exceptions
    for each row execute function guard_exception();
create trigger exceptions_stay before delete on exceptions
    for each row execute function refuse_change();

-- Resolved ones are counted as they change, for they are many in the end; all others are few and counted when asked.
-- The primary key spreads the counter over sixteen rows, so that two people do not wait for each other.
create table exception_counts (
    slot     smallint not null check (slot between 0 and 15),
    healed   boolean not null,
    n        bigint not null,
    primary key (slot, healed)
);
create function count_exceptions() returns trigger language plpgsql security definer
    set search_path = public, pg_temp as $$
begin
    if tg_op = 'UPDATE' then
        insert into exception_counts (slot, healed, n)
        select pg_backend_pid() % 16, healed, sum(d)
        from (select healed_at is not null as healed, 1 as d from new_rows where state = 'resolved'
              union all select healed_at is not null, -1 from old_rows where state = 'resolved') deltas
        group by healed having sum(d) <> 0 order by healed
        on conflict (slot, healed) do update set n = exception_counts.n + excluded.n;
    else
        insert into exception_counts (slot, healed, n)
        select pg_backend_pid() % 16, healed_at is not null, count(*)
        from new_rows where state = 'resolved' group by 2 order by 2
        on conflict (slot, healed) do update set n = exception_counts.n + excluded.n;
    end if;
    return null;
end $$;
create trigger exceptions_count_inserts after insert on exceptions referencing new table as new_rows
    for each statement execute function count_exceptions();
create trigger exceptions_count_updates after update on exceptions
    referencing new table as new_rows old table as old_rows
    for each statement execute function count_exceptions();

-- A revision that changes a mismatch only leaves a note, so that a flush never waits for a row that a person holds.
create table exception_signals (
    signal_id bigint generated always as identity primary key,
    key_group smallint not null,
    txn_id    text not null,
    at        timestamptz not null default now()
);
create function signal_exception() returns trigger language plpgsql security definer
    set search_path = public, pg_temp as $$
begin
    insert into exception_signals (key_group, txn_id) values (new.key_group, new.txn_id);
    return null;
end $$;
create trigger results_signal_exception after update on results for each row
    when (old.verdict is distinct from new.verdict and (old.verdict = 2 or (new.verdict = 2 and old.verdict = 1))
          or new.verdict = 2 and old.verdict = 2
             and (old.breaks, old.amount_minor, old.spread_minor, old.currency)
                 is distinct from (new.breaks, new.amount_minor, new.spread_minor, new.currency))
    execute function signal_exception();

-- Settles the notes: closes what healed, opens again what changed after it was resolved. Returns the transactions.
create function apply_exception_signals(rows_max integer) returns table (txn_id text, state text, version integer)
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    note record;
    result record;
    exc record;
begin
    for note in
        delete from exception_signals s where s.signal_id in
            (select i.signal_id from exception_signals i order by i.signal_id limit rows_max for update skip locked)
        returning s.key_group, s.txn_id
    loop
        select r.verdict into result from results r where r.key_group = note.key_group and r.txn_id = note.txn_id;
        select * into exc from exceptions e where e.key_group = note.key_group and e.txn_id = note.txn_id for update;
        if result.verdict = 1 then
            if exc.txn_id is null then
                insert into exceptions (key_group, txn_id, state, reason_code, healed_at)
                values (note.key_group, note.txn_id, 'resolved', 'healed', now());
            elsif exc.healed_at is null then
                update exceptions e set state = 'resolved', healed_at = now(), version = e.version + 1,
                    reason_code = case when e.state = 'resolved' then e.reason_code else 'healed' end
                where e.key_group = note.key_group and e.txn_id = note.txn_id;
            else
                continue;
            end if;
            insert into exception_history (key_group, txn_id, actor, action, state, note)
            values (note.key_group, note.txn_id, 'recon', 'healed', 'resolved', 'The sources agree now.');
        elsif result.verdict = 2 and exc.state = 'resolved' then
            update exceptions e set state = 'open', healed_at = null, reason_code = null, proposed_by = null,
                resolved_by = null, approved_by = null, assignee = null, version = e.version + 1
            where e.key_group = note.key_group and e.txn_id = note.txn_id;
            insert into exception_history (key_group, txn_id, actor, action, state, note)
            values (note.key_group, note.txn_id, 'recon', 'reopened', 'open', 'A new revision changed the mismatch.');
        else
            continue;
        end if;
        return query select e.txn_id, e.state, e.version from exceptions e
                     where e.key_group = note.key_group and e.txn_id = note.txn_id;
    end loop;
end $$;

-- Incidents -------------------------------------------------------------------------------------------------------------
create table incidents (
    incident_id bigint generated always as identity primary key,
    kind        text not null,
    subject     text not null,
    opened_at   timestamptz not null default now(),
    closed_at   timestamptz,
    detail      text not null default ''
);
create unique index incidents_open on incidents (kind, subject) where closed_at is null;

-- Rules -----------------------------------------------------------------------------------------------------------------
alter table rule_sets add column note text not null default '';
alter table rule_sets drop constraint rule_sets_check;
alter table rule_sets add constraint rule_sets_active_from check (state <> 'active' or effective_from is not null);
alter table rule_sets add constraint rule_sets_maker_is_not_checker
    check (activated_by is null or activated_by <> created_by);
create function guard_rule_set() returns trigger language plpgsql as $$
begin
    if current_user <> 'recon_api' then
        return new;
    end if;
    if tg_op = 'INSERT' then
        if new.state <> 'draft' or new.activated_by is not null then
            raise exception 'a rule set starts as a draft' using errcode = '42501';
        end if;
        return new;
    end if;
    if old.state <> 'draft' or new.state = 'draft' then
        raise exception 'only a draft can be activated or discarded' using errcode = '42501';
    end if;
    if (new.version, new.body, new.created_by, new.created_at, new.note)
       is distinct from (old.version, old.body, old.created_by, old.created_at, old.note) then
        raise exception 'a rule set cannot be edited' using errcode = '42501';
    end if;
    -- A version must be known to every matcher before the first transaction that it judges arrives.
    if new.state = 'active' and (new.activated_by is null or new.effective_from < now() + interval '9 seconds') then
        raise exception 'an activation names its author and lies ahead' using errcode = '23514';
    end if;
    return new;
end $$;
create trigger rule_sets_guard before insert or update on rule_sets
    for each row execute function guard_rule_set();

-- Audit -----------------------------------------------------------------------------------------------------------------
-- Where a chain ends, recorded apart from it: cutting off the newest entries shows.
create table audit_heads (
    chain text primary key,
    seq   bigint not null,
    hash  bytea not null,
    at    timestamptz not null default now()
);
create function guard_audit_head() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' or new.seq <= old.seq or new.chain <> old.chain then
        raise exception 'an audit head only moves on' using errcode = '42501';
    end if;
    return new;
end $$;
create trigger audit_heads_move_on before update or delete on audit_heads
    for each row execute function guard_audit_head();
create table audit_verifications (
    chain       text primary key,
    seq         bigint not null,
    hash        bytea not null,
    intact      boolean not null,
    problem     text not null default '',
    verified_at timestamptz not null default now()
);
-- The service writes its own chains and no other.
create trigger audit_logs_own_chain before insert on audit_logs for each row
    when (current_user = 'recon_api' and new.chain not like 'api%')
    execute function refuse_change();

-- Roll-ups --------------------------------------------------------------------------------------------------------------
create table stats_by_hour (
    hour         timestamptz not null,
    metric       text not null,
    currency     text not null default '',
    n            bigint not null,
    amount_minor bigint not null default 0,
    primary key (hour, metric, currency)
);
create table rollups (
    name text primary key,
    upto timestamptz not null
);
insert into rollups values ('stats_by_hour', 'epoch');

-- Adds up the hours that are over for at least fifteen minutes; totals are the hours up to `rollups.upto` plus the minutes
-- from there on.
create function roll_up_stats() returns timestamptz language plpgsql security definer
    set search_path = public, pg_temp as $$
declare
    done timestamptz;
    target timestamptz := date_trunc('hour', now() - interval '15 minutes');
begin
    select upto into done from rollups where name = 'stats_by_hour' for update;
    if done < target then
        insert into stats_by_hour
        select date_trunc('hour', minute), metric, currency, sum(n), sum(amount_minor)
        from stats_by_minute where minute >= done and minute < target
        group by 1, 2, 3
        on conflict (hour, metric, currency) do update
            set n = stats_by_hour.n + excluded.n, amount_minor = stats_by_hour.amount_minor + excluded.amount_minor;
        update rollups set upto = target where name = 'stats_by_hour';
    end if;
    return greatest(done, target);
end $$;

create table desk_ageing (
    label        text not null,
    currency     text not null,
    n            bigint not null,
    amount_minor numeric not null,
    as_of        timestamptz not null,
    primary key (label, currency)
);
create function refresh_desk_ageing() returns void language plpgsql security definer
    set search_path = public, pg_temp as $$
begin
    perform pg_advisory_xact_lock(hashtext('refresh_desk_ageing'));
    delete from desk_ageing;
    insert into desk_ageing
    select case when r.decided_at > now() - interval '1 hour' then 'under_1h'
                when r.decided_at > now() - interval '1 day' then 'under_1d'
                when r.decided_at > now() - interval '7 days' then 'under_7d'
                else 'older' end,
           r.currency, count(*), sum(r.amount_minor), now()
    from results r
    where r.verdict = 2
      and not exists (select from exceptions e
                      where e.key_group = r.key_group and e.txn_id = r.txn_id and e.state = 'resolved')
    group by 1, 2;
end $$;

revoke all on function signal_exception(), count_exceptions(), apply_exception_signals(integer), roll_up_stats(),
    refresh_desk_ageing() from public;

do $$
begin
    if exists (select from pg_roles where rolname = 'recon_app') then
        grant select on exceptions, incidents, audit_heads, people to recon_app;
    end if;
    if exists (select from pg_roles where rolname = 'recon_api') then
        grant select on all tables in schema public to recon_api;
        grant insert, update on exceptions, people, audit_heads, audit_verifications to recon_api;
        grant insert on exception_comments, exception_history, incidents to recon_api;
        grant update (closed_at, detail) on incidents to recon_api;
        grant update (state, effective_from, activated_by) on rule_sets to recon_api;
        grant execute on function apply_exception_signals(integer), roll_up_stats(), refresh_desk_ageing() to recon_api;
    end if;
end $$;
