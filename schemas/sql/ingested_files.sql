-- What was ingested, by the owner. $n are asyncpg's parameters.

-- name: only_one
-- One ingestion of a source at a time; the session holds it.
select pg_try_advisory_lock(hashtext('ingest-' || $1))

-- name: one
select state, log_offset from ingested_files where source = $1 and digest = $2

-- name: begin
insert into ingested_files (source, digest, name, state, statements, log_offset, ingested_by)
values ($1, $2, $3, 'writing', $4, $5, $6)
on conflict (source, digest) do update
set name = excluded.name, statements = excluded.statements, log_offset = excluded.log_offset, began_at = now(),
    ingested_by = excluded.ingested_by
where ingested_files.state = 'writing'
returning source, digest, name, state, rows, rejected, statements, log_offset, began_at, done_at, ingested_by

-- name: done
update ingested_files set state = 'done', rows = $3, rejected = $4, done_at = now() where source = $1 and digest = $2
returning source, digest, name, state, rows, rejected, statements, log_offset, began_at, done_at, ingested_by

-- name: statements
select name, statements from ingested_files where source = $1 and state = 'done'
