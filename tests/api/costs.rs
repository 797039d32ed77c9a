//! What is told of a call by spans and observations, and what that costs: audio both ways, caches, speech beside
//! generations that say their own cost.

use serde_json::{Value, json};

use crate::support::{Client, TestServer};

const ALL: &str = "sessions:read,transcripts:read,ingest:write,admin";
/// 2025-06-11T10:00:00Z
const START_MS: u64 = 1_749_636_000_000;
const REALTIME_USD: f64 = (200.0 * 4.0 + 800.0 * 32.0 + 50.0 * 16.0 + 450.0 * 64.0) / 1e6;

fn attributes(members: &Value) -> Vec<Value> {
    let members = members.as_object().expect("attributes");
    let value = |value: &Value| match value {
        Value::String(text) => json!({"stringValue": text}),
        Value::Number(n) if n.is_f64() => json!({"doubleValue": n}),
        Value::Number(n) => json!({"intValue": n.to_string()}),
        other => json!({"boolValue": other}),
    };
    let list = members
        .iter()
        .map(|(name, told)| json!({"key": name, "value": value(told)}));
    list.collect()
}

/// A span of the trace, a number its id and, but for the first, its parent's.
fn span(trace: u32, id: u32, name: &str, ms: std::ops::Range<u64>, said: &Value) -> Value {
    let nanos = |ms: u64| ((START_MS + ms) * 1_000_000).to_string();
    let parent = if id == 1 {
        String::new()
    } else {
        format!("{:016x}", 1)
    };
    json!({
        "traceId": format!("{trace:032x}"), "spanId": format!("{id:016x}"), "parentSpanId": parent, "name": name,
        "startTimeUnixNano": nanos(ms.start), "endTimeUnixNano": nanos(ms.end), "attributes": attributes(said)
    })
}

async fn send(client: &Client, scope: &str, spans: &[Value]) {
    let body =
        json!({"resourceSpans": [{"scopeSpans": [{"scope": {"name": scope}, "spans": spans}]}]});
    client.post("/v1/traces", &body).await.status(200);
}

async fn seen(client: &Client, id: &str) -> Value {
    let path = format!("/v1/observability/sessions/{id}");
    client.get(&path).await.status(200).json()
}

#[track_caller]
fn assert_usd(told: &Value, expected: f64) {
    let usd = told.as_f64().unwrap_or(f64::NAN);
    assert!((usd - expected).abs() < 6e-7, "{usd} for {expected}");
}

