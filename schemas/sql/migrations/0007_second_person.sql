-- The limit for a second person that holds for every currency without one of its own is an amount of a currency with two
-- decimals. It means the same number of whole units in each currency: 10,000.00 EUR, 10,000 JPY, 10,000.000 KWD.
create function currency_exponent(of_currency text) returns integer language sql immutable strict parallel safe as $$
    select case
        when of_currency in ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND',
                             'VUV', 'XAF', 'XOF', 'XPF') then 0
        when of_currency in ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') then 3
        when of_currency in ('CLF', 'UYW') then 4
        else 2 end
$$;

create or replace function second_person_above_minor(of_currency text) returns bigint language sql stable as $$
    select coalesce((body #>> array['severities', 'second_person_above_minor', of_currency])::bigint,
                    floor(coalesce((body #>> '{severities,second_person_above_minor,default}')::bigint, 1000000)
                          * power(10::numeric, currency_exponent(of_currency) - 2))::bigint)
    from rule_sets where state = 'active' and effective_from <= now()
    order by effective_from desc, version desc limit 1
$$;
