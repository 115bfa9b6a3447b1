-- Amounts of different currencies are ordered by their worth, which is configuration. So the indexes of mismatches by
-- amount and by spread lead with the currency: each currency is walked in its own order, and the walks are merged.
drop index results_mismatched_by_amount;
drop index results_mismatched_by_spread;
create index results_mismatched_by_amount on results (currency, amount_minor, txn_id)
    include (key_group, breaks, missing, late, present, decided_at, spread_minor) where verdict = 2;
create index results_mismatched_by_spread on results (currency, spread_minor, txn_id)
    include (key_group, breaks, missing, late, present, decided_at, amount_minor) where verdict = 2;
