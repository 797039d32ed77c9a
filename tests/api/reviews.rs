//! What people write about calls, and the log of it.

use serde_json::{Value, json};

use crate::support::{Client, TestServer};

const ALL: &str = "sessions:read,transcripts:read,ingest:write,reviews:write,admin";
const CALLS: &str = "/v1/ingest/calls";
const EVENTS: &str = "/v1/ingest/events";
const VOICE: &str = "/api/v1/voice-sessions";

fn call() -> Value {
    json!({
        "at": "2025-06-11T10:30:00Z",
        "session": {
            "sessionId": "c1", "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T10:01:00Z",
            "summary": "derived", "tags": ["derived", "both"]
        },
        "turns": [
            {"speaker": "agent", "text": "Hello", "startMs": 0, "endMs": 1000},
            {"speaker": "user", "text": "Hi", "startMs": 1500, "endMs": 2000}
        ],
        "evaluations": [{"reviewer": "bot", "score": 0.4, "notes": "by machine"}]
    })
}

async fn with_tag(client: &Client, tag: &str) -> usize {
    let list = client
        .get(&format!("{VOICE}?tag={tag}"))
        .await
        .status(200)
        .json();
    let observed = client
        .get(&format!("/v1/observability/sessions?tag={tag}"))
        .await
        .status(200)
        .json();
    let count = list["data"].as_array().map_or(0, Vec::len);
    assert_eq!(list["total"], count);
    assert_eq!(observed["data"].as_array().map_or(0, Vec::len), count);
    count
}

#[tokio::test]
async fn an_edit_shows_everywhere_and_survives_what_sources_send() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let client = acme.client(ALL).await;
    client.post(CALLS, &call()).await.status(200);

    let path = format!("{VOICE}/c1");
    let edit = json!({"summary": "edited", "tags": ["both", "edited", "both"]});
    let answer = client.patch(&path, &edit).await.status(200).json();
    assert_eq!(answer["summary"], "edited");
    assert_eq!(answer["tags"], json!(["both", "edited"]));
    assert_eq!(answer["transcript"][0]["text"], "Hello");

    let mut resent = call();
    resent["at"] = json!("2025-06-11T11:00:00Z");
    resent["session"]["summary"] = json!("derived anew");
    resent["session"]["tags"] = json!(["late"]);
    let late = |n: u32, more: Value| {
        let mut event = json!({"type": "session", "sessionId": "c1", "id": n.to_string(), "at": "2025-06-11T11:30:00Z"});
        for (name, value) in more.as_object().expect("fields") {
            event[name] = value.clone();
        }
        event
    };
    let deliveries = [
        (CALLS, resent),
        (
            EVENTS,
            late(1, json!({"summary": "later", "tags": ["later"]})),
        ),
        (
            EVENTS,
            late(2, json!({"startedAt": "2025-06-11T09:00:00Z"})),
        ),
        (
            EVENTS,
            json!({"type": "turn", "sessionId": "c1", "at": "2025-06-11T11:31:00Z", "index": 7, "text": "late"}),
        ),
    ];
    for (door, body) in deliveries {
        client.post(door, &body).await.status(200);
        let voice = client.get(&path).await.status(200).json();
        assert_eq!(voice["summary"], "edited", "{body}");
        assert_eq!(voice["tags"], json!(["both", "edited"]), "{body}");
        let observed = client
            .get("/v1/observability/sessions/c1")
            .await
            .status(200)
            .json();
        assert_eq!(observed["summary"], "edited", "{body}");
        assert_eq!(observed["tags"], json!(["both", "edited"]), "{body}");
        for (tag, count) in [
            ("both", 1),
            ("edited", 1),
            ("derived", 0),
            ("late", 0),
            ("later", 0),
        ] {
            assert_eq!(with_tag(&client, tag).await, count, "{tag} after {body}");
        }
    }

    // Taken back, what the source last said shows again.
    let answer = client
        .patch(&path, &json!({"summary": null, "tags": null}))
        .await
        .status(200)
        .json();
    assert_eq!(answer["summary"], "later");
    assert_eq!(answer["tags"], json!(["later"]));
    assert_eq!(with_tag(&client, "later").await, 1);
    assert_eq!(with_tag(&client, "edited").await, 0);
    let event = late(3, json!({"tags": ["last"], "at": "2025-06-11T11:45:00Z"}));
    client.post(EVENTS, &event).await.status(200);
    assert_eq!(with_tag(&client, "last").await, 1);
    assert_eq!(with_tag(&client, "later").await, 0);
}

