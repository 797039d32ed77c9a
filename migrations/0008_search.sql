-- Looking for calls by what was said, and by how long an answer took.

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
