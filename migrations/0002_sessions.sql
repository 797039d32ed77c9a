-- Facts as they came, and the state that is derived from them.
--
-- Every table leads with tenant_id, in keys, foreign keys and indexes alike, so that the same schema
-- can be distributed by tenant.

create table sessions (
    tenant_id          uuid        not null references tenants (id),
    id                 uuid        not null,
    external_id        text        not null,
    status             text        not null,
    agent_key          text,
    agent_version      text,
    channel            text,
    started_at         timestamptz not null,
    answered_at        timestamptz,
    ended_at           timestamptz,
    -- ended_at - (answered_at, else started_at)
    duration_ms        bigint,
    end_reason         text,
    ended_by           text,
    answered_by        text,
    call_sid           text,
    stream_id          text,
    from_number        text,
    to_number          text,
    workflow_id        text,
    workflow_slug      text,
    workflow_name      text,
    campaign           text,
    language           text,
    voice              text,
    summary            text,
    tags               text[]      not null,
    -- What a measurement without a provider of its own is counted under.
    stt_provider       text,
    llm_provider       text,
    tts_provider       text,
    cost_micro_usd     bigint,
    -- All other fields of the session, as one JSON object.
    extra              text        not null,
    -- Counters over the session's turns, tool calls, ...
    turn_count         integer     not null,
    tool_call_count    integer     not null,
    interruption_count integer     not null,
    error_count        integer     not null,
    evaluation_count   integer     not null,
    fact_count         integer     not null,
    turn_tokens        bigint      not null,
    total_tokens       bigint      not null,
    -- Histograms of the session's measurements (domain::digest), what the rollups are made of.
    digest             bytea       not null,
    -- The earliest and latest time that any fact of the session speaks of.
    first_at           timestamptz not null,
    last_at            timestamptz not null,
    -- When the last fact arrived.
    touched_at         timestamptz not null
) with (fillfactor = 80);

create index sessions_by_start     on sessions (tenant_id, started_at desc, id desc);
create index sessions_by_agent     on sessions (tenant_id, agent_key, started_at desc, id desc);
create index sessions_by_status    on sessions (tenant_id, status, started_at desc, id desc);
create index sessions_by_campaign  on sessions (tenant_id, campaign, started_at desc, id desc) where campaign is not null;
create index sessions_reviewed     on sessions (tenant_id, started_at desc, id desc) where evaluation_count > 0;
create index sessions_by_call_sid  on sessions (tenant_id, call_sid, started_at desc) where call_sid is not null;
create index sessions_by_stream_id on sessions (tenant_id, stream_id, started_at desc, id desc) where stream_id is not null;
-- Few rows whatever the history: what is going on right now.
create index sessions_open         on sessions (tenant_id, started_at) where status in ('queued', 'ringing', 'active');

-- Added last: of two indexes that look equally good, as on a table that is still empty, Postgres takes the
-- younger, and a look-up by key must not end up reading all of a tenant's sessions.
alter table sessions add primary key (tenant_id, id);

create table session_tags (
    tenant_id  uuid        not null,
    session_id uuid        not null,
    tag        text        not null,
    started_at timestamptz not null,
    primary key (tenant_id, session_id, tag),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);

create index session_tags_by_tag on session_tags (tenant_id, tag, started_at desc, session_id desc);

-- One row a fact, under the identity its source gave it. The body is the canonical JSON of its fields.
create table facts (
    tenant_id  uuid        not null,
    session_id uuid        not null,
    source     smallint    not null,
    kind       smallint    not null,
    id         text        not null,
    -- What the fact speaks of, where several facts may speak of one thing (a turn, a tool call).
    entity     text,
    at         timestamptz not null,
    hash       bigint      not null,
    body       text        not null,
    primary key (tenant_id, session_id, source, kind, id),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);

create index facts_by_entity on facts (tenant_id, session_id, kind, entity) where entity is not null;

create table turns (
    tenant_id       uuid    not null,
    session_id      uuid    not null,
    index           integer not null,
    speaker         text    not null,
    text            text,
    start_ms        integer,
    end_ms          integer,
    stt_ms          double precision,
    endpointing_ms  double precision,
    llm_ms          double precision,
    llm_total_ms    double precision,
    tts_ms          double precision,
    tts_total_ms    double precision,
    latency_ms      double precision,
    latency_source  text,
    answers_user    boolean not null,
    confidence      double precision,
    interrupted     boolean not null,
    failed          boolean not null,
    cancelled       boolean not null,
    -- The remaining fields of the turn, as one JSON object.
    extra           text    not null,
    tokens          bigint  not null,
    -- What this turn adds to the session's digest.
    measures        bytea   not null,
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);

-- The order in which turns answer each other. A turn without times comes after those with.
create index turns_in_order on turns (tenant_id, session_id, coalesce(start_ms, 2147483647), coalesce(end_ms, 2147483647), index);

-- Last, as above.
alter table turns add primary key (tenant_id, session_id, index);

create table tool_calls (
    tenant_id  uuid    not null,
    session_id uuid    not null,
    id         text    not null,
    turn       integer,
    name       text,
    arguments  text,
    result     text,
    error      text,
    start_ms   integer,
    end_ms     integer,
    extra      text    not null,
    primary key (tenant_id, session_id, id),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);

create table interruptions (
    tenant_id           uuid    not null,
    session_id          uuid    not null,
    id                  text    not null,
    turn                integer,
    at_ms               integer,
    detection_ms        double precision,
    stop_ms             double precision,
    bleed_through_words integer,
    is_false            boolean,
    extra               text    not null,
    primary key (tenant_id, session_id, id),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);

create table errors (
    tenant_id  uuid        not null,
    session_id uuid        not null,
    id         text        not null,
    at         timestamptz not null,
    service    text,
    level      text        not null,
    code       text,
    message    text,
    details    text,
    turn       integer,
    agent      text,
    extra      text        not null,
    primary key (tenant_id, session_id, id),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);

create table evaluations (
    tenant_id  uuid        not null,
    session_id uuid        not null,
    id         text        not null,
    created_at timestamptz not null,
    reviewer   text,
    score      double precision,
    verdict    text,
    labels     text[]      not null,
    notes      text,
    turn       integer,
    primary key (tenant_id, session_id, id),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);
