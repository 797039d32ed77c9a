//! Exchanges by the conventions of GenAI: where messages stand, and what a retry makes good.

use serde_json::{Map, Value, json};

use crate::domain::event::Kind;
use crate::domain::vocabulary;

/// A span of one trace: its number, that of the span above, and its seconds.
fn span(id: u8, parent: u8, seconds: (u8, u8), attributes: &Value) -> Value {
    let at = |second: u8| format!("2026-01-17T10:00:{second:02}Z");
    json!({
        "traceId": "t", "spanId": id.to_string(), "parentSpanId": parent.to_string(), "name": "own",
        "startedAt": at(seconds.0), "endedAt": at(seconds.1), "attributes": attributes,
    })
}

fn failed(mut span: Value) -> Value {
    span["status"] = json!({"code": 2, "message": "overloaded"});
    span
}

/// The events of a kind that spans amount to, which is the same in any order.
#[track_caller]
fn told(spans: &[Value], kind: Kind) -> Vec<Map<String, Value>> {
    let gist = |span: &Value| vocabulary::gist(span.as_object().expect("a span"));
    let mut gists: Vec<_> = spans.iter().filter_map(gist).collect();
    let events = vocabulary::interpret(&gists);
    gists.reverse();
    assert_eq!(vocabulary::interpret(&gists), events);
    let events = events.into_iter().filter(|event| event.kind == kind);
    events.map(|event| event.fields.into_fields()).collect()
}

#[track_caller]
fn assert_said(spans: &[Value], expected: Value) {
    let turns = told(spans, Kind::Turn);
    let said = turns
        .iter()
        .map(|turn| json!([turn["speaker"], turn.get("text")]));
    assert_eq!(said.collect::<Value>(), expected);
}

fn message(role: &str, text: &str) -> Value {
    let parts = json!([{"type": "text", "content": text}]);
    Value::from(json!([{"role": role, "parts": parts}]).to_string())
}

fn agent(messages: bool) -> Value {
    let mut said = json!({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "desk"});
    if messages {
        said["gen_ai.input.messages"] = message("user", "And B2?");
        said["gen_ai.output.messages"] = message("assistant", "Lost.");
    }
    said
}

fn chat() -> Value {
    json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.output_tokens": 20})
}

#[test]
fn an_agent_s_messages_are_what_was_said() {
    let both = json!([["user", "And B2?"], ["agent", "Lost."]]);
    let own = span(1, 0, (0, 3), &agent(true));
    assert_said(std::slice::from_ref(&own), both.clone());
    assert_said(&[own.clone(), span(2, 1, (1, 2), &chat())], both.clone());
    let mut spoken = chat();
    spoken["gen_ai.input.messages"] = message("user", "And B2?");
    spoken["gen_ai.output.messages"] = message("assistant", "Lost.");
    let silent = span(1, 0, (0, 3), &agent(false));
    assert_said(&[silent, span(2, 1, (1, 2), &spoken)], both.clone());
    assert_said(&[own, span(2, 1, (1, 2), &spoken)], both.clone());
    // One that stands below the span of the turn speaks for it.
    let mut turn = span(1, 0, (0, 4), &json!({}));
    turn["name"] = json!("turn");
    let inner = span(2, 1, (0, 3), &agent(true));
    assert_said(&[turn, inner, span(3, 2, (1, 2), &chat())], both);
}

#[test]
fn messages_of_before_are_read_of_agents_too() {
    let said = json!({
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "And B1?",
        "gen_ai.prompt.1.role": "assistant", "gen_ai.prompt.1.content": "Shipped.",
        "gen_ai.prompt.2.role": "user", "gen_ai.prompt.2.content": "And B2?",
        "gen_ai.completion.0.content": "Lost.",
    });
    let own = span(1, 0, (0, 3), &said);
    assert_said(&[own], json!([["user", "And B2?"], ["agent", "Lost."]]));
}

#[test]
fn an_attempt_that_a_later_one_made_up_for_fails_no_turn() {
    let own = span(1, 0, (0, 9), &agent(false));
    let first = failed(span(2, 1, (1, 2), &chat()));
    let second = span(3, 1, (3, 4), &chat());
    let repaired = [own.clone(), first.clone(), second];
    let turns = told(&repaired, Kind::Turn);
    assert_eq!(turns.len(), 1, "{turns:?}");
    assert_eq!(turns[0].get("failed"), None);
    assert_eq!(told(&repaired, Kind::Error)[0]["level"], "warning");
    // Nothing made up for it, or only what came before.
    let early = span(3, 1, (0, 1), &chat());
    for failed_ones in [
        vec![own.clone(), first.clone()],
        vec![own.clone(), first.clone(), early],
    ] {
        let turns = told(&failed_ones, Kind::Turn);
        assert_eq!(turns[0]["failed"], true, "{turns:?}");
        assert_eq!(told(&failed_ones, Kind::Error)[0]["level"], "error");
    }
    // An apology that was spoken is an answer, whether its words are told or not.
    let speech =
        json!({"gen_ai.operation.name": "speech", "gen_ai.response.time_to_first_chunk": 0.1});
    let apology = span(4, 1, (4, 5), &speech);
    let turns = told(&[own.clone(), first.clone(), apology.clone()], Kind::Turn);
    assert_eq!(turns[0].get("failed"), None);
    let turns = told(&[own, first, failed(apology)], Kind::Turn);
    assert_eq!(turns[0]["failed"], true);
}

