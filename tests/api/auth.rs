//! Keys: how they are presented, what they open, and when they stop.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use voxray::auth::key;
use voxray::store::api_keys::{self, NewKey};

use super::support::{Client, TestServer, now};

fn public_id(key: &str) -> &str {
    &key[4..16]
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn a_key_is_presented_in_four_ways() {
    let server = TestServer::start().await;
    let key = server.tenant("acme").await.key("sessions:read").await;
    let probe = server.probe().await;
    let presentations = [
        ("authorization", format!("Bearer {key}")),
        ("authorization", format!("bearer  {key}")),
        ("authorization", format!("Token {key}")),
        ("authorization", basic(public_id(&key), &key)),
        ("x-api-key", key.clone()),
    ];
    for (name, value) in presentations {
        probe
            .header(name, &value)
            .get("/probe/reader")
            .await
            .status(200);
    }
    probe
        .bearer(&key)
        .header("x-api-key", &key)
        .get("/probe/reader")
        .await
        .status(200);
}

#[tokio::test]
async fn what_is_no_key_is_met_with_a_challenge() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (key, other) = (
        acme.key("sessions:read").await,
        acme.key("sessions:read").await,
    );
    let probe = server.probe().await;
    let unknown = key::generate().text;
    let mistyped = key.replace(&key[20..21], if &key[20..21] == "a" { "b" } else { "a" });
    let wrong = [
        ("authorization", format!("Bearer {unknown}")),
        ("authorization", format!("Bearer {mistyped}")),
        ("authorization", "Bearer".to_owned()),
        ("authorization", format!("Digest {key}")),
        ("authorization", basic(public_id(&other), &key)),
        ("authorization", basic(public_id(&key), &other)),
        ("authorization", "Basic !".to_owned()),
        ("x-api-key", "x".repeat(5000)),
        ("cookie", format!("key={key}")),
    ];
    for (name, value) in wrong {
        let answer = probe
            .header(name, &value)
            .get("/probe/reader")
            .await
            .problem(401, "unauthenticated");
        assert!(
            answer.header("www-authenticate").starts_with("Bearer"),
            "{value}"
        );
        assert!(!answer.text().contains(&key), "{}", answer.text());
    }
}

#[tokio::test]
async fn two_different_keys_are_refused() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (one, other) = (acme.key("sessions:read").await, acme.key("admin").await);
    let both = server
        .probe()
        .await
        .bearer(&one)
        .header("x-api-key", &other);
    let answer = both
        .get("/probe/reader")
        .await
        .problem(400, "invalid-request");
    assert_eq!(answer.json()["errors"][0]["in"], "header");
}

#[tokio::test]
async fn each_scope_opens_its_own_doors_only() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let probe = server.probe().await;
    let doors = [
        ("sessions:read", "/probe/reader"),
        ("transcripts:read", "/probe/transcripts"),
        ("ingest:write", "/probe/ingestor"),
        ("reviews:write", "/probe/reviewer"),
        ("admin", "/probe/admin"),
    ];
    for (scope, _) in doors {
        let client = probe.bearer(&acme.key(scope).await);
        for (needed, path) in doors {
            let answer = client.get(path).await;
            if scope == needed {
                answer.status(200);
            } else {
                let detail = answer.problem(403, "missing-scope").json()["detail"].to_string();
                assert!(detail.contains(needed), "{detail}");
            }
        }
    }
}

#[tokio::test]
async fn content_comes_only_with_its_scope() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let probe = server.probe().await;
    for (scopes, expected) in [
        ("sessions:read", false),
        ("sessions:read,transcripts:read", true),
    ] {
        let json = probe
            .bearer(&acme.key(scopes).await)
            .get("/probe/reader")
            .await
            .status(200)
            .json();
        assert_eq!(json["content"], expected);
        assert_eq!(json["tenant"], acme.id.to_string());
    }
}

