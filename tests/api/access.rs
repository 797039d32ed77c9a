//! Who may call what, for every route of the table.

use reqwest::Method;
use serde_json::json;
use voxray::app::{Access, ROUTES, Route, Verb};
use voxray::domain::access::Right;

use super::support::TestServer;

#[tokio::test]
async fn every_route_asks_for_its_right_and_no_other() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    for route in ROUTES {
        let Some(right) = needed(route) else { continue };
        let method: Method = route.verb.as_str().parse().expect("a method");
        let path = concrete(route.path);

        let nobody = server
            .anonymous()
            .send(method.clone(), &path, |request| request)
            .await;
        nobody.problem(401, "unauthenticated");

        let others: Vec<_> = Right::ALL
            .into_iter()
            .filter(|other| *other != right)
            .map(Right::as_str)
            .collect();
        let wrong = acme
            .client(&others.join(","))
            .await
            .send(method, &path, |request| request)
            .await;
        let detail = wrong.problem(403, "missing-scope").json()["detail"].to_string();
        assert!(detail.contains(right.as_str()), "{path}: {detail}");
    }
}

#[tokio::test]
async fn every_path_refuses_other_methods_and_unknown_parameters() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let all = Right::ALL.map(Right::as_str).join(",");
    let client = acme.client(&all).await;
    for route in ROUTES {
        let path = concrete(route.path);
        let answer = client
            .send(Method::OPTIONS, &path, |request| request)
            .await
            .problem(405, "method-not-allowed");
        assert!(
            answer.header("allow").contains(route.verb.as_str()),
            "{path}"
        );

        if route.verb == Verb::Get {
            let answer = client
                .get(&format!("{path}?no-such=1"))
                .await
                .problem(400, "invalid-request");
            assert!(
                answer
                    .faults()
                    .iter()
                    .any(|fault| fault.starts_with("no-such ")),
                "{path}"
            );
        }
    }
}

fn needed(route: &Route) -> Option<Right> {
    match route.access {
        Access::Public => None,
        Access::Reader => Some(Right::SessionsRead),
        Access::Transcripts => Some(Right::TranscriptsRead),
        Access::Ingestor => Some(Right::IngestWrite),
        Access::Reviewer => Some(Right::ReviewsWrite),
        Access::Admin => Some(Right::Admin),
    }
}

/// The path with something in the place of its parameters.
fn concrete(template: &str) -> String {
    let fill = |part: &str| {
        if part.starts_with('{') {
            "anything".to_owned()
        } else {
            part.to_owned()
        }
    };
    template.split('/').map(fill).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn a_person_leads_to_a_call_only_for_who_may_see_the_person() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let names = [
        ("phone_number", "+4915112345678"),
        ("livekit_participant", "jane@example.org"),
        ("sip_call_id", "sip-1"),
        ("livekit_room_name", "room-1"),
    ];
    let known: Vec<_> = names
        .map(|(kind, id)| json!({"kind": kind, "id": id}))
        .into();
    let session = json!({"type": "session", "id": "s", "sessionId": "one", "at": "2025-06-11T10:00:00Z",
        "status": "active", "externalIds": known});
    acme.ingestor()
        .await
        .post("/v1/ingest/events", &json!({"events": [session]}))
        .await
        .status(200);
    let (sees, counts) = (
        acme.client("sessions:read,transcripts:read").await,
        acme.client("sessions:read").await,
    );
    // A person's number hides no room of that name.
    for (id, kind) in [("two", "livekit_room_name"), ("three", "phone_number")] {
        let known = [json!({"kind": kind, "id": "room-of-4917"})];
        let session = json!({"type": "session", "id": "s", "sessionId": id, "at": "2025-06-11T10:00:00Z",
            "startedAt": "2025-06-11T10:00:00Z", "status": "active", "externalIds": known});
        let ingestor = acme.ingestor().await;
        let body = json!({"events": [session]});
        ingestor.post("/v1/ingest/events", &body).await.status(200);
    }
    counts
        .get("/v1/observability/sessions/room-of-4917")
        .await
        .status(200);
    for (kind, name) in names {
        let name = name.replace('+', "%2B");
        for path in [
            format!("/v1/observability/sessions/{name}"),
            format!("/v1/traces/session/{name}"),
            format!("/api/v1/voice-sessions/{name}/evaluations"),
        ] {
            sees.get(&path).await.status(200);
            let expected = if kind == "livekit_room_name" {
                200
            } else {
                404
            };
            counts.get(&path).await.status(expected);
        }
    }
}

#[tokio::test]
async fn a_tool_is_as_far_for_everybody() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let event = |rest: serde_json::Value| {
        let mut event = json!({"sessionId": "one", "at": "2025-06-11T10:00:00Z"});
        let members = event.as_object_mut().expect("an object");
        members.extend(rest.as_object().cloned().expect("an object"));
        event
    };
    let events = json!({"events": [
        event(json!({"type": "session", "id": "s", "status": "active"})),
        event(json!({"type": "tool_call", "id": "a", "callId": "a", "name": "f", "startMs": 1, "result": {"a": 1}})),
        event(json!({"type": "tool_call", "id": "b", "callId": "b", "name": "f", "startMs": 2, "result": false})),
        event(json!({"type": "tool_call", "id": "c", "callId": "c", "name": "f", "startMs": 3})),
        event(json!({"type": "tool_call", "id": "d", "callId": "d", "name": "f", "startMs": 4, "error": "no"})),
    ]});
    acme.ingestor()
        .await
        .post("/v1/ingest/events", &events)
        .await
        .status(200);
    for scopes in ["sessions:read", "sessions:read,transcripts:read"] {
        let reader = acme.client(scopes).await;
        let session = reader
            .get("/api/v1/voice-sessions/one")
            .await
            .status(200)
            .json();
        let calls = session["function_calls"].as_array().expect("calls");
        let told: Vec<_> = calls.iter().map(|call| call["status"].as_str()).collect();
        let expected = ["ok", "ok", "pending", "error"].map(Some);
        assert_eq!(told, expected, "{scopes}");
    }
}
