//! The tests' own ground: a database each, and nothing left behind.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use super::support::{TestDatabase, database};

async fn tenants(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select count(*) from tenants")
        .fetch_one(connection)
        .await
        .expect("a count")
}

#[tokio::test]
async fn every_test_has_a_migrated_database_of_its_own() {
    let (one, other) = tokio::join!(database(), database());
    let mut at_one = PgConnection::connect(&one.url()).await.expect("by URL");
    let mut at_other = PgConnection::connect_with(&other.connect_options())
        .await
        .expect("by options");
    sqlx::query("insert into tenants values (gen_random_uuid(), 'acme', now())")
        .execute(&mut at_one)
        .await
        .expect("a tenant");
    assert_eq!(
        (tenants(&mut at_one).await, tenants(&mut at_other).await),
        (1, 0)
    );
}

/// Runs itself again as a process that aborts, after noting where its Postgres was.
#[tokio::test]
async fn postgres_goes_with_its_process_even_if_that_aborts() {
    const NOTE: &str = "VOXRAY_TEST_ABORT_AFTER_NOTING_IN";
    if let Some(note) = std::env::var_os(NOTE) {
        let _database = database().await;
        std::fs::write(
            note,
            TestDatabase::cluster_folder().to_str().expect("UTF-8"),
        )
        .expect("noted");
        std::process::abort();
    }
    let note = std::env::temp_dir().join(format!("voxray-note-{}", uuid::Uuid::new_v4().simple()));
    let name = "harness::postgres_goes_with_its_process_even_if_that_aborts";
    let mut again = Command::new(std::env::current_exe().expect("this binary"));
    let output = again
        .args(["--exact", name])
        .env(NOTE, &note)
        .output()
        .expect("to run");
    assert!(!output.status.success(), "it must have aborted");
    let folder = PathBuf::from(std::fs::read_to_string(&note).expect("the note"));
    std::fs::remove_file(&note).expect("to remove the note");
    let begun = Instant::now();
    while folder.exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "`{}` is still there",
            folder.display()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
