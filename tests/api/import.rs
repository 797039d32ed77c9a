//! `voxray import` on the real program: sample calls, bad lines, and going on where it stopped.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

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

async fn import(server: &TestServer, folder: &Folder, file: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxray"));
    command
        .arg("import")
        .arg(file)
        .args(["--tenant", "acme", "--json"])
        .args(more);
    command
        .env_clear()
        .env("DATABASE_URL", server.database_url())
        .env("VOXRAY_DATA_DIR", &folder.0);
    command.output().await.expect("the program runs")
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
        "{}\n{{\"session\": \n\n{}\n{{\"call_id\": \"x\", \"turns\": []}}\n{}\n",
        good("a"),
        r#"{"session": {"sessionId": "b", "startedAt": "soon"}}"#,
        good("c")
    );
    let file = folder.file(
        "calls.jsonl.zst",
        &zstd::encode_all(text.as_bytes(), 3).expect("compressed"),
    );
    let output = import(&server, &folder, &file, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        told(&output),
        json!({"accepted": 2, "duplicates": 0, "rejected": 3})
    );
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    for expected in [
        "calls.jsonl.zst:2: must be JSON",
        "calls.jsonl.zst:4: session.startedAt must be",
        "calls.jsonl.zst:5: `duration_ms`",
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
async fn an_import_goes_on_where_it_stopped() {
    let (server, folder) = (TestServer::start().await, Folder::new());
    let acme = server.tenant("acme").await;
    let call = |n: usize| json!({"session": {"sessionId": format!("c{n}"), "startedAt": "2025-06-01T10:00:00Z"}});
    let calls: Vec<Value> = (0..40).map(call).collect();
    let text: String = calls.iter().map(|call| format!("{call}\n")).collect();
    let file = folder.file("calls.jsonl", text.as_bytes());
    import(&server, &folder, &file, &[]).await;
    // As an interrupted import leaves it: the first 30 lines are committed.
    let marks = folder.0.join("imports");
    std::fs::create_dir_all(&marks).expect("a folder");
    assert_eq!(
        std::fs::read_dir(&marks).expect("a folder").count(),
        0,
        "a whole import leaves nothing behind"
    );
    let probe = import_mark(&file, &acme.id.to_string());
    std::fs::write(marks.join(probe), "30").expect("written");
    assert_eq!(
        told(&import(&server, &folder, &file, &[]).await)["duplicates"],
        10
    );
    assert_eq!(
        told(&import(&server, &folder, &file, &["--restart"]).await)["duplicates"],
        40
    );
}

/// The name under which an import remembers how far it has come with a file.
fn import_mark(file: &Path, tenant: &str) -> String {
    use sha2::{Digest, Sha256};
    let metadata = std::fs::metadata(file).expect("a file");
    let changed = metadata
        .modified()
        .expect("a time")
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a time");
    let place = std::fs::canonicalize(file).expect("a place");
    let identity = format!(
        "{tenant} {} {} {}",
        place.display(),
        metadata.len(),
        changed.as_nanos()
    );
    let hash: [u8; 32] = Sha256::digest(identity.as_bytes()).into();
    hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
