-- Who is signed in to the console: a browser's session, opened with a key and never more than that key.

create table console_sessions (
    tenant_id  uuid        not null,
    -- SHA-256 of what the cookie holds. The cookie's value itself is nowhere.
    hash       bytea       not null check (octet_length(hash) = 32),
    -- The key that it was opened with: its rights are the session's, and its end is the session's end.
    key_id     text        not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (tenant_id, hash)
);
