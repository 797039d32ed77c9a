//! A large store in little time: some generated calls through the product's own import, and copies of
//! them in SQL, each moved in time and under new ids.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Value;
use sqlx::postgres::PgPool;
use tokio::net::TcpStream;
use uuid::Uuid;
use voxray::app::Clock;
use voxray::domain::analytics::Window;
use voxray::domain::record::{EARLIEST, LATEST};
use voxray::samples::generate::{self, Detail, Plan};

use crate::support::{self, Postgres, Server, exchange};

/// Of ten copies, how many each tenant gets. The first is the one asked.
const SHARES: [u64; 5] = [6, 1, 1, 1, 1];
const DAYS: f64 = 90.0;
/// Calls made by the generator; all others are copies of them.
const TEMPLATE_CALLS: f64 = 2_000.0;
/// Copies made in one transaction.
const COPIES_AT_ONCE: u64 = 10;
/// Tables that readers read, by the column that names the session.
const TABLES: [(&str, &str); 9] = [
    ("sessions", "id"),
    ("turns", "session_id"),
    ("tool_calls", "session_id"),
    ("interruptions", "session_id"),
    ("errors", "session_id"),
    ("evaluations", "session_id"),
    ("session_tags", "session_id"),
    ("session_analyses", "session_id"),
    ("session_issues", "session_id"),
];

pub struct Store {
    pool: PgPool,
    tenants: Vec<Uuid>,
    pub key: String,
    template_calls: u64,
    copies: u64,
    now: DateTime<Utc>,
}

/// An endpoint and what it asks the database.
pub struct Read {
    pub name: &'static str,
    pub path: String,
    pub statements: String,
    /// What the statements have for `:v1` and so on.
    pub values: Vec<String>,
}

impl Store {
    /// The template, a day of calls of its own tenant.
    pub async fn create(postgres: &Postgres) -> Self {
        let pool = postgres.pool(2).await;
        let template = support::tenant(&postgres.url, "template").await;
        let mut tenants: Vec<Uuid> = vec![template.parse().expect("an id")];
        for share in 0..SHARES.len() {
            let tenant = support::tenant(&postgres.url, &format!("tenant-{share}")).await;
            tenants.push(tenant.parse().expect("an id"));
        }
        let key = support::key(
            &postgres.url,
            &tenants[1].to_string(),
            "sessions:read,transcripts:read",
        )
        .await;
        let now = Clock::system().now();
        let file = postgres.folder.join("template.jsonl");
        let mut lines = std::io::BufWriter::new(std::fs::File::create(&file).expect("a file"));
        let plan = Plan {
            seed: 7,
            calls_per_day: TEMPLATE_CALLS,
            detail: Detail::Lean,
        };
        let mut template_calls = 0;
        for call in generate::calls(&plan, now - TimeDelta::days(1), now - generate::CALL_MAX) {
            writeln!(lines, "{call}").expect("written");
            template_calls += 1;
        }
        lines.flush().expect("written");
        let file = file.display().to_string();
        support::output(&postgres.url, &["import", "--tenant", "template", &file]).await;
        none_left(&pool, "select count(*) from analysis_marks").await;
        Self {
            pool,
            tenants,
            key,
            template_calls,
            copies: 0,
            now,
        }
    }