/// Messages of a conversation, one side after the other; the user began.
fn history(said: &[&str]) -> Value {
    let roles = ["user", "assistant"].into_iter().cycle();
    let messages = said.iter().zip(roles);
    let messages = messages
        .map(|(text, role)| json!({"role": role, "parts": [{"type": "text", "content": text}]}));
    Value::from(messages.collect::<Value>().to_string())
}

fn generation(id: u8, seconds: (u8, u8), input: Value, output: Option<&str>) -> Value {
    let mut said = chat();
    said["gen_ai.input.messages"] = input;
    if let Some(output) = output {
        said["gen_ai.output.messages"] = message("assistant", output);
    }
    span(id, 0, seconds, &said)
}

/// The same, each in a trace of its own.
fn apart(mut spans: Vec<Value>) -> Vec<Value> {
    for span in &mut spans {
        span["traceId"] = span["spanId"].clone();
    }
    spans
}

const YES: [&str; 8] = [
    "Book a table",
    "For two?",
    "Yes",
    "At eight?",
    "Yes",
    "Booked. Bye?",
    "Yes",
    "Bye",
];

/// A call in which the same is said three times in a row, each generation given so many of the latest messages.
fn yes(given: usize) -> Vec<Value> {
    let generation = |n: usize| {
        let (told, at) = (2 * n + 1, 8 * n as u8);
        let input = history(&YES[told.saturating_sub(given)..told]);
        generation(n as u8 + 1, (at, at + 1), input, Some(YES[told]))
    };
    (0..4).map(generation).collect()
}

#[test]
fn who_says_the_same_again_is_answered_again() {
    let sides = ["user", "agent"].into_iter().cycle();
    let expected: Value = sides
        .zip(YES)
        .map(|(side, text)| json!([side, text]))
        .collect();
    assert_said(&yes(9), expected.clone());
    assert_said(&apart(yes(9)), expected.clone());
    // Nobody tells what was said before.
    assert_said(&apart(yes(1)), expected.clone());
    // Messages with numbers in their names.
    let mut numbered = yes(0);
    for (n, span) in numbered.iter_mut().enumerate() {
        let mut said = json!({"openinference.span.kind": "LLM", "llm.output_messages.0.message.content": YES[2 * n + 1]});
        for (place, text) in YES[..=2 * n].iter().enumerate() {
            let role = ["user", "assistant"][place % 2];
            said[format!("llm.input_messages.{place}.message.role")] = json!(role);
            said[format!("llm.input_messages.{place}.message.content")] = json!(text);
        }
        span["attributes"] = said;
    }
    assert_said(&numbered, expected.clone());
    assert_said(&apart(numbered), expected);
}

#[test]
fn an_answer_that_took_several_generations_is_one() {
    let asked = || history(&["Hi", "Hello", "Where is it?"]);
    let expected = json!([["user", "Where is it?"], ["agent", "On its way."]]);
    let tool = json!([
        {"role": "user", "parts": [{"type": "text", "content": "Where is it?"}]},
        {"role": "assistant", "parts": [{"type": "text", "content": "One moment."}, {"type": "tool_call", "id": "t"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "t", "result": "shipped"}]},
    ]);
    let said = |seconds, output| generation(2, seconds, asked(), output);
    let answer = said((6, 7), Some("On its way."));
    let several = [
        // A retry, one of another model, and the rest of an answer behind a tool.
        vec![failed(generation(1, (0, 1), asked(), None)), answer.clone()],
        vec![
            failed(generation(1, (0, 1), asked(), Some("On its"))),
            answer.clone(),
        ],
        vec![
            generation(1, (0, 1), asked(), Some("One moment.")),
            generation(
                2,
                (6, 7),
                Value::from(tool.to_string()),
                Some("On its way."),
            ),
        ],
        // What was asked of another model first, which knows of nothing else that was said.
        vec![
            generation(1, (0, 1), history(&["Where is it?"]), Some("harmless")),
            said((1, 2), Some("On its way.")),
        ],
    ];
    for spans in several {
        assert_said(&spans, expected.clone());
        assert_said(&apart(spans), expected.clone());
    }
    // In one trace, what was told no more is asked for no second time.
    let again = [generation(1, (0, 1), asked(), Some("Late.")), answer];
    assert_said(&again, expected);
}

/// A turn with two attempts at a part; the first one failed. Its events.
fn attempts(first: (u8, u8), then: (u8, u8), attributes: [&Value; 2]) -> Vec<Value> {
    let mut turn = span(1, 0, (0, 20), &json!({}));
    turn["name"] = json!("turn");
    vec![
        turn,
        failed(span(2, 1, first, attributes[0])),
        span(3, 1, then, attributes[1]),
    ]
}

