-- What analyses found, summed up by hour and day like the calls themselves: from the same marks, by the
-- same hand, never incremented.

-- A mark that says that only what was found in the hour's calls changed: what calls add up to by themselves
-- still holds.
alter table dirty_hour add column of_analysis boolean not null default false;

-- All calls of an agent, or of those that name none, whatever their other dimensions.
create table agent_sets (
    tenant_id uuid not null references tenants (id),
    id        uuid not null,
    agent_key text,
    primary key (tenant_id, id)
);

-- `dimension_set` is one of `agent_sets` or of `dimension_sets`.
create table analysis_hour (
    tenant_id     uuid        not null,
    hour          timestamptz not null,
    dimension_set uuid        not null,
    -- Calls that were analysed.
    calls         bigint      not null,
    -- What went wrong, by what.
    causes        bytea       not null,
    -- How agents let themselves be interrupted and take turns; of agents only.
    conduct       bytea       not null,
    -- How long stages took by provider and model; of agents only.
    stages        bytea       not null,
    primary key (tenant_id, dimension_set, hour)
);

create table analysis_day (
    tenant_id     uuid        not null,
    day           timestamptz not null,
    dimension_set uuid        not null,
    calls         bigint      not null,
    causes        bytea       not null,
    conduct       bytea       not null,
    stages        bytea       not null,
    primary key (tenant_id, dimension_set, day)
);

-- What a call adds to these sums, so that calls that are read one by one are read at a glance. Null of what
-- was kept before: then it is told from the other columns and from the call's issues.
alter table session_analyses add column causes bytea;
alter table session_analyses add column conduct bytea;

-- Until they are summed up, hours are read call by call.
insert into dirty_hour (tenant_id, hour, of_analysis)
select tenant_id, hour, true
  from rollup_hour
 where dimension_set = '00000000-0000-0000-0000-000000000000';
