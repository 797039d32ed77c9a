-- What people add to calls: edits, evaluations of their own; and the log of who changed what.

-- Edits are no facts: they lie over the derived values when these are read, so that facts which arrive
-- later change what is beneath an edit, never the edit.
create table session_edits (
    tenant_id      uuid        not null,
    session_id     uuid        not null,
    -- Whether somebody has written the summary: then null means that it was cleared.
    summary_edited boolean     not null,
    summary        text,
    -- Null: not edited. An empty list: all tags were taken away.
    tags           text[],
    edited_at      timestamptz not null,
    -- The public id of the key.
    edited_by      text        not null,
    primary key (tenant_id, session_id),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade,
    check (summary_edited or summary is null),
    check (summary_edited or tags is not null)
);

-- In the locked row itself, so that a writer that waited for the lock sees what was done meanwhile.
alter table sessions add column has_edits boolean not null default false;

alter table evaluations add column updated_at timestamptz;
-- Who wrote it here may write it again; what a source has sent is the source's. In the key, since a source
-- may use an id that it has read here.
alter table evaluations add column by_person boolean not null default false;
alter table evaluations drop constraint evaluations_pkey;
alter table evaluations add primary key (tenant_id, session_id, id, by_person);

-- The end of each tenant's chain. Locked by whoever appends, so that the chain never forks.
create table audit_head (
    tenant_id uuid   primary key references tenants (id),
    seq       bigint not null,
    hash      bytea  not null check (octet_length(hash) = 32)
);

-- Ids and names of fields only, never what they say: what is erased elsewhere need not be erased here.
create table audit_log (
    tenant_id     uuid        not null references tenants (id),
    seq           bigint      not null,
    at            timestamptz not null,
    -- The public id of the key that did it, or `operator` for the command line.
    actor         text        not null,
    action        text        not null,
    object_type   text        not null,
    object_id     text        not null,
    fields        text[]      not null,
    previous_hash bytea       not null,
    hash          bytea       not null,
    primary key (tenant_id, seq)
);

create index audit_log_by_object on audit_log (tenant_id, object_id, seq desc);
create index audit_log_by_actor  on audit_log (tenant_id, actor, seq desc);
create index audit_log_by_action on audit_log (tenant_id, action, seq desc);
