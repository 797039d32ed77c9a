//! ElevenLabs' post-call webhooks: the transcript with all around it, the audio, a call that never began. Pure.

mod transcript;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::dialogue::{Failure, Names};
use super::lens;
use super::lens::{Form, at, id, list, measured, number, text, time};
use crate::domain::event::{Event, Kind, Source, Submission};
use crate::domain::ids::{Claim, ClaimKind, TenantId};
use crate::domain::webhook::{Announced, Told};

use transcript::Spoken;

pub fn read(tenant: TenantId, mut body: Value, now: DateTime<Utc>) -> Told {
    let kind = text(&body, &["type"]).unwrap_or("unknown").to_owned();
    let known = [
        "post_call_transcription",
        "post_call_audio",
        "call_initiation_failure",
    ];
    if !known.contains(&kind.as_str()) {
        return Told::ignored(kind, "this server knows no such event");
    }
    // Taken, not copied: it is most of the body.
    let audio = body.pointer_mut("/data/full_audio").map(Value::take);
    let said_at = time(&body, &["event_timestamp"], now);
    let data = at(&body, &["data"]).unwrap_or(&Value::Null);
    let own = id(data, &["conversation_id"]);
    let Some(own) = own.map(|id| Claim::new(ClaimKind::ElevenlabsConversation, id)) else {
        return Told::ignored(kind, "it names no conversation");
    };
    let phone = at(data, &["metadata", "phone_call"]).unwrap_or(&Value::Null);
    let call_sid = id(phone, &["call_sid"]).or_else(|| id(data, &["metadata", "body", "CallSid"]));
    let names = Names::new(tenant, Some(own), call_sid, id(phone, &["stream_sid"]));
    let events = match kind.as_str() {
        "post_call_transcription" => transcription(data, &names, said_at, now),
        "call_initiation_failure" => failure(data, &names, said_at.unwrap_or(now), now),
        _ => Vec::new(),
    };
    let report = (!events.is_empty()).then(|| lens::report(said_at, events));
    let recording = match (kind.as_str(), audio) {
        ("post_call_audio", Some(Value::String(audio))) => Some(Announced::Enclosed(audio)),
        ("post_call_audio", _) => return Told::ignored(kind, "it holds no audio"),
        _ => None,
    };
    Told {
        event: kind,
        session: names.session,
        submissions: report
            .into_iter()
            .map(|report| Submission::Report(Source::Elevenlabs, report))
            .collect(),
        recording,
        ignored: None,
        is_undated: false,
    }
}

fn transcription(
    data: &Value,
    names: &Names,
    dated_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Vec<Event> {
    let said_at = dated_at.unwrap_or(now);
    let meta = at(data, &["metadata"]).unwrap_or(&Value::Null);
    let seconds =
        number(meta, &["call_duration_secs"]).filter(|seconds| (0.0..1e7).contains(seconds));
    let length = seconds.map(|seconds| TimeDelta::milliseconds((seconds * 1000.0) as i64));
    let started_at =
        time(meta, &["start_time_unix_secs"], now).or_else(|| Some(dated_at? - length?));
    let ended_at = started_at.zip(length).map(|(start, length)| start + length);
    let outcome = Outcome::of(data, meta, now);
    let is_failed = outcome.status == "failed";
    let analysis = at(data, &["analysis"]).unwrap_or(&Value::Null);
    let mut spoken = Spoken::default();
    for entry in list(data, &["transcript"]) {
        spoken.entry(entry);
    }
    let used = spoken.used();
    spoken.dialogue.sort();
    let turns_left_out = spoken.dialogue.cut();
    let mut form = session(data, meta, analysis, names, turns_left_out);
    form.0.extend(used.0);
    form.set("status", Some(outcome.status))
        .set("answeredBy", outcome.answered_by)
        .time("startedAt", started_at)
        .time("answeredAt", outcome.answered_at)
        .time("endedAt", ended_at);
    let mut events = spoken.dialogue.events(started_at, said_at, now);
    events.extend(lens::session(said_at, form, now));
    events.extend(judgements(analysis, said_at, now));
    let error = at(meta, &["error"]).unwrap_or(&Value::Null);
    let code = id(error, &["code"]);
    if is_failed || code.is_some() || text(error, &["reason"]).is_some() {
        let failure = Failure {
            id: "ended",
            service: "workflow",
            code: code.as_deref(),
            message: text(error, &["reason"])
                .or_else(|| text(meta, &["termination_reason"]))
                .unwrap_or("the conversation failed"),
            occurred_at: ended_at,
        };
        events.extend(failure.event(said_at, now));
    }
    events
}

/// Where else than on a telephone line or in a browser a conversation may be held.
const MESSENGERS: [&str; 2] = ["whatsapp", "sms"];

/// How a conversation ended. Of a call that was placed the line says whether anybody answered.
struct Outcome {
    status: &'static str,
    answered_by: Option<&'static str>,
    answered_at: Option<DateTime<Utc>>,
}

impl Outcome {
    fn of(data: &Value, meta: &Value, now: DateTime<Utc>) -> Self {
        let mut lines = ["phone_call", "whatsapp"].into_iter();
        let result = lines.find_map(|line| text(meta, &[line, "call_result"]));
        let has_failed = text(data, &["status"]) == Some("failed");
        let status = match result {
            Some("busy") => "declined",
            Some("no_answer") => "missed",
            Some("failed") => "failed",
            _ if has_failed => "failed",
            _ => "completed",
        };
        let was_answered = !matches!(result, Some("busy" | "no_answer" | "failed"));
        Self {
            status,
            answered_by: (result == Some("voicemail")).then_some("machine"),
            answered_at: time(meta, &["accepted_time_unix_secs"], now).filter(|_| was_answered),
        }
    }
}

/// From where to where a conversation went: its channel, its two ends, by what it was carried.
struct Way<'a> {
    channel: Option<&'static str>,
    from: Option<&'a str>,
    to: Option<&'a str>,
    transport: Option<&'a str>,
}

