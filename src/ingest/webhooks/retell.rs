//! Retell's webhooks: `call_started`, and the whole call at `call_ended` and again at `call_analyzed`. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::dialogue::{Dialogue, Failure, Names, parsed};
use super::lens;
use super::lens::{Form, at, id, list, measured, number, text, time};
use crate::domain::event::{Event, Kind, Source, Submission};
use crate::domain::fields::OFFSET_MAX_MS;
use crate::domain::ids::{Claim, ClaimKind, TenantId};
use crate::domain::recording::Placement;
use crate::domain::webhook::{Announced, Told};

/// What the whole call says again.
const PARTS: [&str; 5] = [
    "transcript_updated",
    "transfer_started",
    "transfer_bridged",
    "transfer_cancelled",
    "transfer_ended",
];

/// `signed_at` is the time that the signature proves.
pub fn read(tenant: TenantId, body: &Value, signed_at: DateTime<Utc>, now: DateTime<Utc>) -> Told {
    let kind = text(body, &["event"]).unwrap_or("unknown");
    match kind {
        "call_started" | "call_ended" | "call_analyzed" => {}
        part if PARTS.contains(&part) => {
            return Told::ignored(kind, "the end of the call says it all");
        }
        _ => return Told::ignored(kind, "this server knows no such event"),
    }
    let call = at(body, &["call"]).unwrap_or(&Value::Null);
    let own = id(call, &["call_id"]).map(|id| Claim::new(ClaimKind::RetellCall, id));
    if own.is_none() {
        return Told::ignored(kind, "it names no call");
    }
    let call_sid = id(call, &["telephony_identifier", "twilio_call_sid"]);
    let names = Names::new(tenant, own, call_sid, None);
    let (started_at, ended_at) = bounds(call, now);
    let (submission, recording) = if kind == "call_started" {
        let event = started(call, &names, started_at.unwrap_or(signed_at), now);
        (
            event.map(|event| Submission::Event(Source::Retell, event)),
            None,
        )
    } else {
        // What was analysed is told later than the end it is about, in whichever order they arrive.
        let ended = ended_at.or(started_at).unwrap_or(signed_at);
        let said_at = match kind {
            "call_analyzed" => signed_at.max(ended + TimeDelta::milliseconds(1)),
            _ => ended,
        };
        let events = report(call, &names, (started_at, ended_at), ended, now);
        let report = lens::report(Some(said_at), events);
        (
            Some(Submission::Report(Source::Retell, report)),
            recording(call),
        )
    };
    Told {
        event: kind.to_owned(),
        session: names.session,
        submissions: submission.into_iter().collect(),
        recording,
        ignored: None,
        is_undated: false,
    }
}

/// When the call began and ended. Where one of the two is not told, how long it took may be.
fn bounds(call: &Value, now: DateTime<Utc>) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    let lasted = number(call, &["duration_ms"]).filter(|ms| (0.0..=OFFSET_MAX_MS).contains(ms));
    let lasted = lasted.map(|ms| TimeDelta::milliseconds(ms as i64));
    let ended_at = time(call, &["end_timestamp"], now);
    let started_at = time(call, &["start_timestamp"], now).or_else(|| Some(ended_at? - lasted?));
    // An end before the start is no end.
    let is_end = |at: &DateTime<Utc>| started_at.is_none_or(|start| start <= *at);
    let ended_at = ended_at
        .filter(is_end)
        .or_else(|| Some(started_at? + lasted?));
    (started_at, ended_at)
}

