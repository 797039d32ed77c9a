-- In the order in which analyses are kept, whatever runs meanwhile.
lock table session_issues, session_analyses in access exclusive mode;

-- To a Postgres that knows nothing of a new table yet every index that begins with the tenant is as good as the key, and
-- it looked up the analysis of each call among all of the tenant's. What is true of every row keeps these for those who
-- ask for a range of starts: nothing else proves it.
drop index session_analyses_by_start;
drop index session_analyses_by_agent;

create index session_analyses_by_start on session_analyses (tenant_id, call_started_at)
    where call_started_at is not null;
create index session_analyses_by_agent on session_analyses (tenant_id, agent_key, call_started_at)
    where call_started_at is not null;

-- Nobody asks by it any more.
drop index session_issues_by_start;
