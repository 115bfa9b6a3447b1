"""The vocabulary that every part of recon shares: events, verdicts, rules, errors, SQL. No I/O, no clock."""