#[test]
fn a_sentence_is_made_up_for_by_itself_only() {
    let speech = |text: Option<&str>| json!({"gen_ai.operation.name": "speech", "text": text, "gen_ai.response.time_to_first_chunk": 0.1});
    let missed = speech(Some("Shipped on Monday. "));
    for (then, level, said) in [
        (
            Some("Anything else?"),
            "error",
            "Shipped on Monday. Anything else?",
        ),
        (Some("Shipped on Monday."), "warning", "Shipped on Monday."),
        (
            Some("Shipped on Monday. Bye."),
            "warning",
            "Shipped on Monday. Bye.",
        ),
        (
            Some("<speak>Shipped  on\nMonday</speak>"),
            "warning",
            "<speak>Shipped  on\nMonday</speak>",
        ),
        (None, "warning", ""),
    ] {
        let spans = attempts((1, 2), (3, 4), [&missed, &speech(then)]);
        assert_eq!(told(&spans, Kind::Error)[0]["level"], level, "{then:?}");
        let turns = told(&spans, Kind::Turn);
        let text = turns[0].get("text").and_then(Value::as_str);
        assert_eq!(text.unwrap_or_default(), said);
    }
}

#[test]
fn a_sentence_may_be_tried_again_in_pieces_and_fail_again() {
    let speech = |text: &str| json!({"gen_ai.operation.name": "speech", "text": text});
    let of = |first: &str, then: &str, third: Value| {
        let mut spans = attempts((1, 2), (3, 4), [&speech(first), &speech(then)]);
        spans.push(third);
        let errors = told(&spans, Kind::Error);
        let levels: Vec<Value> = errors.iter().map(|error| error["level"].clone()).collect();
        (levels, told(&spans, Kind::Turn)[0]["text"].clone())
    };
    let good = |text: &str| span(4, 1, (4, 5), &speech(text));
    assert_eq!(
        of("It shipped. Bye.", "It shipped.", good("Bye.")),
        (vec![json!("warning")], json!("It shipped. Bye."))
    );
    // No word of it was heard in another word.
    assert_eq!(
        of("No", "Now listen", good("please")),
        (vec![json!("error")], json!("No Now listen please"))
    );
    let twice = attempts((1, 2), (3, 4), [&speech("Yes."), &speech("Yes.")]);
    let twice = [twice[0].clone(), twice[1].clone(), failed(twice[2].clone())];
    assert_eq!(told(&twice, Kind::Turn)[0]["text"], "Yes.");
}

#[test]
fn what_nobody_heard_is_no_answer_behind_which_the_user_says_the_same() {
    let message = |role: &str, text: &str| json!({"role": role, "parts": [{"type": "text", "content": text}]});
    let told = |more: &[&str]| {
        let system = more.iter().map(|text| message("system", text));
        let all = system.chain([message("user", "Where is it?")]);
        Value::from(all.collect::<Value>().to_string())
    };
    let speech = |id, during, text: &str| {
        span(
            id,
            0,
            during,
            &json!({"gen_ai.operation.name": "speech", "text": text}),
        )
    };
    let expected = json!([["user", "Where is it?"], ["agent", "It shipped."]]);
    let rewritten = [
        generation(1, (0, 1), told(&["be brief"]), Some("order status A1")),
        generation(2, (3, 4), told(&["be brief", "docs"]), Some("It shipped.")),
    ];
    assert_said(&rewritten, expected.clone());
    let spoken = [&rewritten[..], &[speech(3, (4, 5), "It shipped.")]].concat();
    assert_said(&spoken, expected.clone());
    assert_said(&apart(spoken), expected.clone());
    let again = [
        generation(1, (0, 1), told(&[]), Some("It shipped.")),
        failed(speech(3, (1, 2), "It shipped.")),
        generation(2, (3, 4), told(&["again"]), Some("It shipped.")),
        speech(4, (4, 5), "It shipped."),
    ];
    assert_said(&again, expected.clone());
    assert_said(&apart(again.to_vec()), expected);
}

#[test]
fn an_utterance_is_made_up_for_by_itself_only() {
    let heard = |seconds: Option<f64>, text: Option<&str>| json!({"gen_ai.operation.name": "transcribe", "transcript": text, "audio_seconds": seconds});
    let cases = [
        (None, (2, 3), None, "warning"),
        (None, (9, 10), None, "error"),
        (Some(1.5), (9, 10), Some(1.5), "warning"),
        (Some(1.5), (2, 3), Some(4.0), "error"),
    ];
    for (missed, then, audio, level) in cases {
        let (missed, found) = (heard(missed, None), heard(audio, Some("Hello?")));
        let spans = attempts((1, 2), then, [&missed, &found]);
        assert_eq!(told(&spans, Kind::Error)[0]["level"], level, "{then:?}");
    }
}

