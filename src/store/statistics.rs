//! What Postgres knows of how tables are filled, from which it makes plans. Autovacuum looks once a minute, and a new
//! store may have taken a hundred thousand calls by then: for as long, and for all statements that are planned once,
//! Postgres thinks that a tenant has a handful of rows, and reads all of them where it should look up one.

use crate::domain::Result;
use crate::store::failure::failure;
use crate::store::scope::Store;

/// Which process looks, of several on one store.
const LOCK: i64 = 0x766f_7872_6179_0073;
/// Fewer rows than this are read as fast as looked up.
const FEW_ROWS: i64 = 500;
/// Tables that grow with what is told, and how Postgres is made to look at them: of those that grow most, at the columns
/// that rows are looked up by. Their others, and the words of turns, take most of the time; they wait for autovacuum.
const TABLES: [(&str, &str); 13] = [
    ("sessions", "analyze sessions"),
    ("session_aliases", "analyze session_aliases"),
    ("session_tags", "analyze session_tags"),
    (
        "facts",
        "analyze facts (tenant_id, session_id, source, kind, id, entity)",
    ),
    (
        "turns",
        "analyze turns (tenant_id, session_id, index, text, start_ms, end_ms, latency_ms, answers_user, cancelled)",
    ),
    ("tool_calls", "analyze tool_calls"),
    ("interruptions", "analyze interruptions"),
    ("errors", "analyze errors"),
    ("evaluations", "analyze evaluations"),
    (
        "spans",
        "analyze spans (tenant_id, session_id, trace_id, span_id, parent, started_at)",
    ),
    ("traces", "analyze traces"),
    ("session_analyses", "analyze session_analyses"),
    ("session_issues", "analyze session_issues"),
];

/// Has Postgres look at the tables that have doubled since it did. Answers how many those are.
pub async fn refresh(store: &Store) -> Result<usize> {
    let names: Vec<String> = TABLES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut transaction = store.analytics.begin().await.map_err(failure)?;
    let doubled: Vec<String> = sqlx::query_scalar!(
        r#"select t.relname::text as "relname!"
             from pg_stat_user_tables t
             join pg_class c on c.oid = t.relid
            where t.schemaname = current_schema()
              and t.relname = any($1)
              and t.n_live_tup > 2 * greatest(c.reltuples, 0) + $2::bigint
              and pg_try_advisory_xact_lock($3)"#,
        &names,
        FEW_ROWS,
        LOCK,
    )
    .fetch_all(&mut *transaction)
    .await
    .map_err(failure)?;
    if !doubled.is_empty() {
        sqlx::query!("set local statement_timeout = '10min'")
            .execute(&mut *transaction)
            .await
            .map_err(failure)?;
    }
    for (_, look) in TABLES
        .iter()
        .filter(|(name, _)| doubled.iter().any(|it| it == name))
    {
        sqlx::query(*look)
            .execute(&mut *transaction)
            .await
            .map_err(failure)?;
    }
    transaction.commit().await.map_err(failure)?;
    Ok(doubled.len())
}
