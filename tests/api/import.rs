//! `voxray import` on the real program: sample calls, bad lines, and going on where it stopped.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Command;
use voxray::samples::real;

use crate::support::TestServer;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path =
            std::env::temp_dir().join(format!("voxray-import-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn command(server: &TestServer, folder: &Folder, file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxray"));
    command
        .arg("import")
        .arg(file)
        .args(["--tenant", "acme", "--json"]);
    command
        .env_clear()
        .env("DATABASE_URL", server.database_url())
        .env("VOXRAY_DATA_DIR", &folder.0)
        .kill_on_drop(true);
    command
}

async fn import(server: &TestServer, folder: &Folder, file: &Path, more: &[&str]) -> Output {
    let mut command = command(server, folder, file);
    command.args(more).output().await.expect("the program runs")
}

fn told(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn gzip(lines: &[Value]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    for line in lines {
        writeln!(gz, "{line}").expect("written");
    }
    gz.finish().expect("compressed")
}

#[tokio::test]
async fn real_calls_come_out_as_they_went_in() {
    let (server, folder) = (TestServer::start().await, Folder::new());
    let acme = server.tenant("acme").await;
    let lines = real::lines().expect("calls");
    let file = folder.file("calls.jsonl.gz", &gzip(&lines));
    let first = import(&server, &folder, &file, &["--base", "2025-06-10T00:00:00Z"]).await;
    assert_eq!(first.status.code(), Some(0));
    assert_eq!(
        told(&first),
        json!({"accepted": lines.len(), "duplicates": 0, "rejected": 0})
    );

    let reader = acme.transcripts().await;
    for line in &lines {
        let id = line["call_id"].as_str().expect("an id");
        let detail = reader
            .get(&format!("/v1/observability/sessions/{id}"))
            .await
            .status(200)
            .json();
        let (said, given) = (
            detail["turns"].as_array().expect("turns"),
            line["turns"].as_array().expect("turns"),
        );
        assert_eq!(said.len(), given.len(), "{id}");
        for turn in given {
            let found = said
                .iter()
                .find(|t| t["index"] == turn["index"])
                .expect("the turn");
            assert_eq!(
                (&found["text"], &found["startMs"], &found["endMs"]),
                (&turn["text"], &turn["start_ms"], &turn["end_ms"])
            );
        }
        assert_eq!(detail["metrics"]["totalDurationMs"], line["duration_ms"]);
        let place = |turn: &Value| {
            (
                turn["startMs"].as_i64(),
                turn["endMs"].as_i64(),
                turn["index"].as_i64(),
            )
        };
        assert!(
            said.is_sorted_by_key(place),
            "turns in the order in which they answer each other"
        );
        if line["started_at"].is_null() {
            let start = detail["startedAt"].as_str().expect("a start");
            assert!(
                ("2025-06-09T00:00:00Z".."2025-06-10T00:00:01Z").contains(&start),
                "{start}"
            );
            assert!(detail["metadata"]["placedAt"].is_string());
        } else {
            assert_eq!(detail["metadata"]["recordedAt"], line["started_at"]);
            assert_eq!(detail["metadata"].get("placedAt"), None);
        }
    }
    // Once placed, a call stays: another base changes nothing.
    let again = import(&server, &folder, &file, &["--base", "2025-01-01T00:00:00Z"]).await;
    assert_eq!(
        told(&again),
        json!({"accepted": 0, "duplicates": lines.len(), "rejected": 0})
    );
}

#[tokio::test]
async fn bad_lines_are_told_with_their_numbers() {
    let (server, folder) = (TestServer::start().await, Folder::new());
    let acme = server.tenant("acme").await;
    let good = |id: &str| {
        json!({"session": {"sessionId": id, "startedAt": "2025-06-01T10:00:00Z"}}).to_string()
    };
    let text = format!(
        "{}\n{{\"session\": \n\n{}\n{{\"call_id\": \"x\", \"turns\": []}}\n{}\n{}\n",
        good("a"),
        r#"{"session": {"sessionId": "b", "startedAt": "soon"}}"#,
        good("c"),
        r#"{"call_id": "y", "started_at": "soon", "duration_ms": 1, "turns": []}"#,
    );
    let file = folder.file(
        "calls.jsonl.zst",
        &zstd::encode_all(text.as_bytes(), 3).expect("compressed"),
    );
    let output = import(&server, &folder, &file, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        told(&output),
        json!({"accepted": 2, "duplicates": 0, "rejected": 4})
    );
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    for expected in [
        "calls.jsonl.zst:2: must be JSON",
        "calls.jsonl.zst:4: session.startedAt must be",
        "calls.jsonl.zst:5: `duration_ms`",
        "calls.jsonl.zst:7: `started_at` must be an RFC 3339 time",
    ] {
        assert!(errors.contains(expected), "{expected}: {errors}");
    }
    let list = acme
        .reader()
        .await
        .get("/v1/observability/sessions")
        .await
        .status(200)
        .json();
    assert_eq!(list["data"].as_array().expect("a list").len(), 2);
}

#[tokio::test]
async fn a_json_list_is_read_too_and_what_is_not_known_is_told() {
    let (server, folder) = (TestServer::start().await, Folder::new());
    let acme = server.tenant("acme").await;
    let calls = json!([
        {"session": {"sessionId": "a", "startedAt": "2025-06-01T10:00:00Z", "agentID": "x"}},
        {"session": {"sessionId": "b"}},
        {"session": {"sessionId": "c", "startedAt": "2025-06-01T10:00:00Z"}}
    ]);
    let pretty = format!("{calls:#}");
    let gz = {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(pretty.as_bytes()).expect("written");
        gz.finish().expect("compressed")
    };
    // The name need not say that it is compressed.
    let file = folder.file("calls.json", &gz);
    let output = import(&server, &folder, &file, &[]).await;
    assert_eq!(
        told(&output),
        json!({"accepted": 2, "duplicates": 0, "rejected": 1})
    );
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = pretty
        .lines()
        .position(|line| line.contains("\"b\""))
        .expect("the second call");
    for expected in [
        format!("calls.json:{}: session.startedAt is required", line - 1),
        "calls.json:2: session.agentID is not known".to_owned(),
    ] {
        assert!(errors.contains(&expected), "{expected}: {errors}");
    }
    let reader = acme.reader().await;
    reader.get("/v1/observability/sessions/c").await.status(200);

    let cut = folder.file(
        "cut.json",
        pretty.trim_end().trim_end_matches(']').as_bytes(),
    );
    let output = import(&server, &folder, &cut, &[]).await;
    assert_eq!(
        told(&output),
        json!({"accepted": 0, "duplicates": 2, "rejected": 2})
    );
}

#[tokio::test]
async fn a_file_that_breaks_off_gives_what_came_before() {
    let (server, folder) = (TestServer::start().await, Folder::new());
    let acme = server.tenant("acme").await;
    let whole = gzip(&real::lines().expect("calls"));
    let file = folder.file("calls.jsonl.gz", &whole[..whole.len() / 2]);
    let output = import(&server, &folder, &file, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let list = acme.reader().await.get("/api/v1/voice-sessions").await;
    assert!(list.status(200).json()["total"].as_i64() > Some(0));
}

const CALLS: usize = 150;

/// Several batches: each call is as long as a turn may be.
fn long_calls(folder: &Folder) -> PathBuf {
    let text = "x".repeat(100_000);
    let call = |n: usize| {
        let session =
            json!({"sessionId": format!("call-{n}"), "startedAt": "2025-06-01T10:00:00Z"});
        json!({"session": session, "turns": [{"speaker": "agent", "text": text}]})
    };
    // One of the first is bad: that must not be forgotten.
    let lines = (0..CALLS).map(|n| match n {
        3 => "{}\n".to_owned(),
        n => format!("{}\n", call(n)),
    });
    folder.file("calls.jsonl", lines.collect::<String>().as_bytes())
}

/// Starts an import, and interrupts it once a batch is committed. Answers how it ended, and how many calls
/// it knows to be done.
async fn interrupted(
    server: &TestServer,
    folder: &Folder,
    file: &Path,
    signal: Signal,
) -> (Output, u64) {
    let child = command(server, folder, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let marks = folder.0.join("imports");
    let mark = || {
        let mut paths = std::fs::read_dir(&marks).ok()?.flatten().map(|e| e.path());
        let path = paths.find(|path| path.extension().is_none())?;
        let done: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        done["calls"].as_u64()
    };
    let since = Instant::now();
    while mark().is_none() {
        assert!(
            since.elapsed() < Duration::from_secs(30),
            "no batch is done"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let pid = child.id().expect("a running import").cast_signed();
    kill_process(Pid::from_raw(pid).expect("a process"), signal).expect("signalled");
    let output = child.wait_with_output().await.expect("it ran");
    (output, mark().expect("what is done is remembered"))
}

#[tokio::test]
async fn an_import_goes_on_where_it_was_interrupted_or_killed() {
    for signal in [Signal::INT, Signal::KILL] {
        let (server, folder) = (TestServer::start().await, Folder::new());
        let acme = server.tenant("acme").await;
        let file = long_calls(&folder);
        let (output, done) = interrupted(&server, &folder, &file, signal).await;
        assert!((1..CALLS as u64).contains(&done), "{done}");
        if signal == Signal::INT {
            assert_eq!(output.status.code(), Some(1));
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                errors.contains("stopped; run it again to go on"),
                "{errors}"
            );
        }

        let rest = import(&server, &folder, &file, &[]).await;
        assert_eq!(rest.status.code(), Some(1), "the bad line is not forgotten");
        let rest = told(&rest);
        assert_eq!(rest["rejected"], 1);
        let (accepted, duplicates) = (rest["accepted"].as_u64(), rest["duplicates"].as_u64());
        assert_eq!(
            accepted.expect("a count") + duplicates.expect("a count"),
            CALLS as u64 - done,
            "only what was not done is read"
        );
        let list = acme.reader().await.get("/api/v1/voice-sessions").await;
        assert_eq!(list.status(200).json()["total"], CALLS - 1);
        let marks = std::fs::read_dir(folder.0.join("imports")).expect("a folder");
        assert_eq!(marks.count(), 0, "a whole import leaves nothing behind");
    }
}

#[tokio::test]
async fn a_restart_begins_anew() {
    let (server, folder) = (TestServer::start().await, Folder::new());
    let _acme = server.tenant("acme").await;
    let file = long_calls(&folder);
    interrupted(&server, &folder, &file, Signal::KILL).await;
    let all = told(&import(&server, &folder, &file, &["--restart"]).await);
    let (accepted, duplicates) = (all["accepted"].as_u64(), all["duplicates"].as_u64());
    assert_eq!(
        accepted.expect("a count") + duplicates.expect("a count"),
        CALLS as u64 - 1
    );
    assert!(duplicates > Some(0));
}

#[tokio::test]
async fn an_import_of_a_pipe_can_be_stopped_while_it_waits() {
    let (server, folder) = (TestServer::start().await, Folder::new());
    let _acme = server.tenant("acme").await;
    let mut child = command(&server, &folder, Path::new("-"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let pipe = child.stdin.take();
    let pid = Pid::from_raw(child.id().expect("it runs").cast_signed()).expect("a process");
    // Before it listens to signals one ends it at once, which is as good.
    tokio::time::sleep(Duration::from_millis(500)).await;
    kill_process(pid, Signal::INT).expect("signalled");
    let ended = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
    assert!(!ended.expect("it ends").expect("it ran").success());
    drop(pipe);
}
