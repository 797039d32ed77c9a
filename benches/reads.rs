//! How fast a large store answers, over real HTTP, against what the same Postgres and an empty handler
//! do without us.
//!
//! `cargo bench --bench reads` starts a private Postgres, fills it with generated calls within 90 days,
//! multiplied in SQL, one tenant with 60 % of them, a second one with a tenth of the calls, and prints a table of
//! ratios of this one run. What is compared is asked in turn: a machine whose speed moves treats both alike.
//! `VOXRAY_BENCH_CALLS` sets how many (default 1,000,000), `VOXRAY_BENCH_SECONDS` how long each rate is
//! measured (default 5).

mod fill;
#[expect(dead_code, reason = "each benchmark uses its part")]
mod support;

use std::process::Stdio;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Command;

use fill::{Read, Store};
use support::{Postgres, Server, exchange, free_address};

const CLIENTS: [usize; 2] = [8, 64];
const POLLERS: usize = 64;
/// So long one of those that are asked in turn is asked.
const SLICE: Duration = Duration::from_secs(1);
/// Set in the process that is nothing but an empty handler.
const EMPTY: &str = "VOXRAY_BENCH_EMPTY";

#[tokio::main]
async fn main() {
    if let Ok(address) = std::env::var(EMPTY) {
        return serve_nothing(&address).await;
    }
    let seconds = number("VOXRAY_BENCH_SECONDS", 5);
    let calls = number("VOXRAY_BENCH_CALLS", 1_000_000);
    let small = Site::start("small", calls / 10).await;
    let large = Site::start("large", calls).await;
    println!("{calls} calls in 90 days, the tenant asked has 60 % of them; {seconds} s each\n");
    for path in MONTHS {
        let [small, large] = month_times([&small, &large], path).await;
        println!(
            "{path}: p50 {:.2} ms at {} calls, {:.2} ms (p95 {:.2}) at {calls}: {:.2} times",
            small.median_ms(),
            calls / 10,
            large.median_ms(),
            large.at_ms(0.95),
            large.median_ms() / small.median_ms()
        );
    }
    small.stop().await;
    let Site {
        postgres,
        server,
        store,
    } = large;
    for (path, after, before) in RAGGED {
        let ragged = ragged_times(&server, &store, (path, after, before)).await;
        println!(
            "{path} over ragged 90 days: p50 {:.2} ms, p95 {:.2} ms",
            ragged.at_ms(0.5),
            ragged.at_ms(0.95)
        );
    }
    reads(&postgres, &server, &store, seconds).await;
    polls(&server, &store, seconds).await;
    export(&server, &store).await;
    println!(
        "memory of the server at its peak: {} MiB",
        server.resident_mib()
    );
    drop(server);
    postgres.stop().await;
}

/// A store of so many calls, and the server on it.
struct Site {
    postgres: Postgres,
    server: Server,
    store: Store,
}

impl Site {
    async fn start(name: &str, calls: u64) -> Self {
        let postgres = Postgres::start(name).await;
        let server = Server::start(&postgres.url).await;
        let mut store = Store::create(&postgres).await;
        store.grow(calls).await;
        Self {
            postgres,
            server,
            store,
        }
    }

    async fn stop(self) {
        drop(self.server);
        self.postgres.stop().await;
    }
}

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Times of single requests, sorted.
struct Times(Vec<Duration>);

impl Times {
    async fn of(server: &Server, requests: impl Iterator<Item = Vec<u8>>) -> Self {
        let mut connection = connect(server).await;
        let mut times = Vec::new();
        for request in requests {
            times.push(timed(&mut connection, &request).await);
        }
        Self::sorted(times)
    }

