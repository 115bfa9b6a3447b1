-- A further kind of break: a compared attribute differs. Its bit is 7; names are given in order of precedence, where it
-- stands before MISSING.
create or replace function break_names(mask smallint) returns text[] language sql immutable strict parallel safe as $$
    select coalesce(array_agg(name order by precedence), '{}')
    from (values (0, 0, 'CONFLICT'), (1, 1, 'DUPLICATE'), (2, 2, 'AMOUNT'), (3, 3, 'CURRENCY'), (4, 4, 'STATUS'),
                 (5, 5, 'TIMESTAMP'), (7, 6, 'ATTRIBUTE'), (6, 7, 'MISSING')) kind (bit, precedence, name)
    where mask >> bit & 1 = 1
$$;