    /// Copies until there are so many calls, and waits until they are rolled up.
    pub async fn grow(&mut self, calls: u64) {
        let wanted = calls.div_ceil(self.template_calls);
        eprintln!("growing to {calls} calls");
        while self.copies < wanted {
            let until = (self.copies + COPIES_AT_ONCE).min(wanted);
            self.copy(self.copies..until).await;
            self.copies = until;
        }
        let marks = "insert into dirty_hour (tenant_id, hour)
                     select distinct tenant_id, date_trunc('hour', started_at, 'UTC') from sessions";
        sqlx::query(marks)
            .execute(&self.pool)
            .await
            .expect("marked");
        sqlx::query("vacuum analyze")
            .execute(&self.pool)
            .await
            .expect("vacuumed");
        let left = "select count(*) from dirty_hour where hour < now() - interval '2 hours'";
        none_left(&self.pool, left).await;
        sqlx::query("vacuum analyze")
            .execute(&self.pool)
            .await
            .expect("vacuumed");
        sqlx::query("checkpoint")
            .execute(&self.pool)
            .await
            .expect("written");
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the columns are those of our own tables"
    )]
    async fn copy(&self, copies: std::ops::Range<u64>) {
        let mut transaction = self.pool.begin().await.expect("a transaction");
        // Rows that are copied whole need no check of their references.
        sqlx::query("set local session_replication_role = replica")
            .execute(&mut *transaction)
            .await
            .expect("set");
        let numbers: Vec<i64> = copies.clone().map(|copy| copy as i64).collect();
        let tenants: Vec<Uuid> = copies
            .clone()
            .map(|copy| self.tenants[1 + share_of(copy)])
            .collect();
        let back: Vec<f64> = copies.map(|copy| DAYS * 86_400.0 * spread(copy)).collect();
        for (table, session) in TABLES {
            let columns: Vec<(String, String)> = sqlx::query_as(
                "select column_name::text, data_type::text from information_schema.columns
                  where table_schema = 'public' and table_name = $1 and is_generated = 'NEVER' order by ordinal_position",
            )
            .bind(table)
            .fetch_all(&mut *transaction)
            .await
            .expect("columns");
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            let values = columns
                .iter()
                .map(|(name, kind)| match (name.as_str(), kind.as_str()) {
                    ("tenant_id", _) => "c.tenant".to_owned(),
                    (name, _) if name == session => format!("md5(t.{name}::text || c.n)::uuid"),
                    (name, "timestamp with time zone") => {
                        format!("t.{name} - c.back * interval '1 second'")
                    }
                    (name, _) => format!("t.{name}"),
                });
            let statement = format!(
                "insert into {table} ({}) select {} from {table} t, unnest($1::bigint[], $2::uuid[], $3::float8[]) as c (n, tenant, back) where t.tenant_id = $4",
                names.join(", "),
                values.collect::<Vec<_>>().join(", "),
            );
            sqlx::query(sqlx::AssertSqlSafe(statement))
                .bind(&numbers)
                .bind(&tenants)
                .bind(&back)
                .bind(self.tenants[0])
                .execute(&mut *transaction)
                .await
                .expect("copied");
        }
        transaction.commit().await.expect("committed");
    }

    /// The n-th range of about 90 days with ragged edges.
    pub fn ragged(&self, n: i64) -> (String, String) {
        let to = self.now - TimeDelta::milliseconds(7_003 * n + 1_234);
        let from = to - TimeDelta::days(90) + TimeDelta::milliseconds(11_113 * n + 567);
        let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
        (text(from), text(to))
    }

    pub fn export_path(&self) -> String {
        // A quarter of the tenant's calls.
        let after = self.now - TimeDelta::days(22);
        let after = after.to_rfc3339_opts(SecondsFormat::Secs, true);
        format!("/api/v1/voice-sessions/export?format=jsonl&started_after={after}")
    }

    pub async fn etag(&self, server: &Server, path: &str) -> String {
        let mut connection = TcpStream::connect(&server.address)
            .await
            .expect("a connection");
        let (_, answer) = exchange(&mut connection, &support::get(path, &self.key, "")).await;
        let head = String::from_utf8_lossy(&answer).into_owned();
        let line = head.lines().find_map(|line| line.strip_prefix("etag: "));
        line.expect("an ETag").to_owned()
    }

    pub fn reads(&self) -> Vec<Read> {
        let middle = (self.now - TimeDelta::days(40)).to_rfc3339_opts(SecondsFormat::Secs, true);
        let (newest, of_newest) = self.newest(&LATEST.to_rfc3339(), None);
        let (failed, of_failed) = self.newest(&middle, Some("failed"));
        let (active, of_active) = self.active();
        let month = |text| self.of_30_days(text) + ";";
        let read = |name, path: &str, statements, values| Read {
            name,
            path: path.to_owned(),
            statements,
            values,
        };
        vec![
            read(
                "observability sessions, first page of 20",
                "/v1/observability/sessions?limit=20",
                newest,
                of_newest,
            ),
            read(
                "observability sessions, status and range",
                &format!(
                    "/v1/observability/sessions?status=failed&startedBefore={middle}&limit=20"
                ),
                failed,
                of_failed,
            ),
            read(
                "summary of 30 days",
                "/api/v1/analytics/summary?period=30d",
                month(r#"priced as "priced!", cost_micro_usd"#) + &active,
                of_active.clone(),
            ),
            read(
                "root causes of 30 days",
                "/api/v1/analytics/root-causes?period=30d",
                month(r#"calls as "calls!", causes, issues"#),
                vec![],
            ),
            read(
                "interruption quality of 30 days",
                "/v1/observability/sessions/interruption-quality?period=30d",
                month(r#"calls as "calls!", conduct, agent_turns"#),
                vec![],
            ),
            read(
                "active calls",
                "/api/v1/analytics/active-calls",
                active,
                of_active,
            ),
        ]
    }

    /// The statement of a page of 20 before a moment, and one more, of any state or of one. Its parameters stay
    /// parameters: it is planned for all values, as the server's is.
    fn newest(&self, before: &str, status: Option<&str>) -> (String, Vec<String>) {
        let place = "(s.started_at, s.id) < ($3, $4)";
        let statement = match status {
            Some(_) => statement_with(&[place, "and s.status = $7 order by"], &[]),
            None => statement_with(&[place], &["$7"]),
        };
        let mut values = vec![
            self.tenants[1].to_string(),
            EARLIEST.to_rfc3339(),
            before.to_owned(),
            Uuid::nil().to_string(),
            "21".to_owned(),
            "0".to_owned(),
        ];
        values.extend(status.map(str::to_owned));
        (with_variables(&statement, values.len()), values)
    }

    /// The statement that counts calls in progress.
    fn active(&self) -> (String, Vec<String>) {
        let statement = statement_with(&["count(*)", "and status = 'active'"], &["s.status"]);
        // pgbench has neither null nor empty values.
        let statement = [2, 3, 4, 5].iter().fold(statement, |statement, n| {
            statement.replace(&format!("${n}"), "nullif($2, '-')")
        });
        let values = vec![self.tenants[1].to_string(), "-".to_owned()];
        (with_variables(&statement, values.len()), values)
    }

    /// The statement that has this text in it, asked for the last 30 days as they are covered.
    fn of_30_days(&self, text: &str) -> String {
        let (from, to) = (self.now - TimeDelta::days(30), self.now);
        let cover = Window { from, to }.cover_nearest();
        let times = [
            from,
            cover.hours_from,
            cover.days_from,
            cover.days_to,
            cover.hours_to,
            to,
        ];
        let mut statement = statement_with(&[text], &[]);
        for n in (8..=13).rev() {
            let value = match n {
                8 => "true",
                13 => "0",
                _ => "null::text",
            };
            statement = statement.replace(&format!("${n}"), value);
        }
        for (at, time) in times.iter().enumerate() {
            let value = format!("'{}'::timestamptz", time.to_rfc3339());
            statement = statement.replace(&format!("${}", at + 2), &value);
        }
        let tenant = self.tenants[1];
        let statement = statement.replace("$1", &format!("'{tenant}'::uuid"));
        statement.trim_end().to_owned()
    }
}

/// Waits until a count is zero.
async fn none_left(pool: &PgPool, count: &'static str) {
    while sqlx::query_scalar::<_, i64>(count)
        .fetch_one(pool)
        .await
        .expect("a count")
        > 0
    {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn share_of(copy: u64) -> usize {
    let mut left = copy % SHARES.iter().sum::<u64>();
    for (tenant, share) in SHARES.iter().enumerate() {
        if left < *share {
            return tenant;
        }
        left -= share;
    }
    0
}

/// A script that asks a statement with the variables `v1` and so on for its parameters.
fn with_variables(statement: &str, count: usize) -> String {
    let mut statement = statement.trim_end().to_owned();
    for n in (1..=count).rev() {
        statement = statement.replace(&format!("${n}"), &format!(":v{n}"));
    }
    statement + ";"
}

/// The statement of the server that has all these texts in it and none of those, without its comments.
fn statement_with(texts: &[&str], not: &[&str]) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx");
    let files = std::fs::read_dir(folder).expect("the statements").flatten();
    let mut statements = files.map(|file| {
        let file = std::fs::read(file.path()).expect("a statement");
        let file: Value = serde_json::from_slice(&file).expect("JSON");
        file["query"].as_str().unwrap_or_default().to_owned()
    });
    let statement = statements.find(|statement| {
        texts.iter().all(|text| statement.contains(text))
            && !not.iter().any(|text| statement.contains(text))
    });
    let statement = statement.expect("a statement with these texts");
    let lines = statement
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Where in the range a copy lies, evenly for every tenant and whatever the number of copies.
fn spread(copy: u64) -> f64 {
    // The golden ratio spreads any number of points evenly.
    ((copy + 1) as f64 * 0.618_033_988_749_895).fract()
}

/// One of PostgreSQL's programs.
pub fn program(name: &str) -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<PathBuf> = folders
        .map(|folder| folder.path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}