/// What every framework says of one exchange with a model that hears and speaks.
fn realtime(id: &str) -> [(&'static str, Vec<Value>); 4] {
    let with = |own: Value| {
        let mut said = own;
        said["session.id"] = json!(id);
        said
    };
    let genai = json!({
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-realtime",
        "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 500,
        "gen_ai.usage.audio.input_tokens": 800, "gen_ai.usage.audio.output_tokens": 450
    });
    let openinference = json!({
        "openinference.span.kind": "LLM", "llm.model_name": "gpt-realtime", "llm.provider": "openai",
        "llm.token_count.prompt": 1000, "llm.token_count.completion": 500,
        "llm.token_count.prompt_details.audio": 800, "llm.token_count.completion_details.audio": 450
    });
    let turn =
        json!({"openinference.span.kind": "AGENT", "input.value": "Hi", "output.value": "Hello"});
    let speech = json!({"lk.speech_id": "s", "lk.response.text": "Hello"});
    // As the SDK writes it of older models too: in its own metrics only.
    let metrics = json!({
        "ttft": 0.4, "input_tokens": 1000, "output_tokens": 500,
        "input_token_details": {"audio_tokens": 800, "text_tokens": 200, "cached_tokens": 0},
        "output_token_details": {"audio_tokens": 450, "text_tokens": 50},
        "metadata": {"model_name": "gpt-realtime", "model_provider": "openai"}
    });
    let livekit = json!({"lk.realtime_model_metrics": metrics.to_string()});
    let exchange = |trace, (top, said): (&str, &Value), name, own: &Value| {
        vec![
            span(trace, 1, top, 0..3_000, &with(said.clone())),
            span(trace, 2, name, 500..1_500, &with(own.clone())),
        ]
    };
    [
        ("x", exchange(1, ("turn", &turn), "chat", &genai)),
        ("x", exchange(2, ("turn", &turn), "chat", &openinference)),
        (
            "livekit-agents",
            exchange(3, ("agent_turn", &speech), "llm_request", &genai),
        ),
        (
            "livekit-agents",
            exchange(4, ("agent_turn", &speech), "realtime_inference", &livekit),
        ),
    ]
}

#[tokio::test]
async fn audio_costs_what_audio_costs_whoever_tells_of_it() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    for place in 0..4 {
        let id = format!("call-{place}");
        let (scope, spans) = realtime(&id)[place].clone();
        send(&client, scope, &spans).await;
        let told = seen(&client, &id).await;
        assert_eq!(told["cost"]["costIncomplete"], Value::Null, "{id}: {told}");
        assert!(told["cost"].is_object(), "{id}: {told}");
        assert_usd(&told["cost"]["totalUsd"], REALTIME_USD);
        let usage = &told["usage"];
        let tokens = [
            "promptTokens",
            "audioTokens",
            "completionTokens",
            "audioOutputTokens",
        ];
        assert_eq!(
            tokens.map(|name| usage[name].clone()),
            [1000, 800, 500, 450].map(Value::from),
            "{usage}"
        );
        let traces = client.get(&format!("/v1/traces/session/{id}")).await;
        let traces = traces.status(200).json();
        if place < 3 {
            assert_usd(&traces["traces"][0]["totalCostUsd"], REALTIME_USD);
        }
    }
    let dear = json!({"prices": [{"service": "llm", "model": "gpt-realtime", "input": 0, "output": 0, "audioInput": 0, "audioOutput": 1000}]});
    client
        .put("/api/v1/settings/prices", &dear)
        .await
        .status(200);
    let (scope, spans) = realtime("dear")[0].clone();
    send(&client, scope, &spans).await;
    assert_usd(&seen(&client, "dear").await["cost"]["totalUsd"], 0.45);
}

/// A native call whose model hears and speaks.
async fn native(client: &Client, id: &str, counts: Value) -> Value {
    let mut call = json!({"provider": "openai", "model": "gpt-realtime"});
    for (name, count) in counts.as_object().expect("counts") {
        call[name] = count.clone();
    }
    let body = json!({
        "at": "2025-06-11T10:30:00Z",
        "session": {"sessionId": id, "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T10:01:00Z"},
        "turns": [{"speaker": "agent", "text": "Hello", "startMs": 0, "endMs": 1000, "llmCalls": [call]}]
    });
    client.post("/v1/ingest/calls", &body).await.status(200);
    seen(client, id).await
}

#[tokio::test]
async fn counts_that_leave_the_kinds_open_are_listed() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let split = json!({"promptTokens": 1000, "audioTokens": 800, "cachedTokens": 600, "cachedAudioTokens": 500,
        "completionTokens": 500, "audioOutputTokens": 450});
    let told = native(&client, "split", split.clone()).await;
    let usd = 100.0 * 4.0 + 300.0 * 32.0 + 600.0 * 0.4 + 50.0 * 16.0 + 450.0 * 64.0;
    assert_usd(&told["cost"]["totalUsd"], usd / 1e6);
    assert_eq!(told["usage"]["cachedAudioTokens"], 500);
    let mut open = split;
    open["cachedAudioTokens"] = Value::Null;
    let sum = json!({"promptTokens": 1000, "audioTokens": 1250, "completionTokens": 500});
    // What was written is certain all the same, unless its audio is in one count with what was heard.
    let written = json!((50.0 * 16.0 + 450.0 * 64.0) / 1e6);
    for (id, counts, usd) in [("open", open, written), ("sum", sum, Value::Null)] {
        let cost = native(&client, id, counts).await["cost"].clone();
        assert_eq!(cost["totalUsd"], usd, "{id}");
        assert_eq!(cost["costIncomplete"], true, "{id}");
        assert_eq!(
            cost["unpriced"],
            json!([{"service": "llm", "provider": "openai", "model": "gpt-realtime", "reason": "no_usage"}])
        );
    }
}

