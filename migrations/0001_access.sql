-- Who may ask. Both tables are small and asked for by something else than the tenant (a key's public
-- id, a tenant's name), so on a distributed store they are reference tables: every node has a copy.

create table tenants (
    id         uuid        primary key,
    name       text        not null unique check (char_length(name) between 1 and 255),
    created_at timestamptz not null
);

create table api_keys (
    -- The public id: the part of a key that may be shown, and by which it is found.
    id           text        primary key,
    tenant_id    uuid        not null references tenants (id) on delete cascade,
    name         text        not null check (char_length(name) between 1 and 255),
    -- SHA-256 of the whole key. The key itself is nowhere.
    hash         bytea       not null check (octet_length(hash) = 32),
    scopes       text[]      not null,
    created_at   timestamptz not null,
    -- When it stops working by itself; a rotated key's grace ends here too.
    expires_at   timestamptz,
    revoked_at   timestamptz,
    -- The public id of the key that took over at rotation.
    replaced_by  text,
    -- Written every few seconds, not at every request.
    last_used_at timestamptz
);

create index api_keys_by_tenant on api_keys (tenant_id, created_at, id);
