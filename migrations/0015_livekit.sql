-- A tenant's own keys of its LiveKit servers: what their agents and webhooks sign with.

-- Small, and asked for by the key's name in a token before any tenant is known: on a distributed store a
-- reference table, as api_keys is. Two tenants may know one name: whose secret verifies a token, theirs it is.
create table livekit_keys (
    id         text        primary key,
    tenant_id  uuid        not null references tenants (id) on delete cascade,
    -- What LiveKit calls the API key: the issuer of a token.
    key_name   text        not null check (char_length(key_name) between 1 and 255),
    -- Needed as it is: the same secret signs and verifies.
    secret     text        not null,
    created_at timestamptz not null
);

create index livekit_keys_by_name   on livekit_keys (key_name);
create index livekit_keys_by_tenant on livekit_keys (tenant_id, created_at, id);
