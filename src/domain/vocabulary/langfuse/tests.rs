use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::super::{gist as read_gist, interpret as understand};
use super::*;
use crate::domain::event::{Event, Kind};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/otlp")
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn plain(value: &Value) -> Value {
    let (sort, value) = value.as_object().unwrap().iter().next().unwrap();
    match sort.as_str() {
        "intValue" => json!(value.as_str().unwrap().parse::<i64>().unwrap()),
        "arrayValue" => value["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(plain)
            .collect(),
        _ => value.clone(),
    }
}

fn attributes(list: &Value) -> Value {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let pairs = items.iter().map(|item| {
        (
            item["key"].as_str().unwrap().to_owned(),
            plain(&item["value"]),
        )
    });
    Value::Object(pairs.collect())
}

fn moment_of(nanos: &Value) -> String {
    let nanos: i64 = nanos.as_str().unwrap().parse().unwrap();
    DateTime::from_timestamp_nanos(nanos).to_rfc3339()
}

/// The gists of a capture, of the session with this id.
fn gists(capture: &str, session: &str) -> Vec<Gist> {
    let mut found = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder().join(capture))
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.retain(|path| path.to_string_lossy().ends_with("-traces.json"));
    for group in files
        .iter()
        .map(|path| json_of(path))
        .flat_map(|body| body["resourceSpans"].as_array().unwrap().clone())
    {
        for scope in group["scopeSpans"].as_array().unwrap() {
            for span in scope["spans"].as_array().unwrap() {
                let mut fields = json!({
                    "traceId": span["traceId"], "spanId": span["spanId"], "name": span["name"],
                    "startedAt": moment_of(&span["startTimeUnixNano"]), "endedAt": moment_of(&span["endTimeUnixNano"]),
                    "status": span["status"], "attributes": attributes(&span["attributes"]), "scope": scope["scope"],
                    "resource": {"attributes": attributes(&group["resource"]["attributes"])},
                });
                if span["parentSpanId"].is_string() {
                    fields["parentSpanId"] = span["parentSpanId"].clone();
                }
                if fields["attributes"]["session.id"] == session {
                    found.extend(read_gist(fields.as_object().unwrap()));
                }
            }
        }
    }
    assert!(!found.is_empty(), "{capture} {session}");
    found
}

fn of(events: &[Event], kind: Kind) -> Vec<&Map<String, Value>> {
    let own = events.iter().filter(|event| event.kind == kind);
    own.map(|event| event.fields.fields()).collect()
}

fn close(found: &Value, expected: &Value, tolerance_ms: f64) -> bool {
    (found.as_f64().unwrap_or(-1e9) - expected.as_f64().unwrap()).abs() <= tolerance_ms
}

#[test]
fn captures_amount_to_what_truly_happened() {
    for capture in ["langfuse-v3-voice", "langfuse-v5-voice"] {
        let truth = json_of(&folder().join(format!("{capture}.expected.json")));
        for expected in truth["sessions"].as_array().unwrap() {
            let events = understand(&gists(capture, expected["externalId"].as_str().unwrap()));
            compare(&events, expected);
        }
    }
}

