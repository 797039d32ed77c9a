//! What calls cost whose sources do not say it, and a tenant's own prices.

use serde_json::{Value, json};

use voxray::services::prices;

use crate::support::{Client, TestServer};

const ALL: &str = "sessions:read,transcripts:read,ingest:write,admin";
const CALLS: &str = "/v1/ingest/calls";
const PRICES: &str = "/api/v1/settings/prices";

fn call(id: &str, session: Value, answer: Value) -> Value {
    let mut call = json!({
        "at": "2025-06-11T10:30:00Z",
        "session": {"sessionId": id, "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T10:01:30Z"},
        "turns": [
            {"speaker": "user", "text": "Hi", "startMs": 0, "endMs": 1000},
            {"speaker": "agent", "text": "Hello", "startMs": 1500, "endMs": 2000}
        ]
    });
    for (target, more) in [("/session", session), ("/turns/1", answer)] {
        let target = call.pointer_mut(target).expect("an object");
        for (name, value) in more.as_object().expect("fields") {
            target[name] = value.clone();
        }
    }
    call
}

async fn cost(client: &Client, id: &str) -> Value {
    let path = format!("/v1/observability/sessions/{id}");
    client.get(&path).await.status(200).json()["cost"].clone()
}

#[tokio::test]
async fn what_was_used_is_priced_and_summed_up() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let session = json!({
        "providers": {"stt": "deepgram", "llm": "openai", "tts": "cartesia"},
        "models": {"stt": "nova-3", "llm": "gpt-4o", "tts": "sonic-2"},
        "callSid": "CA0123456789abcdef0123456789abcdef", "channel": "outbound", "to": "+12025550123"
    });
    let answer = json!({
        "usage": {"sttSeconds": 30, "ttsCharacters": 1000},
        "llmCalls": [
            {"startMs": 1000, "firstTokenMs": 1100, "promptTokens": 10_000, "cachedTokens": 4_000, "completionTokens": 500},
            {"model": "gpt-4.1-mini", "promptTokens": 1_000, "completionTokens": 100}
        ]
    });
    client
        .post(CALLS, &call("c1", session, answer))
        .await
        .status(200);
    // 6,000 at 2.50, 4,000 at 1.25 and 500 at 10; 1,000 at 0.40 and 100 at 1.60; half a minute at 0.0077;
    // 1,000 characters at 39.20 a million; two minutes at 0.014.
    let usd = 0.015 + 0.005 + 0.005 + 0.0004 + 0.00016 + 0.00385 + 0.0392 + 0.028;
    let told = cost(&client, "c1").await;
    assert!(
        (told["totalUsd"].as_f64().unwrap() - usd).abs() < 1e-9,
        "{told} for {usd}"
    );
    assert_eq!(told["estimated"], true);
    assert_eq!(told.get("unpriced"), None, "{told}");
    let list = client.get("/api/v1/conversations").await.status(200).json();
    assert_eq!(list["data"][0]["cost_usd"], told["totalUsd"]);
    let summary = client
        .get("/api/v1/analytics/summary")
        .await
        .status(200)
        .json();
    assert_eq!(summary["total_cost_usd"], told["totalUsd"]);
    let conversation = client
        .get("/api/v1/conversations/c1")
        .await
        .status(200)
        .json();
    assert_eq!(conversation["cost_estimated"], true);
}

#[tokio::test]
async fn what_is_not_known_is_listed_and_never_nothing() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let tokens = json!({"usage": {"promptTokens": 1_000_000, "completionTokens": 0}});
    let models = |llm: &str| json!({"models": {"llm": llm}});
    client
        .post(
            CALLS,
            &call("known", models("openai/gpt-4o-2024-08-06"), tokens.clone()),
        )
        .await
        .status(200);
    client
        .post(
            CALLS,
            &call("unknown", models("our-own-model"), tokens.clone()),
        )
        .await
        .status(200);
    client
        .post(CALLS, &call("silent", json!({}), json!({})))
        .await
        .status(200);
    let mut stated = models("gpt-4o");
    stated["costUsd"] = json!(0.5);
    stated["pricing"] = json!({"unpriced": []});
    client
        .post(CALLS, &call("stated", stated, tokens.clone()))
        .await
        .status(200);
    let mut partly = tokens.clone();
    partly["usage"]["ttsCharacters"] = json!(10);
    client
        .post(CALLS, &call("partly", models("gpt-4o"), partly))
        .await
        .status(200);

    assert_eq!(cost(&client, "known").await["totalUsd"], 2.5);
    let unknown = cost(&client, "unknown").await;
    assert_eq!(unknown["totalUsd"], Value::Null);
    assert_eq!(unknown["costIncomplete"], true);
    assert_eq!(
        unknown["unpriced"],
        json!([
            {"service": "llm", "provider": null, "model": "our-own-model", "reason": "no_price"}
        ])
    );
    assert_eq!(cost(&client, "silent").await, Value::Null);
    assert_eq!(cost(&client, "stated").await, json!({"totalUsd": 0.5}));
    let partly = cost(&client, "partly").await;
    assert_eq!(
        (&partly["totalUsd"], &partly["costIncomplete"]),
        (&json!(2.5), &json!(true))
    );
    assert_eq!(partly["unpriced"][0]["service"], "tts");
}

