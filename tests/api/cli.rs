//! The real program, beside a running server on the same database.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::process::{Child, Command};

use super::support::{Client, TestServer};

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, expected, "{}{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn json(self) -> Value {
        let ran = self.code(0);
        serde_json::from_str(&ran.out)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", ran.out))
    }
}

fn voxray(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxray"));
    command
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", url)
        .env("HOME", "/nonexistent");
    command.kill_on_drop(true);
    command
}

async fn run(url: &str, arguments: &[&str]) -> Ran {
    let output = voxray(url, arguments)
        .output()
        .await
        .expect("the program runs");
    Ran {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

fn text(json: &Value) -> &str {
    json.as_str().expect("a text")
}

#[tokio::test]
async fn tenants_and_keys_are_made_while_a_server_runs() {
    let server = TestServer::start().await;
    let url = server.database_url();
    let tenant = run(&url, &["tenant", "create", "acme", "--json"])
        .await
        .json();
    let probe = server.probe().await;
    let first = probe.bearer(text(&tenant["key"]));
    first.get("/probe/admin").await.status(200);
    first
        .get("/probe/reader")
        .await
        .problem(403, "missing-scope");

    for reference in ["acme", text(&tenant["tenantId"])] {
        let arguments = [
            "key",
            "create",
            "--tenant",
            reference,
            "--name",
            "n",
            "--scopes",
            "sessions:read,ingest:write",
            "--json",
        ];
        let key = run(&url, &arguments).await.json();
        let client = probe.bearer(text(&key["key"]));
        client.get("/probe/reader").await.status(200);
        client.get("/probe/ingestor").await.status(200);
        client
            .get("/probe/transcripts")
            .await
            .problem(403, "missing-scope");
    }

    let again = run(&url, &["tenant", "create", "acme"]).await.code(1);
    assert_eq!(again.err, "voxray: there is a tenant `acme` already\n");
    let tenants = run(&url, &["tenant", "list", "--json"]).await.json();
    assert_eq!(tenants[0]["id"], tenant["tenantId"]);
    assert_eq!(tenants[0]["name"], "acme");
    let shown = run(&url, &["tenant", "list"]).await.code(0).out;
    assert!(
        shown.starts_with("ID ") && shown.contains("acme"),
        "{shown}"
    );
}

#[tokio::test]
async fn webhooks_are_made_listed_and_removed() {
    let server = TestServer::start().await;
    let url = server.database_url();
    server.tenant("acme").await;
    let tenant = ["--tenant", "acme", "--json"];
    let with = |words: &[&'static str]| [&["webhook"], words, &tenant].concat();
    let vapi = [
        "create",
        "--vendor",
        "vapi",
        "--name",
        "assistant",
        "--signed",
    ];
    let made = run(&url, &with(&vapi)).await.json();
    let (id, secret) = (
        text(&made["id"]).to_owned(),
        text(&made["secret"]).to_owned(),
    );
    assert_eq!(made["path"], format!("/v1/ingest/vapi/{id}"));
    let vapi = server.anonymous().header("x-vapi-secret", &secret);
    vapi.post(text(&made["path"]), &json!({}))
        .await
        .problem(403, "invalid-signature");

    let list = run(&url, &with(&["list"])).await;
    assert!(!list.out.contains(&secret));
    assert_eq!(list.json()[0]["vendor"], "vapi");
    let log = [&["webhook", "deliveries", id.as_str()], &tenant[..]].concat();
    assert_eq!(run(&url, &log).await.json()[0]["result"], "refused");
    let removal = [&["webhook", "remove", id.as_str()], &tenant[..]].concat();
    assert_eq!(run(&url, &removal).await.json()["removed"], true);
    assert_eq!(run(&url, &with(&["list"])).await.json(), json!([]));

    let twilio = with(&["create", "--vendor", "twilio", "--name", "x"]);
    let refused = run(&url, &twilio).await.code(1);
    assert!(refused.err.contains("auth token"), "{}", refused.err);
    let unknown = with(&["create", "--vendor", "bland", "--name", "x"]);
    let refused = run(&url, &unknown).await.code(2);
    assert!(refused.err.contains("`elevenlabs`"), "{}", refused.err);
}

#[tokio::test]
async fn keys_expire_rotate_and_end() {
    let server = TestServer::start().await;
    let url = server.database_url();
    run(&url, &["tenant", "create", "acme"]).await.code(0);
    let create = [
        "key",
        "create",
        "--tenant",
        "acme",
        "--name",
        "dash",
        "--scopes",
        "sessions:read",
        "--expires-in",
        "90d",
        "--json",
    ];
    let old = run(&url, &create).await.json();
    let new = run(
        &url,
        &["key", "rotate", text(&old["id"]), "--grace", "1h", "--json"],
    )
    .await
    .json();
    let probe = server.probe().await;
    for key in [&old, &new] {
        probe
            .bearer(text(&key["key"]))
            .get("/probe/reader")
            .await
            .status(200);
    }
    run(&url, &["key", "rotate", text(&old["id"])])
        .await
        .code(1);
    run(&url, &["key", "revoke", text(&new["id"])])
        .await
        .code(0);
    run(&url, &["key", "revoke", "nosuchkey000"]).await.code(1);
    let revoked = Instant::now();
    while probe
        .bearer(text(&new["key"]))
        .get("/probe/reader")
        .await
        .status
        != 401
    {
        assert!(revoked.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let keys = run(&url, &["key", "list", "--tenant", "acme", "--json"])
        .await
        .json();
    let statuses: Vec<_> = keys
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| text(&key["status"]))
        .collect();
    assert_eq!(statuses, ["active", "rotating", "revoked"]);
    assert_eq!(keys[1]["replacedBy"], new["id"]);
    assert_eq!(keys[1]["name"], "dash");
    assert!(
        keys[2]["expiresAt"].is_string(),
        "it lives as long as its predecessor"
    );
    let listed = keys.to_string();
    assert!(!listed.contains(text(&old["key"])) && !listed.contains("hash"));
}

#[tokio::test]
async fn wrong_arguments_say_what_is_wrong() {
    let server = TestServer::start().await;
    let url = server.database_url();
    let cases: [(&[&str], &str); 7] = [
        (
            &[
                "key",
                "create",
                "--tenant",
                "t",
                "--name",
                "n",
                "--scopes",
                "everything",
            ],
            "must be one of `sessions:read`",
        ),
        (
            &["key", "create", "--tenant", "t", "--name", "n"],
            "--scopes",
        ),
        (
            &[
                "key",
                "create",
                "--tenant",
                "t",
                "--name",
                "n",
                "--scopes",
                "admin",
                "--expires-in",
                "soon",
            ],
            "such as `24h`",
        ),
        (&["tenant", "create", ""], "1 to 255 characters"),
        (
            &["tenant", "create", "3b241101-e2bb-4255-8caf-4136c566a962"],
            "must not look like an id",
        ),
        (
            &["serve", "--pool-size", "0"],
            "setting `pool_size` from `--pool-size`: must be a whole number between 1 and 1000",
        ),
        (
            &["--config", "/nonexistent.toml"],
            "the settings file `/nonexistent.toml` cannot be read",
        ),
    ];
    for (arguments, expected) in cases {
        let ran = run(&url, arguments).await.code(2);
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
    }
    let missing = run(
        &url,
        &[
            "key", "create", "--tenant", "nobody", "--name", "n", "--scopes", "admin",
        ],
    )
    .await
    .code(1);
    assert_eq!(missing.err, "voxray: no such tenant\n");
}

#[tokio::test]
async fn every_command_has_help_with_an_example() {
    let commands: [&[&str]; 12] = [
        &[],
        &["serve"],
        &["migrate"],
        &["doctor"],
        &["tenant", "create"],
        &["tenant", "list"],
        &["key", "create"],
        &["key", "list"],
        &["key", "rotate"],
        &["key", "revoke"],
        &["webhook", "create"],
        &["serve"],
    ];
    for command in commands {
        let help = run("", &[command, &["--help"]].concat()).await.code(0).out;
        assert!(
            help.contains("Example") && help.contains("voxray "),
            "{help}"
        );
    }
    let help = run("", &["serve", "--help"]).await.code(0).out;
    for setting in voxray::config::SETTINGS {
        for part in [
            setting.env,
            setting.default,
            &format!("--{}", setting.name.replace('_', "-")),
        ] {
            assert!(help.contains(part), "no {part} in:\n{help}");
        }
    }
}

#[tokio::test]
async fn migrate_and_doctor_tell_the_state_of_the_store() {
    let server = TestServer::start().await;
    let url = server.database_url();
    let schema = run(&url, &["migrate", "--json"]).await.json();
    assert_eq!(schema["applied"], schema["known"]);
    // Whatever this machine has where recordings lie by default.
    let folder = tempfile::tempdir().expect("a folder");
    let nothing = folder.path().join("nothing").display().to_string();
    let arguments = ["doctor", "--json", "--data-dir", &nothing];
    let checks = run(&url, &arguments).await.json();
    let verdict = |name: &str| {
        let checks = checks.as_array().expect("checks");
        checks
            .iter()
            .find(|check| check["check"] == name)
            .expect("a check")["verdict"]
            .clone()
    };
    for name in ["configuration", "store", "migrations", "clock"] {
        assert_eq!(verdict(name), "ok", "{checks:#}");
    }
    assert_eq!(verdict("recordings"), "warning", "{checks:#}");
    let url_of = |name: &str| format!("file://{}/{name}", folder.path().display());
    std::fs::write(folder.path().join("file"), "no folder").expect("a file");
    for (name, code, said) in [
        ("audio", 0, "can be written to"),
        ("file/x", 1, "cannot be written to"),
    ] {
        let recordings = format!("--recordings-url={}", url_of(name));
        let doctor = run(&url, &["doctor", &recordings]).await.code(code);
        assert!(doctor.out.contains(said), "{}", doctor.out);
    }
    let away = run("postgres://nobody@127.0.0.1:1/none", &["doctor"])
        .await
        .code(1);
    assert!(away.out.contains("failed"), "{}", away.out);
    let wrong = run("mysql://x", &["doctor", "--json"]).await.code(1);
    assert!(
        wrong.out.contains("must start with `postgres://`"),
        "{}",
        wrong.out
    );
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a database's name cannot be bound, and these are our own"
)]
async fn a_database_that_cannot_hold_every_script_is_refused() {
    let server = TestServer::start().await;
    let mut connection = server.connect().await;
    let name: String = sqlx::query_scalar("select current_database()")
        .fetch_one(&mut connection)
        .await
        .expect("a name");
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "off",
    ];
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let other = format!("{name}_{}", encoding.to_lowercase());
        let statement = format!(
            "create database {other} encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .expect("a database");
        let url = server.database_url().replace(&name, &other);
        for command in [&["migrate"][..], &["doctor"], &serve] {
            let refused = run(&url, command).await.code(1);
            let told = format!("{}{}", refused.out, refused.err);
            assert!(told.contains(&format!("encoding is {encoding}")), "{told}");
        }
    }
}

#[tokio::test]
async fn a_server_answers_until_it_is_asked_to_stop() {
    let beside = TestServer::start().await;
    let port = free_port().await;
    let listen = format!("127.0.0.1:{port}");
    let serve = [
        "serve",
        "--listen",
        &listen,
        "--metrics-listen",
        "off",
        "--log-format",
        "json",
    ];
    let server = voxray(&beside.database_url(), &serve)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let client = Client::new(&format!("http://{listen}"));
    until_ready(&client, &listen).await;

    let taken = run(&beside.database_url(), &serve).await.code(1);
    assert!(
        taken.err.contains("setting `listen`: cannot listen on"),
        "{}",
        taken.err
    );

    terminate(&server);
    let output = tokio::time::timeout(Duration::from_secs(10), server.wait_with_output()).await;
    let output = output.expect("it stops").expect("it ran");
    assert!(output.status.success());
    let log = String::from_utf8(output.stderr).expect("text");
    for line in log.lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            line["level"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
    assert!(log.contains("\"stopped\""), "{log}");
}

#[tokio::test]
async fn a_server_waits_for_a_store_that_is_away() {
    let port = free_port().await;
    let listen = format!("127.0.0.1:{port}");
    let away = "postgres://nobody@127.0.0.1:1/none";
    let _server = voxray(away, &["--listen", &listen, "--metrics-listen", "off"])
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let client = Client::new(&format!("http://{listen}"));
    until_listening(&listen).await;
    client.get("/healthz").await.status(200);
    client.get("/readyz").await.problem(503, "unavailable");
}

#[tokio::test]
async fn commands_share_the_private_postgres_of_a_server() {
    let folder = std::env::temp_dir().join(format!("voxray-cli-{}", uuid::Uuid::new_v4().simple()));
    let data_dir = folder.to_str().expect("text");
    let listen = format!("127.0.0.1:{}", free_port().await);
    let serve = [
        "serve",
        "--listen",
        &listen,
        "--metrics-listen",
        "off",
        "--data-dir",
        data_dir,
    ];
    let mut server = voxray("", &serve)
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let client = Client::new(&format!("http://{listen}"));
    until_ready(&client, &listen).await;

    let create = ["tenant", "create", "acme", "--json", "--data-dir", data_dir];
    let tenant = run("", &create).await.json();
    assert!(text(&tenant["key"]).starts_with("vxr_"));
    client.get("/readyz").await.status(200);

    let other = format!("127.0.0.1:{}", free_port().await);
    let second = [
        "serve",
        "--listen",
        &other,
        "--metrics-listen",
        "off",
        "--data-dir",
        data_dir,
    ];
    let refused = run("", &second).await.code(3);
    assert!(refused.err.contains(data_dir), "{}", refused.err);

    terminate(&server);
    assert!(server.wait().await.expect("it ran").success());
    // Now the command holds the directory itself.
    let tenants = run("", &["tenant", "list", "--json", "--data-dir", data_dir])
        .await
        .json();
    assert_eq!(tenants[0]["id"], tenant["tenantId"]);
    std::fs::remove_dir_all(&folder).expect("removed");
}

fn terminate(server: &Child) {
    let pid = server.id().expect("a running server").cast_signed();
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("asked to stop");
}

async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    listener.local_addr().expect("an address").port()
}

async fn until_listening(address: &str) {
    let since = Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "nothing listens on {address}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_ready(client: &Client, address: &str) {
    until_listening(address).await;
    let since = Instant::now();
    while client.get("/readyz").await.status != 200 {
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "the server does not get ready"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_doctor_counts_again_and_repairs_beside_a_server() {
    // One server whose rollups nobody keeps, and one that keeps its own.
    for server in [TestServer::without_work().await, TestServer::start().await] {
        let url = server.database_url();
        let (acme, other) = (server.tenant("acme").await, server.tenant("other").await);
        for tenant in [&acme, &other] {
            let session = |n| json!({"sessionId": format!("call-{n}"), "startedAt": "2025-06-01T08:30:00Z", "status": "completed"});
            let calls: Vec<Value> = (0..5).map(|n| json!({ "session": session(n) })).collect();
            let body = json!({ "calls": calls });
            let ingestor = tenant.ingestor().await;
            ingestor.post("/v1/ingest/calls", &body).await.status(200);
        }
        let repair = ["doctor", "--recount", "--repair", "--json"];
        // Marks that are open are no difference, and are waited for: also those that an analysis leaves.
        server.analysed().await;
        drained(&url).await;
        let recount = |ran: &Value, tenant: &str| -> Value {
            let checks = ran.as_array().expect("checks").iter();
            let mut of = checks.filter(|check| check["tenant"] == tenant);
            of.next().expect("a recount").clone()
        };
        let fine = run(&url, &["doctor", "--recount", "--json"]).await.json();
        assert_eq!(recount(&fine, "acme")["differences"], json!([]));

        let mut connection = PgConnection::connect(&url).await.expect("a database");
        for spoil in [
            "update rollup_hour set calls = calls + 1 where tenant_id = $1",
            "update rollup_day set calls = 7 where tenant_id = $1",
            "insert into rollup_day select tenant_id, day + interval '4 days', dimension_set, calls, completed, failed, declined, missed,
                    ended, duration_ms, tokens, priced, cost_micro_usd, digest, last_started_at from rollup_day where tenant_id = $1",
        ] {
            let done = sqlx::query(spoil).bind(acme.id.0).execute(&mut connection);
            assert!(done.await.expect("done").rows_affected() > 0);
        }
        let told = run(&url, &["doctor", "--recount"]).await.code(1).out;
        assert!(
            told.contains("the hour of 2025-06-01T08:00:00Z says 6 calls, counted 5"),
            "{told}"
        );
        let only_other = run(&url, &["doctor", "--recount", "--tenant", "other"]).await;
        only_other.code(0);
        let wrong = run(&url, &["doctor", "--recount", "--json"]).await.code(1);
        let wrong: Value = serde_json::from_str(&wrong.out).expect("JSON");
        assert_eq!(
            recount(&wrong, "acme")["differences"],
            json!([
                {"at": "2025-06-01T08:00:00Z", "unit": "hour", "ofAnalyses": false, "rolledUpCalls": 6, "countedCalls": 5},
                {"at": "2025-06-01T00:00:00Z", "unit": "day", "ofAnalyses": false, "rolledUpCalls": 7, "countedCalls": 5},
                {"at": "2025-06-05T00:00:00Z", "unit": "day", "ofAnalyses": false, "rolledUpCalls": 7, "countedCalls": 0},
            ])
        );
        assert_eq!(recount(&wrong, "other")["differences"], json!([]));

        let repaired = run(&url, &repair).await.json();
        assert_eq!(recount(&repaired, "acme")["repaired"], true, "{repaired}");
        let fine = run(&url, &repair).await.json();
        assert_eq!(recount(&fine, "acme")["differences"], json!([]));
        run(&url, &["doctor", "--recount", "--tenant", "nobody"])
            .await
            .code(1);
        run(&url, &["doctor", "--repair"]).await.code(2);
    }
}

#[tokio::test]
async fn what_is_due_is_told_and_goes() {
    let server = TestServer::without_work().await;
    let url = server.database_url();
    let (acme, _other) = (server.tenant("acme").await, server.tenant("other").await);
    // By the clock of the command all of them are old enough to go.
    let calls: Vec<Value> = (0..60)
        .map(|n| json!({"session": {"sessionId": format!("c{n}"), "startedAt": "2025-06-01T08:30:00Z", "status": "completed"}}))
        .collect();
    let body = json!({ "calls": calls });
    let ingestor = acme.ingestor().await;
    ingestor.post("/v1/ingest/calls", &body).await.status(200);
    let line = |told: &Value, tenant: &str| -> Value {
        let mut lines = told.as_array().expect("a list").iter();
        let line = lines.find(|line| line["tenant"] == tenant).expect("a line");
        json!([line["closed"], line["deleted"], line["tombstones"]])
    };
    let dry = run(&url, &["retention", "--dry-run", "--json"])
        .await
        .json();
    assert_eq!(line(&dry, "acme"), json!([60, 60, 0]));
    assert_eq!(line(&dry, "other"), json!([0, 0, 0]));
    let table = run(&url, &["retention", "--dry-run", "--tenant", "acme"])
        .await
        .code(0);
    assert!(
        table.out.contains("CALLS DUE") && !table.out.contains("other"),
        "{}",
        table.out
    );
    let ran = run(&url, &["retention", "--run", "--json"]).await.json();
    assert_eq!(line(&ran, "acme"), json!([60, 60, 0]));
    let list = acme.reader().await.get("/v1/observability/sessions").await;
    assert_eq!(list.status(200).json()["data"], json!([]));
    let fine = run(&url, &["doctor", "--recount"]).await.code(0);
    assert!(fine.out.contains("acme"), "{}", fine.out);
    run(&url, &["retention"]).await.code(2);
    run(&url, &["retention", "--run", "--dry-run"])
        .await
        .code(2);
}

/// Waits until no hour is marked, summing up what nobody else does.
async fn drained(url: &str) {
    let store = voxray::store::Store::connect(voxray::store::parse_url(url).expect("a URL"), 2);
    let mut connection = PgConnection::connect(url).await.expect("a database");
    let begun = Instant::now();
    loop {
        voxray::store::rollups::drain(&store, super::support::now())
            .await
            .expect("a store");
        let marks: i64 = sqlx::query_scalar("select count(*) from dirty_hour")
            .fetch_one(&mut connection)
            .await
            .expect("a count");
        if marks == 0 {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{marks} marks are left"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn livekit_keys_are_added_and_removed_and_no_secret_shows() {
    let server = TestServer::start().await;
    let url = server.database_url();
    run(&url, &["tenant", "create", "acme"]).await.code(0);
    let secret = "a-secret-of-livekit-0123456789";
    let add = [
        "livekit-key",
        "add",
        "--tenant",
        "acme",
        "--key",
        "APIfoo",
        "--json",
    ];
    // Without a secret there is nothing to verify with.
    run(&url, &add).await.code(2);
    let mut command = voxray(&url, &add);
    let output = command
        .env("LIVEKIT_API_SECRET", secret)
        .output()
        .await
        .expect("the program runs");
    let added: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(added["keyName"], "APIfoo");
    let list = ["livekit-key", "list", "--tenant", "acme", "--json"];
    let listed = run(&url, &list).await.json();
    assert_eq!(listed[0]["id"], added["id"]);
    assert!(!listed.to_string().contains(secret));
    let id = text(&added["id"]);
    run(&url, &["livekit-key", "remove", id]).await.code(0);
    assert_eq!(run(&url, &list).await.json(), json!([]));
    run(&url, &["livekit-key", "remove", id]).await.code(1);
    let bad = [
        "livekit-key",
        "add",
        "--tenant",
        "acme",
        "--key",
        "APIfoo",
        "--secret",
        "short",
    ];
    run(&url, &bad).await.code(1);
}