#[test]
fn a_transcription_that_failed_took_no_time_to_understand_the_user() {
    let heard =
        |text: Option<&str>| json!({"gen_ai.operation.name": "transcribe", "transcript": text});
    let spans = attempts((1, 3), (3, 4), [&heard(None), &heard(Some("Hello?"))]);
    let user = told(&spans, Kind::Turn).remove(0);
    assert_eq!(user["sttMs"], 1_000);
    // Who spoke had to wait for it all the same.
    assert_eq!(
        (&user["startMs"], &user["endMs"]),
        (&json!(1_000), &json!(1_000))
    );
    // One of something else was no wait for this.
    let other = attempts((1, 2), (6, 7), [&heard(None), &heard(Some("Hello?"))]);
    assert_eq!(told(&other, Kind::Turn)[0]["endMs"], 6_000);
    let user = told(&spans[..2], Kind::Turn).remove(0);
    assert_eq!(user.get("sttMs"), None);
    assert_eq!(user["endMs"], 1_000);
}

/// A generation that was told so many messages of the conversation, and asked the last of them.
fn asked(id: u8, parent: u8, at: u8, told: &[&str], answer: &str) -> Value {
    let messages = told.iter().enumerate().map(|(place, text)| {
        let role = ["user", "assistant"][place % 2];
        json!({"role": role, "parts": [{"type": "text", "content": text}]})
    });
    let mut said = chat();
    said["gen_ai.input.messages"] = messages.collect::<Value>().to_string().into();
    said["gen_ai.output.messages"] = message("assistant", answer);
    span(id, parent, (at, at + 1), &said)
}

#[test]
fn a_silent_span_around_several_exchanges_is_their_conversation() {
    let root = span(1, 0, (0, 30), &agent(false));
    let spans = [
        root.clone(),
        asked(2, 1, 1, &["Hello."], "Hi."),
        asked(3, 1, 5, &["Hello.", "Hi.", "And B2?"], "Lost."),
        // Looks at what was asked, and is no word of the user's.
        asked(4, 1, 6, &["Is this rude: And B2?"], ""),
        asked(
            5,
            1,
            10,
            &["Hello.", "Hi.", "And B2?", "Lost.", "Bye."],
            "Bye!",
        ),
    ];
    let said = json!([
        ["user", "Hello."],
        ["agent", "Hi."],
        ["user", "And B2?"],
        ["agent", "Lost."],
        ["user", "Bye."],
        ["agent", "Bye!"]
    ]);
    assert_said(&spans, said);
    let session = told(&spans, Kind::Session);
    assert_eq!(session[0]["status"], "completed");
    // Steps of one answer, each with words of its own, are no conversation.
    let steps = [
        root.clone(),
        asked(2, 1, 1, &["Route: And B2?"], "orders"),
        asked(3, 1, 3, &["And B2?"], "Lost."),
    ];
    assert_said(
        &steps,
        json!([["user", "Route: And B2?"], ["agent", "Lost."]]),
    );
    // Nor is what says itself what was said.
    let whole = span(1, 0, (0, 30), &agent(true));
    assert_said(
        &[whole, spans[1].clone(), spans[2].clone()],
        json!([["user", "And B2?"], ["agent", "Lost."]]),
    );
    let heard = |id: u8, at: u8, text: &str| {
        let said = json!({"gen_ai.operation.name": "transcribe", "transcript": text});
        span(id, 1, (at, at + 1), &said)
    };
    let spoken = [
        root,
        heard(2, 1, "Hello."),
        asked(3, 1, 2, &["Hello."], "Hi."),
        heard(4, 5, "And"),
        heard(5, 6, "B2?"),
        asked(6, 1, 7, &["And B2?"], "Lost."),
    ];
    let said = json!([
        ["user", "Hello."],
        ["agent", "Hi."],
        ["user", "And B2?"],
        ["agent", "Lost."]
    ]);
    assert_said(&spoken, said);
}

#[test]
fn a_generation_within_another_is_told_once_whoever_tells_of_it() {
    let mut inner = span(
        3,
        2,
        (1, 2),
        &json!({
            "openinference.span.kind": "LLM", "llm.token_count.prompt": 50, "llm.token_count.completion": 20,
            "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "And B2?",
            "llm.output_messages.0.message.content": "Lost.", "llm.model_name": "gpt-4o",
        }),
    );
    let mut outer = chat();
    outer["gen_ai.usage.input_tokens"] = json!(50);
    let outer = span(2, 1, (1, 2), &outer);
    let both = json!([["user", "And B2?"], ["agent", "Lost."]]);
    let spans = [
        span(1, 0, (0, 3), &agent(false)),
        outer.clone(),
        inner.clone(),
    ];
    assert_said(&spans, both.clone());
    assert_eq!(
        told(&spans, Kind::Session)[0]["usage"]["promptTokens"],
        50.0
    );
    // The same where they stand beside each other.
    inner["parentSpanId"] = json!("1");
    let spans = [span(1, 0, (0, 3), &agent(false)), outer, inner];
    assert_said(&spans, both);
    assert_eq!(
        told(&spans, Kind::Session)[0]["usage"]["promptTokens"],
        50.0
    );
}

