-- Searches among mismatches are decided by the index alone: a mismatch in twenty-five puts one on nearly every page of the
-- table, so a walk that fetched rows would read the whole table beside it. Only mismatches are in these indexes.
drop index results_mismatched_by_decision;
drop index results_mismatched_by_amount;
drop index results_mismatched_by_spread;
create index results_mismatched_by_decision on results (decided_at, txn_id)
    include (key_group, breaks, missing, late, present, currency, amount_minor, spread_minor) where verdict = 2;
create index results_mismatched_by_amount on results (amount_minor, txn_id)
    include (key_group, breaks, missing, late, present, currency, decided_at, spread_minor) where verdict = 2;
create index results_mismatched_by_spread on results (spread_minor, txn_id)
    include (key_group, breaks, missing, late, present, currency, decided_at, amount_minor) where verdict = 2;
