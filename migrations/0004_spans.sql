-- What happened inside a session, as its sources traced it. Ids of traces and spans are their sources'
-- own texts, so they mean something within a tenant only.

create table spans (
    tenant_id        uuid        not null,
    session_id       uuid        not null,
    trace_id         text        not null,
    span_id          text        not null,
    parent           text,
    -- What the source calls the whole trace.
    trace_name       text,
    name             text,
    type             text        not null,
    level            text        not null,
    environment      text,
    started_at       timestamptz not null,
    ended_at         timestamptz,
    -- When the first part of the output was there.
    completion_start timestamptz,
    model            text,
    -- Counts and costs as they were stated, each one JSON object.
    usage            text        not null,
    costs            text        not null,
    -- Whole billionths of a US dollar: a token costs less than a millionth.
    cost_nano_usd    bigint,
    parameters       text        not null,
    -- What was said: a message, and JSON of any kind.
    status_message   text,
    input            text,
    output           text,
    metadata         text        not null,
    primary key (tenant_id, session_id, trace_id, span_id),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);

-- A trace's first moment, and its spans in order.
create index spans_in_order on spans (tenant_id, session_id, trace_id, started_at, span_id);
-- A trace's last moment, and whether it is an end.
create index spans_by_end   on spans (tenant_id, session_id, trace_id, (coalesce(ended_at, started_at)), (ended_at is not null));
-- What a trace is called after.
create index spans_roots    on spans (tenant_id, session_id, trace_id, started_at, span_id) where parent is null;

-- One row a trace that has a span. Counts and costs are kept by differences, the rest is looked up.
create table traces (
    tenant_id         uuid        not null,
    session_id        uuid        not null,
    trace_id          text        not null,
    name              text,
    started_at        timestamptz not null,
    -- Null until anything after the start is known.
    ended_at          timestamptz,
    observation_count integer     not null,
    -- Observations that say what they cost, and those that say only what they used.
    priced_count      integer     not null,
    unpriced_count    integer     not null,
    cost_nano_usd     bigint      not null,
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);

create index traces_newest on traces (tenant_id, session_id, started_at desc, trace_id desc);
-- A trace by its id alone: sources may use one id in several sessions.
create index traces_by_id  on traces (tenant_id, trace_id, started_at desc);

-- Last, so that of two equally good indexes the key is taken.
alter table traces add primary key (tenant_id, session_id, trace_id);