fn started(call: &Value, names: &Names, at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Event> {
    let mut form = Form::default();
    names.write(&mut form);
    common(call, &mut form);
    form.set("status", Some("active"))
        .time("startedAt", Some(at));
    lens::event(Kind::Session, "call_started", at, form, now)
}

/// What every event says of the call.
fn common(call: &Value, form: &mut Form) {
    let channel = match (text(call, &["call_type"]), text(call, &["direction"])) {
        (_, Some("inbound")) => Some("inbound"),
        (_, Some("outbound")) => Some("outbound"),
        (Some("web_call"), _) => Some("web"),
        _ => None,
    };
    form.set("channel", channel)
        .set("from", text(call, &["from_number"]))
        .set("to", text(call, &["to_number"]))
        .set("agentId", id(call, &["agent_id"]))
        .set("agentVersion", id(call, &["agent_version"]));
}

fn report(
    call: &Value,
    names: &Names,
    (started_at, ended_at): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    said_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Vec<Event> {
    let reason = text(call, &["disconnection_reason"]).unwrap_or_default();
    let status = status(text(call, &["call_status"]).unwrap_or_default(), reason);
    let analysis = at(call, &["call_analysis"]).unwrap_or(&Value::Null);
    let in_voicemail = at(analysis, &["in_voicemail"]).and_then(Value::as_bool);
    let is_machine =
        in_voicemail == Some(true) || ["voicemail_reached", "ivr_reached"].contains(&reason);
    let extracted = at(analysis, &["custom_analysis_data"]);
    // In cents; what a call costs is never taken for what somebody owes it.
    let cents = number(call, &["call_cost", "combined_cost"]).filter(|cents| *cents >= 0.0);
    let mut form = Form::default();
    names.write(&mut form);
    common(call, &mut form);
    form.set("status", Some(status))
        .time("startedAt", started_at)
        .time("endedAt", ended_at)
        .set(
            "endReason",
            Some(reason).filter(|reason| !reason.is_empty()),
        )
        .set("endedBy", ended_by(reason))
        .set("answeredBy", is_machine.then_some("machine"))
        .set("summary", text(analysis, &["call_summary"]))
        .set(
            "extracted",
            extracted.filter(|data| data.is_object()).cloned(),
        )
        .set("costUsd", cents.map(|cents| cents / 100.0));
    let mut dialogue = dialogue(call);
    latencies(call, &mut dialogue);
    metadata(call, analysis, dialogue.cut(), &mut form);
    if let Some(Announced::At { url, .. }) = recording(call) {
        let mut audio = Form::default();
        audio.set("url", Some(url));
        form.object("recording", audio);
    }
    let mut events = dialogue.events(started_at, said_at, now);
    events.extend(lens::session(said_at, form, now));
    events.extend(judgement(analysis, said_at, now));
    if status == "failed" && !reason.is_empty() {
        let failure = Failure {
            id: "ended",
            service: service(reason),
            code: Some(reason).filter(|reason| reason.len() <= 255),
            message: reason,
            occurred_at: ended_at,
        };
        events.extend(failure.event(said_at, now));
    }
    events
}

fn status(status: &str, reason: &str) -> &'static str {
    match (status, reason) {
        (_, "dial_busy" | "user_declined") => "declined",
        (_, "dial_no_answer") => "missed",
        ("error" | "not_connected", _) => "failed",
        _ if reason.starts_with("error_") || reason == "dial_failed" => "failed",
        _ => "completed",
    }
}

fn ended_by(reason: &str) -> Option<&'static str> {
    match reason {
        "" => None,
        "user_hangup" | "user_declined" => Some("user"),
        "agent_hangup" | "call_transfer" | "transfer_bridged" => Some("agent"),
        _ => Some("system"),
    }
}

fn service(reason: &str) -> &'static str {
    match reason {
        "error_asr" => "stt",
        _ if reason.starts_with("error_llm") => "llm",
        _ => "workflow",
    }
}

fn judgement(analysis: &Value, at_end: DateTime<Utc>, now: DateTime<Utc>) -> Option<Event> {
    let is_success = at(analysis, &["call_successful"])?.as_bool()?;
    let sentiment = text(analysis, &["user_sentiment"]).map(|mood| vec![mood.to_owned()]);
    let mut form = Form::default();
    form.set("reviewer", Some("retell"))
        .set("verdict", Some(if is_success { "pass" } else { "fail" }))
        .set("labels", sentiment);
    lens::event(Kind::Evaluation, "call_analysis", at_end, form, now)
}

/// What has no field of its own and is told all the same; the latencies as measured, since of a list
/// that is not as long as the turns nobody can tell whose they are.
fn metadata(call: &Value, analysis: &Value, turns_left_out: Option<usize>, form: &mut Form) {
    let mut retell = Form::default();
    for (name, found) in [
        ("latency", at(call, &["latency"])),
        ("llmTokenUsage", at(call, &["llm_token_usage"])),
        ("productCosts", at(call, &["call_cost", "product_costs"])),
        ("userSentiment", at(analysis, &["user_sentiment"])),
        ("agentName", at(call, &["agent_name"])),
        ("transferDestination", at(call, &["transfer_destination"])),
    ] {
        retell.set(name, found.cloned());
    }
    retell.set("turnsLeftOut", turns_left_out);
    let given = at(call, &["metadata"]).and_then(Value::as_object).cloned();
    let mut metadata = Form(given.unwrap_or_default());
    metadata.object("retell", retell);
    form.object("metadata", metadata);
}