#[tokio::test]
async fn a_key_ends_at_its_time() {
    let server = TestServer::start().await;
    let key = server
        .tenant("acme")
        .await
        .key_until("sessions:read", Some(now() + TimeDelta::hours(1)))
        .await;
    let client = server.probe().await.bearer(&key);
    client.get("/probe/reader").await.status(200);
    server.clock.advance(TimeDelta::minutes(60));
    client
        .get("/probe/reader")
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_rotated_key_works_for_its_grace() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let old = acme.key("sessions:read").await;
    let fresh = key::generate();
    let successor = NewKey {
        id: fresh.id,
        tenant: acme.id,
        name: "rotated".to_owned(),
        hash: fresh.hash,
        rights: ["sessions:read"]
            .into_iter()
            .map(|scope| scope.parse().expect("a scope"))
            .collect(),
        created_at: now(),
        expires_at: None,
    };
    let grace_end = now() + TimeDelta::hours(24);
    api_keys::rotate(&server.app.store, public_id(&old), &successor, grace_end)
        .await
        .expect("rotated");
    let again = api_keys::rotate(&server.app.store, public_id(&old), &successor, grace_end).await;
    assert!(again.is_err(), "a key is rotated once");

    let probe = server.probe().await;
    probe.bearer(&old).get("/probe/reader").await.status(200);
    probe
        .bearer(&fresh.text)
        .get("/probe/reader")
        .await
        .status(200);
    server.clock.advance(TimeDelta::hours(24));
    probe
        .bearer(&old)
        .get("/probe/reader")
        .await
        .problem(401, "unauthenticated");
    probe
        .bearer(&fresh.text)
        .get("/probe/reader")
        .await
        .status(200);
}

#[tokio::test]
async fn a_revocation_is_in_force_everywhere_within_five_seconds() {
    let one = TestServer::start().await;
    let other = one.beside().await;
    let acme = one.tenant("acme").await;
    let key = acme.key("sessions:read").await;
    let clients = [
        one.probe().await.bearer(&key),
        other.probe().await.bearer(&key),
    ];
    for client in &clients {
        client.get("/probe/reader").await.status(200);
    }
    api_keys::revoke(&one.app.store, public_id(&key), now())
        .await
        .expect("revoked");
    let revoked = Instant::now();
    for client in &clients {
        until_refused(client, revoked).await;
    }
}

async fn until_refused(client: &Client, since: Instant) {
    while client.get("/probe/reader").await.status != 401 {
        assert!(
            since.elapsed() < Duration::from_secs(5),
            "the key still works"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn last_use_is_noted_without_a_write_per_request() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let key = acme.key("sessions:read").await;
    let client = server.probe().await.bearer(&key);
    client.get("/probe/reader").await.status(200);
    server.clock.advance(TimeDelta::seconds(5));
    client.get("/probe/reader").await.status(200);

    let last_used = async || {
        api_keys::find(&server.app.store, public_id(&key))
            .await
            .expect("the key")
            .last_used_at
    };
    assert_eq!(last_used().await, None);
    server.app.keyring.flush().await;
    assert_eq!(last_used().await, Some(now() + TimeDelta::seconds(5)));
}

#[tokio::test]
async fn who_has_a_pair_of_keys_is_asked_for_them_and_no_browser_is() {
    let server = TestServer::start().await;
    let reader = server.tenant("acme").await.reader().await;
    let anybody = server.anonymous();
    let unknown = anybody.bearer(&key::generate().text);
    let batch = serde_json::json!({"batch": []});
    for client in [&anybody, &unknown] {
        let projects = client.get("/api/public/projects").await;
        let ingestion = client.post("/api/public/ingestion", &batch).await;
        let spans = client.post("/api/public/otel/v1/traces", &batch).await;
        for answer in [projects, ingestion, spans] {
            let challenge = answer.status(401).header("www-authenticate");
            assert_eq!(challenge, "Basic realm=\"voxray\"");
        }
        for path in ["/api/v1/conversations", "/v1/traces/session/one"] {
            let answer = client.get(path).await.problem(401, "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"voxray\"");
        }
    }
    let answer = reader.get("/api/public/projects").await;
    let answer = answer.problem(403, "missing-scope");
    assert_eq!(answer.header("www-authenticate"), "");
}
