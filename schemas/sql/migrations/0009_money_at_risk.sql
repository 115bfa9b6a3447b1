-- Money at risk is what may be lost, not what was paid: the difference where amounts differ, the whole amount where it is
-- not certain that there was one payment, or none, or in which currency. Times and attributes put no money at risk.
create function money_at_risk(breaks smallint, amount_minor bigint, spread_minor bigint) returns bigint
    language sql immutable strict parallel safe as $$
    -- CONFLICT 1, DUPLICATE 2, CURRENCY 8, STATUS 16, MISSING 64; AMOUNT 4
    select case when breaks & (1 | 2 | 8 | 16 | 64) <> 0 then abs(amount_minor)
                when breaks & 4 <> 0 then spread_minor
                else 0 end
$$;

create or replace function refresh_desk_ageing() returns void language plpgsql security definer
    set search_path = public, pg_temp as $$
begin
    perform pg_advisory_xact_lock(hashtext('refresh_desk_ageing'));
    delete from desk_ageing;
    insert into desk_ageing
    select case when r.decided_at > now() - interval '1 hour' then 'under_1h'
                when r.decided_at > now() - interval '1 day' then 'under_1d'
                when r.decided_at > now() - interval '7 days' then 'under_7d'
                else 'older' end,
           r.currency, count(*), sum(money_at_risk(r.breaks, r.amount_minor, r.spread_minor)), now()
    from results r
    where r.verdict = 2
      and not exists (select from exceptions e
                      where e.key_group = r.key_group and e.txn_id = r.txn_id and e.state = 'resolved')
    group by 1, 2;
end $$;