#[test]
fn a_function_around_several_generations_is_none_itself() {
    let mut function = span(2, 1, (1, 8), &json!({}));
    function["name"] = json!("generate_answer");
    let around = |count: u8| {
        let own = span(1, 0, (0, 9), &agent(true));
        let inner = (0..count).map(|n| span(3 + n, 2, (1 + n, 2 + n), &chat()));
        let spans: Vec<Value> = [own, function.clone()].into_iter().chain(inner).collect();
        let turns = told(&spans, Kind::Turn);
        let calls = turns[1]["llmCalls"].as_array().expect("calls").len();
        (
            calls,
            told(&spans, Kind::Session)[0]["usage"]["completionTokens"].clone(),
        )
    };
    assert_eq!(around(1), (1, json!(20)));
    assert_eq!(around(2), (2, json!(40)));
}

#[test]
fn a_generation_that_says_it_stands_in_itself_is_told() {
    let own = span(1, 0, (0, 9), &agent(true));
    let turns = told(&[own, span(2, 2, (1, 2), &chat())], Kind::Turn);
    assert_eq!(turns[1]["llmCalls"][0]["completionTokens"], 20);
}

/// A generation of so many tokens that was given messages, by role and text, and what it wrote.
fn talk(messages: &[(&str, &str)], text: &str) -> Value {
    let given = messages
        .iter()
        .map(|(role, text)| json!({"role": role, "content": text}));
    let mut said = chat();
    said["gen_ai.input.messages"] = Value::from(given.collect::<Value>().to_string());
    said["gen_ai.output.messages"] = message("assistant", text);
    said
}

fn silent() -> Value {
    json!({"openinference.span.kind": "AGENT"})
}

const HISTORY: [(&str, &str); 3] = [
    ("user", "Hi."),
    ("assistant", "Hello."),
    ("user", "And B2?"),
];

#[test]
fn what_looks_at_a_question_before_it_is_answered_is_no_exchange_before_it() {
    let answer = talk(&HISTORY, "Lost.");
    let asked = |first: &Value| {
        [
            span(1, 0, (0, 9), &silent()),
            span(2, 1, (1, 2), first),
            span(3, 1, (4, 5), &answer),
        ]
    };
    let judged = asked(&talk(&[("user", "And B2?")], "harmless"));
    assert_said(&judged, json!([["user", "And B2?"], ["agent", "Lost."]]));
    let rewritten = asked(&talk(&[("user", "Make a question of it.")], "Where is B2?"));
    let turns = told(&rewritten, Kind::Turn);
    assert_eq!(turns.len(), 2, "{turns:?}");
    // The same where the whole conversation stands below one span: it is of the exchange whose words it looks at.
    let whole = [
        span(1, 0, (0, 30), &silent()),
        span(2, 1, (1, 2), &talk(&HISTORY[..1], "harmless")),
        span(3, 1, (2, 3), &talk(&HISTORY[..1], "Hello.")),
        span(4, 1, (9, 10), &talk(&HISTORY[2..], "harmless")),
        span(5, 1, (10, 11), &answer),
    ];
    let said = json!([
        ["user", "Hi."],
        ["agent", "Hello."],
        ["user", "And B2?"],
        ["agent", "Lost."]
    ]);
    assert_said(&whole, said);
}

#[test]
fn who_says_the_same_again_at_once_is_known_by_the_answer_before_it() {
    let yes = [("user", "Yes."), ("assistant", "Sure?"), ("user", "Yes.")];
    let spans = [
        span(1, 0, (0, 9), &silent()),
        span(2, 1, (1, 2), &talk(&yes[..1], "Sure?")),
        span(3, 1, (2, 3), &talk(&yes, "Done.")),
    ];
    let turns = told(&spans, Kind::Turn);
    let mut said: Vec<&Value> = turns.iter().filter_map(|turn| turn.get("text")).collect();
    said.sort_by_key(|text| text.to_string());
    assert_eq!(said, ["Done.", "Sure?", "Yes.", "Yes."]);
}

#[test]
fn a_voice_is_heard_again_behind_an_answer_whose_words_nobody_tells() {
    let mut spans = vec![span(1, 0, (0, 30), &silent())];
    for turn in [0, 1] {
        for (part, name) in [(0, "stt"), (1, "llm"), (2, "tts")] {
            let second = 1 + turn * 10 + part;
            let mut part = span(2 + turn * 3 + part, 1, (second, second + 1), &json!({}));
            part["name"] = name.into();
            spans.push(part);
        }
    }
    assert_eq!(told(&spans, Kind::Turn).len(), 4);
}

