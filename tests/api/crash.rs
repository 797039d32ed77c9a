//! What was acknowledged is there, whoever dies: the server or its Postgres, killed while clients write.
//! `VOXRAY_CRASH_ROUNDS` kills more often than the once that every run does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

const CLIENTS: usize = 8;
/// How long clients write before the kill, and how long anything may take to come back.
const WRITING: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(60);

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("voxray-{name}-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn voxray(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxray"));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default());
    command
        .env("VOXRAY_DATA_DIR", folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn command_json(folder: &Path, arguments: &[&str]) -> Value {
    let output = voxray(folder, arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .await
        .expect("it runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A running server, its address, and a key that may write and read.
struct Running {
    server: Child,
    base: String,
    key: String,
    http: Client,
}

impl Running {
    async fn start(folder: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a port")
            .port();
        let listen = format!("127.0.0.1:{port}");
        let mut running = Self {
            server: serve(folder, &listen),
            base: format!("http://{listen}"),
            key: String::new(),
            http: client(),
        };
        running.ready().await;
        command_json(folder, &["tenant", "create", "acme", "--json"]).await;
        let scopes = "ingest:write,sessions:read";
        let key = command_json(
            folder,
            &[
                "key", "create", "--tenant", "acme", "--name", "k", "--scopes", scopes, "--json",
            ],
        )
        .await;
        running.key = key["key"].as_str().expect("a key").to_owned();
        running
    }

    async fn ready(&self) {
        let ready = async {
            while !matches!(self.http.get(format!("{}/readyz", self.base)).send().await, Ok(answer) if answer.status() == 200)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready)
            .await
            .expect("the server is ready in time");
    }

    /// Writes turns one by one until told to stop; answers which were acknowledged.
    fn write(
        &self,
        session: String,
        from: usize,
        stop: Arc<AtomicBool>,
    ) -> tokio::task::JoinHandle<Vec<usize>> {
        let (http, base, key) = (self.http.clone(), self.base.clone(), self.key.clone());
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for index in from.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let event = json!({"id": index.to_string(), "type": "turn", "sessionId": session, "at": "2025-06-11T10:00:00Z",
                    "index": index, "speaker": "user", "startMs": index * 10, "endMs": index * 10 + 5});
                let sent = http
                    .post(format!("{base}/v1/ingest/events"))
                    .bearer_auth(&key)
                    .json(&json!({"events": [event]}))
                    .send()
                    .await;
                match sent {
                    Ok(answer) if answer.status() == 200 => acknowledged.push(index),
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
            acknowledged
        })
    }

    async fn found(&self, session: &str) -> BTreeSet<usize> {
        let detail = self
            .http
            .get(format!("{}/v1/observability/sessions/{session}", self.base))
            .bearer_auth(&self.key);
        let detail: Value = detail
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        let turns = detail["turns"].as_array().expect("turns");
        assert_eq!(
            self.count(session).await,
            turns.len(),
            "the counter counts the rows"
        );
        turns
            .iter()
            .map(|turn| turn["index"].as_u64().expect("an index") as usize)
            .collect()
    }

    async fn count(&self, session: &str) -> usize {
        let list = self
            .http
            .get(format!("{}/v1/observability/sessions?limit=100", self.base))
            .bearer_auth(&self.key);
        let list: Value = list
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        let id = format!("sess_{}", session.replace('-', ""));
        let of = list["data"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|item| item["id"] == id.as_str());
        of.and_then(|item| item["turns"].as_u64()).expect("a count") as usize
    }
}

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .timeout(Duration::from_secs(10))
        .build()
        .expect("a client")
}

fn serve(folder: &Path, listen: &str) -> Child {
    let arguments = [
        "serve",
        "--listen",
        listen,
        "--metrics-listen",
        "off",
        "--log-level",
        "off",
    ];
    voxray(folder, &arguments)
        .spawn()
        .expect("the server starts")
}

/// The running postmaster's pid; none while it is being started.
fn postmaster(folder: &Path) -> Option<String> {
    let file = std::fs::read_to_string(folder.join("postgres/postmaster.pid")).ok()?;
    file.lines()
        .next()
        .filter(|pid| !pid.is_empty())
        .map(str::to_owned)
}

async fn kill(pid: &str) {
    let killed = Command::new("kill")
        .args(["-9", pid])
        .status()
        .await
        .expect("kill runs");
    assert!(killed.success());
}

fn rounds() -> usize {
    std::env::var("VOXRAY_CRASH_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1)
}

/// Runs rounds of: write, `die` in the middle, come back, compare.
async fn survive(name: &str, mut die: impl AsyncFnMut(&mut Running, &Path)) {
    let folder = Folder::new(name);
    let mut running = Running::start(&folder.0).await;
    let (mut acknowledged, mut found) = (0, 0);
    for _ in 0..rounds() {
        let sessions: Vec<String> = (0..CLIENTS)
            .map(|_| uuid::Uuid::new_v4().to_string())
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = sessions
            .iter()
            .map(|s| running.write(s.clone(), 0, stop.clone()))
            .collect();
        tokio::time::sleep(WRITING).await;
        die(&mut running, &folder.0).await;
        running.ready().await;
        stop.store(true, Ordering::Relaxed);
        for (session, writer) in sessions.iter().zip(writers) {
            let told = writer.await.expect("a writer");
            let kept = running.found(session).await;
            let lost: Vec<_> = told.iter().filter(|index| !kept.contains(index)).collect();
            assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
            assert!(!told.is_empty(), "something was written");
            acknowledged += told.len();
            found += kept.len();
        }
    }
    println!(
        "{name}: {} kills, {acknowledged} acknowledged, {found} found",
        rounds()
    );
    let pid = running.server.id().expect("it runs").to_string();
    let _ = Command::new("kill").args(["-INT", &pid]).status().await;
    let _ = tokio::time::timeout(PATIENCE, running.server.wait()).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    survive("server", async |running, folder| {
        let listen = running.base.trim_start_matches("http://").to_owned();
        running.server.kill().await.expect("kill");
        running.server = serve(folder, &listen);
    })
    .await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_postgres_is_killed() {
    survive("postgres", async |_, folder| {
        let before = postmaster(folder).expect("a postmaster");
        kill(&before).await;
        let again = async {
            while postmaster(folder).is_none_or(|pid| pid == before) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, again)
            .await
            .expect("Postgres is started again in time");
    })
    .await;
}