#[tokio::test]
async fn clearing_is_an_edit_too() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    client.post(CALLS, &call()).await.status(200);
    let path = format!("{VOICE}/c1");
    let answer = client
        .patch(&path, &json!({"summary": "", "tags": []}))
        .await
        .status(200)
        .json();
    assert_eq!(
        (&answer["summary"], &answer["tags"]),
        (&Value::Null, &json!([]))
    );
    assert_eq!(with_tag(&client, "derived").await, 0);
    let mut resent = call();
    resent["at"] = json!("2025-06-11T11:00:00Z");
    resent["session"]["summary"] = json!("derived anew");
    client.post(CALLS, &resent).await.status(200);
    let voice = client.get(&path).await.status(200).json();
    assert_eq!(
        (&voice["summary"], &voice["tags"]),
        (&Value::Null, &json!([]))
    );
    // One of the two taken back leaves the other.
    let answer = client
        .patch(&path, &json!({"tags": null}))
        .await
        .status(200)
        .json();
    assert_eq!(
        (&answer["summary"], &answer["tags"]),
        (&Value::Null, &json!(["derived", "both"]))
    );
}

#[tokio::test]
async fn a_faulty_change_is_told_with_all_its_faults_and_changes_nothing() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    client.post(CALLS, &call()).await.status(200);
    let before = client.get(&format!("{VOICE}/c1")).await.status(200).json();
    let path = format!("{VOICE}/c1");
    let many = vec!["t"; 101];
    let answer = client
        .patch(&path, &json!({"summry": "x", "summary": 7, "tags": many}))
        .await
        .problem(422, "invalid-content");
    let faults = answer.faults();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(
        faults
            .iter()
            .any(|f| f == "summry is no field here; did you mean `summary`?"),
        "{faults:?}"
    );
    for body in [
        json!({}),
        json!({"tags": [""]}),
        json!({"tags": "x"}),
        json!([]),
        json!({"summary": "a\u{0}"}),
    ] {
        client
            .patch(&path, &body)
            .await
            .problem(422, "invalid-content");
    }
    let evaluations = format!("{path}/evaluations");
    for body in [
        json!({}),
        json!({"reviewer": "ada"}),
        json!({"score": 1.1}),
        json!({"verdict": "maybe"}),
        json!({"score": 1, "turn": 9}),
        json!({"score": 1, "id": "mine"}),
        json!({"labels": ["x", 1]}),
    ] {
        client
            .post(&evaluations, &body)
            .await
            .problem(422, "invalid-content");
    }
    client
        .patch(&path, &json!({"tags": ["x"]}))
        .await
        .status(200);
    client
        .patch(&path, &json!({"tags": null}))
        .await
        .status(200);
    assert_eq!(client.get(&path).await.status(200).json(), before);
}