#[test]
fn what_went_wrong_in_a_whole_conversation_is_told() {
    let whole = |retrieval: Value, root: Value| {
        [
            root,
            span(2, 1, (1, 2), &talk(&HISTORY[..1], "Hello.")),
            retrieval,
            span(4, 1, (6, 7), &talk(&HISTORY, "Lost.")),
        ]
    };
    let root = || span(1, 0, (0, 9), &silent());
    let retrieval = || {
        span(
            3,
            1,
            (3, 4),
            &json!({"openinference.span.kind": "RETRIEVER"}),
        )
    };
    for spans in [
        whole(failed(retrieval()), root()),
        whole(retrieval(), failed(root())),
        whole(failed(retrieval()), failed(root())),
    ] {
        assert_eq!(told(&spans, Kind::Turn).len(), 4);
        assert_eq!(told(&spans, Kind::Error).len(), 1);
    }
}

#[test]
fn a_picture_is_told_and_says_none_of_the_words_before_it() {
    let picture = json!([
        {"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]},
    ]);
    let mut shown = talk(&[], "A boat.");
    shown["gen_ai.input.messages"] = Value::from(picture.to_string());
    let spans = [
        span(1, 0, (1, 2), &talk(&HISTORY[..1], "Hello.")),
        span(2, 0, (6, 7), &shown),
    ];
    let said = json!([
        ["user", "Hi."],
        ["agent", "Hello."],
        ["user", null],
        ["agent", "A boat."]
    ]);
    assert_said(&spans, said);
}

#[test]
fn what_an_agent_generates_below_a_tool_of_a_generation_counts_too() {
    let tool = json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ask"});
    let spans = [
        span(1, 0, (0, 9), &agent(false)),
        span(2, 1, (0, 8), &chat()),
        span(3, 2, (1, 7), &tool),
        span(4, 3, (1, 7), &agent(false)),
        span(5, 4, (2, 4), &chat()),
    ];
    let turns = told(&spans, Kind::Turn);
    let calls = turns
        .iter()
        .filter_map(|turn| turn.get("llmCalls")?.as_array());
    assert_eq!(calls.map(Vec::len).collect::<Vec<_>>(), [2]);
    // What is only named like a generation around an agent is none.
    let mut named = spans.clone();
    named[1]["attributes"] = json!({});
    named[1]["name"] = "chat_with_desk".into();
    let mut around = span(6, 0, (0, 9), &json!({}));
    around["name"] = "chat_with_desk".into();
    named[0]["parentSpanId"] = "6".into();
    named[4]["parentSpanId"] = "1".into();
    let turns = told(&[named[0].clone(), around, named[4].clone()], Kind::Turn);
    let calls = turns
        .iter()
        .filter_map(|turn| turn.get("llmCalls")?.as_array());
    assert_eq!(calls.map(Vec::len).sum::<usize>(), 1);
}

#[test]
fn a_tool_that_two_tracers_tell_of_is_called_once() {
    let told_by = |arguments: &str, result: Option<&str>| {
        let mut tool = json!({
            "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup",
            "gen_ai.tool.call.arguments": arguments,
        });
        if let Some(result) = result {
            tool["gen_ai.tool.call.result"] = result.into();
        }
        tool
    };
    let given = "{\"order_id\":\"A1\"}";
    let calls = |outer: &Value, inner: Value| {
        let spans = [
            span(1, 0, (0, 9), &agent(true)),
            span(2, 1, (1, 5), outer),
            inner,
        ];
        told(&spans, Kind::ToolCall)
    };
    let outer = told_by(given, Some("shipped"));
    let same = calls(&outer, failed(span(3, 2, (2, 3), &told_by(given, None))));
    assert_eq!(same.len(), 1);
    assert_eq!(same[0]["result"], "shipped");
    assert_eq!(same[0].get("error"), None);
    let silent = calls(&told_by(given, None), span(3, 2, (2, 3), &outer));
    assert_eq!(silent.len(), 1);
    assert_eq!(silent[0]["result"], "shipped");
    let other = told_by("{\"order_id\":\"B2\"}", Some("lost"));
    assert_eq!(calls(&outer, span(3, 2, (2, 3), &other)).len(), 2);
}

#[test]
fn a_first_token_that_only_the_inner_span_tells_was_there_when_it_says() {
    let mut inner = talk(&HISTORY[..1], "Hello.");
    inner["gen_ai.response.time_to_first_chunk"] = 0.5.into();
    let mut outer = span(1, 0, (1, 9), &json!({}));
    outer["name"] = "chat_turn".into();
    let spans = [outer, span(2, 1, (3, 8), &inner)];
    let turns = told(&spans, Kind::Turn);
    assert_eq!(turns[1]["llmMs"].as_f64(), Some(2_500.0));
}

/// A generation of which no content is told, of a trace of its own.
fn silent_chat(id: u8, seconds: (u8, u8), why: Value) -> Value {
    let mut said = chat();
    said["gen_ai.response.finish_reasons"] = why;
    let mut span = span(id, 0, seconds, &said);
    span["traceId"] = json!(format!("t{id}"));
    span
}

#[test]
fn generations_of_which_no_word_is_told_are_answers_each_in_its_trace() {
    let spans = [
        silent_chat(1, (0, 1), json!(["stop"])),
        silent_chat(2, (5, 6), json!(["tool_calls"])),
        silent_chat(3, (8, 9), json!("[\"stop\"]")),
        silent_chat(4, (14, 15), json!(["stop"])),
    ];
    let turns = told(&spans, Kind::Turn);
    let starts: Vec<&Value> = turns.iter().map(|turn| &turn["startMs"]).collect();
    assert_eq!(starts, [1_000.0, 9_000.0, 15_000.0]);
    assert!(turns.iter().all(|turn| turn["speaker"] == "agent"));
    // In one trace nobody knows which of them was heard, nor at once.
    let mut together = spans.clone();
    for span in &mut together {
        span["traceId"] = json!("t");
    }
    assert_eq!(told(&together, Kind::Turn).len(), 1);
    let at_once = [spans[0].clone(), silent_chat(5, (1, 2), json!(["stop"]))];
    assert_eq!(told(&at_once, Kind::Turn).len(), 1);
}

/// A generation as a tracer with this name tells of it.
fn traced(tracer: &str, id: u8, seconds: (u8, u8), response: Option<&str>) -> Value {
    let mut said = chat();
    said["gen_ai.usage.input_tokens"] = json!(50);
    if let Some(response) = response {
        said["gen_ai.response.id"] = json!(response);
    }
    let mut span = span(id, 1, seconds, &said);
    span["scope"] = json!({"name": tracer});
    span
}

#[test]
fn a_generation_that_two_tracers_of_one_vocabulary_tell_of_side_by_side_counts_once() {
    let count = |generations: &[Value]| {
        let own = span(1, 0, (0, 9), &agent(true));
        let spans: Vec<Value> = [own].iter().chain(generations).cloned().collect();
        let calls = told(&spans, Kind::Turn)[1]["llmCalls"]
            .as_array()
            .map(Vec::len);
        let used = told(&spans, Kind::Session)[0]["usage"]["promptTokens"].clone();
        (calls.unwrap_or_default(), used)
    };
    let wrapper = traced("openllmetry", 2, (1, 3), Some("msg_1"));
    let client = traced("anthropic", 3, (1, 3), Some("msg_1"));
    assert_eq!(count(&[wrapper.clone(), client.clone()]), (1, json!(50)));
    let mut uncounted = client.clone();
    uncounted["attributes"] = json!({
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.response.id": "msg_1",
    });
    assert_eq!(count(&[wrapper.clone(), uncounted]), (1, json!(50)));
    let nameless = traced("anthropic", 3, (1, 3), None);
    assert_eq!(count(&[wrapper.clone(), nameless]), (1, json!(50)));
    // Another answer, another time, or the same tracer.
    for other in [
        traced("anthropic", 3, (1, 3), Some("msg_2")),
        traced("anthropic", 3, (5, 6), Some("msg_1")),
        traced("openllmetry", 3, (1, 3), None),
    ] {
        assert_eq!(count(&[wrapper.clone(), other]), (2, json!(100)));
    }
}

#[test]
fn a_generation_that_two_tracers_tell_of_in_traces_of_their_own_counts_once() {
    let used = |other: Value| {
        let mut other = other;
        other["traceId"] = json!("another");
        let spans = [traced("openinference", 2, (1, 3), None), other];
        told(&spans, Kind::Session)[0]["usage"]["promptTokens"].clone()
    };
    let client = traced("anthropic", 3, (1, 3), Some("msg_1"));
    assert_eq!(used(client), 50);
    assert_eq!(used(traced("anthropic", 3, (5, 6), Some("msg_1"))), 100);
    assert_eq!(used(traced("openinference", 3, (1, 3), None)), 100);
}

#[test]
fn a_generation_that_fails_for_two_tracers_is_one_error() {
    let own = || span(1, 0, (0, 9), &agent(true));
    let fails = |tracer: &str, id: u8| failed(traced(tracer, id, (1, 3), None));
    let errors = |other: &str| {
        let spans = [own(), fails("openllmetry", 2), fails(other, 3)];
        told(&spans, Kind::Error).len()
    };
    assert_eq!(errors("anthropic"), 1);
    assert_eq!(errors("openllmetry"), 2);
}

#[test]
fn what_failed_within_a_millisecond_stands_behind_what_was_asked() {
    let mut chat = chat();
    chat["gen_ai.prompt.0.role"] = json!("user");
    chat["gen_ai.prompt.0.content"] = json!("Where is A1?");
    let turns = told(&[failed(span(1, 0, (1, 1), &chat))], Kind::Turn);
    assert_eq!(turns[0]["speaker"], "user");
    assert_eq!(turns[0]["startMs"], 0.0);
    assert_eq!(turns[0].get("endMs"), None);
    assert_eq!(turns[1]["startMs"], 1.0);
    assert_eq!(turns[1]["endMs"], 1.0);
}

#[test]
fn a_generation_that_was_given_up_is_no_error() {
    let given_up = |text: Option<&str>, code: &str| {
        let mut chat = chat();
        chat["error.type"] = json!(code);
        if let Some(text) = text {
            chat["gen_ai.completion.0.content"] = json!(text);
        }
        failed(span(2, 1, (1, 3), &chat))
    };
    let own = || {
        span(
            1,
            0,
            (0, 9),
            &json!({"openinference.span.kind": "AGENT", "input.value": "Hi"}),
        )
    };
    for code in [
        "asyncio.exceptions.CancelledError",
        "GeneratorExit",
        "AbortError",
    ] {
        let spans = [own(), given_up(None, code)];
        assert!(told(&spans, Kind::Error).is_empty());
        let answer = &told(&spans, Kind::Turn)[1];
        assert_eq!(answer["cancelled"], true);
        assert_eq!(answer["llmCalls"][0]["cancelled"], true);
        assert_eq!(answer.get("failed"), None);
        let begun = [own(), given_up(Some("I have"), code)];
        let answer = &told(&begun, Kind::Turn)[1];
        assert_eq!(answer["text"], "I have");
        assert_eq!(answer.get("cancelled"), None);
    }
    let spans = [own(), given_up(None, "TimeoutError")];
    assert_eq!(told(&spans, Kind::Error).len(), 1);
}

#[test]
fn a_failure_that_went_through_steps_is_told_where_it_arose() {
    let chat = json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"});
    let errors = |step: &str| {
        let mut above = failed(span(
            2,
            1,
            (1, 5),
            &json!({"gen_ai.operation.name": "step"}),
        ));
        above["status"]["message"] = json!(step);
        let spans = [
            span(1, 0, (0, 9), &agent(true)),
            above,
            failed(span(3, 2, (2, 4), &chat)),
        ];
        let errors = told(&spans, Kind::Error);
        let services = errors.iter().map(|error| error["service"].clone());
        services.collect::<Value>()
    };
    assert_eq!(errors("overloaded"), json!(["llm"]));
    assert_eq!(errors("model: overloaded"), json!(["llm"]));
    assert_eq!(errors("no route"), json!(["workflow", "llm"]));
}

#[test]
fn what_an_agent_below_a_span_that_nobody_knows_does_for_a_tool_is_of_its_exchange() {
    let tool = json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "expert"});
    let mut expert = agent(true);
    expert["gen_ai.agent.name"] = json!("expert");
    expert["gen_ai.output.messages"] = message("assistant", "Within a week.");
    let said = |from: u8, to: u8| {
        let spans = [
            span(1, 90, (0, 9), &agent(true)),
            span(2, 1, (2, 6), &tool),
            span(3, 91, (from, to), &expert),
        ];
        told(&spans, Kind::Turn).len()
    };
    assert_eq!(said(3, 5), 2);
    // What only begins meanwhile is an exchange.
    assert_eq!(said(3, 8), 4);
}