#[tokio::test]
async fn a_cache_that_is_counted_beside_the_rest_is_paid_for() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let pipecat = |id: &str, trace: u32, counts: Value| {
        let mut said = json!({
            "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-sonnet-4-20250514", "output": "Yes",
            "gen_ai.usage.output_tokens": 100
        });
        for (name, count) in counts.as_object().expect("counts") {
            said[format!("gen_ai.usage.{name}")] = count.clone();
        }
        [
            span(
                trace,
                1,
                "conversation",
                0..9_000,
                &json!({"conversation.id": id}),
            ),
            span(
                trace,
                2,
                "turn",
                0..8_000,
                &json!({"conversation.id": id, "turn.number": 1}),
            ),
            span(trace, 3, "llm", 1_000..2_000, &said),
        ]
    };
    let read = json!({"input_tokens": 10, "cache_read.input_tokens": 5000});
    send(&client, "pipecat", &pipecat("read", 1, read)).await;
    let told = seen(&client, "read").await;
    assert_usd(
        &told["cost"]["totalUsd"],
        (10.0 * 3.0 + 5000.0 * 0.3 + 100.0 * 15.0) / 1e6,
    );
    assert_eq!(told["usage"]["promptTokens"], 5010);
    assert_eq!(told["usage"]["totalTokens"], 5110);
    // Also where less came from the cache than did not.
    let little = json!({"input_tokens": 1000, "cache_read.input_tokens": 100, "cache_creation.input_tokens": 400});
    send(&client, "pipecat", &pipecat("little", 2, little)).await;
    let told = seen(&client, "little").await;
    let usd = 1000.0 * 3.0 + 100.0 * 0.3 + 400.0 * 3.75 + 100.0 * 15.0;
    assert_usd(&told["cost"]["totalUsd"], usd / 1e6);
    assert_eq!(told["usage"]["cacheWriteTokens"], 400);
    // By the conventions all tokens that were read are said, unless that cannot be.
    for (trace, input, text) in [(3, 1000, 500.0), (4, 20, 20.0)] {
        let said = json!({
            "session.id": format!("genai-{trace}"), "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": "claude-sonnet-4", "gen_ai.usage.input_tokens": input,
            "gen_ai.usage.cache_read.input_tokens": 100, "gen_ai.usage.cache_creation.input_tokens": 400
        });
        send(&client, "x", &[span(trace, 1, "chat", 0..1_000, &said)]).await;
        let told = seen(&client, &format!("genai-{trace}")).await;
        assert_usd(
            &told["cost"]["totalUsd"],
            (text * 3.0 + 30.0 + 1500.0) / 1e6,
        );
    }
    // Of a model without a price for it, what went into the cache is listed.
    let said = json!({
        "session.id": "listed", "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.cache_write.input_tokens": 400
    });
    send(&client, "x", &[span(5, 1, "chat", 0..1_000, &said)]).await;
    let told = seen(&client, "listed").await;
    assert_eq!(told["cost"]["unpriced"][0]["reason"], "no_price", "{told}");
}

