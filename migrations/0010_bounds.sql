-- How much text a session's facts hold, spans by themselves: what bounds a session besides their number.

alter table sessions
    add column fact_bytes bigint not null default 0,
    add column span_bytes bigint not null default 0;
