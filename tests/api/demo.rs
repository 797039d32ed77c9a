//! `voxray demo` as a stranger starts it: an empty folder, then the printed lines, then once more.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::Client;

const PATIENCE: Duration = Duration::from_secs(120);

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running demo and what it printed up to the last line of its greeting.
async fn demo(folder: &Path, listen: &str) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxray"));
    command.args([
        "demo",
        "--listen",
        listen,
        "--metrics-listen",
        "off",
        "--log-level",
        "warn",
    ]);
    command
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .env("VOXRAY_DATA_DIR", folder);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let greeting = async {
        let mut text = String::new();
        while let Some(line) = lines.next_line().await.expect("a line") {
            text.push_str(&line);
            text.push('\n');
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        text
    };
    let text = tokio::time::timeout(PATIENCE, greeting)
        .await
        .expect("a greeting in time");
    (child, text)
}

/// Asks a demo to stop, as Ctrl-C does, and waits until it has.
async fn stop(mut child: Child) {
    let pid = child.id().expect("it runs").to_string();
    Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .await
        .expect("kill runs");
    let ended = tokio::time::timeout(PATIENCE, child.wait())
        .await
        .expect("it ends in time");
    assert_eq!(ended.expect("a status").code(), Some(0));
}

fn key(greeting: &str) -> &str {
    greeting
        .split("VOXRAY_KEY=")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .unwrap_or_else(|| panic!("no key: {greeting}"))
}

/// The paths of the printed curl lines.
fn printed_paths<'a>(greeting: &'a str, base: &str) -> Vec<&'a str> {
    greeting
        .lines()
        .filter(|line| line.trim().starts_with("curl"))
        .filter_map(|line| line.split(base).nth(1)?.split('\'').next())
        .collect()
}

#[tokio::test]
async fn a_demo_shows_real_conversations_and_starts_again_with_the_same_data() {
    let folder =
        Folder(std::env::temp_dir().join(format!("voxray-demo-{}", uuid::Uuid::new_v4().simple())));
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port")
        .port();
    let (listen, base) = (
        format!("127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}"),
    );
    let (child, greeting) = demo(&folder.0, &listen).await;
    let client = Client::new(&base).bearer(key(&greeting));
    let paths = printed_paths(&greeting, &base);
    assert_eq!(paths.len(), 3, "{greeting}");
    for path in paths {
        client.get(path).await.status(200);
    }
    // A conversation of people, word for word, told from those that are made up.
    let call = client
        .get("/v1/observability/sessions/hvb-010d38f5ada54e0d")
        .await
        .status(200)
        .json();
    assert_eq!(
        call["tags"],
        serde_json::json!(["real-sample", "harper_valley_bank"])
    );
    assert_eq!(call["metadata"]["recordedAt"], "2020-05-30T18:12:54.809Z");
    assert!(call["turns"].as_array().expect("turns").len() > 5);
    let total = async |query: &str| {
        let list = client
            .get(&format!("/api/v1/voice-sessions?limit=1&{query}"))
            .await
            .status(200)
            .json();
        list["total"].as_i64().expect("a total")
    };
    assert_eq!(total("tag=real-sample").await, 16);
    let generated = total("tag=generated").await;
    assert!(generated > 1_000, "{generated}");
    for period in ["1h", "24h", "7d", "30d"] {
        let summary: Value = client
            .get(&format!("/api/v1/analytics/summary?period={period}"))
            .await
            .status(200)
            .json();
        assert!(
            summary["completed_calls"].as_i64().expect("a count") > 0,
            "{period}: {summary}"
        );
    }
    stop(child).await;

    let (child, again) = demo(&folder.0, &listen).await;
    assert_eq!(key(&again), key(&greeting), "the key is told again");
    assert_eq!(total("tag=real-sample").await, 16);
    assert!(total("tag=generated").await >= generated, "nothing is lost");
    stop(child).await;
}