/// The same generation in the words of two conventions and of those before them: one usage and one cost, of the session
/// and of its trace.
#[tokio::test]
async fn a_total_tells_what_came_from_a_cache_beside_the_rest() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let genai = |total: u64, cache: &str| {
        let mut said = json!({
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-sonnet-4",
            "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100, "gen_ai.usage.total_tokens": total
        });
        said[format!("gen_ai.usage.{cache}")] = json!(500);
        said
    };
    let openinference = json!({
        "openinference.span.kind": "LLM", "llm.system": "anthropic", "llm.model_name": "claude-sonnet-4",
        "llm.token_count.prompt": 1000, "llm.token_count.completion": 100, "llm.token_count.total": 1600,
        "llm.token_count.prompt_details.cache_read": 500
    });
    let beside = (1000.0 * 3.0 + 500.0 * 0.3 + 100.0 * 15.0) / 1e6;
    let within = (500.0 * 3.0 + 500.0 * 0.3 + 100.0 * 15.0) / 1e6;
    let reasoned = (1000.0 * 3.0 + 600.0 * 15.0) / 1e6;
    let cases = [
        (genai(1_600, "cache_read.input_tokens"), beside, 1_500, 100),
        (genai(1_600, "cache_read_input_tokens"), beside, 1_500, 100),
        (openinference, beside, 1_500, 100),
        (genai(1_100, "cache_read.input_tokens"), within, 1_000, 100),
        (genai(1_100, "input_cached_tokens"), within, 1_000, 100),
        (
            genai(1_600, "reasoning.output_tokens"),
            reasoned,
            1_000,
            600,
        ),
        (genai(1_600, "reasoning_tokens"), reasoned, 1_000, 600),
    ];
    for (trace, (mut said, usd, read, written)) in (1..).zip(cases) {
        let id = format!("total-{trace}");
        said["session.id"] = json!(id);
        send(&client, "x", &[span(trace, 1, "chat", 0..1_000, &said)]).await;
        let told = seen(&client, &id).await;
        assert_usd(&told["cost"]["totalUsd"], usd);
        let usage = &told["usage"];
        assert_eq!(usage["promptTokens"], read, "{id}: {usage}");
        assert_eq!(usage["completionTokens"], written, "{id}: {usage}");
        let traces = client.get(&format!("/v1/traces/session/{id}")).await;
        assert_usd(&traces.status(200).json()["traces"][0]["totalCostUsd"], usd);
    }
}

/// Pipecat tells of a generation, and the client that it calls tells of it again: the session and its trace cost one.
#[tokio::test]
async fn a_generation_that_two_tracers_tell_of_costs_once_in_its_trace_too() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let generation = |read: u32| {
        json!({
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-sonnet-4",
            "gen_ai.usage.input_tokens": read, "gen_ai.usage.output_tokens": 100
        })
    };
    let mut llm = span(1, 1, "llm", 100..900, &generation(1_000));
    llm["parentSpanId"] = json!(format!("{:016x}", 9));
    let conversation = json!({"conversation.id": "twice"});
    let mut turn = span(1, 9, "turn", 0..2_000, &conversation);
    turn["parentSpanId"] = json!("");
    send(&client, "pipecat", &[llm, turn]).await;
    let again = |id, read| {
        span(
            1,
            id,
            "anthropic.messages.create",
            110..890,
            &generation(read),
        )
    };
    let usd = |read: f64, written: f64| (read * 3.0 + written * 15.0) / 1e6;
    send(&client, "com.anthropic.sdk.python", &[again(2, 1_000)]).await;
    let trace = async || {
        let traces = client.get("/v1/traces/session/twice").await;
        traces.status(200).json()["traces"][0].clone()
    };
    assert_usd(&trace().await["totalCostUsd"], usd(1_000.0, 100.0));
    assert_eq!(trace().await["costIncomplete"], Value::Null);
    let told = seen(&client, "twice").await;
    assert_usd(&told["cost"]["totalUsd"], usd(1_000.0, 100.0));
    // One that counts otherwise is another call.
    send(&client, "com.anthropic.sdk.python", &[again(3, 400)]).await;
    assert_usd(&trace().await["totalCostUsd"], usd(1_400.0, 200.0));
}