impl<'a> Way<'a> {
    fn of(meta: &'a Value) -> Self {
        let phone = at(meta, &["phone_call"]).unwrap_or(&Value::Null);
        let by_message = MESSENGERS
            .into_iter()
            .find_map(|name| Some((name, at(meta, &[name])?)));
        let (transport, line, own, other) = match by_message {
            Some((name, line)) if !phone.is_object() => (
                Some(name),
                line,
                text(line, &["agent_phone_number"]),
                text(line, &["sms_user_phone_number"])
                    .or_else(|| text(line, &["whatsapp_user_id"])),
            ),
            _ => (
                text(phone, &["type"]),
                phone,
                text(phone, &["agent_number"]),
                text(phone, &["external_number"]),
            ),
        };
        let (channel, from, to) = match text(line, &["direction"]) {
            Some("inbound") => (Some("inbound"), other, own),
            Some("outbound") => (Some("outbound"), own, other),
            _ if line.is_object() => (None, other, own),
            // Who tells of a conversation and of no telephone means one without.
            _ => (meta.is_object().then_some("web"), None, None),
        };
        Self {
            channel,
            from,
            to,
            transport,
        }
    }
}

fn session(
    data: &Value,
    meta: &Value,
    analysis: &Value,
    names: &Names,
    turns_left_out: Option<usize>,
) -> Form {
    let way = Way::of(meta);
    let campaign = id(meta, &["batch_call", "campaign", "campaign_id"])
        .or_else(|| id(meta, &["batch_call", "batch_call_id"]));
    let reason = text(meta, &["termination_reason"]);
    let cost = number(meta, &["cost_fiat"]).filter(|usd| *usd >= 0.0);
    let mut elevenlabs = Form::default();
    for (name, found) in [
        ("credits", at(meta, &["cost"])),
        ("charging", at(meta, &["charging"])),
        ("feedback", at(meta, &["feedback"])),
        ("title", at(analysis, &["call_summary_title"])),
        ("userId", at(data, &["user_id"])),
    ] {
        elevenlabs.set(name, found.cloned());
    }
    elevenlabs.set("turnsLeftOut", turns_left_out);
    let mut metadata = Form::default();
    metadata.object("elevenlabs", elevenlabs);
    let mut extracted = Form::default();
    if let Some(Value::Object(results)) = at(analysis, &["data_collection_results"]) {
        for (name, result) in results {
            extracted.set(name, at(result, &["value"]).cloned());
        }
    }
    let mut form = Form::default();
    names.write(&mut form);
    form.set("channel", way.channel)
        .set("from", way.from)
        .set("to", way.to)
        .set("campaign", campaign)
        .set("agentId", id(data, &["agent_id"]))
        .set("agentVersion", id(data, &["version_id"]))
        .set("endReason", reason)
        .set("endedBy", reason.and_then(ended_by))
        .set("language", text(meta, &["main_language"]))
        .set("summary", text(analysis, &["transcript_summary"]))
        .set("costUsd", cost)
        .set("transport", way.transport)
        .object("extracted", extracted)
        .object("metadata", metadata);
    form
}

