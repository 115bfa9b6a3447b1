-- Dropping days of the log that are past keeping. Run by the owner.

-- name: days
-- Daily partitions of the log, oldest first.
select c.relname as name, to_date(right(c.relname, 8), 'YYYYMMDD') as day, pg_total_relation_size(c.oid) as bytes
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'event_blocks'::regclass and c.relname ~ '^event_blocks_\d{8}$'
order by day