#[tokio::test]
async fn what_was_said_is_withheld_from_reviewers_who_may_not_know() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    acme.ingestor().await.post(CALLS, &call()).await.status(200);
    let reviewer = acme.client("reviews:write").await;
    let edit = json!({"summary": "secret", "tags": ["vip"]});
    let path = format!("{VOICE}/c1");
    // Who may only write is not shown the call.
    let done = reviewer.patch(&path, &edit).await.status(200).json();
    let members: Vec<&String> = done.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["content_withheld", "id", "summary", "tags"]);
    assert_eq!(
        (&done["summary"], &done["tags"]),
        (&Value::Null, &json!(["vip"]))
    );
    let both = acme.client("sessions:read,reviews:write").await;
    let answer = both.patch(&path, &edit).await.status(200).json();
    assert_eq!(answer["content_withheld"], true);
    assert_eq!(answer["summary"], Value::Null);
    assert_eq!(answer["transcript"][0]["text"], Value::Null);
    assert_eq!(answer["tags"], json!(["vip"]));

    let path = format!("{VOICE}/c1/evaluations");
    let made = reviewer
        .post(&path, &json!({"score": 1, "notes": "secret"}))
        .await
        .status(201)
        .json();
    assert_eq!(
        (&made["notes"], &made["content_withheld"]),
        (&Value::Null, &json!(true))
    );
    let one = format!("{path}/{}", made["id"].as_str().expect("an id"));
    let changed = reviewer
        .patch(&one, &json!({"notes": "secrets"}))
        .await
        .status(200);
    assert!(!changed.text().contains("secrets"));
    for path in [&path, &one] {
        let told = acme.reader().await.get(path).await.status(200).text();
        assert!(
            !told.contains("secret") && told.contains("content_withheld"),
            "{told}"
        );
        let told = acme.transcripts().await.get(path).await.status(200).text();
        assert!(
            told.contains("secrets") && !told.contains("content_withheld"),
            "{told}"
        );
        reviewer.get(path).await.problem(403, "missing-scope");
    }
}

#[tokio::test]
async fn evaluations_come_go_and_count() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let mut bare = call();
    bare["evaluations"] = json!([]);
    bare["at"] = json!("2025-06-11T10:20:00Z");
    client.post(CALLS, &bare).await.status(200);
    let reviewed = async || {
        let list = client
            .get(&format!("{VOICE}?status=reviewed"))
            .await
            .status(200)
            .json();
        list["total"].as_i64().expect("a total")
    };
    assert_eq!(reviewed().await, 0);
    let path = format!("{VOICE}/c1/evaluations");
    let body = json!({"reviewer": "ada", "score": 0.75, "verdict": "pass", "labels": ["a", "a", "b"], "notes": "well", "turn": 1});
    let made = client.post(&path, &body).await.status(201);
    let location = made.header("location");
    let made = made.json();
    assert_eq!(made["labels"], json!(["a", "b"]));
    assert_eq!(made["created_at"], "2025-06-11T12:00:00Z");
    assert_eq!(client.get(&location).await.status(200).json(), made);
    let session = client.get(&format!("{VOICE}/c1")).await.status(200).json();
    assert_eq!(session["evaluations"], json!([made]));
    assert_eq!(reviewed().await, 1);

    server.clock.advance(chrono::TimeDelta::seconds(90));
    let changed = client
        .patch(&location, &json!({"verdict": "fail", "notes": null}))
        .await
        .status(200)
        .json();
    assert_eq!(
        (&changed["verdict"], &changed["notes"]),
        (&json!("fail"), &Value::Null)
    );
    assert_eq!(
        (&changed["score"], &changed["updated_at"]),
        (&json!(0.75), &json!("2025-06-11T12:01:30Z"))
    );
    assert_eq!(changed["created_at"], made["created_at"]);
    client
        .patch(&location, &json!({"turn": 5}))
        .await
        .problem(422, "invalid-content");
    let all = json!({"score": null, "verdict": null, "labels": null});
    client
        .patch(&location, &all)
        .await
        .problem(422, "invalid-content");

    // A source adds its own meanwhile, even under such an id; the counts stay right.
    let mut own = call();
    own["at"] = json!("2025-06-11T10:25:00Z");
    own["evaluations"] = json!([{"id": made["id"], "score": 0.1}]);
    client.post(CALLS, &own).await.status(200);
    let list = client.get(&format!("{path}?limit=1")).await.status(200);
    assert!(list.header("link").contains("offset=1"));
    assert_eq!(list.json()["total"], 2);
    let second = client
        .get(&format!("{path}?limit=1&offset=1"))
        .await
        .status(200);
    assert_eq!(
        (
            second.json()["data"].as_array().map(Vec::len),
            second.header("link")
        ),
        (Some(1), String::new())
    );
    let answer = client.delete(&location).await.status(204);
    assert!(answer.body.is_empty());
    let left = client.get(&path).await.status(200).json();
    assert_eq!(
        (&left["total"], &left["data"][0]["score"]),
        (&json!(1), &json!(0.1))
    );
    let id = left["data"][0]["id"].as_str().expect("an id");
    let theirs = format!("{path}/{}", id.replace('/', "%2F"));
    assert_eq!(
        client.get(&theirs).await.status(200).json(),
        left["data"][0]
    );
    for (method, body) in [("PATCH", Some(json!({"score": 1}))), ("DELETE", None)] {
        let answer = match body {
            Some(body) => client.patch(&theirs, &body).await,
            None => client.delete(&theirs).await,
        };
        let detail = answer.problem(409, "conflict").json()["detail"].to_string();
        assert!(detail.contains("came from a source"), "{method}: {detail}");
    }
    client
        .delete(&format!("{path}/nothing"))
        .await
        .problem(404, "not-found");
    client.post(CALLS, &call()).await.status(200);
    assert_eq!(
        client.get(&path).await.status(200).json()["total"],
        1,
        "a later report has another one"
    );
    assert_eq!(reviewed().await, 1);
}