#[tokio::test]
async fn speech_beside_priced_generations_is_priced_too() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let at = |ms: u32| format!("2025-06-11T10:00:{:02}.{:03}Z", ms / 1000, ms % 1000);
    let event = |sort: &str, id: &str, mut body: Value| {
        body["id"] = json!(id);
        json!({"id": format!("{sort}-{id}"), "type": sort, "timestamp": at(0), "body": body})
    };
    let call = |id: &str, stt_cost: Value| {
        let trace = format!("trace-{id}");
        let of = |body: Value| {
            let mut body = body;
            body["traceId"] = json!(trace);
            body
        };
        json!({"batch": [
            event("trace-create", &trace, json!({"sessionId": id, "input": "Hi", "output": "Hello"})),
            event("generation-create", &format!("stt-{id}"), of(json!({
                "name": "stt", "startTime": at(100), "endTime": at(160), "output": {"transcript": "Hi"}, "costDetails": stt_cost,
                "metadata": {"provider": "deepgram", "model": "nova-3", "audio_seconds": 60}
            }))),
            event("generation-create", &format!("llm-{id}"), of(json!({
                "name": "llm", "startTime": at(200), "endTime": at(900), "model": "gpt-4o", "output": "Hello",
                "usageDetails": {"input": 1000, "output": 100}, "costDetails": {"total": 0.25}
            }))),
            event("span-create", &format!("tts-{id}"), of(json!({
                "name": "tts", "startTime": at(900), "endTime": at(1900), "input": {"text": "Hello"},
                "metadata": {"provider": "cartesia", "model": "sonic-2", "characters": 1000}
            }))),
        ]})
    };
    for (id, stt_cost, stt_usd) in [
        ("by-table", json!({}), 0.0077),
        ("by-source", json!({"total": 0.5}), 0.5),
    ] {
        client
            .post("/api/public/ingestion", &call(id, stt_cost))
            .await
            .status(207);
        let told = seen(&client, id).await;
        assert_usd(&told["cost"]["totalUsd"], 0.25 + stt_usd + 0.0392);
        assert_eq!(told["cost"].get("costIncomplete"), None, "{told}");
        assert_eq!(
            told["cost"]["estimated"], true,
            "the voice is priced by the table"
        );
        assert_eq!(told["usage"]["sttSeconds"], 60.0);
    }
    // Where sources say what everything cost, nothing is an estimate.
    let mut silent = call("silent", json!({"total": 0.5}));
    silent["batch"].as_array_mut().expect("events").pop();
    client
        .post("/api/public/ingestion", &silent)
        .await
        .status(207);
    assert_eq!(
        seen(&client, "silent").await["cost"],
        json!({"totalUsd": 0.75})
    );
    // Of a voice nobody has a price for, the rest is known and the voice is listed.
    let mut unknown = call("unknown", json!({}));
    unknown["batch"][3]["body"]["metadata"]["model"] = json!("our-own-voice");
    unknown["batch"][3]["body"]["metadata"]["provider"] = json!("us");
    client
        .post("/api/public/ingestion", &unknown)
        .await
        .status(207);
    let told = seen(&client, "unknown").await;
    assert_usd(&told["cost"]["totalUsd"], 0.2577);
    assert_eq!(
        told["cost"]["unpriced"],
        json!([{"service": "tts", "provider": "us", "model": "our-own-voice", "reason": "no_price"}])
    );
}

#[tokio::test]
async fn what_is_heard_and_spoken_is_measured_and_counted() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let with = |own: Value| {
        let mut said = own;
        said["session.id"] = json!("heard");
        said
    };
    let turn = with(json!({"openinference.span.kind": "AGENT", "output.value": "Hello there"}));
    let stt = with(
        json!({"gen_ai.operation.name": "transcribe", "transcript": "Hi", "audio_seconds": 0.1}),
    );
    let llm =
        with(json!({"gen_ai.operation.name": "chat", "gen_ai.response.time_to_first_chunk": 0.15}));
    let tts =
        with(json!({"gen_ai.operation.name": "speech", "text": "Hello there", "ttfb_ms": 200}));
    let mut spans = vec![
        span(1, 1, "turn", 0..3_000, &turn),
        span(1, 2, "stt", 100..160, &stt),
        span(1, 3, "chat", 160..400, &llm),
        span(1, 4, "speech", 400..2_000, &tts),
    ];
    for id in 5..7 {
        spans.push(span(1, id, "stt", 100..160, &stt));
    }
    send(&client, "x", &spans[..4]).await;
    let told = seen(&client, "heard").await;
    let (user, agent) = (&told["turns"][0], &told["turns"][1]);
    assert_eq!(user["endMs"], 100, "the transcript comes of what was said");
    assert_eq!(
        (&agent["sttMs"], &agent["latencyMs"]),
        (&json!(60), &json!(500))
    );
    assert_eq!(told["usage"]["ttsCharacters"], 11);
    send(&client, "x", &spans[4..]).await;
    assert_eq!(seen(&client, "heard").await["usage"]["sttSeconds"], 0.3);
}

