//! What Strands Agents tells by names and in units of its own, where it follows GenAI's conventions otherwise.

use serde_json::{Map, Value, json};

use crate::domain::tokens;
use crate::domain::tokens::Cache;

use super::calls::{HEARD, put, read_provider, read_usage};
use super::{Gist, Part, Said};

/// What it has for a provider, which is itself.
const FRAMEWORK: &str = "strands-agents";
const NAMED: [&str; 2] = ["gen_ai.provider.name", "gen_ai.system"];
/// What answers of a realtime model are called.
const RESPONSE: &str = "bidi_response";
/// After how many milliseconds the first of an answer came: its first token, or what is first heard of it. By the
/// conventions the former is told in seconds.
const FIRST_MS: [&str; 2] = [
    "gen_ai.server.time_to_first_token",
    "gen_ai.server.time_to_first_audio",
];
/// The class of what gave up a span that has no status then.
const GIVEN_UP: &str = "strands.cancellation.type";

/// Whether a span is one of these.
pub fn is_of(span: &Said<'_>) -> bool {
    NAMED.iter().any(|name| span.text(name) == Some(FRAMEWORK))
}

/// What a span is by an operation that the conventions do not know: by them, what names a model generates.
pub fn part(operation: &str) -> Option<Part> {
    match operation {
        "bidi_session" => Some(Part::Root),
        RESPONSE => Some(Part::Llm),
        "invoke_swarm" | "invoke_graph" => Some(Part::Exchange),
        "execute_event_loop_cycle" | "bidi_connect" | "bidi_connection_restart" => {
            Some(Part::Other)
        }
        memory if memory.starts_with("memory.") => Some(Part::Other),
        _ => None,
    }
}

/// How long the first of an answer took; none where it is of another framework.
pub fn first_output_ms(span: &Said<'_>) -> Option<f64> {
    let mut told = FIRST_MS.iter().filter_map(|name| span.number(name));
    told.find(|ms| is_of(span) && *ms >= 0.0)
}

/// What it says in names of its own. Of a realtime model's answers only their conversation tells what they used.
pub fn read(span: &Said<'_>, gist: &mut Gist) {
    put(
        &mut gist.fields,
        "cancelled",
        span.has(GIVEN_UP).then_some(true),
    );
    if span.text("gen_ai.operation.name") == Some(RESPONSE) {
        let is_heard = gist.fields.contains_key("llmMs");
        put(&mut gist.fields, HEARD, Some(is_heard));
    }
    if gist.part != Part::Root {
        return;
    }
    let mut told = Map::new();
    read_provider(span, &mut told);
    read_usage(span, Cache::Unknown, &mut told);
    let model = told.remove("model").map(|model| json!({ "llm": model }));
    put(&mut gist.session, "models", model);
    told.retain(|name, _| tokens::names().any(|known| known == name));
    let usage = (!told.is_empty()).then_some(Value::from(told));
    put(&mut gist.session, "usage", usage);
}

#[cfg(test)]
mod tests {
    use crate::domain::event::Kind;
    use crate::domain::vocabulary;

    use super::*;

    /// A span as the SDK exports it, of so many milliseconds of one minute.
    fn span(id: &str, parent: &str, ms: (u32, u32), operation: &str, more: Value) -> Value {
        let at = |ms: u32| format!("2026-01-17T10:00:{:02}.{:03}Z", ms / 1000, ms % 1000);
        let mut attributes =
            json!({"gen_ai.operation.name": operation, "gen_ai.system": FRAMEWORK});
        let more = more.as_object().cloned().unwrap_or_default();
        attributes.as_object_mut().expect("attributes").extend(more);
        json!({
            "traceId": "t", "spanId": id, "parentSpanId": parent, "name": format!("{operation} desk"),
            "scope": {"name": "strands.telemetry.tracer"}, "attributes": attributes,
            "startedAt": at(ms.0), "endedAt": at(ms.1),
        })
    }

    fn event(name: &str, attributes: Value) -> Value {
        json!({"name": name, "at": "2026-01-17T10:00:00Z", "attributes": attributes})
    }

    fn gist(span: &Value) -> Gist {
        vocabulary::gist(span.as_object().expect("a span")).expect("a gist")
    }

    fn told(spans: &[Value], kind: Kind) -> Vec<Map<String, Value>> {
        let gists: Vec<Gist> = spans.iter().map(gist).collect();
        let events = vocabulary::interpret(&gists).into_iter();
        let events = events.filter(|event| event.kind == kind);
        events.map(|event| event.fields.into_fields()).collect()
    }

    #[test]
    fn a_first_token_is_told_in_milliseconds() {
        let told = json!({"gen_ai.server.time_to_first_token": 236, "gen_ai.server.request.duration": 750,
            "gen_ai.request.model": "gpt-4o"});
        let own = gist(&span("1", "", (0, 760), "chat", told.clone()));
        assert_eq!(own.part, Part::Llm);
        assert_eq!(own.fields["llmMs"], 236.0);
        assert!(!own.fields.contains_key("provider"), "{:?}", own.fields);
        // Whoever else adds to its spans tells the same of it.
        let mut seen = span("1", "", (0, 760), "chat", told.clone());
        seen["attributes"]["openinference.span.kind"] = json!("LLM");
        seen["attributes"]["llm.model_name"] = json!("gpt-4o");
        assert_eq!(gist(&seen).fields["llmMs"], 236.0);
        let mut other = span("1", "", (0, 760), "chat", told);
        other["attributes"]["gen_ai.system"] = json!("openai");
        assert_eq!(gist(&other).fields["llmMs"], 236_000.0);
    }

