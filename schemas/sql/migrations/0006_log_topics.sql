-- Kafka's topics as the ledger knows them. A topic that was deleted and made anew is another incarnation of its name: its
-- offsets begin again, so they are kept apart by what is added to them (`bases`, by partition). `skipped` has, by
-- partition, the offset below which an operator gave up records that Kafka no longer holds.
create table log_topics (
    topic       text not null,
    incarnation integer not null check (incarnation >= 1),
    topic_id    text not null,
    bases       jsonb not null default '{}',
    skipped     jsonb not null default '{}',
    known_since timestamptz not null default now(),
    accepted_by text not null,
    primary key (topic, incarnation)
);

do $$
begin
    if exists (select from pg_roles where rolname = 'recon_app') then
        grant select, insert on log_topics to recon_app;
    end if;
    if exists (select from pg_roles where rolname = 'recon_api') then
        grant select on log_topics to recon_api;
    end if;
end $$;
