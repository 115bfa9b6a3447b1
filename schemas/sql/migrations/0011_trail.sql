-- A trail that covers every decision: the entry of a flush vouches for the results that it wrote, and the auditor finds
-- them again by the moment of the flush, also those that a later revision replaced. So a revision keeps its predecessor
-- whole. Rows from before have no arrivals and no event_seqs here.
--
-- After this file the migration writes what the ledger holds by then as entries of the chain `baseline`
-- (cluster/baseline.py): what was decided before cannot be vouched for, only kept from now on as it is.
alter table result_history
    add column first_arrival timestamptz,
    add column last_arrival timestamptz,
    add column event_seqs bigint[];
create index result_history_by_decision on result_history (decided_at, key_group, txn_id);

-- Comments and steps are append-only in one go too, as the log and the trail are.
create trigger exception_comments_no_truncate before truncate on exception_comments
    for each statement execute function refuse_change();
create trigger exception_history_no_truncate before truncate on exception_history
    for each statement execute function refuse_change();