#[tokio::test]
async fn a_session_has_so_many_evaluations_and_no_more() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let mut full = call();
    full["evaluations"] = vec![json!({"score": 0.5}); 999].into();
    client.post(CALLS, &full).await.status(200);
    let path = format!("{VOICE}/c1/evaluations");
    client.post(&path, &json!({"score": 1})).await.status(201);
    client
        .post(&path, &json!({"score": 1}))
        .await
        .problem(409, "conflict");
    let far = client
        .get(&format!("{path}?offset=999"))
        .await
        .status(200)
        .json();
    assert_eq!(
        (&far["total"], far["data"].as_array().map(Vec::len)),
        (&json!(1000), Some(1))
    );
}

#[tokio::test]
async fn another_tenants_ids_are_not_there() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await.client(ALL).await;
    let other = server.tenant("other").await.client(ALL).await;
    acme.post(CALLS, &call()).await.status(200);
    let id = acme.get(&format!("{VOICE}/c1")).await.status(200).json()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let made = acme
        .post(&format!("{VOICE}/{id}/evaluations"), &json!({"score": 1}))
        .await
        .status(201)
        .json();
    let evaluation = made["id"].as_str().expect("an id");
    let nobody = "01890a5d-7c3e-7b9a-8c1d-2e3f40516273";
    let asker = other.header("x-request-id", "same");
    let edit = json!({"tags": ["stolen"]});
    let score = json!({"score": 0});
    let evaluations = |session: &str| format!("{VOICE}/{session}/evaluations");
    let one = |session: &str, id: &str| format!("{VOICE}/{session}/evaluations/{id}");
    let pairs = [
        (
            asker.patch(&format!("{VOICE}/{id}"), &edit).await,
            asker.patch(&format!("{VOICE}/{nobody}"), &edit).await,
        ),
        (
            asker.get(&evaluations(&id)).await,
            asker.get(&evaluations(nobody)).await,
        ),
        (
            asker.post(&evaluations(&id), &score).await,
            asker.post(&evaluations(nobody), &score).await,
        ),
        (
            asker.get(&one(&id, evaluation)).await,
            asker.get(&one(nobody, nobody)).await,
        ),
        (
            asker.patch(&one(&id, evaluation), &score).await,
            asker.patch(&one(nobody, nobody), &score).await,
        ),
        (
            asker.delete(&one(&id, evaluation)).await,
            asker.delete(&one(nobody, nobody)).await,
        ),
    ];
    for (theirs, none) in pairs {
        assert_eq!((theirs.status, &theirs.body), (404, &none.body));
    }
    let log = other.get("/api/v1/audit-log").await.status(200).json();
    assert!(
        log["data"]
            .as_array()
            .is_some_and(|all| all.iter().all(|e| e["action"] == "key.create")),
        "{log}"
    );
    let log = other
        .get(&format!("/api/v1/audit-log?object_id={evaluation}"))
        .await
        .status(200)
        .json();
    assert_eq!(log["data"], json!([]));
}

