-- The words of turns by our own reading: Postgres' own depends on the locale of the database, and takes quotes and
-- dashes beyond ASCII for letters where that is C.

-- Null where Postgres reads the same words from the text itself.
alter table turns
    add column words text,
    -- What was said is kept in both or in neither.
    add constraint words_of_a_text check (words is null or text is not null);

drop index turns_by_word;
create index turns_by_words on turns using gin (tenant_id, to_tsvector('simple', coalesce(words, text))) where text is not null;

-- Sessions whose turns were written before, until their words have been read.
create table wordless_sessions (
    tenant_id  uuid not null,
    session_id uuid not null,
    primary key (tenant_id, session_id),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);
insert into wordless_sessions (tenant_id, session_id)
select tenant_id, id from sessions where closed_at is null;
