//! Calls of which only the seconds matter: what no capture has, told as the framework's tracer tells it.

mod eager;
mod endings;
mod pace;
mod realtime;
mod sentences;
mod tokens;
mod tools;
mod typed;
mod unheard;
mod unmeasured;
mod untraced;
mod withheld;
mod wordless;
mod workers;

use chrono::{DateTime, TimeDelta};
use serde_json::{Map, Value, json};

use crate::domain::event::{Event, Kind};
use crate::domain::vocabulary;
use crate::domain::vocabulary::Gist;

/// `id` of which the first is the parent's: `t1/stt` stands below `t1`, an exchange below the conversation.
fn span(id: &str, name: &str, during: (f64, f64), attributes: Value) -> Gist {
    gist(id, name, during, attributes).expect("something of a conversation")
}

fn gist(id: &str, name: &str, during: (f64, f64), attributes: Value) -> Option<Gist> {
    vocabulary::gist(fields(id, name, during, attributes).as_object()?)
}

fn fields(id: &str, name: &str, (from, to): (f64, f64), attributes: Value) -> Value {
    let start = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    let at = |seconds: f64| {
        let at = start + TimeDelta::microseconds((seconds * 1e6) as i64);
        at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
    };
    let parent = match id.split_once('/') {
        Some((parent, _)) => Some(parent),
        None => (id != "call").then_some("call"),
    };
    json!({
        "traceId": "trace", "spanId": id, "parentSpanId": parent, "name": name,
        "startedAt": at(from), "endedAt": at(to), "attributes": attributes, "scope": {"name": "pipecat"},
    })
}

fn call(seconds: f64) -> Gist {
    span(
        "call",
        "conversation",
        (0.0, seconds),
        json!({"conversation.id": "c"}),
    )
}

fn exchange(id: &str, during: (f64, f64), latency: f64, interrupted: bool) -> Gist {
    let attributes =
        json!({"turn.user_bot_latency_seconds": latency, "turn.was_interrupted": interrupted});
    span(id, "turn", during, attributes)
}

/// An exchange in which nobody was measured to wait.
fn unmeasured(id: &str, during: (f64, f64)) -> Gist {
    span(id, "turn", during, json!({"turn.was_interrupted": false}))
}

fn stt(id: &str, during: (f64, f64), transcript: &str) -> Gist {
    let attributes = json!({"transcript": transcript, "metrics.ttfb": 0.3, "is_final": true});
    span(id, "stt", during, attributes)
}

fn llm(id: &str, during: (f64, f64), ttfb: f64, output: &str) -> Gist {
    let attributes = json!({"output": output, "metrics.ttfb": ttfb, "gen_ai.request.model": "m"});
    span(id, "llm", during, attributes)
}

fn tts(id: &str, during: (f64, f64), ttfb: f64, said: &str) -> Gist {
    span(
        id,
        "tts",
        during,
        json!({"text": said, "metrics.ttfb": ttfb}),
    )
}

/// What is understood, in whichever order it comes.
fn understood(mut gists: Vec<Gist>) -> Vec<Event> {
    let events = vocabulary::interpret(&gists);
    gists.reverse();
    assert_eq!(vocabulary::interpret(&gists), events);
    let half = gists.len() / 2;
    gists.rotate_left(half);
    assert_eq!(vocabulary::interpret(&gists), events);
    events
}

fn of(events: &[Event], kind: Kind) -> Vec<&Map<String, Value>> {
    let events = events.iter().filter(|event| event.kind == kind);
    events.map(|event| event.fields.fields()).collect()
}

fn said(events: &[Event]) -> Vec<&str> {
    let turns = of(events, Kind::Turn);
    turns
        .iter()
        .map(|turn| turn["text"].as_str().unwrap())
        .collect()
}

/// The first answer is synthesised for so many seconds when the user speaks on, and its clock has come that far;
/// other syntheses take `usual` to their first byte.
fn talked_over(seconds: f64, ttfb: f64, usual: f64) -> Vec<Event> {
    let until = 2.9 + seconds;
    let cut = json!({"text": "Not this.", "metrics.ttfb": ttfb, "tts.interrupted": true});
    understood(vec![
        call(20.0),
        exchange("t1", (0.0, 20.0), 1.1, false),
        stt("t1/s1", (0.5, 2.3), "First"),
        llm("t1/l1", (2.6, 2.9), 0.15, "Not this."),
        span("t1/v1", "tts", (2.9, until), cut),
        stt("t1/s2", (until - 0.2, until + 1.4), "Second"),
        llm("t1/l2", (until + 1.7, until + 2.0), 0.2, "This."),
        tts("t1/v2", (until + 2.0, until + 5.2), usual, "This."),
    ])
}

