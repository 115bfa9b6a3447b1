-- A record's headers belong to it: a CloudEvent in binary mode has all its attributes there, and could not be replayed.
alter table dead_letters add column headers jsonb;
comment on column dead_letters.headers is 'Names and base64 values in their order; null where the record had none, or came before this column.';
