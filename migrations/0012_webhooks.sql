-- Doors for vendors who call us: an address of its own for each, and what came of what they sent.

-- Small, and asked for by the id in the address before any tenant is known: on a distributed store a
-- reference table, as api_keys is.
create table webhook_endpoints (
    -- Unguessable: part of the address that the vendor calls.
    id          text        primary key,
    tenant_id   uuid        not null references tenants (id) on delete cascade,
    vendor      text        not null,
    name        text        not null check (char_length(name) between 1 and 255),
    -- What the vendor signs with. Empty once it is disabled.
    secret      text        not null,
    -- How it signs, where it reaches us, and how its recordings are fetched: domain::webhook::Settings as JSON.
    settings    text        not null,
    created_at  timestamptz not null,
    disabled_at timestamptz
);

create index webhook_endpoints_by_tenant on webhook_endpoints (tenant_id, created_at, id);

-- The newest deliveries of an endpoint: what became of them, never what they said.
create table webhook_deliveries (
    tenant_id   uuid        not null,
    endpoint_id text        not null,
    id          bigint      generated always as identity,
    received_at timestamptz not null,
    status      smallint    not null,
    result      text        not null,
    reason      text,
    event       text,
    session_id  uuid,
    primary key (tenant_id, endpoint_id, id)
);

-- Recordings that a vendor has announced: at most one a call, fetched in the background. The row stays, so
-- that the same announcement does not fetch again.
create table recording_fetches (
    tenant_id   uuid        not null,
    -- What the recording will be kept under: the session's id, or one derived from its call SID.
    id          uuid        not null,
    -- How the call is named when the audio is kept.
    reference   text        not null,
    url         text        not null,
    -- Whose credentials are sent, and whose hosts are allowed.
    endpoint_id text,
    started_at  timestamptz,
    -- 'pending', 'done' or 'failed'
    status      text        not null,
    attempts    integer     not null,
    -- When it is to be tried; while somebody is at it, when that counts as given up.
    due_at      timestamptz not null,
    reason      text,
    created_at  timestamptz not null,
    primary key (tenant_id, id)
);

-- Few rows whatever the history: what is still to be fetched.
create index recording_fetches_due on recording_fetches (tenant_id, due_at) where status = 'pending';