#[test]
fn a_synthesis_without_a_byte_that_the_user_talked_over_was_not_heard() {
    let events = talked_over(2.5, 2.4995, 0.12);
    assert_eq!(said(&events), ["First", "Not this.", "Second", "This."]);
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns[1]["failed"], true);
    assert!(!turns[1].contains_key("ttsMs"), "{:?}", turns[1]);
    assert_eq!(
        (&turns[0]["sttMs"], &turns[2]["sttMs"]),
        (&json!(300), &json!(300))
    );
    assert!(!turns[1].contains_key("latencyMs"), "nobody heard it");
    assert_eq!(turns[3]["latencyMs"], 1100.0);
    assert_eq!(turns[3]["ttsMs"], 120.0);
    let errors = of(&events, Kind::Error);
    assert_eq!(errors.len(), 1);
    assert_eq!(
        (&errors[0]["code"], &errors[0]["turn"]),
        (&json!("no_audio_suspected"), &json!(1))
    );
}

#[test]
fn a_synthesis_that_was_only_on_its_way_has_not_failed() {
    for (seconds, usual) in [(0.3, 0.12), (2.0, 2.4)] {
        let events = talked_over(seconds, seconds - 0.001, usual);
        let turns = of(&events, Kind::Turn);
        assert_eq!(said(&events), ["First", "Not this.", "Second", "This."]);
        assert_eq!(turns[1]["cancelled"], true, "{:?}", turns[1]);
        assert!(!turns[1].contains_key("failed") && !turns[1].contains_key("ttsMs"));
        assert_eq!(turns[3]["latencyMs"], 1100.0);
        assert!(of(&events, Kind::Error).is_empty());
    }
}

#[test]
fn a_synthesis_that_was_heard_before_the_user_talked_over_it_has_a_first_byte() {
    let turns = talked_over(2.5, 0.4, 0.12);
    let turns = of(&turns, Kind::Turn);
    assert_eq!(turns[1]["ttsMs"], 400.0);
    assert_eq!(turns[1]["latencyMs"], 1100.0, "the first that was heard");
    assert!(!turns[1].contains_key("failed") && !turns[1].contains_key("cancelled"));
}

#[test]
fn the_first_token_is_of_the_generation_that_was_waited_for() {
    let events = understood(vec![
        call(20.0),
        exchange("t1", (0.0, 20.0), 1.0, false),
        stt("t1/s", (0.5, 2.3), "Where is C3?"),
        llm("t1/l1", (2.5, 2.9), 0.2, "One moment please. "),
        tts("t1/v1", (2.9, 3.2), 0.1, "One moment please."),
        llm("t1/l2", (6.0, 10.2), 4.0, "C3 has shipped."),
        tts("t1/v2", (10.2, 10.5), 0.1, "C3 has shipped."),
    ]);
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns[1]["text"], "One moment please. C3 has shipped.");
    assert_eq!(turns[1]["llmMs"], 200.0);
    assert_eq!(turns[1]["latencyMs"], 1000.0);
}

#[test]
fn a_transcript_that_was_never_called_final_was_said_if_its_span_has_a_length() {
    let supposed = json!({"transcript": "Hello", "is_final": false});
    let heard = |during| gist("t1/s", "stt", during, supposed.clone());
    assert!(heard((0.5, 2.3)).is_some());
    assert!(
        heard((2.3, 2.301)).is_none(),
        "what is supposed for now is said again"
    );
}

const REALTIME: &str = "gpt-realtime";

/// A transcript of the model that answers. What its tracer takes for the first byte of the transcript is that of
/// the answer.
fn own_stt(id: &str, during: (f64, f64), transcript: &str) -> Gist {
    let attributes = json!({"transcript": transcript, "is_final": false, "metrics.ttfb": 0.5,
        "gen_ai.request.model": REALTIME});
    span(id, "stt", during, attributes)
}

