-- Who has signed in.

-- name: noted
-- A caller as they were seen before.
select username, subject, name, role from people where username = $1;

-- name: seen
-- The same caller again.
update people set last_seen = now() where username = $1;

-- name: note
-- A caller, as the token names them.
insert into people (username, subject, name, role) values ($1, $2, $3, $4)
on conflict (username) do update set subject = excluded.subject, name = excluded.name, role = excluded.role,
    last_seen = now()
returning username, subject, name, role;

-- name: assignable
-- People who may work on exceptions.
select username, name, role from people where role in ('analyst', 'admin') and username not like 'service-account-%'
order by username limit $1;

-- name: is_assignable
-- One row when this person may work on exceptions.
select 1 from people where username = $1 and role in ('analyst', 'admin');
