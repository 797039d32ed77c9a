//! Models that hear and speak themselves. Their spans stand where a response was over, not where it began, and no
//! span is the audio: when an answer was heard follows from what was asked for, or from the latency of its exchange.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::calls::{after, end, is_set, llm_call, ms_between, number, put, text};
use super::super::{Gist, Part, Said, moment};
use super::heard::FOLLOWS_MS;

const RESPONSE: &str = "isResponse";
const CUT_SHORT: &str = "isCutShort";
/// Marks a response that says how it ended.
const STATUS: &str = "hasStatus";

/// Marks a response, one that its user stopped, and one that failed: that stands in no span's own status.
pub fn read(span: &Said<'_>, fields: &mut Map<String, Value>) {
    put(fields, RESPONSE, Some(true));
    put(fields, STATUS, span.has("response.status").then_some(true));
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

/// Responses that do not say so, but were stopped all the same: each is the first of its exchange, at whose beginning
/// the user broke into an answer of which no response was over yet, and was over before the user was heard.
pub fn cut_short<'a>(
    gists: &[&'a Gist],
    exchanges: &BTreeMap<&str, &'a Gist>,
) -> BTreeSet<&'a str> {
    let mut cut = BTreeSet::new();
    if !gists.iter().any(|gist| is_response(gist)) {
        return cut;
    }
    let mut within: BTreeMap<&str, Vec<&'a Gist>> = BTreeMap::new();
    for gist in gists {
        let parent = gist.parent.as_deref();
        within
            .entry(parent.unwrap_or_default())
            .or_default()
            .push(gist);
    }
    let parts = |exchange: &Gist| {
        within
            .get(exchange.span_id.as_str())
            .map_or(&[][..], Vec::as_slice)
    };
    let mut begun: Vec<&'a Gist> = exchanges.values().copied().collect();
    begun.sort_by_key(|exchange| exchange.started_at);
    for (before, exchange) in begun.iter().zip(begun.iter().skip(1)) {
        if is_broken_by(before, exchange) {
            let first = first_unless_answered(parts(before), parts(exchange));
            cut.extend(first.map(|response| response.span_id.as_str()));
        }
    }
    cut
}

/// Whether the user broke into what an exchange was about, and began the next by that.
fn is_broken_by(exchange: &Gist, next: &Gist) -> bool {
    let follows = exchange
        .ended_at
        .is_some_and(|at| ms_between(at, next.started_at).abs() <= FOLLOWS_MS);
    follows && is_set(exchange, "cutOff") && exchange.parent == next.parent
}

/// The first response of an exchange, if nothing was transcribed before it, and the exchange before has no response
/// behind its last transcript.
fn first_unless_answered<'a>(before: &[&'a Gist], exchange: &[&'a Gist]) -> Option<&'a Gist> {
    let asked = before.iter().rfind(|gist| gist.part == Part::Stt);
    let is_answer = |gist: &&Gist| {
        is_response(gist) && asked.is_none_or(|asked| gist.started_at >= asked.started_at)
    };
    if before.iter().any(is_answer) {
        return None;
    }
    let first = exchange.iter().find(|gist| is_response(gist))?;
    let mut heard = exchange.iter().filter(|gist| gist.part == Part::Stt);
    let is_before_all = heard.all(|stt| end(stt) > first.started_at);
    (is_before_all && !is_set(first, STATUS)).then_some(*first)
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
