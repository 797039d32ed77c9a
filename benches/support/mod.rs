//! What benchmarks share: a private Postgres, the server as a process of its own on it, and a client
//! that does as little as possible, since both share the cores.

pub mod processor;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use voxray::store::embedded::{Embedded, Hold, Options, open};

/// A Postgres below the temporary folder, as durable as a real one.
pub struct Postgres {
    pub folder: PathBuf,
    pub embedded: Embedded,
    pub url: String,
}

impl Postgres {
    pub async fn start(name: &str) -> Self {
        let folder = format!("voxray-bench-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir(&folder).expect("a folder");
        let embedded = open(Options {
            data_dir: folder.clone(),
            hold: Hold::Server,
            durable: true,
            // Clients of pgbench beside the server's own.
            extra: vec![("max_connections".to_owned(), "200".to_owned())],
        })
        .await
        .expect("Postgres");
        let url = url(&embedded.connect_options());
        Self {
            folder,
            embedded,
            url,
        }
    }

    pub async fn pool(&self, connections: u32) -> PgPool {
        PgPoolOptions::new()
            .max_connections(connections)
            .connect_with(self.embedded.connect_options())
            .await
            .expect("a pool")
    }

    /// Seconds of the processor that it has used so far.
    pub fn processor_seconds(&self) -> f64 {
        processor::postmaster(&self.folder.join("postgres")).map_or(0.0, processor::seconds)
    }

    pub async fn stop(self) {
        self.embedded.stop().await.expect("stopped");
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn url(options: &PgConnectOptions) -> String {
    let socket = options
        .get_socket()
        .map(|s| s.display().to_string())
        .unwrap_or_default();
    let port = options.get_port();
    format!(
        "postgres://{}@localhost:{port}/{}?host={socket}",
        options.get_username(),
        options.get_database().unwrap_or("voxray")
    )
}

/// The server, stopped when dropped.
pub struct Server {
    process: Child,
    pub address: String,
}

impl Server {
    pub async fn start(url: &str) -> Self {
        let address = free_address();
        let arguments = [
            "serve",
            "--listen",
            &address,
            "--metrics-listen",
            "off",
            "--log-level",
            "warn",
        ];
        let process = voxray(url, &arguments)
            .kill_on_drop(true)
            .spawn()
            .expect("the server");
        while TcpStream::connect(&address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        output(url, &["migrate"]).await;
        Self { process, address }
    }

    /// Seconds of the processor that it has used so far.
    pub fn processor_seconds(&self) -> f64 {
        self.process.id().map_or(0.0, processor::seconds)
    }

    pub fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!(
            "/proc/{}/status",
            self.process.id().unwrap_or_default()
        ))
        .unwrap_or_default();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap_or_default();
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse::<u64>().ok())
            .unwrap_or_default()
            / 1024
    }
}

pub fn free_address() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    format!("127.0.0.1:{port}")
}

/// A tenant of its own: its id.
pub async fn tenant(url: &str, name: &str) -> String {
    let created = output(url, &["tenant", "create", name, "--json"]).await;
    let created: Value = serde_json::from_str(&created).expect("JSON");
    created["tenantId"].as_str().expect("an id").to_owned()
}

/// A key of a tenant.
pub async fn key(url: &str, tenant: &str, scopes: &str) -> String {
    let arguments = [
        "key", "create", "--tenant", tenant, "--name", "bench", "--scopes", scopes, "--json",
    ];
    let key: Value = serde_json::from_str(&output(url, &arguments).await).expect("JSON");
    key["key"].as_str().expect("a key").to_owned()
}

fn voxray(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxray"));
    // Beside the Postgres, and removed with it: else it would be where this machine's server has its files.
    let socket = url
        .rsplit_once("host=")
        .map(|(_, socket)| Path::new(socket));
    let data_dir = socket.and_then(Path::parent).expect("a socket's folder");
    command.args(arguments).env_clear();
    command
        .env("DATABASE_URL", url)
        .env("VOXRAY_DATA_DIR", data_dir);
    command
}

/// What a command prints; it must succeed.
pub async fn output(url: &str, arguments: &[&str]) -> String {
    let output = voxray(url, arguments)
        .stderr(Stdio::inherit())
        .output()
        .await
        .expect("the program");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}

pub fn get(path: &str, key: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n{more}\r\n")
        .into_bytes()
}

/// One request on a kept connection. Answers the status and how long head and body are.
pub async fn exchange(connection: &mut TcpStream, request: &[u8]) -> (u16, Vec<u8>) {
    connection.write_all(request).await.expect("sent");
    let mut answer = Vec::with_capacity(16 * 1024);
    loop {
        let read = connection.read_buf(&mut answer).await.expect("an answer");
        assert!(read > 0, "the connection was closed");
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.expect("a status");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.parse::<usize>().ok());
        let length = if status == 304 {
            0
        } else {
            length.expect("a length")
        };
        if answer.len() >= end + 4 + length {
            return (status, answer);
        }
    }
}
