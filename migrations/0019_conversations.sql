-- A trace may tell of several conversations. Which of them a span belongs to follows from all its spans that are
-- known, so that neither order nor split matters (domain::conversations).

-- The first value of each attribute by which a trace's spans name their conversation, and whether another was seen:
-- then the trace is divided.
create table trace_names (
    tenant_id uuid    not null,
    trace_id  text    not null,
    attribute text    not null,
    value     text    not null,
    divides   boolean not null,
    primary key (tenant_id, trace_id, attribute)
);

-- How the spans of a divided trace hang together, and where each is. Other traces have no rows here.
create table trace_nodes (
    tenant_id  uuid        not null,
    trace_id   text        not null,
    span_id    text        not null,
    parent     text,
    -- [[attribute, kind, value], ...]
    names      text        not null,
    started_at timestamptz not null,
    -- It names one of the conversations itself.
    is_anchor  boolean     not null,
    -- No span above it does: it goes with the trace's first conversation.
    is_stray   boolean     not null,
    session_id uuid        not null,
    primary key (tenant_id, trace_id, span_id),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);

-- What is decided again when a parent comes.
create index trace_nodes_by_parent  on trace_nodes (tenant_id, trace_id, parent);
-- A trace's first conversation.
create index trace_nodes_anchors    on trace_nodes (tenant_id, trace_id, started_at, span_id) where is_anchor;
-- What goes with it.
create index trace_nodes_strays     on trace_nodes (tenant_id, trace_id) where is_stray;
-- What moves when a session is absorbed.
create index trace_nodes_by_session on trace_nodes (tenant_id, session_id);

-- How often a trace in it turned out to be divided: who looked before must look again.
alter table sessions add column divisions integer not null default 0;

-- Names that a session shares with others (a room's name, a participant, a phone number, a job): to look sessions up
-- by. The kind is domain::ids::LabelKind.
create table session_labels (
    tenant_id  uuid        not null,
    kind       smallint    not null,
    value      text        not null,
    session_id uuid        not null,
    started_at timestamptz not null,
    primary key (tenant_id, session_id, kind, value),
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);

-- The newest session with a name.
create index session_labels_newest on session_labels (tenant_id, value, started_at desc);

-- Rooms of whose sessions something was written: it is to be seen whether two of them are one.
create table room_names_due (
    tenant_id uuid        not null,
    value     text        not null,
    due_at    timestamptz not null,
    primary key (tenant_id, value)
);

-- How far a tenant's calls, newest first, were looked through for costs by other prices than today's. A tenant
-- without a row was never looked through.
create table price_sweeps (
    tenant_id      uuid        primary key references tenants (id),
    prices_version text        not null,
    -- Calls that started before this one are still to be looked at. Null: all.
    before         timestamptz,
    before_id      uuid,
    is_done        boolean     not null
);
