//! What Mastra's exporter tells by the sorts of its spans, whichever version wrote them: their operations were called
//! otherwise before 1.0, and its loops over a model's calls were among them.

use super::calls::put;
use super::{Gist, Part, Said};

const SORT: &str = "mastra.span.type";
/// What a run of an agent or a workflow was told, and gave.
pub const GIVEN: [&str; 2] = ["mastra.agent_run.input", "mastra.workflow_run.input"];
pub const GAVE: [&str; 2] = ["mastra.agent_run.output", "mastra.workflow_run.output"];
/// How the exporter calls the one span of several that is a call of a model: the latter before 1.0, of one that called
/// tools.
const CALLS_OF_MODEL: [&str; 2] = ["chat", "tool_selection"];
/// What a stream gave of one sort, such as words, from when its first piece came.
const PIECES: &str = "model_chunk";

/// Whether a span is one of these.
pub fn is_of(span: &Said<'_>) -> bool {
    span.has(SORT)
}

/// What a span is.
pub fn part(span: &Said<'_>) -> Part {
    let operation = span.text("gen_ai.operation.name").unwrap_or_default();
    match span.text(SORT).unwrap_or_default() {
        "agent_run" | "workflow_run" => Part::Exchange,
        "model_generation" | "model_inference" if CALLS_OF_MODEL.contains(&operation) => Part::Llm,
        PIECES => Part::Llm,
        "tool_call" | "mcp_tool_call" | "provider_tool_call" | "client_tool_call" => Part::Tool,
        _ => Part::Other,
    }
}

