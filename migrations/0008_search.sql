-- Looking for calls by what was said, by how long an answer took, by channel and by workflow.

do $$
begin
    if not exists (select from pg_available_extensions where name = 'btree_gin') then
        raise exception 'Postgres comes without the extension btree_gin, which search needs: install its contrib package (often called postgresql-contrib) and start again';
    end if;
end $$;

-- Lets a GIN index lead with a uuid. Trusted: the owner of a database may create it.
create extension if not exists btree_gin;

-- The words of each turn, as they are: many languages, so no stemming.
create index turns_by_word on turns using gin (tenant_id, to_tsvector('simple', text)) where text is not null;

-- Answers to a user that were measured, by how long they took.
create index turns_by_latency on turns (tenant_id, latency_ms, session_id)
    where answers_user and not cancelled and latency_ms > 0;

-- Lists by where a call came from and by what ran it, however few of a tenant's calls that leaves. Most calls
-- have a workflow's id or its slug, and who asks may mean either: two indexes, which Postgres puts together.
create index sessions_by_channel       on sessions (tenant_id, channel, started_at desc, id desc) where channel is not null;
create index sessions_by_workflow_slug on sessions (tenant_id, workflow_slug, started_at desc, id desc) where workflow_slug is not null;
create index sessions_by_workflow_id   on sessions (tenant_id, workflow_id, started_at desc, id desc) where workflow_id is not null;
