-- What the analytics beyond the summary need.

-- Errors are asked for by their call's start; the writer keeps it where a call's start moves.
alter table errors add column call_started_at timestamptz;

update errors e
   set call_started_at = s.started_at
  from sessions s
 where s.tenant_id = e.tenant_id and s.id = e.session_id;

alter table errors alter column call_started_at set not null;

-- Which errors there are, how many and in what order is told from the index alone.
create index errors_by_call_start on errors (tenant_id, call_started_at) include (at, session_id, id, service, level);

-- The start of the latest call of a sum: of two names of a workflow the one that was used last is shown.
alter table rollup_hour add column last_started_at timestamptz;
alter table rollup_day add column last_started_at timestamptz;

update rollup_hour set last_started_at = hour;
update rollup_day set last_started_at = day;

alter table rollup_hour alter column last_started_at set not null;
alter table rollup_day alter column last_started_at set not null;

-- The exact starts come with the next summing up; until then these hours are read call by call.
insert into dirty_hour (tenant_id, hour)
select distinct tenant_id, hour
  from rollup_hour;
