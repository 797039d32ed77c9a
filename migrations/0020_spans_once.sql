-- What was said in a span is told by its facts: it is kept once, and goes with them.
alter table spans
    drop column status_message,
    drop column input,
    drop column output,
    drop column metadata;

-- When a trace ended follows from what it was and what is new; its spans are looked at only where one takes
-- something back.
drop index spans_by_end;