async fn verdict(client: &Client) -> (bool, Value, Value) {
    let verdict = client
        .get("/api/v1/audit-log/verify")
        .await
        .status(200)
        .json();
    (
        verdict["valid"] == true,
        verdict["first_broken_seq"].clone(),
        verdict["seq"].clone(),
    )
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_without_what_it_says() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let key = acme.key(ALL).await;
    let actor = key.split('_').nth(1).expect("a public id").to_owned();
    let client = server.anonymous().bearer(&key);
    client.post(CALLS, &call()).await.status(200);
    let path = format!("{VOICE}/c1");
    client
        .patch(&path, &json!({"summary": "secret", "tags": ["secret"]}))
        .await
        .status(200);
    client
        .patch(&path, &json!({"summary": "secret"}))
        .await
        .status(200);
    let made = client
        .post(
            &format!("{path}/evaluations"),
            &json!({"score": 1, "notes": "secret"}),
        )
        .await
        .status(201);
    let location = made.header("location");
    client
        .patch(&location, &json!({"score": 0.5}))
        .await
        .status(200);
    client.delete(&location).await.status(204);

    let log = client.get("/api/v1/audit-log?limit=100").await.status(200);
    assert!(!log.text().contains("secret"));
    let log = log.json();
    let told: Vec<Value> = log["data"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|e| json!([e["seq"], e["action"], e["fields"]]))
        .collect();
    let expected = json!([
        [6, "evaluation.delete", []],
        [5, "evaluation.update", ["score"]],
        [4, "evaluation.create", ["notes", "score"]],
        [3, "session.edit", ["summary", "tags"]],
        [2, "key.create", []],
        [1, "key.create", []]
    ]);
    assert_eq!(Value::from(told), expected, "a change of nothing is none");
    assert_eq!(verdict(&client).await, (true, Value::Null, json!(6)));

    let mine = client
        .get(&format!("/api/v1/audit-log?actor={actor}&limit=3"))
        .await
        .status(200);
    let next = mine.json()["next_cursor"]
        .as_str()
        .expect("a cursor")
        .to_owned();
    assert!(mine.header("link").contains(&next));
    let rest = client
        .get(&format!(
            "/api/v1/audit-log?actor={actor}&limit=3&cursor={next}"
        ))
        .await
        .status(200)
        .json();
    assert_eq!(
        (&rest["data"][0]["seq"], &rest["has_more"]),
        (&json!(3), &json!(false))
    );
    client
        .get(&format!("/api/v1/audit-log?cursor={next}"))
        .await
        .problem(400, "invalid-request");
    for (query, count) in [
        ("action=session.edit", 1),
        ("actor=operator", 2),
        ("after=2025-06-11T12:00:00Z", 6),
        ("before=2025-06-11T12:00:00Z", 0),
        ("object_id=nothing", 0),
    ] {
        let log = client
            .get(&format!("/api/v1/audit-log?{query}"))
            .await
            .status(200)
            .json();
        assert_eq!(log["data"].as_array().map(Vec::len), Some(count), "{query}");
    }
    client
        .get("/api/v1/audit-log?after=2025-06-12T00:00:00Z&before=2025-06-11T00:00:00Z")
        .await
        .problem(400, "invalid-request");
}