#[tokio::test]
async fn a_model_that_was_at_work_and_of_which_nobody_says_how_much_is_listed() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let exchange = |id: &str, trace: u32, chat: Value| {
        let with = |own: Value| {
            let mut said = own;
            said["session.id"] = json!(id);
            said
        };
        let turn = json!({"openinference.span.kind": "AGENT", "input.value": "Hi", "output.value": "Hello"});
        let voice = json!({"gen_ai.operation.name": "speech", "gen_ai.provider.name": "cartesia",
            "gen_ai.request.model": "sonic-2", "text": "x".repeat(1000), "gen_ai.response.time_to_first_chunk": 0.1});
        [
            span(trace, 1, "turn", 0..5_000, &with(turn)),
            span(trace, 2, "chat", 1_000..2_000, &with(chat)),
            span(trace, 3, "tts", 2_000..3_000, &with(voice)),
        ]
    };
    let voice_usd = 0.0392;
    let mut chat = json!({"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"});
    // It took so long as a whole: nobody measured its first token.
    send(&client, "x", &exchange("timed", 1, chat.clone())).await;
    // What was written is known, and what was read for it is not.
    chat["gen_ai.usage.output_tokens"] = json!(1000);
    send(&client, "x", &exchange("written", 2, chat.clone())).await;
    let listed =
        json!([{"service": "llm", "provider": "openai", "model": "gpt-4o", "reason": "no_usage"}]);
    for (id, usd) in [("timed", voice_usd), ("written", voice_usd + 0.01)] {
        let cost = seen(&client, id).await["cost"].clone();
        assert_usd(&cost["totalUsd"], usd);
        assert_eq!(cost["costIncomplete"], true, "{id}: {cost}");
        assert_eq!(cost["unpriced"], listed, "{id}: {cost}");
    }
    chat["gen_ai.usage.input_tokens"] = json!(1000);
    send(&client, "x", &exchange("whole", 3, chat.clone())).await;
    let cost = seen(&client, "whole").await["cost"].clone();
    assert_usd(&cost["totalUsd"], voice_usd + 0.0125);
    assert_eq!(cost.get("costIncomplete"), None, "{cost}");
    // A request that failed before anything came is not paid for.
    let chat = json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"});
    let mut failed = exchange("failed", 4, chat);
    failed[1]["status"] = json!({"code": 2, "message": "overloaded"});
    send(&client, "x", &failed).await;
    let cost = seen(&client, "failed").await["cost"].clone();
    assert_eq!(cost.get("costIncomplete"), None, "{cost}");
}

/// A native call of an agent's turns, each as it says.
async fn turns(client: &Client, id: &str, turns: Value) -> Value {
    let mut turns = turns;
    for (place, turn) in (0_u32..).zip(turns.as_array_mut().expect("turns")) {
        for (name, value) in [
            ("speaker", json!("agent")),
            ("startMs", json!(place * 2000)),
            ("endMs", json!(place * 2000 + 1000)),
        ] {
            turn[name] = value;
        }
    }
    let body = json!({
        "at": "2025-06-11T10:30:00Z",
        "session": {"sessionId": id, "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T10:01:00Z"},
        "turns": turns
    });
    client.post("/v1/ingest/calls", &body).await.status(200);
    seen(client, id).await["cost"].clone()
}