    #[test]
    fn an_agent_s_run_is_an_exchange_of_what_its_loop_did() {
        let mut run = span(
            "1",
            "",
            (0, 1_200),
            "invoke_agent",
            json!({"gen_ai.request.model": "gpt-4o"}),
        );
        run["events"] = json!([
            event(
                "gen_ai.system.message",
                json!({"content": "[{\"text\": \"Be kind.\"}]"})
            ),
            event(
                "gen_ai.user.message",
                json!({"content": "[{\"text\": \"Where is it?\"}]"})
            ),
            event(
                "gen_ai.choice",
                json!({"message": "Shipped.\n", "finish_reason": "end_turn"})
            ),
        ]);
        let cycle = |id, ms| span(id, "1", ms, "execute_event_loop_cycle", json!({}));
        let model = |id, parent, ms, first: u32| {
            span(
                id,
                parent,
                ms,
                "chat",
                json!({"gen_ai.request.model": "gpt-4o",
                "gen_ai.server.time_to_first_token": first, "gen_ai.usage.input_tokens": 10}),
            )
        };
        let mut tool = span(
            "5",
            "2",
            (400, 450),
            "execute_tool",
            json!({"gen_ai.tool.name": "lookup",
            "gen_ai.tool.call.id": "c1", "gen_ai.tool.status": "success"}),
        );
        tool["events"] = json!([
            event(
                "gen_ai.tool.message",
                json!({"role": "tool", "content": "{\"order\": \"A17\"}", "id": "c1"})
            ),
            event(
                "gen_ai.choice",
                json!({"message": "[{\"text\": \"shipped\"}]", "id": "c1"})
            ),
        ]);
        let spans = [
            run,
            cycle("2", (10, 460)),
            model("3", "2", (20, 390), 300),
            tool,
            cycle("4", (470, 1_190)),
            model("6", "4", (480, 1_180), 250),
        ];
        let turns = told(&spans, Kind::Turn);
        assert_eq!(turns.len(), 2, "{turns:?}");
        assert_eq!(turns[0]["text"], "Where is it?");
        assert_eq!(turns[1]["text"], "Shipped.");
        assert_eq!(turns[1]["startMs"], 730);
        assert_eq!(turns[1]["endMs"], 1_180);
        assert_eq!(turns[1]["llmCalls"].as_array().map(Vec::len), Some(2));
        let tools = told(&spans, Kind::ToolCall);
        assert_eq!(tools[0]["arguments"], json!({"order": "A17"}));
        assert_eq!(tools[0]["result"], "shipped");
    }

    #[test]
    fn a_realtime_model_s_conversation_is_none_of_its_answers() {
        let counted = json!({"gen_ai.request.model": "gpt-realtime", "gen_ai.usage.input_tokens": 400,
            "gen_ai.usage.output_tokens": 80, "gen_ai.usage.total_tokens": 480});
        let named = json!({"gen_ai.request.model": "gpt-realtime"});
        let heard = json!({"gen_ai.response.id": "r", "gen_ai.server.time_to_first_audio": 250});
        let answer = |id, ms| span(id, "1", ms, "bidi_response", heard.clone());
        let spans = [
            span("1", "", (0, 6_000), "bidi_session", counted),
            span("2", "1", (0, 150), "bidi_connect", named),
            answer("3", (1_000, 1_600)),
            // One that only calls a tool is of the answer that follows.
            span(
                "4",
                "1",
                (2_500, 2_700),
                "bidi_response",
                json!({"gen_ai.response.id": "r"}),
            ),
            span(
                "5",
                "1",
                (2_700, 2_710),
                "execute_tool",
                json!({"gen_ai.tool.name": "lookup"}),
            ),
            answer("6", (3_000, 3_600)),
        ];
        let turns = told(&spans, Kind::Turn);
        assert_eq!(turns.len(), 2, "{turns:?}");
        assert_eq!(turns[0]["firstAudioMs"], 1_250);
        assert_eq!(turns[0]["llmMs"], 250);
        assert_eq!(turns[1]["llmCalls"].as_array().map(Vec::len), Some(2));
        assert_eq!(turns[1]["startMs"], 3_250);
        assert_eq!(told(&spans, Kind::ToolCall)[0]["turn"], 1);
        let session = told(&spans, Kind::Session).remove(0);
        assert_eq!(
            session["usage"],
            json!({"promptTokens": 400, "completionTokens": 80})
        );
        assert_eq!(session["models"], json!({"llm": "gpt-realtime"}));
        assert_eq!(session["status"], "completed");
    }

    #[test]
    fn what_was_given_up_is_no_error() {
        let given_up = json!({"strands.cancellation.type": "CancelledError", "gen_ai.request.model": "gpt-4o"});
        let own = gist(&span("1", "", (0, 100), "chat", given_up));
        assert_eq!(own.fields["cancelled"], true);
    }
}