    fn sorted(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    fn at_ms(&self, rank: f64) -> f64 {
        let at = ((self.0.len() - 1) as f64 * rank).round() as usize;
        self.0[at].as_secs_f64() * 1000.0
    }

    fn median_ms(&self) -> f64 {
        self.at_ms(0.5)
    }
}

const FRESH: &str = "cache-control: no-cache\r\n";

/// What is asked of a month, whatever its number of calls.
const MONTHS: [&str; 4] = [
    "/api/v1/analytics/summary?period=30d",
    "/api/v1/analytics/root-causes?period=30d",
    "/api/v1/analytics/root-causes?period=30d&channel=inbound",
    "/v1/observability/sessions/interruption-quality?period=30d",
];

/// What is asked of any range, and how its bounds are called there.
const RAGGED: [(&str, &str, &str); 3] = [
    (
        "/api/v1/analytics/summary",
        "started_after",
        "started_before",
    ),
    (
        "/api/v1/analytics/root-causes",
        "started_after",
        "started_before",
    ),
    (
        "/v1/observability/sessions/interruption-quality",
        "startedAfter",
        "startedBefore",
    ),
];

async fn connect(server: &Server) -> TcpStream {
    let connected = TcpStream::connect(&server.address).await;
    connected.expect("a connection")
}

async fn timed(connection: &mut TcpStream, request: &[u8]) -> Duration {
    let started = Instant::now();
    let (status, answer) = exchange(connection, request).await;
    let took = started.elapsed();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    took
}

/// The same question to several sites, one after the other and again.
async fn month_times<const COUNT: usize>(sites: [&Site; COUNT], path: &str) -> [Times; COUNT] {
    let requests = sites.map(|site| support::get(path, &site.store.key, FRESH));
    let mut times = [const { Vec::new() }; COUNT];
    let mut connections = Vec::new();
    for site in sites {
        connections.push(connect(&site.server).await);
    }
    for _ in 0..200 {
        for (place, connection) in connections.iter_mut().enumerate() {
            times[place].push(timed(connection, &requests[place]).await);
        }
    }
    times.map(Times::sorted)
}

async fn ragged_times(
    server: &Server,
    store: &Store,
    (path, after, before): (&str, &str, &str),
) -> Times {
    let requests = (0..200).map(|n| {
        let (from, to) = store.ragged(n);
        support::get(
            &format!("{path}?{after}={from}&{before}={to}"),
            &store.key,
            FRESH,
        )
    });
    Times::of(server, requests).await
}

/// Reads against their statements through pgbench on as many connections: as dashboards ask, who are given an answer
/// for a second where the contract lets them, and as those who want none that was kept.
async fn reads(postgres: &Postgres, server: &Server, store: &Store, seconds: u64) {
    for clients in CLIENTS {
        println!(
            "\n{:<44} {:>10} {:>10} {:>7} {:>10} {:>7}",
            format!("{clients} clients"),
            "pgbench/s",
            "answers/s",
            "ratio",
            "no-cache/s",
            "ratio"
        );
        for read in store.reads() {
            let ask = async |headers| {
                let request = support::get(&read.path, &store.key, headers);
                rate(&server.address, &request, clients, 200).await
            };
            let [mut plain, mut ours, mut fresh] = [0.0; 3];
            for _ in 0..seconds {
                plain += pgbench(postgres, &read, clients).await / seconds as f64;
                ours += ask("").await / seconds as f64;
                fresh += ask(FRESH).await / seconds as f64;
            }
            println!(
                "{:<44} {plain:>10.0} {ours:>10.0} {:>7.2} {fresh:>10.0} {:>7.2}",
                read.name,
                ours / plain,
                fresh / plain
            );
        }
    }
}

/// Polls that the cache answers, against a handler that answers nothing.
async fn polls(server: &Server, store: &Store, seconds: u64) {
    let address = free_address();
    let mut empty = Command::new(std::env::current_exe().expect("this program"))
        .env(EMPTY, &address)
        .kill_on_drop(true)
        .spawn()
        .expect("an empty handler");
    while TcpStream::connect(&address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "\n{:<52} {:>10} {:>12} {:>6}",
        format!("{POLLERS} pollers of one tenant"),
        "answers/s",
        "empty/s",
        "ratio"
    );
    let path = "/api/v1/analytics/summary?period=30d";
    let request = support::get(path, &store.key, "");
    let etag = store.etag(server, path).await;
    let known = support::get(path, &store.key, &format!("if-none-match: {etag}\r\n"));
    let [mut plain, mut whole, mut unchanged] = [0.0; 3];
    for _ in 0..seconds {
        plain += rate(&address, &request, POLLERS, 200).await / seconds as f64;
        whole += rate(&server.address, &request, POLLERS, 200).await / seconds as f64;
        unchanged += rate(&server.address, &known, POLLERS, 304).await / seconds as f64;
    }
    for (name, ours) in [("summary, 200", whole), ("summary, 304", unchanged)] {
        println!(
            "{name:<52} {ours:>10.0} {plain:>12.0} {:>6.2}",
            ours / plain
        );
    }
    empty.kill().await.expect("ended");
}

/// Answers in a second over kept connections.
async fn rate(address: &str, request: &[u8], clients: usize, expected: u16) -> f64 {
    let started = Instant::now();
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            let (address, request) = (address.to_owned(), request.to_vec());
            tokio::spawn(async move {
                let mut connection = TcpStream::connect(&address).await.expect("a connection");
                let mut count = 0;
                while started.elapsed() < SLICE {
                    let (status, answer) = exchange(&mut connection, &request).await;
                    // An answer that changed meanwhile is told whole.
                    assert!(
                        status == expected || status == 200,
                        "{}",
                        String::from_utf8_lossy(&answer)
                    );
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for client in clients {
        count += client.await.expect("a client");
    }
    count as f64 / started.elapsed().as_secs_f64()
}

/// How often in a second pgbench gets through a script of prepared statements.
async fn pgbench(postgres: &Postgres, read: &Read, clients: usize) -> f64 {
    let script = postgres.folder.join("bench.sql");
    std::fs::write(&script, &read.statements).expect("a script");
    let values = read.values.iter().enumerate();
    let options = postgres.embedded.connect_options();
    let socket = options
        .get_socket()
        .expect("a socket")
        .display()
        .to_string();
    let output = Command::new(fill::program("pgbench"))
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .arg(format!("--client={clients}"))
        .args(values.flat_map(|(n, value)| ["--define".to_owned(), format!("v{}={value}", n + 1)]))
        .arg(format!("--time={}", SLICE.as_secs()))
        .arg(format!("--file={}", script.display()))
        .args(["--host", &socket, "--port", &options.get_port().to_string()])
        .args(["--username", options.get_username()])
        .arg(options.get_database().unwrap_or("voxray"))
        .env(
            "PGOPTIONS",
            "-c plan_cache_mode=force_generic_plan -c jit=off",
        )
        .stderr(Stdio::inherit())
        .output()
        .await
        .expect("pgbench");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = line.and_then(|line| line.split(' ').next()?.parse().ok());
    rate.expect("a rate")
}

/// The largest export, and what lists cost meanwhile.
async fn export(server: &Server, store: &Store) {
    let list = || {
        let request = support::get("/v1/observability/sessions?limit=20", &store.key, FRESH);
        Times::of(server, std::iter::repeat_n(request, 5_000))
    };
    let alone = list().await;
    let before_mib = server.resident_mib();
    let mut connection = TcpStream::connect(&server.address)
        .await
        .expect("a connection");
    let request = support::get(&store.export_path(), &store.key, "connection: close\r\n");
    let started = Instant::now();
    tokio::io::AsyncWriteExt::write_all(&mut connection, &request)
        .await
        .expect("sent");
    let reading = tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0u64;
        loop {
            match connection.read(&mut buffer).await.expect("an answer") {
                0 => return (bytes, started.elapsed()),
                read => bytes += read as u64,
            }
        }
    });
    let beside = list().await;
    let was_running = !reading.is_finished();
    let (bytes, took) = reading.await.expect("an export");
    println!(
        "\nexport: {:.0} MiB in {:.1} s; memory peak {before_mib} MiB before, {} MiB after; list p95 {:.2} ms alone, {:.2} ms beside it ({:.2} times{})",
        bytes as f64 / f64::from(1 << 20),
        took.as_secs_f64(),
        server.resident_mib(),
        alone.at_ms(0.95),
        beside.at_ms(0.95),
        beside.at_ms(0.95) / alone.at_ms(0.95),
        if was_running {
            ""
        } else {
            "; it ended before the lists did"
        },
    );
}

#[expect(clippy::disallowed_methods, reason = "this is another server")]
async fn serve_nothing(address: &str) {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .expect("the address");
    let router = Router::new().route("/{*rest}", get(|| async {}));
    axum::serve(listener, router).await.expect("served");
}
