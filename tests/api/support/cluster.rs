//! A database for each test.

use sqlx::{Connection, PgConnection};

pub struct TestDatabase {
    name: String,
}

impl TestDatabase {
    pub fn url(&self) -> String {
        let (base, _) = admin_url()
            .rsplit_once('/')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .expect("a path");
        format!("{base}/{}", self.name)
    }
}

fn admin_url() -> String {
    std::env::var("VOXRAY_TEST_ADMIN_URL")
        .unwrap_or("postgres://voxray@127.0.0.1:5544/postgres".to_owned())
}

pub async fn database() -> TestDatabase {
    let name = format!("test_{}", uuid::Uuid::now_v7().simple());
    let mut connection = PgConnection::connect(&admin_url())
        .await
        .expect("the test cluster");
    let create = sqlx::AssertSqlSafe(format!("create database {name}"));
    sqlx::raw_sql(create)
        .execute(&mut connection)
        .await
        .expect("a database");
    TestDatabase { name }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let name = self.name.clone();
        let drop_it = async move {
            let Ok(mut connection) = PgConnection::connect(&admin_url()).await else {
                return;
            };
            let drop = sqlx::AssertSqlSafe(format!("drop database if exists {name} with (force)"));
            let _ = sqlx::raw_sql(drop).execute(&mut connection).await;
        };
        // A test's runtime is about to end, so this one has its own.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(drop_it);
        })
        .join()
        .expect("the database is dropped");
    }
}