/// Where what is personal is not kept, what is left of the call stands under names of its own.
fn recording(call: &Value) -> Option<Announced> {
    let names = [
        "recording_multi_channel_url",
        "recording_url",
        "scrubbed_recording_multi_channel_url",
        "scrubbed_recording_url",
    ];
    let url = names.iter().find_map(|name| text(call, &[*name]))?;
    Some(Announced::At {
        url: url.to_owned(),
        placement: Placement::default(),
    })
}

fn dialogue(call: &Value) -> Dialogue {
    let told = |names: &[&str]| {
        let mut lists = names.iter().map(|name| list(call, &[*name]));
        lists
            .find(|entries| !entries.is_empty())
            .unwrap_or_default()
    };
    let mut dialogue = Dialogue::default();
    for entry in told(&[
        "transcript_with_tool_calls",
        "transcript_object",
        "scrubbed_transcript_with_tool_calls",
    ]) {
        if let Some((id, form)) = tool(entry) {
            dialogue.tool(&id, form);
        } else if let Some(role @ ("agent" | "user" | "transfer_target")) = text(entry, &["role"]) {
            utterance(entry, role, &mut dialogue);
        }
    }
    dialogue.sort();
    for names in [
        [
            "pre_session_transcript_with_tool_calls",
            "scrubbed_pre_session_transcript_with_tool_calls",
        ],
        [
            "post_session_transcript_with_tool_calls",
            "scrubbed_post_session_transcript_with_tool_calls",
        ],
    ] {
        for (id, form) in told(&names).iter().filter_map(tool) {
            dialogue.tool_outside(&id, form);
        }
    }
    dialogue
}

/// That a tool was called, or what it gave.
fn tool(entry: &Value) -> Option<(String, Form)> {
    let mut form = Form::default();
    match text(entry, &["role"])? {
        "tool_call_invocation" => {
            form.set("name", text(entry, &["name"]))
                .set("arguments", text(entry, &["arguments"]).map(parsed));
        }
        "tool_call_result" => {
            let content = at(entry, &["content"]).map(|content| match content {
                Value::String(text) => parsed(text),
                other => other.clone(),
            });
            match at(entry, &["successful"]).and_then(Value::as_bool) {
                Some(false) => form.set("error", content.or(Some(Value::from(true)))),
                _ => form.set("result", content),
            };
        }
        _ => return None,
    }
    Some((id(entry, &["tool_call_id"])?, form))
}

/// Something that was said. Whom a call was handed over to is no agent of ours, and answers nobody here.
fn utterance(entry: &Value, role: &str, dialogue: &mut Dialogue) {
    let Some(said) = text(entry, &["content"]) else {
        return;
    };
    let bounds = |word: &Value| {
        Some((
            number(word, &["start"])? * 1000.0,
            number(word, &["end"])? * 1000.0,
        ))
    };
    let words = list(entry, &["words"]);
    let timed: Vec<(&Value, (f64, f64))> = words
        .iter()
        .filter_map(|word| Some((word, bounds(word)?)))
        .filter(|(_, (start, end))| *start >= 0.0 && start <= end)
        .collect();
    let start_ms = timed.iter().map(|(_, (start, _))| *start).reduce(f64::min);
    let end_ms = timed.iter().map(|(_, (_, end))| *end).reduce(f64::max);
    let is_backchannel = at(entry, &["metadata", "is_backchannel"]).and_then(Value::as_bool);
    if is_backchannel == Some(true) {
        dialogue.backchannel(role == "agent", (start_ms, end_ms), said);
        return;
    }
    let listed = timed.iter().filter_map(|(word, (start, end))| {
        let word = text(word, &["word"])?.trim();
        Some(json!({"word": word, "startMs": lens::ms(*start), "endMs": lens::ms(*end)}))
    });
    let listed: Vec<Value> = listed.collect();
    let mut metadata = Form::default();
    metadata.set("role", (role == "transfer_target").then_some(role));
    let mut form = Form::default();
    form.set("text", Some(said))
        .set("words", Some(listed).filter(|words| !words.is_empty()))
        .object("metadata", metadata);
    dialogue.turn(role == "agent", (start_ms, end_ms), form);
}

