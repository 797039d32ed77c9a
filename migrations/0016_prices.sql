-- What a tenant pays where it is not what the shipped table says: one document a tenant.
create table price_overrides (
    tenant_id  uuid        primary key references tenants (id),
    -- How often it was written: a cost tells which prices it was computed with.
    version    bigint      not null,
    -- A JSON list (domain::price::Price).
    prices     text        not null,
    updated_at timestamptz not null,
    -- The public id of the key.
    updated_by text        not null
);
