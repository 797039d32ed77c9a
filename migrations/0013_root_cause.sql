-- What was wrong with calls: the targets they are held to, and what the analysis of each call came to.

-- What a tenant, or one of its agents (else the empty text), has set. Never changed: the newest version holds.
create table target_settings (
    tenant_id  uuid        not null references tenants (id),
    agent_key  text        not null,
    -- Counts up over the whole tenant, so that one number says which targets a call was held to.
    version    bigint      not null,
    -- The targets that differ from what lies beneath, as one JSON object.
    targets    text        not null,
    created_at timestamptz not null,
    -- The public id of the key.
    created_by text        not null,
    primary key (tenant_id, agent_key, version)
);

-- Plain appends in the transaction of the change they speak of: a call that changed and was not analysed
-- since has a mark. Few rows at any time.
create table analysis_marks (
    tenant_id  uuid        not null,
    session_id uuid        not null,
    id         bigint      generated always as identity,
    -- A call that goes on is not analysed at its every word.
    due_at     timestamptz not null,
    primary key (tenant_id, session_id, id)
);

-- How far a tenant's calls, newest first, were looked through for analyses by other rules or targets than
-- today's. A tenant without a row was never looked through.
create table analysis_sweeps (
    tenant_id       uuid        primary key references tenants (id),
    rules_version   integer     not null,
    targets_version bigint      not null,
    -- Calls that started before this one are still to be looked at. Null: all.
    before          timestamptz,
    before_id       uuid,
    is_done         boolean     not null
);

-- What lists, sums and gates need of the analysis of a call. Without a word that was said.
create table session_analyses (
    tenant_id       uuid             not null,
    session_id      uuid             not null,
    call_started_at timestamptz      not null,
    agent_key       text,
    agent_version   text,
    rules_version   integer          not null,
    targets_version bigint           not null,
    analysed_at     timestamptz      not null,
    agent_turns     integer          not null,
    -- Turns that answer a user.
    answers         integer          not null,
    -- How well the two took turns, 0 to 1; null where nothing can be said.
    score           double precision,
    -- The interruptions, as JSON (domain::analysed); null where nobody spoke over the other.
    interruptions   text,
    -- The measured answers: how long each took, and of that each stage, as JSON (domain::analysed); null
    -- where none was measured.
    latencies       text,
    -- Silence in which somebody waited.
    dead_air_ms     bigint           not null,
    primary key (tenant_id, session_id),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);

create index session_analyses_by_start on session_analyses (tenant_id, call_started_at);
create index session_analyses_by_agent on session_analyses (tenant_id, agent_key, call_started_at);

-- One row a call and kind of issue: the same thing ten times in a call is one row that says ten.
create table session_issues (
    tenant_id       uuid        not null,
    session_id      uuid        not null,
    type            text        not null,
    -- Empty where the issue is of no stage, or of no provider's.
    stage           text        not null,
    provider        text        not null,
    call_started_at timestamptz not null,
    agent_key       text,
    -- The worst of them.
    severity        text        not null,
    occurrences     integer     not null,
    -- What the caller waited because of them.
    impact_ms       bigint      not null,
    -- One row of each call and type, so that lists by type show a call once.
    is_first        boolean     not null,
    primary key (tenant_id, session_id, type, stage, provider),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);

create index session_issues_by_start on session_issues (tenant_id, call_started_at);
create index session_issues_by_type  on session_issues (tenant_id, type, call_started_at desc, session_id desc) where is_first;

alter table sessions add column has_issues boolean not null default false;

create index sessions_with_issues on sessions (tenant_id, started_at desc, id desc) where has_issues;

-- Whether a version of an agent was fit to be released, and what that was found from.
create table gates (
    tenant_id  uuid        not null references tenants (id),
    id         uuid        not null,
    created_at timestamptz not null,
    verdict    text        not null,
    -- SHA-256 of everything that the verdict was found from.
    digest     bytea       not null check (octet_length(digest) = 32),
    -- The question and the answer, as one JSON object.
    report     text        not null,
    primary key (tenant_id, id)
);
