-- Where the audio of a call is, and what is known of it. The audio itself is in object storage.

create table recordings (
    tenant_id       uuid        not null references tenants (id),
    -- The session's id. A call that is not known yet: the UUID it was sent under, or one derived from its call SID.
    id              uuid        not null,
    -- What it was sent under, where that was a call SID.
    call_sid        text,
    -- 'available', or 'deleted' (the row stays, so that the audio does not come back by a repeated upload).
    status          text        not null,
    -- No such call was known when it came.
    is_early        boolean     not null,
    -- Where the bytes are; leads with the tenant.
    object_path     text        not null,
    format          text        not null,
    duration_ms     bigint,
    channels        integer,
    sample_rate_hz  integer,
    -- Loudest sample of each stretch, in hundredths, a byte each: all of the first channel, then the next.
    peaks           bytea,
    size_bytes      bigint      not null,
    sha256          bytea       not null check (octet_length(sha256) = 32),
    -- When the audio begins, as a time or from the session's start.
    started_at      timestamptz,
    start_offset_ms bigint,
    created_at      timestamptz not null,
    deleted_at      timestamptz,
    primary key (tenant_id, id)
);

-- Few rows whatever the history: what waits for its call.
create index recordings_early on recordings (tenant_id, created_at) where is_early;

-- Objects that no recording names, or will name: noted before they are stored and whenever a recording lets
-- go of one, so that whatever is cut short in between, nothing stays in object storage unseen.
create table recording_leftovers (
    tenant_id   uuid        not null references tenants (id),
    object_path text        not null,
    due_at      timestamptz not null,
    primary key (tenant_id, object_path)
);