fn compare(events: &[Event], expected: &Value) {
    let session = of(events, Kind::Session)[0];
    assert_eq!(session["agentId"], expected["agent"]);
    assert_eq!(session["transport"], expected["transport"]);
    assert_eq!(session["models"]["llm"], expected["model"]);
    assert_eq!(session["models"]["stt"], "nova-3");
    assert_eq!(session["providers"]["tts"], "cartesia");
    assert_eq!(session["metadata"]["userId"], expected["userId"]);
    let totals = &expected["totals"];
    // What generations cost is theirs: the call costs more, for it was heard and spoken too.
    assert_eq!(session.get("costUsd"), None, "{session:?}");
    let calls = of(events, Kind::Turn).into_iter();
    let calls = calls.filter_map(|turn| turn.get("llmCalls")?.as_array());
    let costs = calls.flatten().filter_map(|call| call["costUsd"].as_f64());
    let cost: f64 = costs.sum();
    assert!(close(&json!(cost), &totals["costUsd"], 1e-9), "{cost}");
    assert_eq!(session["usage"]["promptTokens"], totals["inputTokens"]);
    assert_eq!(session["usage"]["completionTokens"], totals["outputTokens"]);
    for tag in expected["tags"].as_array().unwrap() {
        assert!(session["tags"].as_array().unwrap().contains(tag));
    }
    let tools = of(events, Kind::ToolCall);
    assert_eq!(tools.len(), totals["toolCalls"].as_u64().unwrap() as usize);
    let interruptions = of(events, Kind::Interruption).len();
    assert_eq!(
        interruptions as u64,
        totals["interruptions"].as_u64().unwrap()
    );
    let turns = of(events, Kind::Turn);
    let mut turns = turns.iter();
    let mut errors = of(events, Kind::Error).into_iter();
    let mut tools = tools.into_iter();
    for exchange in expected["exchanges"].as_array().unwrap() {
        let (user, agent) = (turns.next().unwrap(), turns.next().unwrap());
        assert_eq!(
            (&user["speaker"], &user["text"]),
            (&json!("user"), &exchange["user"])
        );
        assert!(close(&user["sttMs"], &exchange["sttMs"], 30.0), "{user:?}");
        assert_eq!(agent["speaker"], "agent");
        assert_eq!(
            agent.get("text").unwrap_or(&Value::Null),
            &exchange["agent"]
        );
        let was_interrupted = agent.get("interrupted").unwrap_or(&Value::Bool(false));
        assert_eq!(was_interrupted, &exchange["interrupted"]);
        let calls = agent["llmCalls"].as_array().unwrap();
        let stated = exchange["llmCalls"].as_array().unwrap();
        assert_eq!(calls.len(), stated.len());
        for (call, stated) in calls
            .iter()
            .zip(stated)
            .filter(|(_, stated)| stated["error"].is_null())
        {
            let ttft = call["firstTokenMs"].as_f64().unwrap() - call["startMs"].as_f64().unwrap();
            assert!(close(&json!(ttft), &stated["ttftMs"], 30.0), "{call}");
            assert_eq!(call["promptTokens"], stated["inputTokens"]);
            assert_eq!(call["completionTokens"], stated["outputTokens"]);
            assert_eq!(
                call.get("cachedTokens").unwrap_or(&json!(0)),
                &stated["cachedTokens"]
            );
            assert!(close(&call["costUsd"], &stated["costUsd"], 1e-12));
        }
        if let Some(ttfb) = exchange
            .get("ttsTtfbMs")
            .filter(|_| exchange["agent"].is_string())
        {
            assert!(close(&agent["ttsMs"], ttfb, 30.0), "{agent:?}");
            let heard = agent["firstAudioMs"].as_f64().unwrap() - user["endMs"].as_f64().unwrap();
            let least = exchange["sttMs"].as_f64().unwrap() + ttfb.as_f64().unwrap();
            assert!(heard > least, "the wait is as long as its parts");
        }
        for stated in exchange["toolCalls"].as_array().unwrap() {
            let tool = tools.next().unwrap();
            assert_eq!(tool["name"], stated["name"]);
            assert_eq!(tool["arguments"], stated["arguments"]);
            assert_eq!(tool["turn"], agent["index"]);
            let ms = tool["endMs"].as_f64().unwrap() - tool["startMs"].as_f64().unwrap();
            assert!(close(&json!(ms), &stated["durationMs"], 30.0));
            assert_eq!(tool.get("error").unwrap_or(&Value::Null), &stated["error"]);
            if stated["error"].is_null() {
                assert_eq!(tool["result"], stated["result"]);
            } else {
                assert_eq!(errors.next().unwrap()["message"], stated["error"]);
            }
        }
        if exchange["error"].is_object() {
            let error = errors.next().unwrap();
            assert_eq!(error["service"], exchange["error"]["service"]);
            assert_eq!(error["message"], exchange["error"]["message"]);
            assert_eq!(agent["failed"], true);
        }
    }
    assert!(turns.next().is_none() && errors.next().is_none() && tools.next().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_does_not_matter(shuffled in Just(gists("langfuse-v5-voice", "lf-call-1002")).prop_shuffle()) {
        let straight = understand(&gists("langfuse-v5-voice", "lf-call-1002"));
        prop_assert_eq!(understand(&shuffled), straight);
    }
}

fn span(id: &str, parent: Option<&str>, name: &str, second: i64, attributes: Value) -> Gist {
    let at = |second| DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(second);
    let mut fields = json!({
        "traceId": "t", "spanId": id, "name": name, "startedAt": at(second), "endedAt": at(second + 1),
        "attributes": attributes, "scope": {"name": "langfuse-ingestion"}
    });
    if let Some(parent) = parent {
        fields["parentSpanId"] = json!(parent);
    }
    read_gist(fields.as_object().unwrap()).unwrap()
}

#[test]
fn a_trace_that_holds_bare_observations_is_their_exchange() {
    let trace = span(
        TRACE_ITSELF,
        None,
        "",
        1,
        json!({
            "langfuse.trace.input": "Where is it?", "langfuse.trace.output": {"answer": "On its way."},
            "langfuse.trace.metadata.interrupted": "\"true\"", "langfuse.trace.tags": ["a"],
        }),
    );
    let generation = span(
        "g",
        None,
        "answer",
        2,
        json!({
            "langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o",
            "langfuse.observation.usage_details": {"input": 10, "output": 2, "input_cached_tokens": 5, "total": 17},
        }),
    );
    let events = understand(&[generation, trace]);
    let turns = of(&events, Kind::Turn);
    let said: Vec<&Value> = turns.iter().map(|turn| &turn["text"]).collect();
    assert_eq!(said, ["Where is it?", "On its way."]);
    assert_eq!(
        turns[1]["llmCalls"][0]["promptTokens"], 15,
        "parts beside the input"
    );
    assert_eq!(turns[1]["interrupted"], true);
    assert!(!of(&events, Kind::Session)[0].contains_key("costUsd"));
}

#[test]
fn a_root_that_says_nothing_leaves_the_word_to_its_trace() {
    let trace = span(
        TRACE_ITSELF,
        None,
        "",
        1,
        json!({"langfuse.trace.input": "Hi", "langfuse.trace.output": "Hello"}),
    );
    let root = span(
        "r",
        None,
        "run",
        1,
        json!({"langfuse.observation.type": "span"}),
    );
    let events = understand(&[trace, root]);
    let said: Vec<&Value> = of(&events, Kind::Turn)
        .iter()
        .map(|turn| &turn["text"])
        .collect();
    assert_eq!(said, ["Hi", "Hello"]);
}

#[test]
fn a_function_s_only_argument_is_what_it_was_told() {
    let called = |input: Value| {
        let attributes = json!({
            "langfuse.observation.type": "span", "langfuse.observation.input": input.to_string(),
            "langfuse.observation.output": "On its way.",
        });
        said_in(&[span("r", None, "handle", 1, attributes)])
    };
    let told = ["Where is A1?", "On its way."];
    assert_eq!(
        called(json!({"args": ["Where is A1?"], "kwargs": {}})),
        told
    );
    assert_eq!(
        called(json!({"args": [], "kwargs": {"said": "Where is A1?"}})),
        told
    );
    let messages = json!([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Where is A1?"}]);
    assert_eq!(
        called(json!({"args": [messages.clone()], "kwargs": {}})),
        told
    );
    // A generation is a function, too.
    let generation = json!({
        "langfuse.observation.type": "generation", "langfuse.observation.output": "On its way.",
        "langfuse.observation.input": json!({"args": [], "kwargs": {"history": messages}}).to_string(),
    });
    assert_eq!(said_in(&[span("r", None, "ask", 1, generation)]), told);
    // Of two nobody knows which was said.
    let several = json!({"args": ["call-7", "Where is A1?"], "kwargs": {}});
    assert_eq!(called(several), told[1..]);
    assert_eq!(called(json!({"args": [], "kwargs": {}})), told[1..]);
}

#[test]
fn what_a_client_was_told_of_usage_is_understood_as_it_is() {
    let usage = json!({"prompt_tokens": 52, "completion_tokens": 9, "total_tokens": 61,
        "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0}});
    let told = json!({"langfuse.observation.model.name": "gpt-4o-mini",
        "langfuse.observation.usage_details": usage.to_string()});
    let (used, turns) = observed(&[("OpenAI-generation", "generation", told)]);
    assert_eq!(used["promptTokens"], 52.0);
    let call = &turns[0]["llmCalls"][0];
    let counts = ["promptTokens", "cachedTokens", "completionTokens"].map(|name| &call[name]);
    assert_eq!(counts, [&json!(52), &json!(16), &json!(9)]);
}

/// The session's `usage`, and each turn's calls and `usage`, of observations with these attributes.
fn observed(observations: &[(&str, &str, Value)]) -> (Value, Vec<Value>) {
    let mut gists = vec![span("r", None, "turn", 0, json!({}))];
    for (place, (name, sort, attributes)) in observations.iter().enumerate() {
        let mut attributes = attributes.clone();
        attributes["langfuse.observation.type"] = json!(sort);
        let at = 1 + place as i64;
        gists.push(span(&format!("o{place}"), Some("r"), name, at, attributes));
    }
    let events = understand(&gists);
    let session = of(&events, Kind::Session)[0];
    assert_eq!(session.get("costUsd"), None, "no observation is the call");
    let turns = of(&events, Kind::Turn).into_iter();
    let turns = turns.map(|turn| Value::Object(turn.clone()));
    (
        session.get("usage").cloned().unwrap_or_default(),
        turns.collect(),
    )
}

#[test]
fn each_observation_costs_what_it_says_and_nothing_more() {
    let (usage, turns) = observed(&[
        (
            "stt",
            "generation",
            json!({"langfuse.observation.output": "Hi", "langfuse.observation.metadata.audio_seconds": "2.5",
                "langfuse.observation.cost_details": {"total": 0.01}}),
        ),
        (
            "llm",
            "generation",
            json!({"langfuse.observation.usage_details": {"input": 1}, "langfuse.observation.cost_details": {"input": 0.5, "output": 0.25}}),
        ),
        (
            "again",
            "generation",
            json!({"langfuse.observation.usage_details": {"input": 1}}),
        ),
        (
            "vectors",
            "embedding",
            json!({"langfuse.observation.cost_details": {"total": 0.125}}),
        ),
        (
            "tts",
            "generation",
            json!({"langfuse.observation.input": "Hello", "langfuse.observation.cost_details": {"total": 0.02}}),
        ),
    ]);
    assert_eq!(usage["otherCostUsd"], 0.125);
    let [user, agent] = &turns[..] else {
        panic!("{turns:?}")
    };
    assert_eq!(
        user["usage"],
        json!({"sttSeconds": 2.5, "sttCostUsd": 0.01})
    );
    assert_eq!(agent["llmCalls"][0]["costUsd"], 0.75);
    assert_eq!(agent["llmCalls"][1].get("costUsd"), None);
    assert_eq!(agent["ttsCalls"][0]["costUsd"], 0.02);
    assert_eq!(agent["ttsCalls"][0]["characters"], 5);
}

#[test]
fn audio_is_told_apart_both_ways() {
    let usage = json!({"input": 1000, "output": 500, "input_audio_tokens": 800, "output_audio_tokens": 450, "total": 1500});
    let (usage, turns) = observed(&[(
        "llm",
        "generation",
        json!({"langfuse.observation.output": "Hello", "langfuse.observation.usage_details": usage}),
    )]);
    assert_eq!(
        usage,
        json!({"promptTokens": 1000, "completionTokens": 500, "audioTokens": 800, "audioOutputTokens": 450})
    );
    assert_eq!(turns[0]["llmCalls"][0]["audioOutputTokens"], 450);
}

#[test]
fn an_interruption_says_when_the_agent_stopped_and_its_onset_where_that_is_known() {
    let turn = |id: &str, at, more: Value| {
        let mut attributes =
            json!({"langfuse.observation.input": "Hi", "langfuse.observation.output": "Hello"});
        for (name, value) in more.as_object().expect("attributes") {
            attributes[name] = value.clone();
        }
        span(id, None, "turn", at, attributes)
    };
    let interrupted = json!({"langfuse.observation.metadata.interrupted": "true"});
    let mut spoken = span("s", Some("a"), "tts", 1, json!({}));
    spoken.ended_at = Some(spoken.started_at + chrono::TimeDelta::seconds(4));
    let alone = [turn("a", 0, interrupted.clone()), spoken.clone()];
    let events = understand(&alone);
    let told = of(&events, Kind::Interruption)[0];
    assert_eq!(told["audioStoppedMs"], 5_000);
    assert_eq!(told.get("atMs"), None, "nobody says when the user began");
    for (second, onset) in [(3, Some(json!(3_000))), (6, None)] {
        let mut gists = alone.to_vec();
        gists.push(turn("b", second, json!({})));
        gists.push(span("h", Some("b"), "stt", second, json!({})));
        let events = understand(&gists);
        let told = of(&events, Kind::Interruption)[0];
        assert_eq!(told.get("atMs"), onset.as_ref(), "{second}");
        assert_eq!(told["audioStoppedMs"], 5_000);
    }
}

/// An observation of a trace that was told of by itself, with what it was given and what came of it.
fn beside(id: &str, sort: &str, (from, to): (i64, i64), input: Value, output: Value) -> Gist {
    let (parent, name) = match id.split_once('/') {
        Some((parent, name)) => (Some(parent), name),
        None => (None, id),
    };
    let said = json!({
        "langfuse.observation.type": sort,
        "langfuse.observation.input": input, "langfuse.observation.output": output,
    });
    let mut gist = span(id, parent, name, from, said);
    gist.ended_at = Some(gist.started_at + chrono::TimeDelta::seconds(to - from));
    gist
}

fn trace_itself(input: Option<&str>, output: Option<&str>) -> Gist {
    let said = json!({
        "langfuse.trace.input": input, "langfuse.trace.output": output,
        "langfuse.trace.metadata.interrupted": true,
    });
    span(TRACE_ITSELF, None, "", 0, said)
}

/// What was said, the same in any order.
#[track_caller]
fn said_in(gists: &[Gist]) -> Vec<String> {
    let events = understand(gists);
    let mut reversed = gists.to_vec();
    reversed.reverse();
    assert_eq!(understand(&reversed), events);
    let turns = of(&events, Kind::Turn).into_iter();
    let said = turns.map(|turn| turn["text"].as_str().unwrap_or_default().to_owned());
    said.collect()
}

#[test]
fn a_span_among_observations_side_by_side_is_no_exchange() {
    let question = json!([{"role": "user", "content": "Where is it?"}]);
    let (input, output) = (Some("Where is it?"), Some("It shipped."));
    let told = [
        beside("llm", "generation", (1, 2), question, json!("It shipped.")),
        beside("tts", "span", (2, 4), json!("It shipped."), json!(null)),
    ];
    let query = json!({"query": "order status"});
    let spans = [
        beside("vad", "span", (0, 1), json!(null), json!(null)),
        beside(
            "retrieve-orders",
            "span",
            (0, 1),
            query,
            json!({"text": "one"}),
        ),
        beside(
            "guardrails",
            "span",
            (1, 3),
            json!("It shipped."),
            json!("ok"),
        ),
        beside(
            "guardrails/llm",
            "generation",
            (1, 2),
            json!("It shipped."),
            json!("ok"),
        ),
    ];
    for (input, output) in [(input, output), (input, None), (None, None)] {
        for among in [
            &spans[..0],
            &spans[..1],
            &spans[1..2],
            &spans[..2],
            &spans[..],
        ] {
            let mut gists = told.to_vec();
            gists.push(trace_itself(input, output));
            gists.extend_from_slice(among);
            assert_eq!(
                said_in(&gists),
                ["Where is it?", "It shipped."],
                "{among:?}"
            );
            let events = understand(&gists);
            assert_eq!(of(&events, Kind::Interruption)[0]["turn"], 1);
            assert_eq!(of(&events, Kind::Turn)[1]["startMs"], 2_000);
        }
    }
}

#[test]
fn a_span_is_the_exchange_of_what_it_holds_or_is_made_for() {
    let (asked, answered) = (json!("Hi"), json!("Hello"));
    let llm = beside("llm", "generation", (2, 3), json!(null), answered.clone());
    let marked = |name: &str, value: Value| {
        let said = json!({"langfuse.observation.input": "Hi", "langfuse.observation.output": "Hello", name: value});
        span("run", None, "run", 1, said)
    };
    let run =
        |id: &str, sort: &str, during| beside(id, sort, during, asked.clone(), answered.clone());
    for own in [
        run("run", "span", (1, 4)),
        run("run", "agent", (1, 2)),
        run("run", "chain", (1, 2)),
        run("turn-1", "span", (1, 2)),
        marked("langfuse.internal.is_app_root", json!(true)),
        marked("langfuse.observation.metadata.turn_index", json!(3)),
    ] {
        let spare = beside("vad", "span", (1, 2), json!(null), json!(null));
        let trace = trace_itself(Some("not this"), Some("nor this"));
        assert_eq!(said_in(&[own, llm.clone(), spare, trace]), ["Hi", "Hello"]);
    }
}

#[test]
fn spans_that_hold_what_was_spoken_are_exchanges_each() {
    let exchange = |n: i64| {
        let (id, at) = (format!("run{n}"), 10 * n);
        let (asked, answered) = (json!(format!("q{n}")), json!(format!("a{n}")));
        let below = format!("{id}/llm");
        [
            beside(&id, "span", (at, at + 3), asked, answered.clone()),
            beside(
                &below,
                "generation",
                (at + 1, at + 2),
                json!(null),
                answered,
            ),
        ]
    };
    let whole: Vec<Gist> = [exchange(0), exchange(1)].concat();
    let bare = [whole[0].clone(), whole[2].clone()];
    let query = beside("retrieve", "span", (1, 2), json!("order"), json!("one"));
    let both = ["q0", "a0", "q1", "a1"];
    let speaking = trace_itself(Some("all"), Some("that"));
    let with = |gists: &[Gist], more: &[&Gist]| {
        let more = more.iter().map(|gist| (*gist).clone());
        gists.iter().cloned().chain(more).collect::<Vec<_>>()
    };
    assert_eq!(said_in(&with(&whole, &[&trace_itself(None, None)])), both);
    assert_eq!(said_in(&with(&whole, &[&speaking, &query])), both);
    assert_eq!(said_in(&with(&bare, &[&trace_itself(None, None)])), both);
    assert_eq!(said_in(&with(&bare, &[&speaking])), ["all", "that"]);
}

#[test]
fn what_stands_beside_whole_exchanges_takes_nothing_from_them() {
    let exchange = |at: i64, asked: &str, answered: &str| {
        let id = format!("handle{at}");
        let below = format!("{id}/llm");
        [
            beside(&id, "span", (at, at + 3), json!(asked), json!(answered)),
            beside(
                &below,
                "generation",
                (at + 1, at + 2),
                json!(asked),
                json!(answered),
            ),
        ]
    };
    let first = exchange(0, "Where is it?", "It shipped.");
    let both = [first.clone(), exchange(10, "Thanks", "Bye")].concat();
    let with = |gists: &[Gist], more: Vec<Gist>| [gists, &more].concat();
    let silent = || trace_itself(None, None);
    let generation = |at: i64, text: &str| {
        beside(
            "judge",
            "generation",
            (at, at + 1),
            json!(null),
            json!(text),
        )
    };
    let speech = |at: i64, text: &str| {
        let id = format!("tts{at}");
        beside(&id, "span", (at, at + 1), json!(text), json!(null))
    };
    let said = ["Where is it?", "It shipped.", "Thanks", "Bye"];
    for more in [
        vec![generation(20, "A call."), silent()],
        vec![
            generation(20, "A call."),
            trace_itself(Some("Where is it?"), Some("Bye")),
        ],
        vec![speech(2, "It shipped."), speech(12, "Bye"), silent()],
        vec![span("hangup", None, "hangup", 30, json!({})), silent()],
    ] {
        assert_eq!(said_in(&with(&both, more.clone()))[..4], said, "{more:?}");
    }
    for more in [
        vec![speech(3, "It shipped."), silent()],
        vec![speech(2, "It shipped."), silent()],
        vec![generation(5, "0.9"), silent()],
        vec![
            generation(5, "0.9"),
            trace_itself(Some("Where is it?"), Some("It shipped.")),
        ],
    ] {
        assert_eq!(
            said_in(&with(&first, more.clone()))[..2],
            said[..2],
            "{more:?}"
        );
    }
    let bare = vec![speech(3, "It shipped."), silent()];
    assert_eq!(said_in(&with(&first[..1], bare)), said[..2]);
    // A guard in front of the generation that says what the trace says.
    let guard = exchange(0, "Where is it?", "ok");
    let told = trace_itself(Some("Where is it?"), Some("It shipped."));
    let question = json!([{"role": "user", "content": "Where is it?"}]);
    let llm = beside("llm", "generation", (4, 5), question, json!("It shipped."));
    assert_eq!(said_in(&with(&guard, vec![llm, told])), said[..2]);
}

/// As Langfuse's wrapper of OpenAI's client for JavaScript tells each request, in a trace of its own.
#[test]
fn a_text_alone_is_what_openai_s_responses_are_asked() {
    let request = |trace: &str, from, input: Value, output: Value| {
        let mut gist = beside("front-desk", "generation", (from, from + 1), input, output);
        gist.trace_id = trace.to_owned();
        gist
    };
    let listed = json!({"messages": [{"role": "user", "content": "Where is it?"}]}).to_string();
    let refused = Value::Null;
    let mut gists = vec![
        request("t1", 0, json!(listed), refused),
        request("t2", 3, json!("And the other one?"), json!("It shipped.")),
    ];
    gists[0]
        .fields
        .insert("error".to_owned(), json!("Error: 429 too many"));
    let events = understand(&gists);
    let turns = of(&events, Kind::Turn);
    let users = turns.iter().filter(|turn| turn["speaker"] == "user");
    let said: Vec<&str> = users.filter_map(|turn| turn["text"].as_str()).collect();
    assert_eq!(said, ["Where is it?", "And the other one?"]);
    let failed = turns
        .iter()
        .filter(|turn| turn.get("failed") == Some(&json!(true)));
    assert_eq!(failed.count(), 1, "{turns:#?}");
    assert_eq!(of(&events, Kind::Error)[0]["level"], "error");
    // What an application made of the user's words is not what they said.
    let below = beside(
        "turn/prompt",
        "generation",
        (0, 1),
        json!("Answer politely: Hi"),
        json!("Hello."),
    );
    assert_eq!(below.fields.get("userText"), None);
}

#[test]
fn what_went_wrong_is_no_answer_though_it_stands_in_the_output() {
    let said = |output: &str| {
        let attributes = json!({
            "langfuse.observation.type": "generation", "langfuse.observation.level": "ERROR",
            "langfuse.observation.status_message": "RateLimitError: slow down", "langfuse.observation.output": output,
        });
        span("g", None, "litellm-acompletion", 0, attributes).fields
    };
    let failed = said("RateLimitError: slow down");
    assert_eq!(failed.get("text"), None);
    assert_eq!(failed["error"], "RateLimitError: slow down");
    assert_eq!(said("It has")["text"], "It has");
}

#[test]
fn what_says_no_sort_of_observation_is_what_other_conventions_call_it() {
    let part = |attributes: Value| span("own", Some("above"), "desk", 0, attributes).part;
    let started = "langfuse.observation.completion_start_time";
    let generation = json!({
        started: "2026-01-17T10:00:00.200Z", "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 64,
    });
    assert_eq!(part(generation.clone()), Part::Llm);
    let said = span("own", Some("above"), "chat gpt-4o", 0, generation).fields;
    assert_eq!(said["promptTokens"], 64);
    let own = "langfuse.observation.input";
    assert_eq!(
        part(json!({own: "{}", "gen_ai.operation.name": "execute_tool"})),
        Part::Tool
    );
    assert_eq!(
        part(json!({own: "{}", "openinference.span.kind": "TOOL"})),
        Part::Tool
    );
    assert_eq!(
        part(json!({own: "{}", "gen_ai.operation.name": "agent_step"})),
        Part::Other
    );
    let sorted = json!({"langfuse.observation.type": "span", "gen_ai.operation.name": "chat"});
    assert_eq!(part(sorted), Part::Other);
}

#[test]
fn what_a_tool_gave_stands_within_a_message_of_langchain_s() {
    let gave = |output: Value| {
        let attributes = json!({
            "langfuse.observation.type": "tool", "langfuse.observation.output": output.to_string(),
        });
        span("own", Some("above"), "weather", 0, attributes).fields["result"].clone()
    };
    let message = json!({
        "lc": 1, "type": "constructor", "id": ["langchain_core", "messages", "ToolMessage"],
        "kwargs": {"content": "sunny in Kiel", "name": "weather", "tool_call_id": "c1"},
    });
    assert_eq!(gave(message), "sunny in Kiel");
    let other = json!({"type": "constructor", "kwargs": {"content": "x"}});
    assert_eq!(gave(other.clone()), other);
}