#[tokio::test]
async fn whoever_tampers_with_the_log_is_found_out() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let client = acme.client(ALL).await;
    client.post(CALLS, &call()).await.status(200);
    for n in 0..6 {
        client
            .patch(&format!("{VOICE}/c1"), &json!({"tags": [n.to_string()]}))
            .await
            .status(200);
    }
    assert_eq!(verdict(&client).await, (true, Value::Null, json!(8)));
    let mut database = server.connect().await;
    for (tampering, broken) in [
        (
            "update audit_log set actor = 'somebody else' where seq = 5 and tenant_id = $1",
            5,
        ),
        (
            "update audit_log set fields = '{}' where seq = 4 and tenant_id = $1",
            4,
        ),
        ("delete from audit_log where seq = 5 and tenant_id = $1", 5),
        ("delete from audit_log where seq >= 7 and tenant_id = $1", 7),
        (
            "update audit_head set seq = 6, hash = (select hash from audit_log l where l.tenant_id = $1 and l.seq = 6) where tenant_id = $1",
            7,
        ),
        (
            "update audit_head set hash = sha256('x') where tenant_id = $1",
            8,
        ),
        ("delete from audit_head where tenant_id = $1", 1),
        (
            "update audit_log set at = at + interval '1 microsecond' where seq = 1 and tenant_id = $1",
            1,
        ),
    ] {
        let keep = "create table kept_log as select * from audit_log;
             create table kept_head as select * from audit_head";
        sqlx::raw_sql(keep)
            .execute(&mut database)
            .await
            .expect("a copy");
        sqlx::query(tampering)
            .bind(acme.id.0)
            .execute(&mut database)
            .await
            .expect("tampering");
        let (valid, first, _) = verdict(&client).await;
        assert_eq!((valid, first), (false, json!(broken)), "{tampering}");
        let back = "delete from audit_log; insert into audit_log select * from kept_log; drop table kept_log;
             delete from audit_head; insert into audit_head select * from kept_head; drop table kept_head";
        sqlx::raw_sql(back)
            .execute(&mut database)
            .await
            .expect("as it was");
        assert!(verdict(&client).await.0, "{tampering} was undone");
    }
}

#[tokio::test]
async fn writers_at_once_make_one_chain_and_lose_nothing() {
    let server = TestServer::start().await;
    let beside = server.beside().await;
    let acme = server.tenant("acme").await;
    let key = acme.key(ALL).await;
    let clients = [
        server.anonymous().bearer(&key),
        beside.anonymous().bearer(&key),
    ];
    clients[0].post(CALLS, &call()).await.status(200);
    let mut tasks = Vec::new();
    for n in 0..24 {
        let client = clients[n % 2].clone();
        tasks.push(tokio::spawn(async move {
            match n % 4 {
                0 => client
                    .patch(&format!("{VOICE}/c1"), &json!({"tags": [n.to_string()]}))
                    .await
                    .status(200),
                1 | 2 => client
                    .post(&format!("{VOICE}/c1/evaluations"), &json!({"score": 0.5}))
                    .await
                    .status(201),
                _ => {
                    let mut report = call();
                    report["at"] = json!(format!("2025-06-11T11:{n:02}:00Z"));
                    report["evaluations"] = vec![json!({"score": 0.1}); n / 4 + 1].into();
                    client.post(CALLS, &report).await.status(200)
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("an answer");
    }
    // Two keys, and a change each but for what was ingested.
    assert_eq!(
        verdict(&clients[0]).await,
        (true, Value::Null, json!(2 + 18))
    );
    let list = clients[0]
        .get(&format!("{VOICE}/c1/evaluations?limit=200"))
        .await
        .status(200)
        .json();
    assert_eq!(
        (&list["total"], list["data"].as_array().map(Vec::len)),
        (&json!(12 + 6), Some(18))
    );
    let tag = clients[0]
        .get(&format!("{VOICE}/c1"))
        .await
        .status(200)
        .json()["tags"][0]
        .as_str()
        .expect("a tag")
        .to_owned();
    assert_eq!(with_tag(&clients[0], &tag).await, 1);
}
