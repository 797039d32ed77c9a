//! How fast events become durable, over real HTTP, against what the same Postgres does without us.
//!
//! `cargo bench --bench ingest` starts a private Postgres (fsync on) and the server as a process of its
//! own, and prints rates, their ratios of this one run, and the processor time that a row takes, which a busy
//! machine changes less. `VOXRAY_BENCH_SECONDS` sets the length of each part (default 5). Words after `--`
//! choose the rows whose names have one of them.

#[expect(dead_code, reason = "each benchmark uses its part")]
mod support;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::json;
use sqlx::PgConnection;
use sqlx::postgres::PgPool;
use tokio::net::TcpStream;

use voxray::domain::event::Kind;

use support::{Postgres, exchange};

const CLIENTS: usize = 64;

#[tokio::main]
async fn main() {
    let postgres = Postgres::start("ingest").await;
    let server = Server::start(&postgres.url).await;
    let seconds = std::env::var("VOXRAY_BENCH_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(5);
    let length = Duration::from_secs(seconds);
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word));

    let single = single_inserts(&postgres, length).await;
    let copied = copy(&postgres, length, &plain_rows()).await;
    println!("{CLIENTS} clients, {seconds} s each");
    let table = Table {
        postgres: &postgres,
        server: &server.server,
        single,
        copied,
        whole: None,
    };
    table.head();
    table.row("single-row INSERT, autocommit", single);
    table.row("COPY, 1,000 rows each, 2 connections", copied);
    for size in [1, 10, 100, 1_000] {
        let name = format!("turn events, {size} a request, new sessions");
        if is_wanted(&name) {
            let load = server.load(length, size, Shape::NewSessions);
            table.measured(&name, load).await;
        }
    }
    let name = "turn events, 1 a request, 64 long sessions";
    if is_wanted(name) {
        let load = server.load(length, 1, Shape::LongSessions);
        table.measured(name, load).await;
    }
    let traced = server.trace(&postgres).await;
    let all = copy(&postgres, length, &traced.whole(&postgres).await).await;
    let copied = copy(&postgres, length, &traced.facts(&postgres).await).await;
    let table = Table {
        copied,
        whole: Some(all),
        ..table
    };
    table.head();
    table.row("COPY of one row a span, its fact", copied);
    table.row("COPY of all rows that spans are stored as", all);
    for size in [1, 10, 100, 1_000] {
        let name = format!("OTLP spans (protobuf), {size} a request, new sessions");
        if is_wanted(&name) {
            table.measured(&name, server.spans(length, size)).await;
        }
    }
    let (first, last) = server.one_long_call().await;
    println!(
        "one call of 2,000 turns, event by event: first 200 {first:.0}/s, last 200 {last:.0}/s, time last/first {:.2}",
        first / last
    );
    let (first, last) = server.one_long_trace().await;
    println!(
        "one call of 500 exchanges, a request of 4 spans each: first 100 {first:.1} ms, last 100 {last:.1} ms a request"
    );
    println!(
        "resident memory of the server: {} MiB",
        server.server.resident_mib()
    );
    drop(server);
    postgres.stop().await;
}

/// Prints rates, what they are of those of Postgres alone, and what a row costs each side.
struct Table<'a> {
    postgres: &'a Postgres,
    server: &'a support::Server,
    single: f64,
    copied: f64,
    /// COPY of everything that is written, not of one row each.
    whole: Option<f64>,
}

impl Table<'_> {
    fn head(&self) {
        let whole = if self.whole.is_some() {
            "/all rows"
        } else {
            ""
        };
        println!(
            "{:<52} {:>10} {:>8} {:>8} {whole:>9} {:>10} {:>12}",
            "", "a second", "/insert", "/copy", "server µs", "Postgres µs"
        );
    }

    fn row(&self, name: &str, rate: f64) {
        println!("{}", self.line(name, rate));
    }

    /// A rate, and what the processor did meanwhile: also for what runs in the background.
    async fn measured(&self, name: &str, load: impl Future<Output = f64>) {
        let used = || {
            (
                self.server.processor_seconds(),
                self.postgres.processor_seconds(),
            )
        };
        let (started, before) = (Instant::now(), used());
        let rate = load.await;
        let (rows, after) = (rate * started.elapsed().as_secs_f64(), used());
        let each = |before: f64, after: f64| (after - before) * 1e6 / rows;
        println!(
            "{} {:>10.1} {:>12.1}",
            self.line(name, rate),
            each(before.0, after.0),
            each(before.1, after.1)
        );
    }

    fn line(&self, name: &str, rate: f64) -> String {
        let (insert, copy) = (rate / self.single, rate / self.copied);
        let whole = self.whole.map(|whole| format!("{:.3}", rate / whole));
        let whole = whole.unwrap_or_default();
        format!("{name:<52} {rate:>10.0} {insert:>8.2} {copy:>8.3} {whole:>9}")
    }
}