/// Latencies are lists beside the transcript, in the order of the turns.
fn latencies(call: &Value, dialogue: &mut Dialogue) {
    for (name, given) in [
        ("latencyMs", "e2e"),
        ("llmMs", "llm"),
        ("ttsMs", "tts"),
        ("sttMs", "asr"),
    ] {
        let values = list(call, &["latency", given, "values"]);
        let Some(turns) = dialogue.measured_turns(values.len()) else {
            continue;
        };
        for (turn, value) in turns.into_iter().zip(values) {
            if let Some(form) = dialogue.form(turn) {
                form.set(name, measured(value, &[]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::domain::event::Report;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_774_000_400_000).unwrap()
    }

    fn told(kind: &str, call: Value) -> Told {
        let body = json!({"event": kind, "call": call});
        read(TenantId(uuid::Uuid::nil()), &body, now(), now())
    }

    fn whole() -> Value {
        json!({
            "call_id": "call_1", "agent_id": "ag_1", "agent_version": 3, "call_status": "ended",
            "call_type": "phone_call", "direction": "inbound", "from_number": "+15005550006",
            "to_number": "+15005550007", "start_timestamp": 1_774_000_000_000_i64,
            "end_timestamp": 1_774_000_330_000_i64, "disconnection_reason": "user_hangup",
            "telephony_identifier": {"twilio_call_sid": "CA0123456789abcdef0123456789abcdef"},
            "transcript_with_tool_calls": [
                {"role": "agent", "content": "Hello", "words": [{"word": "Hello", "start": 0.1, "end": 0.5}]},
                {"role": "user", "content": "A table", "words": [{"word": "A table", "start": 1.0, "end": 2.0}]},
                {"role": "tool_call_invocation", "tool_call_id": "t", "name": "find", "arguments": "{\"n\":2}"},
                {"role": "tool_call_result", "tool_call_id": "t", "content": "full", "successful": false},
                {"role": "agent", "content": "Sorry", "words": [{"word": "Sorry", "start": 3.0, "end": 3.5}]},
                {"role": "node_transition", "former_node_id": "a"},
            ],
            "latency": {"e2e": {"p50": 850, "values": [850]}, "llm": {"values": [450, 1, 2]},
                        "tts": {"values": [-1]}},
            "call_cost": {"combined_cost": 12.5},
            "metadata": {"order": 7},
        })
    }

    fn report_of(told: &Told) -> &Report {
        match &told.submissions[..] {
            [Submission::Report(Source::Retell, report)] => report,
            other => panic!("{other:?}"),
        }
    }

    fn of_kind(told: &Told, kind: Kind) -> Vec<Map<String, Value>> {
        let found = report_of(told)
            .events
            .iter()
            .filter(|event| event.kind == kind);
        found.map(|event| event.fields.fields().clone()).collect()
    }

    #[test]
    fn an_end_is_a_whole_session() {
        let told = told("call_ended", whole());
        let turns = of_kind(&told, Kind::Turn);
        let starts: Vec<&Value> = turns.iter().map(|turn| &turn["startMs"]).collect();
        assert_eq!(starts, [100, 1000, 3000]);
        assert_eq!(turns[2]["latencyMs"], 850.0);
        // Three values for one answer and two turns of the agent; and one that was not measured.
        assert_eq!((turns[2].get("llmMs"), turns[2].get("ttsMs")), (None, None));
        let tool = Value::Object(of_kind(&told, Kind::ToolCall)[0].clone());
        let expected = json!({"callId": "t", "name": "find", "arguments": {"n": 2}, "error": "full", "turn": 2});
        assert_eq!(tool, expected);
        let session = &of_kind(&told, Kind::Session)[0];
        assert_eq!(session["costUsd"], 0.125);
        assert_eq!(session["agentVersion"], "3");
        assert_eq!(session["endedBy"], "user");
        assert_eq!(session["metadata"]["order"], 7);
        assert_eq!(session["metadata"]["retell"]["latency"]["e2e"]["p50"], 850);
    }

    #[test]
    fn what_is_kept_without_what_is_personal_is_the_call_too() {
        let mut call = whole();
        let entries = call["transcript_with_tool_calls"].take();
        call["scrubbed_transcript_with_tool_calls"] = entries;
        call["scrubbed_recording_url"] = json!("https://dxc03zgurdly9.cloudfront.net/r.wav");
        let told = told("call_ended", call);
        assert_eq!(of_kind(&told, Kind::Turn).len(), 3);
        assert_eq!(of_kind(&told, Kind::ToolCall).len(), 1);
        assert!(matches!(told.recording, Some(Announced::At { .. })));
    }

    #[test]
    fn the_analysis_is_the_later_word_however_it_arrives() {
        let ended = told("call_ended", whole());
        let mut call = whole();
        call["call_analysis"] = json!({"call_summary": "Full.", "call_successful": false,
            "user_sentiment": "Negative", "in_voicemail": false});
        let analyzed = told("call_analyzed", call);
        assert!(report_of(&analyzed).at > report_of(&ended).at);
        assert_eq!(of_kind(&analyzed, Kind::Session)[0]["summary"], "Full.");
        let judged = &of_kind(&analyzed, Kind::Evaluation)[0];
        assert_eq!(
            (&judged["verdict"], &judged["labels"]),
            (&json!("fail"), &json!(["Negative"]))
        );
    }

    #[test]
    fn what_went_wrong_has_its_service() {
        for (reason, given, status_here, service) in [
            ("error_asr", "error", "failed", Some("stt")),
            ("error_llm_websocket_open", "ended", "failed", Some("llm")),
            ("dial_busy", "not_connected", "declined", None),
            ("dial_no_answer", "not_connected", "missed", None),
            ("dial_failed", "not_connected", "failed", Some("workflow")),
            ("user_hangup", "ended", "completed", None),
        ] {
            let told = told(
                "call_ended",
                json!({"call_id": "c", "call_status": given, "disconnection_reason": reason}),
            );
            assert_eq!(
                of_kind(&told, Kind::Session)[0]["status"],
                status_here,
                "{reason}"
            );
            let errors = of_kind(&told, Kind::Error);
            let found = errors.first().and_then(|error| error["service"].as_str());
            assert_eq!(found, service, "{reason}");
        }
    }

    #[test]
    fn the_agent_s_listening_is_no_answer_and_takes_no_answer_s_latency() {
        let said = |role: &str, text: &str, start: f64, more: Value| {
            json!({"role": role, "content": text, "metadata": more,
                   "words": [{"word": text, "start": start, "end": start + 0.5}]})
        };
        let mut call = whole();
        call["transcript_with_tool_calls"] = json!([
            said("user", "I want to change", 2.0, json!({})),
            said("agent", "uh-huh", 4.0, json!({"is_backchannel": true})),
            said("user", "my appointment", 4.6, json!({})),
            said("agent", "For when?", 6.5, json!({"response_id": 1})),
        ]);
        call["latency"] = json!({"e2e": {"values": [1400]}, "llm": {"values": [400]}});
        let told = told("call_ended", call);
        let turns = of_kind(&told, Kind::Turn);
        assert_eq!(turns.len(), 3);
        assert_eq!(
            turns[0]["metadata"]["backchannels"][0]["text"],
            json!("uh-huh")
        );
        assert_eq!(
            (&turns[2]["latencyMs"], &turns[2]["llmMs"]),
            (&json!(1400.0), &json!(400.0))
        );
    }

    #[test]
    fn tools_before_and_after_the_call_are_told_too() {
        let mut call = whole();
        call["pre_session_transcript_with_tool_calls"] = json!([
            {"role": "tool_call_invocation", "tool_call_id": "p", "name": "look up", "arguments": "{}"},
            {"role": "tool_call_result", "tool_call_id": "p", "content": "away", "successful": false}]);
        call["scrubbed_post_session_transcript_with_tool_calls"] = json!([
            {"role": "tool_call_invocation", "tool_call_id": "q", "name": "write", "arguments": "{\"a\":1}"},
            {"role": "tool_call_result", "tool_call_id": "q", "content": "ok", "successful": true}]);
        let told = told("call_ended", call);
        let tools = of_kind(&told, Kind::ToolCall);
        let find = |id: &str| tools.iter().find(|tool| tool["callId"] == id).unwrap();
        assert_eq!(
            (find("p").get("turn"), &find("p")["error"]),
            (None, &json!("away"))
        );
        assert_eq!(
            (&find("q")["name"], &find("q")["result"]),
            (&json!("write"), &json!("ok"))
        );
        assert_eq!(of_kind(&told, Kind::Error).len(), 2);
    }

    #[test]
    fn other_events_are_of_no_use() {
        assert!(told("transcript_updated", whole()).ignored.is_some());
        assert!(told("call_ended", json!({"call_id": []})).ignored.is_some());
    }
}
