-- Equal times are ordered as a flush writes its rows, by key group and id, so that the index of all results grows at its
-- end. Ordered by the id alone, the rows of one flush went to pages all over the flush: in the benchmark the difference
-- was a seventh of PostgreSQL's work.
drop index results_by_decision;
create index results_by_decision on results (decided_at, key_group, txn_id);