#[tokio::test]
async fn turns_that_come_one_by_one_cost_what_the_whole_costs() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let turn = |id: &str, at: u32, index: u32, tokens: u32| {
        json!({"type": "turn", "id": id, "sessionId": "live", "at": format!("2025-06-11T10:00:{at:02}Z"), "index": index,
               "speaker": "agent", "usage": {"promptTokens": tokens}})
    };
    let post = async |event: Value| {
        client
            .post("/v1/ingest/events", &json!({"events": [event]}))
            .await
            .status(200);
    };
    post(turn("a", 1, 0, 1_000_000)).await;
    assert_eq!(
        cost(&client, "live").await["totalUsd"],
        Value::Null,
        "of no model"
    );
    post(turn("b", 2, 1, 1_000_000)).await;
    post(
        json!({"type": "session", "id": "s", "sessionId": "live", "at": "2025-06-11T10:00:03Z",
                "models": {"llm": "gpt-4o-mini"}}),
    )
    .await;
    assert_eq!(cost(&client, "live").await["totalUsd"], 0.3);
    post(turn("a2", 4, 0, 3_000_000)).await;
    assert_eq!(cost(&client, "live").await["totalUsd"], 0.6);
    post(json!({"type": "session", "id": "t", "sessionId": "live", "at": "2025-06-11T10:00:05Z", "costUsd": 7})).await;
    assert_eq!(cost(&client, "live").await, json!({"totalUsd": 7.0}));
}

#[tokio::test]
async fn a_tenant_s_own_prices_are_its_own() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let client = acme.client(ALL).await;
    let other = server.tenant("other").await.client(ALL).await;
    let fresh = client.get(PRICES).await.status(200).json();
    assert_eq!(
        (&fresh["prices"], &fresh["updated_at"]),
        (&json!([]), &Value::Null)
    );
    assert!(
        fresh["table"]
            .as_array()
            .unwrap()
            .iter()
            .any(|price| price["model"] == "gpt-4o")
    );

    let own = json!({"prices": [
        {"service": "llm", "provider": "openai", "model": "gpt-4o", "input": 1, "output": 2, "note": "agreed"},
        {"service": "tts", "provider": "ours", "model": "*", "perMillionCharacters": 0}
    ]});
    let put = async |client: &Client, body: &Value| {
        client
            .send(reqwest::Method::PUT, PRICES, |request| request.json(body))
            .await
    };
    let written = put(&client, &own).await.status(200).json();
    assert_eq!(written["prices"].as_array().unwrap().len(), 2);
    assert_eq!(client.get(PRICES).await.status(200).json(), written);
    let used = json!({"usage": {"promptTokens": 1_000_000, "ttsCharacters": 5}});
    let session = json!({"models": {"llm": "gpt-4o"}, "providers": {"tts": "ours"}});
    for client in [&client, &other] {
        client
            .post(CALLS, &call("c1", session.clone(), used.clone()))
            .await
            .status(200);
    }
    let told = cost(&client, "c1").await;
    assert_eq!(
        (&told["totalUsd"], told.get("unpriced")),
        (&json!(1.0), None)
    );
    assert!(told["pricesVersion"].as_str().unwrap().ends_with("+1"));
    assert_eq!(cost(&other, "c1").await["totalUsd"], 2.5);

    let log = client
        .get("/api/v1/audit-log?action=prices.update")
        .await
        .status(200)
        .json();
    assert_eq!(log["data"].as_array().unwrap().len(), 1);
    let bad = put(
        &client,
        &json!({"prices": [{"service": "llm", "model": "x", "input": -1}], "more": 1}),
    )
    .await;
    let faults = bad.problem(422, "invalid-content").faults();
    assert!(
        faults.iter().any(|f| f.starts_with("more "))
            && faults.iter().any(|f| f.starts_with("prices[0].input "))
    );
    let never = put(
        &client,
        &json!({"prices": [{"service": "tts", "model": "x", "input": 1}]}),
    )
    .await;
    assert_eq!(
        never.problem(422, "invalid-content").faults(),
        [
            "prices[0].input is a price of `llm`; `tts` can have `perMillionCharacters`",
            "prices[0].perMillionCharacters is required"
        ]
    );
    put(&acme.client("sessions:read").await, &own)
        .await
        .problem(403, "missing-scope");
    assert_eq!(
        put(&client, &json!({"prices": []}))
            .await
            .status(200)
            .json()["prices"],
        json!([])
    );
}

