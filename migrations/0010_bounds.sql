-- How much text a session's facts hold, spans by themselves: what bounds a session besides their number.

alter table sessions
    add column fact_bytes bigint not null default 0,
    add column span_bytes bigint not null default 0;

-- Tokens that were read, of those that are counted already: sources state either part alone.
alter table sessions add column turn_prompt_tokens bigint not null default 0;
alter table turns add column prompt_tokens bigint not null default 0;
