//! What Postgres knows of a store that fills, from which it makes plans.

use std::time::Duration;

use serde_json::json;

use crate::support::{Tenant, TestServer};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn postgres_looks_at_tables_that_have_doubled() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let call = |n: i32| json!({"session": {"sessionId": format!("call-{n}"), "startedAt": "2025-06-11T10:00:00Z"}});
    let calls: Vec<_> = (0..600).map(call).collect();
    let ingestor = acme.ingestor().await;
    ingestor
        .post("/v1/ingest/calls", &json!({ "calls": calls }))
        .await
        .status(200);
    let mut connection = server.connect().await;
    // Autovacuum leaves another mark. The mark is seen at once, what was learnt when that is committed.
    let is_known = "select last_analyze is not null and exists (
                select from pg_stats where tablename = 'sessions' and attname = 'tenant_id')
           from pg_stat_user_tables where relname = 'sessions'";
    let learnt = async {
        while !sqlx::query_scalar::<_, bool>(is_known)
            .fetch_one(&mut connection)
            .await
            .expect("statistics")
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let learnt = tokio::time::timeout(PATIENCE, learnt).await;
    learnt.expect("Postgres looks at the table");
}

/// So many calls of one hour.
async fn fill(tenant: &Tenant<'_>, calls: u32) {
    let call = |n: u32| {
        let started_at = format!("2025-06-11T10:{:02}:{:02}Z", n / 60, n % 60);
        json!({
            "session": {"sessionId": format!("call-{n}"), "startedAt": started_at, "endedAt": started_at},
            "turns": [{"speaker": "user", "text": "Hello", "startMs": 0, "endMs": 900},
                      {"speaker": "agent", "text": "Hello", "startMs": 9_000, "endMs": 9_900}],
        })
    };
    let calls: Vec<_> = (0..calls).map(call).collect();
    let ingestor = tenant.ingestor().await;
    ingestor
        .post("/v1/ingest/calls", &json!({ "calls": calls }))
        .await
        .status(200);
}

/// Has the analyses of a tenant's calls asked for again and again, and counts the index entries that were read for it:
/// one a call, unless each is looked for among all of them.
async fn reads_by_keys(server: &TestServer, tenant: &Tenant<'_>, calls: u32) {
    let mut connection = server.connect().await;
    let reader = tenant.reader().await.header("cache-control", "no-cache");
    let range = "started_after=2025-06-11T09:00:00Z&started_before=2025-06-11T10:29:00Z";
    let path = format!("/api/v1/analytics/root-causes?{range}");
    let entries = "select coalesce(sum(idx_tup_read), 0)::bigint from pg_stat_user_indexes
                    where relname = 'session_analyses'";
    let mut counted = async || -> i64 {
        let entries = sqlx::query_scalar(entries).fetch_one(&mut connection);
        entries.await.expect("a count")
    };
    let before = counted().await;
    for _ in 0..40 {
        let answer = reader.get(&path).await.status(200).json();
        assert_eq!(answer["analysed_calls"], calls, "{answer}");
    }
    // What a connection has read is counted a while later, at the latest with another statement of it.
    let counting = async {
        loop {
            let read = counted().await - before;
            if read >= i64::from(calls) {
                return read;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            reader.get("/api/v1/conversations").await.status(200);
        }
    };
    let read = tokio::time::timeout(PATIENCE, counting).await;
    let read = read.expect("what is read is counted");
    assert!(read < 50 * i64::from(calls), "{read} entries");
}

const CALLS: u32 = 500;

/// Has a tenant read who came after Postgres had looked at so many calls of another one.
async fn read_behind(calls: u32) {
    let server = TestServer::start().await;
    let (known, new) = (server.tenant("known").await, server.tenant("new").await);
    fill(&known, calls).await;
    server.analysed().await;
    let mut connection = server.connect().await;
    sqlx::raw_sql("analyze")
        .execute(&mut connection)
        .await
        .expect("statistics");
    fill(&new, CALLS).await;
    server.analysed().await;
    reads_by_keys(&server, &new, CALLS).await;
}

/// Of a tenant that came after Postgres looked at a table it expects a single row there. Then every index that begins
/// with the tenant seems as good as the key.
#[tokio::test]
async fn a_tenant_that_postgres_does_not_know_is_read_by_its_keys() {
    read_behind(2 * CALLS).await;
}

/// The same of a store that Postgres looked at when it had one call: each tenant seemed to have one.
#[tokio::test]
async fn a_store_that_postgres_knew_almost_empty_is_read_by_its_keys() {
    read_behind(1).await;
}
