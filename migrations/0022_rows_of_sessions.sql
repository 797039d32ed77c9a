-- In the order in which the writer takes them, whatever runs meanwhile.
lock table sessions, facts, turns, spans in access exclusive mode;

-- A row of these is written only while its session's row is locked, or beside it. Looking the session up once more for
-- each row costs a third of writing it.
alter table facts drop constraint facts_tenant_id_session_id_fkey;
alter table turns drop constraint turns_tenant_id_session_id_fkey;
alter table spans drop constraint spans_tenant_id_session_id_fkey;

-- The other half of what the keys did: these rows go with their session, whoever removes it.
create function remove_rows_of_session() returns trigger
    language plpgsql
as $$
begin
    delete from facts where tenant_id = old.tenant_id and session_id = old.id;
    delete from turns where tenant_id = old.tenant_id and session_id = old.id;
    delete from spans where tenant_id = old.tenant_id and session_id = old.id;
    return null;
end
$$;

create trigger rows_of_session
    after delete on sessions
    for each row execute function remove_rows_of_session();