/// What it says in names of its own. When the first of an answer came, a call of a model only says of the first of
/// several: of the others their pieces do.
pub fn read(span: &Said<'_>, gist: &mut Gist) {
    if span.text(SORT) == Some(PIECES) {
        gist.fields.clear();
        put(&mut gist.fields, "llmMs", Some(0.0));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use crate::domain::event::Kind;
    use crate::domain::vocabulary;

    /// A span as its exporter writes it, of so many milliseconds.
    fn span(id: &str, parent: &str, ms: (u32, u32), sort: &str, attributes: Value) -> Value {
        let at = |ms: u32| format!("2026-01-17T10:00:{:02}.{:03}Z", ms / 1000, ms % 1000);
        let mut span = json!({
            "traceId": "t", "spanId": id, "parentSpanId": parent, "name": "own", "attributes": attributes,
            "startedAt": at(ms.0), "endedAt": at(ms.1),
        });
        span["attributes"]["mastra.span.type"] = json!(sort);
        span
    }

    fn told(spans: &[Value], kind: Kind) -> Vec<Map<String, Value>> {
        let gist = |span: &Value| vocabulary::gist(span.as_object().expect("a span"));
        let gists: Vec<_> = spans.iter().filter_map(gist).collect();
        let events = vocabulary::interpret(&gists).into_iter();
        let events = events.filter(|event| event.kind == kind);
        events.map(|event| event.fields.into_fields()).collect()
    }

    #[test]
    fn a_run_of_an_agent_is_an_exchange() {
        let call = |input: u32, finish: &str| {
            json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai",
                "gen_ai.usage.input_tokens": input, "gen_ai.usage.output_tokens": 7,
                // It is the first one's for all of them.
                "mastra.completion_start_time": "2026-01-17T10:00:00.230Z",
                "gen_ai.response.finish_reasons": format!("[\"{finish}\"]")})
        };
        let step = || json!({"gen_ai.operation.name": "agent_step", "mastra.model_step.output": "{\"text\":\"\"}"});
        let piece = || json!({"gen_ai.operation.name": "model_chunk", "mastra.model_chunk.output": "{\"text\":\"Shi\"}"});
        let spans = [
            span(
                "1",
                "",
                (0, 1_000),
                "agent_run",
                json!({"gen_ai.operation.name": "invoke_agent",
                "mastra.agent_run.input": "[{\"role\":\"user\",\"content\":\"Where is it?\"}]",
                "mastra.agent_run.output": "{\"text\":\"Shipped.\",\"files\":[]}"}),
            ),
            span(
                "2",
                "1",
                (10, 990),
                "model_generation",
                json!({"gen_ai.operation.name": "model_generation",
                "mastra.model_generation.output": "{\"text\":\"Shipped.\"}"}),
            ),
            span("3", "2", (20, 350), "model_step", step()),
            span(
                "4",
                "3",
                (20, 340),
                "model_inference",
                call(100, "tool-calls"),
            ),
            span("5", "4", (230, 330), "model_chunk", piece()),
            span(
                "6",
                "3",
                (340, 345),
                "tool_call",
                json!({"gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": "lookup", "gen_ai.tool.call.arguments": "{\"order\":\"A17\"}",
                "gen_ai.tool.call.result": "{\"status\":\"shipped\"}"}),
            ),
            span("7", "2", (360, 980), "model_step", step()),
            span("8", "7", (370, 970), "model_inference", call(120, "stop")),
            span("9", "8", (580, 960), "model_chunk", piece()),
        ];
        let turns = told(&spans, Kind::Turn);
        assert_eq!(turns.len(), 2, "{turns:?}");
        assert_eq!(turns[0]["text"], "Where is it?");
        assert_eq!(turns[1]["text"], "Shipped.");
        assert_eq!(turns[1]["startMs"], 580);
        let calls = turns[1]["llmCalls"].as_array().expect("calls");
        let first: Vec<&Value> = calls.iter().map(|call| &call["firstTokenMs"]).collect();
        assert_eq!(first, [&json!(230), &json!(580)]);
        let session = told(&spans, Kind::Session).remove(0);
        assert_eq!(
            session["usage"],
            json!({"promptTokens": 220, "completionTokens": 14})
        );
        let tools = told(&spans, Kind::ToolCall);
        assert_eq!(tools.len(), 1);
        assert_eq!(tools[0]["result"], json!({"status": "shipped"}));
    }

    #[test]
    fn a_workflow_is_told_and_gives_words() {
        let own = span(
            "1",
            "",
            (0, 1_000),
            "workflow_run",
            json!({"gen_ai.operation.name": "invoke_workflow",
            "mastra.workflow_run.input": "{\"question\":\"Where is it?\"}",
            "mastra.workflow_run.output": "{\"answer\":\"Shipped.\"}"}),
        );
        let turns = told(&[own], Kind::Turn);
        let said: Vec<&Value> = turns.iter().map(|turn| &turn["text"]).collect();
        assert_eq!(said, ["Where is it?", "Shipped."]);
    }

    #[test]
    fn what_was_called_otherwise_before_1_0_is_known() {
        let spans = [
            span(
                "1",
                "",
                (0, 1_000),
                "agent_run",
                json!({"gen_ai.operation.name": "agent.run",
                "input": "[{\"role\":\"user\",\"content\":\"Where is it?\"}]", "output": "{\"text\":\"Shipped.\"}"}),
            ),
            span(
                "2",
                "1",
                (10, 990),
                "model_generation",
                json!({"gen_ai.operation.name": "tool_selection",
                "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 100, "gen_ai.tool.input": "{}"}),
            ),
            span(
                "3",
                "2",
                (340, 345),
                "tool_call",
                json!({"gen_ai.operation.name": "tool.execute",
                "gen_ai.tool.name": "lookup", "input": "{\"order\":\"A17\"}", "output": "{\"status\":\"shipped\"}"}),
            ),
        ];
        let turns = told(&spans, Kind::Turn);
        assert_eq!(turns[0]["text"], "Where is it?");
        assert_eq!(turns[1]["text"], "Shipped.");
        assert_eq!(turns[1]["llmCalls"].as_array().map(Vec::len), Some(1));
        let tools = told(&spans, Kind::ToolCall);
        assert_eq!(tools[0]["name"], "lookup");
        assert_eq!(tools[0]["arguments"], json!({"order": "A17"}));
    }
}
