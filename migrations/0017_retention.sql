-- What was said goes after a while, the numbers later; and what is gone does not come back by a late word.

-- When the first word of it arrived: what is imported late is kept as long as what is told at once.
alter table sessions add column received_at timestamptz;

update sessions set received_at = touched_at;

alter table sessions alter column received_at set not null;
-- When its content was deleted. From then on it takes no more facts.
alter table sessions add column closed_at timestamptz;

-- Which sessions are due, the longest first. Two of them, so that neither walks over what the other is for.
create index sessions_to_close  on sessions (tenant_id, greatest(ended_at, received_at)) where closed_at is null;
create index sessions_to_delete on sessions (tenant_id, greatest(ended_at, received_at)) where closed_at is not null;

-- What a tenant has set: null is the default, 0 is for ever.
create table retention_settings (
    tenant_id    uuid        primary key references tenants (id),
    content_days integer     check (content_days >= 0),
    metrics_days integer     check (metrics_days >= 0),
    updated_at   timestamptz not null,
    -- The public id of the key, or `operator`.
    updated_by   text        not null
);

-- Sessions that were deleted, for a while.
create table session_tombstones (
    tenant_id  uuid        not null references tenants (id),
    session_id uuid        not null,
    -- What kind of name the session's id followed from.
    name_kind  smallint    not null,
    deleted_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (tenant_id, session_id)
);

create index session_tombstones_expiring on session_tombstones (tenant_id, expires_at);

-- Every name that led to it, hashed with the tenant's key: whoever reads the table learns no name of it.
create table tombstone_names (
    tenant_id  uuid  not null,
    hash       bytea not null check (octet_length(hash) = 32),
    session_id uuid  not null,
    primary key (tenant_id, hash),
    foreign key (tenant_id, session_id) references session_tombstones (tenant_id, session_id) on delete cascade
);

create index tombstone_names_by_session on tombstone_names (tenant_id, session_id);

-- Made with the first tombstone. A tenant without one never deleted anything.
create table tombstone_keys (
    tenant_id uuid  primary key references tenants (id),
    key       bytea not null check (octet_length(key) = 32)
);

-- Hours and days that had so many combinations of dimensions that some of these are not told apart in their
-- rollups: who asks by one of those reads the calls themselves. Few rows: most tenants have none.
create table rollup_folds (
    tenant_id  uuid        not null,
    is_day     boolean     not null,
    at         timestamptz not null,
    -- A bit each (domain::analytics::Dimension).
    dimensions smallint    not null,
    primary key (tenant_id, is_day, at)
);

-- What was summed up without a bound is summed up again.
insert into dirty_hour (tenant_id, hour)
select h.tenant_id, h.hour
  from (select tenant_id, date_trunc('day', day, 'UTC') as day from rollup_day group by 1, 2 having count(*) > 501) d
  join rollup_hour h
    on h.tenant_id = d.tenant_id
   and h.dimension_set = '00000000-0000-0000-0000-000000000000'
   and h.hour >= d.day and h.hour < d.day + interval '1 day';

-- How much audio a tenant has: kept by whoever writes recordings, so that it costs the same whatever there is.
create table recording_usage (
    tenant_id  uuid   primary key references tenants (id),
    recordings bigint not null,
    size_bytes bigint not null
);

insert into recording_usage (tenant_id, recordings, size_bytes)
select tenant_id, count(*), sum(size_bytes)
  from recordings
 where status = 'available'
 group by tenant_id;