/// Reasons are sentences here; only plain ones are understood.
fn ended_by(reason: &str) -> Option<&'static str> {
    let reason = reason.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if has(&["end_call tool", "agent ended", "ended by agent"]) {
        Some("agent")
    } else if has(&["client", "user", "remote party", "customer", "caller"]) {
        Some("user")
    } else {
        None
    }
}

fn verdict(result: Option<&str>) -> Option<&'static str> {
    match result? {
        "success" => Some("pass"),
        "failure" => Some("fail"),
        _ => None,
    }
}

fn judgements(analysis: &Value, said_at: DateTime<Utc>, now: DateTime<Utc>) -> Vec<Event> {
    let mut events = Vec::new();
    if let Some(verdict) = verdict(text(analysis, &["call_successful"])) {
        let mut form = Form::default();
        form.set("reviewer", Some("elevenlabs"))
            .set("verdict", Some(verdict));
        events.extend(lens::event(
            Kind::Evaluation,
            "call_successful",
            said_at,
            form,
            now,
        ));
    }
    let criteria = at(analysis, &["evaluation_criteria_results"]).and_then(Value::as_object);
    for (name, result) in criteria.into_iter().flatten() {
        let share = number(result, &["score"]).zip(measured(result, &["max_score"]));
        let mut form = Form::default();
        form.set("reviewer", Some("elevenlabs"))
            .set("verdict", verdict(text(result, &["result"])))
            .set("score", share.map(|(score, max)| score / max))
            .set("labels", Some(vec![name.clone()]))
            .set("notes", text(result, &["rationale"]));
        let id = format!("criteria/{name}");
        events.extend(lens::event(Kind::Evaluation, id, said_at, form, now));
    }
    events
}