#[test]
fn a_step_s_output_is_no_answer_of_what_failed() {
    let own = failed(span(
        1,
        0,
        (0, 9),
        &json!({"gen_ai.operation.name": "invoke_agent"}),
    ));
    let step = span(
        2,
        1,
        (1, 2),
        &json!({"openinference.span.kind": "CHAIN", "output.value": "And B2?"}),
    );
    let asked = json!({
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o",
        "gen_ai.input.messages": message("user", "And B2?"),
    });
    let spans = [own, step, failed(span(3, 1, (3, 4), &asked))];
    assert_said(&spans, json!([["user", "And B2?"], ["agent", null]]));
    assert_eq!(told(&spans, Kind::Turn)[1]["failed"], true);
}

#[test]
fn a_step_of_a_generation_is_none_itself_whatever_stands_between() {
    let kind = |kind: &str| json!({"openinference.span.kind": kind, "output.value": "Lost."});
    let mut known = kind("LLM");
    known["llm.model_name"] = json!("gpt-4o");
    let count = |below: Value| {
        let spans = [
            span(1, 0, (0, 9), &agent(true)),
            span(2, 1, (1, 8), &known),
            span(3, 2, (2, 7), &kind("CHAIN")),
            span(4, 3, (3, 6), &below),
        ];
        told(&spans, Kind::Turn)[1]["llmCalls"]
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(count(kind("LLM")), Some(1));
    // Who names a model is an agent's that works below it.
    assert_eq!(count(known.clone()), Some(2));
}

#[test]
fn a_stream_whose_spans_were_over_before_its_first_token_has_no_end() {
    let mut inner = chat();
    inner["ttft_ms"] = json!(2_500);
    let spans = [
        span(1, 0, (0, 9), &agent(true)),
        span(2, 1, (1, 2), &chat()),
        span(3, 2, (1, 2), &inner),
    ];
    let turns = told(&spans, Kind::Turn);
    assert_eq!(turns[1]["llmMs"], 2_500.0);
    assert_eq!(turns[1].get("llmTotalMs"), None);
    assert_eq!(turns[1]["llmCalls"][0].get("endMs"), None);
    assert_eq!(turns[1]["startMs"], 3_500.0);
}

mod called;
mod javascript;
mod pipeline;