struct Server {
    server: support::Server,
    key: String,
}

#[derive(Clone, Copy)]
enum Shape {
    /// Each request tells of a session of its own.
    NewSessions,
    /// Each client goes on with its one session.
    LongSessions,
}

impl Server {
    async fn start(url: &str) -> Self {
        let server = support::Server::start(url).await;
        let tenant = support::tenant(url, "bench").await;
        let key = support::key(url, &tenant, "ingest:write").await;
        Self { server, key }
    }

    /// Events made durable per second by all clients together.
    async fn load(&self, length: Duration, size: usize, shape: Shape) -> f64 {
        let events = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (address, key, events) = (
                    self.server.address.clone(),
                    self.key.clone(),
                    events.clone(),
                );
                tokio::spawn(async move {
                    let mut connection = TcpStream::connect(&address).await.expect("a connection");
                    let mut session = uuid::Uuid::new_v4();
                    for n in 0.. {
                        if started.elapsed() > length {
                            break;
                        }
                        let first = match shape {
                            Shape::NewSessions => 0,
                            Shape::LongSessions => n % 2_000,
                        };
                        if first == 0 {
                            session = uuid::Uuid::new_v4();
                        }
                        post(&mut connection, &key, &turns(session, first, size)).await;
                        events.fetch_add(size as u64, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.expect("a client");
        }
        events.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
    }

    /// Spans made durable, with what they amount to, per second by all clients together.
    async fn spans(&self, length: Duration, size: usize) -> f64 {
        let template = Arc::new(conversation(0..size));
        let spans = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let clients = (0..CLIENTS).map(|_| {
            let (address, key) = (self.server.address.clone(), self.key.clone());
            let (template, spans) = (template.clone(), spans.clone());
            tokio::spawn(async move {
                let mut connection = TcpStream::connect(&address).await.expect("a connection");
                while started.elapsed() < length {
                    let body = of_another_trace(&template);
                    send(
                        &mut connection,
                        &key,
                        ("/v1/traces", "application/x-protobuf"),
                        &body,
                    )
                    .await;
                    spans.fetch_add(size as u64, Ordering::Relaxed);
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.expect("a client");
        }
        spans.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
    }

    /// A session of 1,000 spans.
    async fn trace(&self, postgres: &Postgres) -> Traced {
        let mut connection = TcpStream::connect(&self.server.address)
            .await
            .expect("a connection");
        let trace = uuid::Uuid::new_v4();
        let body = with_trace(&conversation(0..TRACED), trace);
        let path = ("/v1/traces", "application/x-protobuf");
        send(&mut connection, &self.key, path, &body).await;
        let trace = trace.simple().to_string();
        let pool = postgres.pool(1).await;
        let session: String =
            sqlx::query_scalar("select session_id::text from spans where trace_id = $1 limit 1")
                .bind(&trace)
                .fetch_one(&pool)
                .await
                .expect("a session");
        Traced { session, trace }
    }

    /// Rates of the first and the last 200 turns of one call.
    async fn one_long_call(&self) -> (f64, f64) {
        let mut connection = TcpStream::connect(&self.server.address)
            .await
            .expect("a connection");
        let session = uuid::Uuid::new_v4();
        let mut rates = Vec::new();
        for block in 0..10 {
            let started = Instant::now();
            for index in block * 200..(block + 1) * 200 {
                post(&mut connection, &self.key, &turns(session, index, 1)).await;
            }
            rates.push(200.0 / started.elapsed().as_secs_f64());
        }
        (rates[0], rates[9])
    }

    /// What the first and the last 100 exchanges of one traced call take, exchange by exchange, in milliseconds each.
    async fn one_long_trace(&self) -> (f64, f64) {
        let mut connection = TcpStream::connect(&self.server.address)
            .await
            .expect("a connection");
        let trace = uuid::Uuid::new_v4();
        let path = ("/v1/traces", "application/x-protobuf");
        let mut each_ms = Vec::new();
        for block in 0..5 {
            let started = Instant::now();
            for exchange in block * 100..(block + 1) * 100 {
                let body = with_trace(&conversation(exchange * 4..exchange * 4 + 4), trace);
                send(&mut connection, &self.key, path, &body).await;
            }
            each_ms.push(started.elapsed().as_secs_f64() * 1e3 / 100.0);
        }
        (each_ms[0], each_ms[4])
    }
}

fn turns(session: uuid::Uuid, first: usize, count: usize) -> Vec<u8> {
    let turn = |index: usize| {
        let start = index * 4_000;
        json!({"id": index.to_string(), "type": "turn", "sessionId": session, "at": "2026-01-11T10:00:00Z", "index": index,
            "speaker": if index.is_multiple_of(2) { "user" } else { "agent" }, "text": "I would like a table for two, please",
            "startMs": start, "endMs": start + 3_000, "sttMs": 120 + index % 50, "llmMs": 400 + index % 90, "ttsMs": 150})
    };
    json!({"events": (first..first + count).map(turn).collect::<Vec<_>>()})
        .to_string()
        .into_bytes()
}

/// The trace id of a template, which each request has another one for.
const TEMPLATE_TRACE: [u8; 16] = *b"a trace's own id";

/// Spans of one conversation, as Pipecat has them: an exchange, and in it a transcript, a generation and an utterance.
fn conversation(spans: Range<usize>) -> Vec<u8> {
    let text = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    };
    let span = |n: usize| {
        let (exchange, part) = (n / 4, n % 4);
        let (name, word) = [
            ("turn", "turn.type"),
            ("stt", "transcript"),
            ("llm", "output"),
            ("tts", "text"),
        ][part];
        let start =
            1_768_125_600_000_000_000 + exchange as u64 * 4_000_000_000 + part as u64 * 500_000_000;
        Span {
            trace_id: TEMPLATE_TRACE.to_vec(),
            span_id: (n as u64 + 1).to_be_bytes().to_vec(),
            parent_span_id: ((exchange * 4) as u64 + 1).to_be_bytes().to_vec(),
            name: name.to_owned(),
            start_time_unix_nano: start,
            end_time_unix_nano: start + 400_000_000,
            attributes: vec![
                text(word, "I would like a table for two, please"),
                text("gen_ai.request.model", "gpt-4o-mini"),
                text("gen_ai.provider.name", "openai"),
                text("metrics.ttfb", "0.2"),
            ],
            ..Span::default()
        }
    };
    let scope = InstrumentationScope {
        name: "pipecat".to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = ScopeSpans {
        scope: Some(scope),
        spans: spans.map(span).collect(),
        ..ScopeSpans::default()
    };
    let resource_spans = vec![ResourceSpans {
        scope_spans: vec![spans],
        ..ResourceSpans::default()
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn of_another_trace(template: &[u8]) -> Vec<u8> {
    with_trace(template, uuid::Uuid::new_v4())
}

fn with_trace(template: &[u8], trace: uuid::Uuid) -> Vec<u8> {
    let mut body = template.to_vec();
    let mut at = 0;
    while let Some(found) = body[at..]
        .windows(16)
        .position(|window| window == TEMPLATE_TRACE)
    {
        at += found;
        body[at..at + 16].copy_from_slice(trace.as_bytes());
    }
    body
}

async fn post(connection: &mut TcpStream, key: &str, body: &[u8]) {
    send(
        connection,
        key,
        ("/v1/ingest/events", "application/json"),
        body,
    )
    .await;
}

/// One request on a kept connection, with as little work on this side as possible: both share the cores.
async fn send(connection: &mut TcpStream, key: &str, (path, kind): (&str, &str), body: &[u8]) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    let (status, answer) = exchange(connection, &request).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
}

/// A table as a turn would need at the least: a key, and what was said.
const PLAIN: &str = "create table plain (tenant uuid, session uuid, id bigint generated always as identity, at timestamptz, body text, primary key (tenant, session, id))";

const MADE: [&str; 2] = ["drop table if exists plain", PLAIN];

async fn make(pool: &PgPool, statements: &[&'static str]) {
    for statement in statements {
        sqlx::query(*statement).execute(pool).await.expect("made");
    }
}

const BODY: &str = r#"{"index":1,"speaker":"user","text":"I would like a table for two, please","startMs":4000,"endMs":7000,"sttMs":121,"llmMs":401,"ttsMs":150}"#;

async fn single_inserts(postgres: &Postgres, length: Duration) -> f64 {
    let pool = postgres.pool(50).await;
    make(&pool, &MADE).await;
    let started = Instant::now();
    let inserters: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut rows = 0u64;
                while started.elapsed() < length {
                    sqlx::query(
                        "insert into plain (tenant, session, at, body) values ($1, $2, now(), $3)",
                    )
                    .bind(uuid::Uuid::nil())
                    .bind(uuid::Uuid::new_v4())
                    .bind(BODY)
                    .execute(&pool)
                    .await
                    .expect("inserted");
                    rows += 1;
                }
                rows
            })
        })
        .collect();
    let mut rows = 0;
    for inserter in inserters {
        rows += inserter.await.expect("an inserter");
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

/// Rows of one session, ready to be copied under other sessions' ids.
#[derive(Clone)]
struct Rows {
    tables: Vec<Copied>,
    /// What else than the table's key is of this session alone.
    own: Vec<String>,
    /// What all of them count as.
    count: u64,
}

#[derive(Clone)]
struct Copied {
    made_by: &'static [&'static str],
    copy: &'static str,
    text: String,
}

fn plain_rows() -> Rows {
    let session = uuid::Uuid::new_v4().to_string();
    let line = format!(
        "{}\t{session}\t2026-01-11 10:00:00Z\t{BODY}\n",
        uuid::Uuid::nil()
    );
    Rows {
        tables: vec![Copied {
            made_by: &MADE,
            copy: "copy plain (tenant, session, at, body) from stdin",
            text: line.repeat(1_000),
        }],
        own: vec![session],
        count: 1_000,
    }
}

/// A session that spans told of.
struct Traced {
    session: String,
    trace: String,
}

const TRACED: usize = 1_000;

/// A table of ours, and one like it with no more than its key.
struct Kept {
    from: &'static str,
    /// Where the session is named.
    session: &'static str,
    made_by: &'static [&'static str],
    copy: &'static str,
}

macro_rules! kept {
    ($table:literal, $session:literal, $key:literal) => {
        Kept {
            from: $table,
            session: $session,
            made_by: &[
                concat!("drop table if exists plain_", $table),
                concat!(
                    "create table plain_",
                    $table,
                    " (like ",
                    $table,
                    ", primary key (",
                    $key,
                    "))"
                ),
            ],
            copy: concat!("copy plain_", $table, " from stdin"),
        }
    };
}

/// What a session of spans leaves behind for good, its facts first.
const STORED: [Kept; 6] = [
    kept!(
        "facts",
        "session_id",
        "tenant_id, session_id, source, kind, id"
    ),
    kept!(
        "spans",
        "session_id",
        "tenant_id, session_id, trace_id, span_id"
    ),
    kept!("traces", "session_id", "tenant_id, session_id, trace_id"),
    kept!("turns", "session_id", "tenant_id, session_id, index"),
    kept!("sessions", "id", "tenant_id, id"),
    kept!("session_aliases", "session_id", "tenant_id, kind, value"),
];

impl Traced {
    /// The facts that its spans are, one a span, as COPY gives them.
    async fn facts(&self, postgres: &Postgres) -> Rows {
        let kind = format!("and kind = {}", Kind::Span as i16);
        self.rows(postgres, &STORED[..1], &kind).await
    }

    /// All that it is stored as, whatever that was told by.
    async fn whole(&self, postgres: &Postgres) -> Rows {
        self.rows(postgres, &STORED, "").await
    }

    async fn rows(&self, postgres: &Postgres, kept: &[Kept], those: &str) -> Rows {
        let pool = postgres.pool(1).await;
        let mut connection = pool.acquire().await.expect("a connection");
        let mut tables = Vec::new();
        for kept in kept {
            let (from, column, session) = (kept.from, kept.session, &self.session);
            let question = format!(
                "copy (select * from {from} where {column} = '{session}' {those}) to stdout"
            );
            let pieces: Vec<_> = connection
                .copy_out_raw(&question)
                .await
                .expect("copied")
                .try_collect()
                .await
                .expect("rows");
            tables.push(Copied {
                made_by: kept.made_by,
                copy: kept.copy,
                text: String::from_utf8(pieces.concat()).expect("text"),
            });
        }
        Rows {
            tables,
            own: vec![self.session.clone(), self.trace.clone()],
            count: TRACED as u64,
        }
    }
}

async fn copy(postgres: &Postgres, length: Duration, rows: &Rows) -> f64 {
    let pool = postgres.pool(2).await;
    for copied in &rows.tables {
        make(&pool, copied.made_by).await;
    }
    let started = Instant::now();
    let copiers: Vec<_> = (0..2)
        .map(|_| {
            let (pool, rows) = (pool.clone(), rows.clone());
            tokio::spawn(async move {
                let mut copied = 0u64;
                while started.elapsed() < length {
                    let mut transaction = pool.begin().await.expect("a transaction");
                    rows.copy(&mut transaction).await;
                    transaction.commit().await.expect("committed");
                    copied += rows.count;
                }
                copied
            })
        })
        .collect();
    let mut rows = 0;
    for copier in copiers {
        rows += copier.await.expect("a copier");
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

impl Rows {
    /// Once more, under names of its own.
    async fn copy(&self, connection: &mut PgConnection) {
        let names: Vec<_> = self.own.iter().map(|own| (own, another(own))).collect();
        for copied in &self.tables {
            let mut text = copied.text.clone();
            for (own, other) in &names {
                text = text.replace(*own, other);
            }
            let mut sink = connection.copy_in_raw(copied.copy).await.expect("copy");
            sink.send(text.into_bytes()).await.expect("sent");
            sink.finish().await.expect("copied");
        }
    }
}

/// Another id, written like this one.
fn another(id: &str) -> String {
    let other = uuid::Uuid::new_v4();
    match id.contains('-') {
        true => other.to_string(),
        false => other.simple().to_string(),
    }
}
