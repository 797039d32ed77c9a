//! What Postgres knows of a store that fills, from which it makes plans.

use std::time::Duration;

use serde_json::json;

use crate::support::TestServer;

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
