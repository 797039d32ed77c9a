-- The live feed: what changed, from the transaction that changed it to whoever watches.

-- Plain appends in the transaction of the change: one row a session and batch, without content. Read and
-- removed by the one sequencer, so that there are few rows at any time.
create table live_outbox (
    tenant_id  uuid        not null,
    id         bigint      generated always as identity,
    session_id uuid        not null,
    at         timestamptz not null,
    status     text        not null,
    -- What happened to the session, as JSON (domain::live::Changes).
    changes    text        not null,
    primary key (tenant_id, id)
);

-- The number of a tenant's last event. Numbers are given after the commit of what they speak of, one by one,
-- so that who knows the last one it saw knows what it missed.
create table live_heads (
    tenant_id uuid   primary key,
    seq       bigint not null
);

-- The newest events, for those who watch and those who come back soon.
create table live_events (
    tenant_id  uuid        not null,
    seq        bigint      not null,
    session_id uuid        not null,
    at         timestamptz not null,
    -- domain::live::Kind
    kind       smallint    not null,
    status     text        not null,
    turn       integer,
    error_id   text,
    primary key (tenant_id, seq)
);

-- Admits a browser, which cannot send a key when it opens a socket. Taken away by its use.
create table live_tickets (
    tenant_id  uuid        not null,
    -- SHA-256 of the ticket. The ticket itself is nowhere.
    hash       bytea       not null check (octet_length(hash) = 32),
    -- The key that it was made with, and whose rights it has.
    key_id     text        not null,
    expires_at timestamptz not null,
    primary key (tenant_id, hash)
);