/// What is stored is priced again when prices change, and the sums with it; what a source has said stays.
#[tokio::test]
async fn stored_calls_are_priced_again() {
    let server = TestServer::without_work().await;
    let (acme, other) = (server.tenant("acme").await, server.tenant("other").await);
    let (client, neighbour) = (acme.client(ALL).await, other.client(ALL).await);
    let tokens = json!({"usage": {"promptTokens": 1_000_000, "completionTokens": 0}});
    let llm = |name: &str| json!({"providers": {"llm": "openai"}, "models": {"llm": name}});
    for client in [&client, &neighbour] {
        for place in 0..3 {
            let body = call(&format!("c{place}"), llm("gpt-4o"), tokens.clone());
            client.post(CALLS, &body).await.status(200);
        }
    }
    let mut stated = llm("gpt-4o");
    stated["costUsd"] = json!(0.5);
    client
        .post(CALLS, &call("stated", stated, tokens.clone()))
        .await
        .status(200);
    client
        .post(CALLS, &call("unknown", llm("our-own"), tokens))
        .await
        .status(200);
    // As calls were kept of which nobody had listed what was only timed.
    let timed = json!({"llmMs": 300});
    let body = call("timed", llm("gpt-4o"), timed);
    client.post(CALLS, &body).await.status(200);
    let mut admin = server.connect().await;
    sqlx::query(
        "update sessions set extra = (extra::jsonb - 'pricing')::text where external_id = 'timed'",
    )
    .execute(&mut admin)
    .await
    .expect("as it was");
    assert_eq!(cost(&client, "timed").await, Value::Null);
    let mine = json!({"prices": [
        {"service": "llm", "provider": "openai", "model": "gpt-4o", "input": 2.0, "output": 8.0},
        {"service": "llm", "provider": "openai", "model": "our-own", "input": 1.0, "output": 1.0},
    ]});
    client.put(PRICES, &mine).await.status(200);
    let sweep = async || {
        let store = &server.app.store;
        while prices::sweep(store, server.clock.now())
            .await
            .expect("work")
        {}
    };
    sweep().await;
    assert_eq!(
        cost(&client, "c0").await["totalUsd"],
        2.5,
        "somebody may be writing by the old prices"
    );
    server.clock.advance(chrono::TimeDelta::seconds(61));
    sweep().await;
    for place in 0..3 {
        let told = cost(&client, &format!("c{place}")).await;
        assert_eq!(told["totalUsd"], 2.0, "{told}");
        assert!(
            told["pricesVersion"]
                .as_str()
                .is_some_and(|v| v.ends_with("+1")),
            "{told}"
        );
        assert_eq!(
            cost(&neighbour, &format!("c{place}")).await["totalUsd"],
            2.5
        );
    }
    assert_eq!(cost(&client, "stated").await["totalUsd"], 0.5);
    let timed = cost(&client, "timed").await;
    assert_eq!(timed["unpriced"][0]["reason"], "no_usage", "{timed}");
    let known = cost(&client, "unknown").await;
    assert_eq!(
        (&known["totalUsd"], known.get("unpriced")),
        (&json!(1.0), None)
    );
    let summary = client
        .get("/api/v1/analytics/summary")
        .await
        .status(200)
        .json();
    assert_eq!(summary["total_cost_usd"], 7.5);
    // Again, and nothing is left to do.
    sweep().await;
    assert_eq!(cost(&client, "c0").await["totalUsd"], 2.0);
}
