//! Sessions by the SID of their telephone call, in every dialect that has paths for one.

use serde_json::{Value, json};

use crate::support::TestServer;

const SID: &str = "CA0123456789abcdef0123456789abcdef";

fn call(id: &str, sid: Option<&str>, started_at: &str) -> Value {
    json!({"session": {
        "sessionId": id, "callSid": sid, "startedAt": started_at, "endedAt": "2025-06-11T11:00:00Z", "channel": "inbound",
        "from": "+15550142", "to": "+15550199", "carrierStatus": "completed", "sipCode": 200
    }, "turns": [{"speaker": "agent", "text": "Hello", "startMs": 0, "endMs": 900}]})
}

#[tokio::test]
async fn a_call_is_its_session() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let calls = json!({"calls": [call("one", Some(SID), "2025-06-11T10:00:00Z"), call("web", None, "2025-06-11T10:01:00Z")]});
    acme.ingestor()
        .await
        .post("/v1/ingest/calls", &calls)
        .await
        .status(200);
    let reader = acme.transcripts().await;
    let by_sid = reader
        .get(&format!("/v1/observability/calls/{SID}"))
        .await
        .status(200)
        .json();
    let by_id = reader
        .get("/v1/observability/sessions/one")
        .await
        .status(200)
        .json();
    assert_eq!(by_sid, by_id);
    let shown = [
        "callId",
        "from",
        "to",
        "channel",
        "carrierStatus",
        "sipCode",
    ]
    .map(|name| &by_sid[name]);
    let expected = [
        &json!(SID),
        &json!("+15550142"),
        &json!("+15550199"),
        &json!("inbound"),
        &json!("completed"),
        &json!(200),
    ];
    assert_eq!(shown, expected);

    // A call without an SID goes by any of its session's ids.
    let web = reader
        .get("/v1/observability/sessions/web")
        .await
        .status(200)
        .json();
    for reference in ["web", web["id"].as_str().expect("an id")] {
        let answer = reader
            .get(&format!("/v1/observability/calls/{reference}"))
            .await
            .status(200)
            .json();
        assert_eq!(answer, web);
        assert_eq!(answer["callId"], Value::Null);
    }
    let withheld = acme
        .reader()
        .await
        .get(&format!("/v1/observability/calls/{SID}"))
        .await
        .status(200)
        .json();
    assert_eq!(
        (&withheld["from"], &withheld["contentWithheld"]),
        (&json!("*******42"), &json!(true))
    );
}

#[tokio::test]
async fn an_sid_means_the_newest_session_of_its_call() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let calls = json!({"calls": [
        call("second", Some(SID), "2025-06-11T10:05:00Z"),
        call("first", Some(SID), "2025-06-11T10:00:00Z"),
        // Somebody's own id of a session that looks like an SID.
        call("CAffffffffffffffffffffffffffffffff", None, "2025-06-11T10:06:00Z"),
    ]});
    acme.ingestor()
        .await
        .post("/v1/ingest/calls", &calls)
        .await
        .status(200);
    let reader = acme.reader().await;
    let second = reader
        .get("/api/v1/voice-sessions/second")
        .await
        .status(200)
        .json();
    for path in [
        "/v1/observability/calls",
        "/v1/observability/sessions",
        "/api/v1/voice-sessions",
        "/api/v1/conversations",
    ] {
        let answer = reader
            .get(&format!("{path}/{SID}"))
            .await
            .status(200)
            .json();
        let id = answer["id"]
            .as_str()
            .expect("an id")
            .trim_start_matches("sess_")
            .replace('-', "");
        assert_eq!(
            id,
            second["id"].as_str().expect("an id").replace('-', ""),
            "{path}"
        );
        reader
            .get(&format!("{path}/CAffffffffffffffffffffffffffffffff"))
            .await
            .status(200);
        reader
            .get(&format!("{path}/CA0000000000000000000000000000000f"))
            .await
            .problem(404, "not-found");
    }
    let other = server.tenant("other").await.reader().await;
    other
        .get(&format!("/v1/observability/calls/{SID}"))
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn a_streams_id_is_only_a_filter() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let mut streamed = call("streamed", None, "2025-06-11T10:00:00Z");
    streamed["session"]["streamId"] = json!("MZ1");
    acme.ingestor()
        .await
        .post("/v1/ingest/calls", &streamed)
        .await
        .status(200);
    let reader = acme.reader().await;
    reader
        .get("/api/v1/voice-sessions/MZ1")
        .await
        .problem(404, "not-found");
    let found = reader
        .get("/api/v1/voice-sessions?stream_id=MZ1")
        .await
        .status(200)
        .json();
    assert_eq!(found["total"], 1);
}
