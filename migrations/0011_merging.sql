-- One call that several sources tell of is one session, whatever each of them calls it.

-- Names that lead to a session whose own id does not follow from them. The kind is domain::ids::ClaimKind, or
-- 0: the id of a session that this one has absorbed, which leads here for ever.
create table session_aliases (
    tenant_id  uuid     not null,
    kind       smallint not null,
    value      text     not null,
    session_id uuid     not null,
    primary key (tenant_id, kind, value),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);

-- Whose a name is, whatever kind it is of.
create index session_aliases_by_value   on session_aliases (tenant_id, value);
-- What moves when a session is absorbed.
create index session_aliases_by_session on session_aliases (tenant_id, session_id);

-- What kind of name the session's own id follows from: of two sessions that are one, the better named stays.
alter table sessions add column name_kind smallint not null default 1;
-- Which families of sources have told turns (domain::precedence), a bit each.
alter table sessions add column turn_families smallint not null default 64;

-- What a tracer's span says of the conversation (domain::vocabulary::Gist), so that a session is understood
-- without reading its spans' attributes.
alter table facts add column gist text;

-- Ids of the sessions that have become part of this one, as JSON.
alter table live_events add column merged_from text;