/// A call that never began.
fn failure(data: &Value, names: &Names, said_at: DateTime<Utc>, now: DateTime<Utc>) -> Vec<Event> {
    let reason = text(data, &["failure_reason"]).unwrap_or("unknown");
    let body = at(data, &["metadata", "body"]).unwrap_or(&Value::Null);
    // Where ElevenLabs does not say why, the carrier's own word came along.
    let words = [Some(reason), text(body, &["CallStatus"])];
    let status = words.into_iter().flatten().find_map(|word| match word {
        "busy" => Some("declined"),
        "no-answer" | "no_answer" => Some("missed"),
        _ => None,
    });
    let status = status.unwrap_or("failed");
    let number = |one: &str, other: &str| text(body, &[one]).or_else(|| text(body, &[other]));
    let mut form = Form::default();
    names.write(&mut form);
    form.set("status", Some(status))
        .time("startedAt", Some(said_at))
        .time("endedAt", Some(said_at))
        .set("endReason", Some(reason))
        .set("endedBy", Some("system"))
        .set("channel", Some("outbound"))
        .set("from", number("From", "from_number"))
        .set("to", number("To", "to_number"))
        .set("carrierStatus", text(body, &["CallStatus"]))
        .set("sipCode", lens::number(body, &["sip_status_code"]))
        .set("agentId", id(data, &["agent_id"]));
    let mut events = Vec::from_iter(lens::session(said_at, form, now));
    if status == "failed" {
        let failure = Failure {
            id: "ended",
            service: "workflow",
            code: Some("call_initiation_failure"),
            message: reason,
            occurred_at: Some(said_at),
        };
        events.extend(failure.event(said_at, now));
    }
    events
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_774_000_500, 0).unwrap()
    }

    fn told(kind: &str, data: Value) -> Told {
        let body = json!({"type": kind, "event_timestamp": 1_774_000_400, "data": data});
        read(TenantId(uuid::Uuid::nil()), body, now())
    }

    fn of_kind(told: &Told, kind: Kind) -> Vec<Map<String, Value>> {
        let [Submission::Report(Source::Elevenlabs, report)] = &told.submissions[..] else {
            panic!("{told:?}")
        };
        let found = report.events.iter().filter(|event| event.kind == kind);
        found.map(|event| event.fields.fields().clone()).collect()
    }

    #[test]
    fn a_transcription_is_a_whole_session() {
        let told = told(
            "post_call_transcription",
            json!({
                "agent_id": "agent_1", "conversation_id": "conv_1", "status": "done", "user_id": null,
                "transcript": [
                    {"role": "agent", "message": "Hello", "time_in_call_secs": 0, "interrupted": false},
                    {"role": "user", "message": "Hi", "time_in_call_secs": 2,
                     "conversation_turn_metrics": {"metrics": {"convai_asr_trailing_service_latency": {"elapsed_time": 0.2}}}},
                    {"role": "agent", "message": null, "time_in_call_secs": 3,
                     "tool_calls": [{"request_id": "t", "tool_name": "find", "params_as_json": "{\"a\":1}"}],
                     "tool_results": [{"request_id": "t", "tool_name": "find", "result_value": "none", "is_error": false,
                                       "tool_latency_secs": 0.5}]},
                    {"role": "agent", "message": "Well", "time_in_call_secs": 4, "interrupted": true,
                     "conversation_turn_metrics": {"metrics": {
                        "convai_llm_service_ttfb": {"elapsed_time": 0.45}, "convai_tts_service_ttfb": {"elapsed_time": 0.0}}},
                     "llm_usage": {"model_usage": {"gemini": {"input": {"tokens": 100}, "input_cache_read": {"tokens": 20},
                                                              "output_total": {"tokens": 7}}}}},
                ],
                "metadata": {"start_time_unix_secs": 1_774_000_000, "call_duration_secs": 330, "cost": 410,
                    "cost_fiat": 0.3, "termination_reason": "end_call tool was called.",
                    "phone_call": {"type": "twilio", "direction": "inbound", "agent_number": "+15005550007",
                        "external_number": "+15005550006", "stream_sid": "MZ1",
                        "call_sid": "CA0123456789abcdef0123456789abcdef"}},
                "analysis": {"call_successful": "success", "transcript_summary": "A chat.",
                    "evaluation_criteria_results": {"polite": {"result": "failure", "rationale": "No.", "score": 1, "max_score": 4}},
                    "data_collection_results": {"seats": {"value": 2}}},
            }),
        );
        let session = told.session.as_ref().unwrap();
        assert_eq!(
            (session.external_id.as_str(), session.claims.len()),
            ("conv_1", 3)
        );
        let turns = of_kind(&told, Kind::Turn);
        assert_eq!(turns.len(), 3);
        assert_eq!(
            (&turns[1]["sttMs"], &turns[2]["llmMs"]),
            (&json!(200.0), &json!(450.0))
        );
        assert_eq!(turns[2].get("ttsMs"), None);
        assert_eq!(turns[2]["interrupted"], true);
        let cut_off = of_kind(&told, Kind::Interruption);
        assert_eq!(cut_off.len(), 1);
        assert_eq!(
            (&cut_off[0]["turn"], &cut_off[0]["source"]),
            (&json!(2), &json!("user"))
        );
        assert_eq!(turns[2]["usage"]["promptTokens"], 120);
        let tool = &of_kind(&told, Kind::ToolCall)[0];
        assert_eq!(
            (&tool["startMs"], &tool["endMs"], &tool["turn"]),
            (&json!(3000), &json!(3500), &json!(2))
        );
        let session = &of_kind(&told, Kind::Session)[0];
        for (name, value) in [
            ("startedAt", json!("2026-03-20T09:46:40Z")),
            ("endedAt", json!("2026-03-20T09:52:10Z")),
            ("from", json!("+15005550006")),
            ("endedBy", json!("agent")),
            ("costUsd", json!(0.3)),
            ("models", json!({"llm": "gemini"})),
            ("extracted", json!({"seats": 2})),
        ] {
            assert_eq!(session[name], value, "{name}");
        }
        let judged = of_kind(&told, Kind::Evaluation);
        assert_eq!(
            (&judged[0]["verdict"], &judged[1]["score"]),
            (&json!("pass"), &json!(0.25))
        );
    }

    #[test]
    fn of_a_conversation_without_a_word_nobody_knows_how_it_came_about() {
        let channel = |metadata: Value| {
            let data = json!({"conversation_id": "c", "metadata": metadata});
            let told = told("post_call_transcription", data);
            let [Submission::Report(_, report)] = &told.submissions[..] else {
                panic!("{:?}", told.submissions);
            };
            let mut sessions = report.events.iter().filter(|e| e.kind == Kind::Session);
            let session = sessions.next().expect("a session").fields.fields();
            session.get("channel").cloned()
        };
        assert_eq!(channel(Value::Null), None);
        assert_eq!(channel(json!({"phone_call": null})), Some(json!("web")));
    }

    #[test]
    fn the_line_says_whether_anybody_answered() {
        for (result, status, answered_by) in [
            ("answered", "completed", None),
            ("voicemail", "completed", Some("machine")),
            ("busy", "declined", None),
            ("no_answer", "missed", None),
            ("failed", "failed", None),
        ] {
            let told = told(
                "post_call_transcription",
                json!({"conversation_id": "c", "status": "done", "version_id": "v7", "metadata": {
                    "accepted_time_unix_secs": 1_774_000_005, "start_time_unix_secs": 1_774_000_000,
                    "batch_call": {"batch_call_id": "b1"},
                    "phone_call": {"type": "twilio", "direction": "outbound", "call_result": result}}}),
            );
            let session = &of_kind(&told, Kind::Session)[0];
            assert_eq!(session["status"], status);
            let by = session.get("answeredBy").and_then(Value::as_str);
            assert_eq!(by, answered_by, "{result}");
            let is_answered = ["answered", "voicemail"].contains(&result);
            assert_eq!(session.contains_key("answeredAt"), is_answered, "{result}");
            let errors = of_kind(&told, Kind::Error).len();
            assert_eq!(errors, usize::from(status == "failed"), "{result}");
            assert_eq!(
                (&session["campaign"], &session["agentVersion"]),
                (&json!("b1"), &json!("v7"))
            );
        }
    }

    #[test]
    fn messages_have_two_ends_as_calls_have() {
        let of = |line: Value| {
            let data = json!({"conversation_id": "c", "metadata": line});
            let told = told("post_call_transcription", data);
            let session = of_kind(&told, Kind::Session)[0].clone();
            let get = |name: &str| session.get(name).cloned().unwrap_or_default();
            json!([get("channel"), get("from"), get("to"), get("transport")])
        };
        assert_eq!(
            of(
                json!({"sms": {"direction": "inbound", "sms_user_phone_number": "+49",
                              "agent_phone_number": "+1"}})
            ),
            json!(["inbound", "+49", "+1", "sms"])
        );
        assert_eq!(
            of(
                json!({"phone_call": null, "whatsapp": {"direction": "unknown", "whatsapp_user_id": "49"}})
            ),
            json!([null, "49", null, "whatsapp"])
        );
    }

    #[test]
    fn only_what_was_said_is_a_turn_and_all_voices_of_an_agent_say_it() {
        let told = told(
            "post_call_transcription",
            json!({"conversation_id": "c", "transcript": [
                {"role": "agent", "message": "Well, I", "time_in_call_secs": 2, "interrupted": true},
                {"role": "user", "message": "mhm", "time_in_call_secs": 3, "ignored_as_backchannel": true},
                {"role": "user", "message": "...", "time_in_call_secs": 12, "platform_event": "user_turn_timeout"},
                {"role": "agent", "message": null, "time_in_call_secs": 13, "multivoice_message": {"parts": [
                    {"text": "Are you there?", "voice_label": "a"}, {"text": "Hello?", "voice_label": "b"}]}},
            ]}),
        );
        let turns = of_kind(&told, Kind::Turn);
        let said: Vec<&Value> = turns.iter().map(|turn| &turn["text"]).collect();
        assert_eq!(said, ["Well, I", "Are you there? Hello?"]);
        assert_eq!(
            turns[0]["metadata"]["backchannels"],
            json!([{"speaker": "user", "text": "mhm", "startMs": 3000}])
        );
        let cut_off = of_kind(&told, Kind::Interruption);
        assert_eq!(cut_off[0].get("atMs"), None, "nobody knows when");
    }

    #[test]
    fn audio_is_taken_and_what_never_began_is_told() {
        let audio = told(
            "post_call_audio",
            json!({"conversation_id": "c", "full_audio": "AAAA"}),
        );
        assert_eq!(
            audio.recording,
            Some(Announced::Enclosed("AAAA".to_owned()))
        );
        assert!(
            told("post_call_audio", json!({"conversation_id": "c"}))
                .ignored
                .is_some()
        );
        let busy = told(
            "call_initiation_failure",
            json!({"conversation_id": "c", "failure_reason": "busy",
            "metadata": {"type": "twilio", "body": {"CallSid": "CA0123456789abcdef0123456789abcdef", "To": "+1"}}}),
        );
        let session = &of_kind(&busy, Kind::Session)[0];
        assert_eq!(
            (&session["status"], &session["to"]),
            (&json!("declined"), &json!("+1"))
        );
        assert_eq!(session["callSid"], "CA0123456789abcdef0123456789abcdef");
        let unknown = told(
            "call_initiation_failure",
            json!({"conversation_id": "c", "failure_reason": "unknown",
            "metadata": {"type": "twilio", "body": {"CallStatus": "no-answer"}}}),
        );
        assert_eq!(of_kind(&unknown, Kind::Session)[0]["status"], "missed");
        assert!(of_kind(&unknown, Kind::Error).is_empty());
        assert!(told("workspace_event", json!({})).ignored.is_some());
        assert!(told("post_call_transcription", json!({})).ignored.is_some());
    }
}