#[tokio::test]
async fn a_model_without_counts_is_listed_whatever_others_were_counted() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let mini = json!({"models": {"llm": "gpt-4o-mini"}, "usage": {"promptTokens": 1000, "completionTokens": 10}});
    let claude = json!({"models": {"llm": "claude-sonnet-4"}, "llmMs": 200});
    let listed = json!([{"service": "llm", "provider": null, "model": "claude-sonnet-4", "reason": "no_usage"}]);

    let told = turns(&client, "both", json!([mini, claude])).await;
    assert_eq!(told["totalUsd"], 0.000156, "{told}");
    assert_eq!(
        (&told["costIncomplete"], &told["unpriced"]),
        (&json!(true), &listed)
    );
    // One that was timed here and counted there, under a longer name, is counted.
    let timed = json!({"models": {"llm": "openai/gpt-4o-mini-2024-07-18"}, "llmMs": 200});
    let told = turns(&client, "same", json!([mini, timed])).await;
    assert_eq!(told["totalUsd"], 0.000156, "{told}");
    assert_eq!(told.get("unpriced"), None, "{told}");
    // A generation is its turn's model's, where it names none itself.
    let unnamed = json!({"models": {"llm": "gpt-4o-mini"}, "llmCalls": [
        {"startMs": 0, "firstTokenMs": 100, "promptTokens": 1000, "completionTokens": 10}]});
    let told = turns(&client, "calls", json!([unnamed, claude])).await;
    assert_eq!(told["totalUsd"], 0.000156, "{told}");
    assert_eq!(told["unpriced"], listed, "{told}");
    // Two of one model, of which the turn says how much they used.
    let pair = json!({"usage": {"promptTokens": 1000, "completionTokens": 10}, "llmCalls": [
        {"model": "gpt-4o-mini", "startMs": 0, "firstTokenMs": 100},
        {"model": "gpt-4o-mini", "startMs": 200, "firstTokenMs": 300}]});
    let told = turns(&client, "pair", json!([pair])).await;
    assert_eq!(told["totalUsd"], 0.000156, "{told}");
    assert_eq!(told.get("unpriced"), None, "{told}");
    // What was used of no model that is named may be this one's: it is listed once.
    let nobody_s = json!({"usage": {"promptTokens": 1000}});
    let told = turns(&client, "once", json!([nobody_s, claude])).await;
    assert_eq!(told["unpriced"].as_array().map(Vec::len), Some(1), "{told}");
}

#[tokio::test]
async fn what_was_only_timed_is_listed_in_every_dialect() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let claude = json!({"models": {"llm": "claude-sonnet-4"}, "llmMs": 200});
    let listed = json!([{"service": "llm", "provider": null, "model": "claude-sonnet-4", "reason": "no_usage"}]);
    let told = turns(&client, "timed", json!([claude])).await;
    assert_eq!(told["totalUsd"], Value::Null, "{told}");
    assert_eq!(
        (&told["costIncomplete"], &told["unpriced"]),
        (&json!(true), &listed)
    );
    assert_eq!(told.get("estimated"), None, "{told}");
    for path in [
        "/api/v1/conversations/timed",
        "/api/v1/voice-sessions/timed",
    ] {
        let told = client.get(path).await.status(200).json();
        assert_eq!(told["cost_incomplete"], true, "{told}");
        assert_eq!(told["unpriced"], listed, "{told}");
        assert_eq!(told.get("cost_estimated"), None, "{told}");
    }
    let summary = client
        .get("/api/v1/analytics/summary")
        .await
        .status(200)
        .json();
    assert_eq!(summary["total_cost_usd"], Value::Null, "{summary}");
}

#[tokio::test]
async fn what_was_asked_beside_the_conversation_costs_by_its_own_model() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let asked = |model: &str, input: u32, output: u32| {
        json!({"gen_ai.request.model": model, "gen_ai.provider.name": "openai", "gen_ai.usage.input_tokens": input,
               "gen_ai.usage.output_tokens": output})
    };
    let below = |parent: u32, mut span: Value| {
        span["parentSpanId"] = json!(format!("{parent:016x}"));
        span
    };
    let root = json!({"gen_ai.conversation.id": "judged"});
    let answer = json!({"lk.response.text": "There is none."});
    let spans = [
        span(9, 1, "agent_session", 0..5000, &root),
        span(9, 2, "agent_turn", 1000..2000, &answer),
        below(
            2,
            span(
                9,
                3,
                "llm_request",
                1000..1200,
                &asked("gpt-4o-mini", 25, 3),
            ),
        ),
        below(
            7,
            span(9, 4, "llm_request", 5000..5400, &asked("gpt-4o", 170, 19)),
        ),
    ];
    send(&client, "livekit-agents", &spans).await;
    let session = seen(&client, "judged").await;
    assert_eq!(session["usage"]["promptTokens"], 195, "{session:#}");
    let usd = 25.0 * 0.15 + 3.0 * 0.6 + 170.0 * 2.5 + 19.0 * 10.0;
    assert_usd(&session["cost"]["totalUsd"], usd / 1e6);
}
