//! Models that hear and speak themselves. Their spans stand where a response was over, not where it began, and no
//! span is the audio: when an answer was heard follows from what was asked for, or from the latency of its exchange.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::calls::{after, end, is_set, llm_call, number, put, text};
use super::super::{Gist, Part, Said, moment};

const RESPONSE: &str = "isResponse";
const CUT_SHORT: &str = "isCutShort";

/// Marks a response, one that its user stopped, and one that failed: that stands in no span's own status.
pub fn read(span: &Said<'_>, fields: &mut Map<String, Value>) {
    put(fields, RESPONSE, Some(true));
    match span.text("response.status") {
        Some("cancelled") => put(fields, CUT_SHORT, Some(true)),
        Some("failed") => {
            let said_so = Value::from("the model's response failed");
            fields.entry("error").or_insert(said_so);
        }
        _ => {}
    }
}

pub fn is_response(gist: &Gist) -> bool {
    is_set(gist, RESPONSE)
}

/// Whether it was stopped: by a user who spoke, so that its end may count to the exchange that begins then.
pub fn is_cut_short(gist: &Gist) -> bool {
    is_set(gist, CUT_SHORT)
}

/// Whether something of a response was to be heard: one may also do no more than call tools.
pub fn speaks(gist: &Gist) -> bool {
    let has_audio = number(gist, "audioOutputTokens").is_some_and(|count| count > 0.0);
    is_response(gist) && (has_audio || text(gist, "text").is_some())
}

/// When a generation was over.
pub fn over_at(gist: &Gist) -> DateTime<Utc> {
    match is_response(gist) {
        true => gist.started_at,
        false => end(gist),
    }
}

/// Whether the model itself has transcribed this. What its span says of a first byte is the model's own.
pub fn has_heard(model: &Gist, stt: &Gist) -> bool {
    is_response(model) && text(model, "model").is_some_and(|name| text(stt, "model") == Some(name))
}

/// When the first sound of a response came, where it was asked for by a span: of all `requests` by the last before
/// it, unless that was another response's, which was over at `since`.
pub fn first_audio(
    response: &Gist,
    requests: &[&Gist],
    since: Option<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    let is_its = |request: &&&Gist| {
        request.part == Part::LlmAttempt
            && request.parent == response.parent
            && request.started_at <= response.started_at
            && since.is_none_or(|since| request.started_at >= since)
    };
    let request = requests.iter().rfind(is_its)?;
    let heard = after(request.started_at, number(response, "llmMs")?);
    (heard <= response.started_at).then_some(heard)
}

/// A generation among a turn's; of a response only its end is known.
pub fn call(gist: &Gist) -> Value {
    let mut call = llm_call(gist);
    if let (true, Value::Object(call)) = (is_response(gist), &mut call) {
        for name in ["startMs", "firstTokenMs"] {
            call.remove(name);
        }
        put(call, "endMs", Some(moment(over_at(gist))));
    }
    call
}