/// A response of a realtime model, told when it was over.
fn response(id: &str, over: f64, ttfb: f64, status: &str, output: Option<&str>) -> Gist {
    let attributes = json!({"output": output, "metrics.ttfb": ttfb, "response.status": status,
        "gen_ai.request.model": REALTIME, "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 60});
    span(id, "llm_response", (over, over + 0.1), attributes)
}

/// A call with a tool, and a second exchange whose answer was measured or not.
fn realtime(latency: Option<f64>) -> Vec<Event> {
    let messages = json!([{"role": "user", "content": "Where is A1?"},
        {"role": "assistant", "tool_calls": [{"id": "tc1", "type": "function",
            "function": {"name": "lookup", "arguments": "{\"id\":\"A1\"}"}}]},
        {"role": "tool", "tool_call_id": "tc1", "content": "{\"status\":\"shipped\"}"}]);
    let second = json!({"turn.was_interrupted": true, "turn.user_bot_latency_seconds": latency});
    understood(vec![
        call(30.0),
        exchange("t1", (0.0, 12.0), 0.9, false),
        own_stt("t1/s1", (1.0, 3.3), "Where is A1?"),
        response("t1/r1", 3.9, 0.5, "completed", None),
        span(
            "t1/q2",
            "llm_request",
            (4.6, 4.7),
            json!({"input": messages.to_string()}),
        ),
        response("t1/r2", 6.5, 0.4, "completed", Some("It has shipped.")),
        span("t2", "turn", (12.0, 30.0), second),
        own_stt("t2/s2", (12.0, 14.0), "Thanks"),
        response("t2/r3", 16.5, 0.45, "completed", Some("Bye.")),
    ])
}

#[test]
fn an_answer_of_a_realtime_model_took_as_long_as_was_measured() {
    let events = realtime(Some(1.1));
    assert_eq!(
        said(&events),
        ["Where is A1?", "It has shipped.", "Thanks", "Bye."]
    );
    let turns = of(&events, Kind::Turn);
    assert_eq!(
        (&turns[1]["latencyMs"], &turns[3]["latencyMs"]),
        (&json!(900), &json!(1100))
    );
    // The model had been asked again behind the tool.
    assert_eq!(turns[1]["firstAudioMs"], 5000.0);
    assert_eq!(turns[1]["llmMs"], 400.0);
    // The second answer was not asked for by a span: it came that long behind the user's last word.
    assert_eq!(
        (&turns[2]["endMs"], &turns[3]["startMs"]),
        (&json!(14_000), &json!(15_100))
    );
    for turn in &turns {
        for name in ["endpointingMs", "sttMs", "llmTotalMs"] {
            assert!(!turn.contains_key(name), "nobody measured {name}: {turn:?}");
        }
    }
}

#[test]
fn a_clock_that_a_transcription_stopped_says_nothing_of_the_response() {
    let events = understood(vec![
        call(30.0),
        exchange("t1", (0.0, 12.0), 0.9, false),
        own_stt("t1/s1", (1.0, 3.3), "Where is A1?"),
        response("t1/r1", 3.9, 0.000_39, "completed", Some("It has shipped.")),
    ]);
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns[1]["text"], "It has shipped.");
    assert!(!turns[1].contains_key("llmMs"), "{:?}", turns[1]);
}

#[test]
fn a_wait_for_a_realtime_model_that_nobody_measured_is_not_made_up() {
    let events = realtime(None);
    let turns = of(&events, Kind::Turn);
    assert!(!turns[2].contains_key("endMs"), "{:?}", turns[2]);
    assert!(!turns[3].contains_key("latencyMs") && !turns[3].contains_key("firstAudioMs"));
    assert!(turns[3]["startMs"].as_f64() >= turns[2]["startMs"].as_f64());
}

#[test]
fn tools_of_a_realtime_model_are_those_it_was_told_the_results_of() {
    let events = realtime(Some(1.1));
    let tools = of(&events, Kind::ToolCall);
    assert_eq!(tools.len(), 1);
    let tool = tools[0];
    assert_eq!(
        (&tool["name"], &tool["turn"]),
        (&json!("lookup"), &json!(1))
    );
    assert_eq!(tool["result"], json!({"status": "shipped"}));
    assert_eq!(
        (&tool["startMs"], &tool["endMs"]),
        (&json!(3900), &json!(4600))
    );
}

#[test]
fn a_tool_is_the_answer_s_that_it_led_to() {
    let (asked, told) = (
        json!({"tool.function_name": "pay", "tool.call_id": "g1", "tool.arguments": "{\"x\": 1}"}),
        json!({"tool.function_name": "pay", "tool.call_id": "g1", "tool.result": "{\"error\": \"declined\"}"}),
    );
    let events = understood(vec![
        call(30.0),
        exchange("t0", (0.0, 1.0), 0.2, false),
        response("t0/r0", 0.5, 0.2, "completed", Some("Hello.")),
        exchange("t1", (1.0, 12.0), 0.9, false),
        own_stt("t1/s1", (1.0, 3.3), "Pay it"),
        span("t1/tc", "llm_tool_call", (4.0, 4.1), asked),
        span("t1/tr", "llm_tool_result", (5.0, 5.1), told),
        response("t1/r1", 7.0, 0.6, "completed", Some("Card declined.")),
    ]);
    assert_eq!(said(&events), ["Hello.", "Pay it", "Card declined."]);
    let tools = of(&events, Kind::ToolCall);
    assert_eq!((tools.len(), &tools[0]["turn"]), (1, &json!(2)));
    assert_eq!(tools[0]["error"], "declined");
}

/// Gemini's, which does not say how its responses ended.
fn gemini_response(id: &str, over: f64, output: Option<&str>) -> Gist {
    let attributes = json!({"output": output, "metrics.ttfb": 0.000_04,
        "gen_ai.provider.name": "gcp.gemini", "gen_ai.usage.audio.output_tokens": 30});
    span(id, "llm_response", (over, over), attributes)
}

#[test]
fn a_response_that_does_not_say_so_was_stopped_where_none_was_over_that_the_user_broke_into() {
    let broken = |greeted: bool, over: f64, heard: f64| {
        let mut gists = vec![
            call(30.0),
            exchange("t1", (0.0, 6.9), 0.54, true),
            own_stt("t1/s1", (3.7, 5.3), "Tell me all."),
            own_stt("t2/s2", (6.7, heard), "Stop it."),
            exchange("t2", (6.9, 12.4), 0.63, false),
            gemini_response("t2/r2", over, Some("Here is a very")),
            gemini_response("t2/r3", 9.7, Some("Fine.")),
        ];
        gists.extend(greeted.then(|| gemini_response("t1/r1", 1.3, Some("Good day."))));
        let events = understood(gists);
        let turns = of(&events, Kind::Turn);
        let told = turns.iter().map(|turn| {
            let ms = turn.get("latencyMs").cloned().unwrap_or_default();
            (turn["text"].clone(), ms, turn.contains_key("interrupted"))
        });
        told.collect::<Vec<_>>()
    };
    let cut = (json!("Here is a very"), json!(540), true);
    let told = broken(true, 7.0, 8.3);
    assert_eq!((told.len(), &told[2], &told[4].1), (5, &cut, &json!(630)));
    assert_eq!(broken(false, 7.0, 8.3)[1], cut);
    // What was over when the user had been heard answers that.
    assert!(
        broken(true, 8.6, 8.3)
            .iter()
            .all(|(_, _, interrupted)| !interrupted)
    );
}

/// A realtime model's tools: what it asked for, in one span, and what it was told.
fn asked_and_told(told: &[(&str, &str, f64, Value)]) -> Vec<Event> {
    let names: Vec<&str> = told.iter().map(|(_, name, ..)| *name).collect();
    let asked = json!({"tool.function_name": names[0], "tool.call_id": told[0].0, "tool.arguments": "{}",
        "tool.calls_count": told.len(), "tool.all_function_names": names.join(",")});
    let mut gists = vec![
        call(30.0),
        exchange("t1", (0.0, 12.0), 0.9, false),
        own_stt("t1/s1", (1.0, 3.3), "Pay it"),
        span("t1/tc", "llm_tool_call", (4.0, 4.001), asked),
        gemini_response("t1/r1", 7.0, Some("So.")),
    ];
    for (id, name, at, result) in told.iter().filter(|(.., result)| !result.is_null()) {
        let told = json!({"tool.function_name": name, "tool.call_id": id, "tool.result": result.to_string()});
        gists.push(span(
            &format!("t1/{id}"),
            "llm_tool_result",
            (*at, at + 0.002),
            told,
        ));
    }
    understood(gists)
}

#[test]
fn tools_that_a_realtime_model_asked_for_at_once_began_at_once() {
    let events = asked_and_told(&[
        ("f1", "weather", 5.0, json!({"error": "no such town"})),
        ("f2", "table", 4.3, json!({"free": true})),
    ]);
    let tools = of(&events, Kind::ToolCall);
    let times = |name: &str| {
        let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
        (tool["startMs"].clone(), tool["endMs"].clone())
    };
    assert_eq!(times("weather"), (json!(4000), json!(5000)));
    assert_eq!(times("table"), (json!(4000), json!(4300)));
}

#[test]
fn a_realtime_model_s_tool_ends_with_its_result_and_nobody_knows_when_it_was_given_up() {
    let tool = |result: Value| {
        let events = asked_and_told(&[("f1", "pay", 6.0, result)]);
        of(&events, Kind::ToolCall)[0].clone()
    };
    assert!(!tool(Value::Null).contains_key("endMs"));
    let cut = tool(json!({"value": "CANCELLED"}));
    assert!(cut["result"] == "CANCELLED" && !cut.contains_key("endMs"));
    let raised = "The function `pay` failed and returned no result.";
    assert_eq!(tool(json!({"value": raised}))["error"], raised);
}

#[test]
fn a_response_that_the_user_stopped_is_of_the_exchange_that_it_answered() {
    let events = understood(vec![
        call(30.0),
        exchange("t1", (0.0, 8.0), 0.9, true),
        // Left open until the user had spoken again.
        own_stt("t1/s1", (1.0, 9.2), "Tell me all"),
        exchange("t2", (8.0, 30.0), 1.1, true),
        response("t2/r1", 8.1, 0.5, "cancelled", Some("All of it is")),
        own_stt("t2/s2", (9.3, 10.0), "Stop"),
        response("t2/r2", 13.0, 0.4, "completed", Some("Yes.")),
    ]);
    assert_eq!(
        said(&events),
        ["Tell me all", "All of it is", "Stop", "Yes."]
    );
    let turns = of(&events, Kind::Turn);
    assert_eq!(
        (&turns[1]["latencyMs"], &turns[3]["latencyMs"]),
        (&json!(900), &json!(1100))
    );
    assert_eq!(turns[1]["interrupted"], true);
    assert!(
        !turns[3].contains_key("interrupted"),
        "the call's end is none"
    );
}

#[test]
fn a_response_of_a_realtime_model_that_failed_is_an_error() {
    let failed = |rest: Vec<Gist>| {
        let gists = vec![
            call(30.0),
            exchange("t1", (0.0, 12.0), 0.9, false),
            own_stt("t1/s1", (1.0, 3.0), "Hello?"),
            response("t1/r1", 4.0, 0.5, "failed", None),
        ];
        understood(gists.into_iter().chain(rest).collect())
    };
    let events = failed(Vec::new());
    let error = of(&events, Kind::Error)[0];
    assert_eq!(
        (&error["service"], &error["level"]),
        (&json!("llm"), &json!("error"))
    );
    assert_eq!(of(&events, Kind::Turn)[1]["failed"], true);
    assert_eq!(of(&events, Kind::Session)[0]["status"], "failed");
    let again = response("t1/r2", 6.0, 0.5, "completed", Some("Hello."));
    let events = failed(vec![again]);
    assert_eq!(of(&events, Kind::Error)[0]["level"], "warning");
    assert_eq!(said(&events), ["Hello?", "Hello."]);
    assert_eq!(of(&events, Kind::Session)[0]["status"], "completed");
}

/// When the agent's turns began and ended.
fn spoken(events: &[Event]) -> Vec<(f64, f64)> {
    let turns = of(events, Kind::Turn);
    let turns = turns.iter().filter(|turn| turn["speaker"] == "agent");
    let ms = |turn: &Map<String, Value>, name: &str| turn[name].as_f64().expect("a time").round();
    turns
        .map(|turn| (ms(turn, "startMs"), ms(turn, "endMs")))
        .collect()
}

/// A call whose first answer was made by then, and the second question came in an exchange of its own.
fn waited(made: f64, first: Gist, next: f64) -> Vec<Event> {
    understood(vec![
        call(next + 8.0),
        first,
        stt("t1/s", (5.0, 6.0), "Hold on"),
        llm("t1/l", (6.01, 6.3), 0.2, "Sure."),
        tts("t1/v", (6.2, made), 0.2, "Sure."),
        exchange("t2", (next, next + 7.0), 1.0, false),
        stt("t2/s", (next - 0.2, next + 1.0), "Two"),
        llm("t2/l", (next + 1.01, next + 1.3), 0.2, "Great."),
        tts("t2/v", (next + 1.2, next + 1.5), 0.2, "Great."),
    ])
}

#[test]
fn an_answer_ends_with_the_silence_that_ended_its_exchange() {
    // Some services are done only seconds after the last sound.
    for made in [6.7, 9.6] {
        for next in [22.0, 500.0] {
            let events = waited(made, exchange("t1", (5.0, 9.5), 1.0, false), next);
            assert_eq!(spoken(&events)[0], (6_400.0, 7_000.0), "{made} {next}");
        }
    }
    // Where so long a silence cannot have been, the exchange is over sooner by its own settings.
    let events = waited(6.7, exchange("t1", (5.0, 8.0), 1.0, false), 22.0);
    assert_eq!(spoken(&events)[0], (6_400.0, 6_733.0));
}

#[test]
fn an_answer_that_was_waited_for_ended_before_the_user_spoke() {
    for made in [6.7, 9.6] {
        let events = waited(made, exchange("t1", (5.0, 8.5), 1.0, false), 8.5);
        assert_eq!(spoken(&events)[0], (6_400.0, 6_733.0), "{made}");
        assert!(of(&events, Kind::Interruption).is_empty());
    }
}

#[test]
fn an_answer_with_which_a_call_ended_did_not_outlast_its_exchange() {
    for (made, over, ended) in [
        (6.7, 8.0, 6_700.0),
        (6.7, 20.0, 17_500.0),
        (9.6, 8.0, 8_000.0),
    ] {
        let events = understood(vec![
            call(30.0),
            exchange("t1", (5.0, over), 1.0, true),
            stt("t1/s", (5.0, 6.0), "Hold on"),
            tts("t1/v", (6.2, made), 0.2, "Bye."),
            tts("call/v", (25.0, 25.4), 0.2, "Still there?"),
        ]);
        assert_eq!(spoken(&events)[0], (6_400.0, ended), "{made} {over}");
    }
}

#[test]
fn what_is_spoken_between_exchanges_ends_by_its_characters() {
    let events = understood(vec![
        call(60.0),
        exchange("t0", (0.0, 4.0), 0.0, false),
        tts("t0/v", (0.1, 0.9), 0.2, "Hello."),
        tts("call/v1", (20.0, 20.5), 0.2, "Are you"),
        tts("call/v2", (20.5, 20.8), 0.2, "still there?"),
        llm("call/l", (32.0, 32.3), 0.2, "Hello?"),
        tts("call/v3", (32.3, 32.5), 0.1, "Hello?"),
        exchange("t1", (40.0, 46.0), 1.2, false),
        stt("t1/s", (39.8, 41.0), "Yes"),
        tts("t1/v", (41.4, 41.9), 0.2, "Great."),
    ]);
    assert_eq!(
        said(&events),
        ["Hello.", "Are you still there?", "Hello?", "Yes", "Great."]
    );
    let prompts = [(20_200.0, 21_500.0), (32_400.0, 32_800.0)];
    assert_eq!(spoken(&events)[1..3], prompts);
    assert_eq!(spoken(&events)[0], (300.0, 1_500.0));
}

#[test]
fn an_answer_within_one_exchange_is_one_however_long_its_tool_took() {
    let events = understood(vec![
        call(30.0),
        exchange("t1", (0.0, 20.0), 1.0, false),
        stt("t1/s", (0.5, 2.3), "Where is C3?"),
        tts("t1/v1", (2.9, 3.2), 0.1, "One moment please."),
        llm("t1/l2", (9.0, 10.2), 0.4, "C3 has shipped."),
        tts("t1/v2", (10.2, 10.5), 0.1, "C3 has shipped."),
    ]);
    let told = ["Where is C3?", "One moment please. C3 has shipped."];
    assert_eq!(said(&events), told);
}

fn failed_stt(id: &str, during: (f64, f64), transcript: Option<&str>) -> Gist {
    let start = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    let at = |seconds: f64| start + TimeDelta::milliseconds((seconds * 1e3) as i64);
    let parent = id.split_once('/').map(|(parent, _)| parent);
    let span = json!({
        "traceId": "trace", "spanId": id, "parentSpanId": parent, "name": "stt",
        "startedAt": at(during.0).to_rfc3339(), "endedAt": at(during.1).to_rfc3339(),
        "attributes": {"transcript": transcript, "is_final": true, "gen_ai.provider.name": "deepgram"},
        "status": {"code": 2, "message": "closed: 1011"}, "scope": {"name": "pipecat"},
    });
    vocabulary::gist(span.as_object().expect("a span")).expect("a transcription")
}

#[test]
fn a_transcription_that_failed_is_an_error_and_no_turn() {
    let lost = failed_stt("t1/s", (5.0, 6.5), None);
    let alone = vec![call(30.0), unmeasured("t1", (5.0, 12.0)), lost.clone()];
    let events = understood(alone.clone());
    assert!(of(&events, Kind::Turn).is_empty());
    let error = of(&events, Kind::Error)[0];
    assert_eq!(
        (&error["service"], &error["level"], &error["provider"]),
        (&json!("stt"), &json!("error"), &json!("deepgram"))
    );
    assert_eq!(error.get("turn"), None);
    // What is said again is a turn of its own, and the error is of it if it is of the same exchange.
    for (parent, turn) in [("t1", Some(&json!(0))), ("t2", None)] {
        let mut gists = alone.clone();
        gists.push(unmeasured("t2", (12.0, 18.0)));
        gists.push(stt(&format!("{parent}/s2"), (12.0, 13.3), "Again"));
        let events = understood(gists);
        assert_eq!(said(&events), ["Again"]);
        assert_eq!(of(&events, Kind::Turn)[0]["startMs"], 12_000);
        assert_eq!(of(&events, Kind::Error)[0].get("turn"), turn);
    }
}

#[test]
fn a_transcription_that_failed_behind_its_words_is_an_error_of_their_turn() {
    let events = understood(vec![
        call(30.0),
        unmeasured("t1", (5.0, 12.0)),
        failed_stt("t1/s", (5.0, 6.5), Some("Where is")),
    ]);
    assert_eq!(said(&events), ["Where is"]);
    assert_eq!(of(&events, Kind::Error)[0]["turn"], 0);
}

#[test]
fn a_response_that_failed_after_it_was_heard_leaves_nobody_without_an_answer() {
    let events = understood(vec![
        call(9.1),
        exchange("t1", (0.0, 9.0), 1.0, false),
        own_stt("t1/s1", (1.0, 3.0), "Hi"),
        response("t1/r1", 5.0, 0.5, "failed", Some("Hel")),
    ]);
    assert_eq!(of(&events, Kind::Session)[0]["status"], "completed");
    assert_eq!(of(&events, Kind::Error).len(), 1);
}

#[test]
fn an_answer_to_what_was_not_understood_has_the_latency_that_was_measured() {
    let mut lost = stt("t1/s1", (1.0, 2.0), "");
    lost.fields.remove("text");
    lost.fields.insert("error".to_owned(), json!("timed out"));
    let events = understood(vec![
        call(9.1),
        exchange("t1", (0.0, 9.0), 1.0, false),
        lost,
        response("t1/r1", 5.0, 0.5, "completed", Some("Hello")),
    ]);
    assert_eq!(said(&events), ["Hello"]);
    assert_eq!(of(&events, Kind::Turn)[0]["latencyMs"], 1000);
    assert_eq!(of(&events, Kind::Error)[0]["turn"], 0);
}

#[test]
fn what_gemini_thought_is_among_what_it_wrote() {
    let written = |provider: &str, thought: Value| {
        let mut attributes =
            json!({"gen_ai.provider.name": provider, "gen_ai.usage.output_tokens": 9});
        let members = thought.as_object().unwrap().clone();
        attributes.as_object_mut().unwrap().extend(members);
        span("t1/l1", "llm", (2.6, 2.9), attributes).fields["completionTokens"].clone()
    };
    let before = json!({"gen_ai.usage.reasoning_tokens": 7});
    assert_eq!(written("gcp.gemini", before.clone()), 16);
    assert_eq!(written("gcp.vertex_ai", before.clone()), 16);
    assert_eq!(written("openai", before), 9);
    let summed = |count: u64| json!({"gen_ai.usage.reasoning.output_tokens": count});
    assert_eq!(written("gcp.gemini", summed(7)), 9);
    assert_eq!(written("gcp.gemini", summed(100)), 109);
}

/// An answer, beside which another model was asked whether anybody is there.
fn moderated(said: &str) -> Vec<Event> {
    let moderator =
        json!({"output": "CONVERSATION", "metrics.ttfb": 0.2, "gen_ai.request.model": "other"});
    understood(vec![
        call(20.0),
        exchange("t1", (0.0, 8.0), 1.7, false),
        stt("t1/s1", (0.0, 1.4), "Hello, who is there?"),
        span("t1/l2", "llm", (1.69, 2.0), moderator),
        llm("t1/l1", (1.7, 2.4), 0.6, "**It is Ada.** How are you?"),
        tts("t1/v1", (2.4, 2.6), 0.1, said),
    ])
}

#[test]
fn the_first_token_of_an_answer_is_not_that_of_a_model_which_was_asked_beside_it() {
    let first_token_ms = |said: &str| of(&moderated(said), Kind::Turn)[1]["llmMs"].clone();
    assert_eq!(first_token_ms("It is Ada. How are you?"), 600.0);
    // What no model has written tells none from another.
    assert_eq!(first_token_ms("One moment please."), 600.0);
}

#[test]
fn a_model_that_was_asked_beside_the_answer_did_not_make_it() {
    let events = moderated("It is Ada. How are you?");
    let answer = of(&events, Kind::Turn)[1].clone();
    assert_eq!(answer["models"]["llm"], "m");
    assert_eq!(answer["llmTotalMs"], 700.0);
    let beside: Vec<bool> = answer["llmCalls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["beside"] == true)
        .collect();
    assert_eq!(beside, [true, false]);
    let told = of(&moderated("One moment please."), Kind::Turn)[1].clone();
    assert!(!told["llmCalls"].to_string().contains("beside"));
}

#[test]
fn who_made_up_for_a_model_that_failed_made_the_answer() {
    let mut failed = fields(
        "t1/l1",
        "llm",
        (1.7, 1.8),
        json!({"gen_ai.request.model": "first"}),
    );
    failed["status"] = json!({"code": 2, "message": "BadRequestError: Error code: 400"});
    let failed = vocabulary::gist(failed.as_object().unwrap()).unwrap();
    let events = understood(vec![
        call(20.0),
        exchange("t1", (0.0, 8.0), 1.7, false),
        stt("t1/s1", (0.0, 1.4), "Hello?"),
        failed,
        llm("t1/l2", (2.0, 2.4), 0.2, "Hello."),
        tts("t1/v1", (2.4, 2.6), 0.1, "Hello."),
    ]);
    let answer = of(&events, Kind::Turn)[1].clone();
    assert_eq!(answer["models"]["llm"], "m");
    assert_eq!(answer["llmCalls"][0]["model"], "first");
}

#[test]
fn what_it_took_to_hear_a_user_is_told_with_their_own_answer() {
    let heard = |id: &str, during: (f64, f64), transcript: &str, took: f64| {
        let attributes = json!({"transcript": transcript, "metrics.ttfb": took, "gen_ai.provider.name": "deepgram"});
        span(id, "stt", during, attributes)
    };
    let events = understood(vec![
        call(20.0),
        exchange("t1", (0.0, 1.9), 0.9, true),
        heard("t1/s1", (0.2, 1.0), "My line is down!", 0.6),
        llm("t1/l1", (1.1, 1.5), 0.2, "Of course. Let me see."),
        tts("t1/v1", (1.4, 1.85), 0.2, "Of course."),
        exchange("t2", (1.9, 9.0), 0.8, false),
        heard("t2/s2", (1.5, 2.4), "Just fix it.", 0.3),
        llm("t2/l2", (2.6, 2.9), 0.2, "I do."),
        tts("t2/v2", (2.9, 3.1), 0.1, "I do."),
    ]);
    let turns = of(&events, Kind::Turn);
    let took = |place: usize| {
        let ms = |name: &str| turns[place][name].as_f64().unwrap().round();
        (ms("sttMs"), ms("endpointingMs"))
    };
    // Who speaks on before the first answer is heard stands between it and whom it answers.
    let speakers: Vec<_> = turns
        .iter()
        .map(|turn| turn["speaker"].as_str().unwrap())
        .collect();
    assert_eq!(speakers, ["user", "user", "agent", "agent"]);
    assert_eq!((took(2), took(3)), ((600.0, 100.0), (300.0, 200.0)));
    for place in [2, 3] {
        assert_eq!(turns[place]["providers"]["stt"], "deepgram");
    }
}
