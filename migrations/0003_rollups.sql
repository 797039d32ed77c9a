-- Hour and day sums, recomputed where a mark says that something changed; never incremented.

-- One row a distinct combination of what the analytics filter by. The nil id stands for all calls.
create table dimension_sets (
    tenant_id     uuid not null references tenants (id),
    id            uuid not null,
    agent_key     text,
    agent_version text,
    workflow_id   text,
    workflow_slug text,
    workflow_name text,
    channel       text,
    campaign      text,
    primary key (tenant_id, id)
);

create table rollup_hour (
    tenant_id      uuid        not null,
    hour           timestamptz not null,
    dimension_set  uuid        not null,
    calls          bigint      not null,
    completed      bigint      not null,
    failed         bigint      not null,
    declined       bigint      not null,
    missed         bigint      not null,
    ended          bigint      not null,
    duration_ms    bigint      not null,
    tokens         bigint      not null,
    priced         bigint      not null,
    cost_micro_usd bigint      not null,
    digest         bytea       not null,
    primary key (tenant_id, dimension_set, hour)
);

create table rollup_day (
    tenant_id      uuid        not null,
    day            timestamptz not null,
    dimension_set  uuid        not null,
    calls          bigint      not null,
    completed      bigint      not null,
    failed         bigint      not null,
    declined       bigint      not null,
    missed         bigint      not null,
    ended          bigint      not null,
    duration_ms    bigint      not null,
    tokens         bigint      not null,
    priced         bigint      not null,
    cost_micro_usd bigint      not null,
    digest         bytea       not null,
    primary key (tenant_id, dimension_set, day)
);

-- Plain appends in the transaction of the change they speak of: a mark is seen if and only if its change is.
create table dirty_hour (
    tenant_id uuid        not null,
    hour      timestamptz not null,
    id        bigint      generated always as identity,
    primary key (tenant_id, hour, id)
);
