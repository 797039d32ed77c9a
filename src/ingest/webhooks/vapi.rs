//! Vapi's server messages: `status-update` while a call runs, `end-of-call-report` with all of it. Pure.

mod ended;
mod transcript;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::dialogue::{Failure, Names};
use super::lens;
use super::lens::{Form, at, id, list, number, text, time};
use crate::domain::event::{Event, Kind, Source, Submission};
use crate::domain::ids::{Claim, ClaimKind, TenantId};
use crate::domain::recording::Placement;
use crate::domain::webhook::{Announced, Told};

/// What the report of the whole call says again.
const PARTS: [&str; 12] = [
    "conversation-update",
    "hang",
    "language-change-detected",
    "model-output",
    "phone-call-control",
    "speech-update",
    "tool-calls-result",
    "transcript",
    "transfer-update",
    "user-interrupted",
    "voice-input",
    "session.updated",
];
/// What only the assistant itself has an answer for.
const ASKING: [&str; 8] = [
    "assistant-request",
    "call.endpointing.request",
    "campaign.predial",
    "handoff-destination-request",
    "knowledge-base-request",
    "tool-calls",
    "transfer-destination-request",
    "voice-request",
];

pub fn read(tenant: TenantId, body: &Value, now: DateTime<Utc>) -> Told {
    let message = at(body, &["message"]).unwrap_or(body);
    let kind = text(message, &["type"]).unwrap_or("unknown");
    let is_report = match kind {
        "end-of-call-report" => true,
        "status-update" => false,
        asking if ASKING.contains(&asking) => {
            return Told::ignored(kind, "this server records calls and answers nothing");
        }
        // As `transcript[transcriptType="final"]`.
        part if PARTS.contains(&part.split('[').next().unwrap_or_default()) => {
            return Told::ignored(kind, "the end-of-call report says it all");
        }
        _ => return Told::ignored(kind, "this server knows no such event"),
    };
    let own = id(message, &["call", "id"]).map(|id| Claim::new(ClaimKind::VapiCall, id));
    if own.is_none() {
        return Told::ignored(kind, "it names no call");
    }
    if !is_report && status(message).is_none() {
        let why = match text(message, &["status"]) {
            Some(given) => format!("this server knows no status `{given}`"),
            None => "it names no status".to_owned(),
        };
        return Told::ignored(kind, why);
    }
    let call_sid = id(message, &["call", "phoneCallProviderId"]);
    let names = Names::new(tenant, own, call_sid, None);
    // Whoever writes with a clock far ahead would speak the last word for ever.
    let said_at = time(message, &["timestamp"], now);
    let submissions = match is_report {
        true => {
            let events = report(message, &names, said_at.unwrap_or(now), now);
            let report = lens::report(said_at, events);
            vec![Submission::Report(Source::Vapi, report)]
        }
        false => {
            let event = status_update(message, &names, said_at.unwrap_or(now), now);
            let events = event.into_iter();
            events
                .map(|event| Submission::Event(Source::Vapi, event))
                .collect()
        }
    };
    Told {
        event: kind.to_owned(),
        session: names.session,
        submissions,
        recording: recording(message, now).filter(|_| is_report),
        ignored: None,
        is_undated: said_at.is_none() && !is_report,
    }
}

fn status_update(
    message: &Value,
    names: &Names,
    said_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<Event> {
    let given = text(message, &["status"])?;
    let reason = text(message, &["endedReason"]);
    let status = status(message)?;
    let mut form = Form::default();
    names.write(&mut form);
    common(message, &mut form);
    form.set("status", Some(status)).set("endReason", reason);
    lens::event(Kind::Session, format!("status/{given}"), said_at, form, now)
}

/// What the status that it names is here.
fn status(message: &Value) -> Option<&'static str> {
    match text(message, &["status"])? {
        "scheduled" | "queued" => Some("queued"),
        "ringing" => Some("ringing"),
        "in-progress" | "forwarding" => Some("active"),
        "ended" => {
            let reason = text(message, &["endedReason"]);
            Some(ended::status(reason.unwrap_or_default()))
        }
        _ => None,
    }
}

/// No call rings longer: one that was created earlier was planned then, and dialled later.
const RINGING_MAX: TimeDelta = TimeDelta::minutes(2);

/// When a call began, by what Vapi says of it.
struct Beginning {
    /// The attempt to connect, as far as that is known.
    started_at: Option<DateTime<Utc>>,
    /// Where it is told apart from the attempt.
    answered_at: Option<DateTime<Utc>>,
}

impl Beginning {
    fn of(message: &Value, now: DateTime<Utc>) -> Self {
        let created_at = time(message, &["call", "createdAt"], now);
        let connected_at = of_call(message, "startedAt", now);
        let rang = |created: &DateTime<Utc>| {
            connected_at
                .is_some_and(|at| (TimeDelta::zero()..=RINGING_MAX).contains(&(at - *created)))
        };
        match created_at.filter(rang) {
            Some(created_at) => Self {
                started_at: Some(created_at),
                answered_at: connected_at,
            },
            None => Self {
                started_at: connected_at.or(created_at),
                answered_at: None,
            },
        }
    }

    /// So much later than the call Vapi's own clock of it begins.
    fn rang_ms(&self) -> f64 {
        let rang = self.started_at.zip(self.answered_at);
        rang.map_or(0.0, |(start, answer)| {
            (answer - start).num_milliseconds() as f64
        })
    }
}

fn of_call(message: &Value, name: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    time(message, &[name], now).or_else(|| time(message, &["call", name], now))
}

fn report(
    message: &Value,
    names: &Names,
    said_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Vec<Event> {
    let beginning = Beginning::of(message, now);
    let started_at = beginning.started_at;
    let ended_at = of_call(message, "endedAt", now);
    let reason = text(message, &["endedReason"])
        .or_else(|| text(message, &["call", "endedReason"]))
        .unwrap_or_default();
    let status = ended::status(reason);
    let was_answered = !matches!(status, "declined" | "missed");
    let mut form = Form::default();
    names.write(&mut form);
    common(message, &mut form);
    let analysis = at(message, &["analysis"]).or_else(|| at(message, &["call", "analysis"]));
    let analysis = analysis.unwrap_or(&Value::Null);
    form.set("status", Some(status))
        .time("startedAt", started_at.or(ended_at))
        .time("answeredAt", beginning.answered_at.filter(|_| was_answered))
        .time("endedAt", ended_at)
        .set(
            "endReason",
            Some(reason).filter(|reason| !reason.is_empty()),
        )
        .set("endedBy", ended::by(reason))
        .set("answeredBy", (reason == "voicemail").then_some("machine"))
        .set(
            "summary",
            text(analysis, &["summary"]).or_else(|| text(message, &["summary"])),
        )
        .object("extracted", extracted(message, analysis));
    let mut dialogue = transcript::dialogue(message, &beginning);
    transcript::latencies(message, &mut dialogue);
    costs(message, &mut form);
    metadata(message, dialogue.cut(), &mut form);
    let mut audio = Form::default();
    audio.set("url", recording_url(message));
    form.object("recording", audio);
    let mut events = dialogue.events(started_at, said_at, now);
    events.extend(lens::session(said_at, form, now));
    events.extend(judgement(analysis, said_at, now));
    if status == "failed" {
        let failure = Failure {
            id: "ended",
            service: ended::service(reason),
            code: Some(reason).filter(|reason| reason.len() <= 255),
            message: text(message, &["call", "endedMessage"]).unwrap_or(reason),
            occurred_at: ended_at,
        };
        events.extend(failure.event(said_at, now));
    }
    events
}

/// What was read out of the call: structured outputs, each under its name, and what the older analysis found.
fn extracted(message: &Value, analysis: &Value) -> Form {
    let found = at(analysis, &["structuredData"]).and_then(Value::as_object);
    let mut form = Form(found.cloned().unwrap_or_default());
    let outputs = at(message, &["artifact", "structuredOutputs"]).and_then(Value::as_object);
    for (id, output) in outputs.into_iter().flatten() {
        let name = text(output, &["name"]).unwrap_or(id);
        form.set(name, at(output, &["result"]).cloned());
    }
    form
}

/// What both kinds of message say of the call.
fn common(message: &Value, form: &mut Form) {
    let channel = match text(message, &["call", "type"]) {
        Some("inboundPhoneCall") => Some("inbound"),
        Some("outboundPhoneCall") => Some("outbound"),
        Some("webCall" | "vapi.websocketCall") => Some("web"),
        _ => None,
    };
    let either = |name: &str, member: &str| {
        let beside = text(message, &[name, member]);
        beside.or_else(|| text(message, &["call", name, member]))
    };
    let address = |name: &str| either(name, "number").or_else(|| either(name, "sipUri"));
    let (customer, own) = (address("customer"), address("phoneNumber"));
    let version =
        id(message, &["assistantVersion"]).or_else(|| id(message, &["call", "assistantVersion"]));
    let (from, to) = match channel {
        Some("inbound") => (customer, own),
        _ => (own, customer),
    };
    let agent = id(message, &["call", "assistantId"])
        .or_else(|| id(message, &["assistant", "id"]))
        .or_else(|| id(message, &["call", "squadId"]));
    let mut workflow = Form::default();
    workflow.set("id", id(message, &["call", "workflowId"]));
    form.set("channel", channel)
        .set("from", from)
        .set("to", to)
        .set("agentId", agent)
        .set("agentVersion", version)
        .set("campaign", id(message, &["call", "campaignId"]))
        .set("transport", text(message, &["call", "phoneCallProvider"]))
        .object("workflow", workflow);
}

/// Which models and providers took part, what they used and what it cost.
fn costs(message: &Value, form: &mut Form) {
    let assistant = at(message, &["assistant"]).or_else(|| at(message, &["call", "assistant"]));
    let assistant = assistant.unwrap_or(&Value::Null);
    let items = match list(message, &["costs"]) {
        [] => list(message, &["call", "costs"]),
        items => items,
    };
    let of_kind = |kind: &str| {
        items
            .iter()
            .find(|item| text(item, &["type"]) == Some(kind))
    };
    let part = |name: &str, kind: &str| {
        at(assistant, &[name]).or_else(|| of_kind(kind).and_then(|item| at(item, &[name])))
    };
    let model_names = items
        .iter()
        .filter(|item| text(item, &["type"]) == Some("model"));
    let model_names = model_names.filter_map(|item| text(item, &["model", "model"]));
    let is_one_model = model_names.collect::<BTreeSet<_>>().len() < 2;
    let (mut models, mut providers) = (Form::default(), Form::default());
    for (stage, part) in [
        ("stt", part("transcriber", "transcriber")),
        ("llm", part("model", "model")),
        ("tts", part("voice", "voice")),
    ] {
        // What several models used is told in one sum: it is none's.
        let is_told = stage != "llm" || is_one_model;
        let part = part.filter(|_| is_told);
        models.set(stage, part.and_then(|part| text(part, &["model"])));
        providers.set(stage, part.and_then(|part| text(part, &["provider"])));
    }
    let voice = part("voice", "voice").and_then(|voice| text(voice, &["voiceId"]));
    let language = part("transcriber", "transcriber").and_then(|part| text(part, &["language"]));
    let broken_down =
        at(message, &["costBreakdown"]).or_else(|| at(message, &["call", "costBreakdown"]));
    let broken_down = broken_down.unwrap_or(&Value::Null);
    let sum = |kind: &str, name: &str| {
        let of_kind = items
            .iter()
            .filter(|item| text(item, &["type"]) == Some(kind));
        let counts = of_kind.filter_map(|item| number(item, &[name]));
        counts.reduce(|sum, count| sum + count)
    };
    let count = |whole: &str, kind: &str, name: &str| {
        let count = number(broken_down, &[whole]).or_else(|| sum(kind, name));
        count.filter(|count| *count >= 0.0).map(lens::ms)
    };
    let mut usage = Form::default();
    usage
        .set(
            "promptTokens",
            count("llmPromptTokens", "model", "promptTokens"),
        )
        .set(
            "completionTokens",
            count("llmCompletionTokens", "model", "completionTokens"),
        )
        .set(
            "cachedTokens",
            count("llmCachedPromptTokens", "model", "cachedPromptTokens"),
        )
        .set(
            "ttsCharacters",
            count("ttsCharacters", "voice", "characters"),
        )
        .set(
            "sttSeconds",
            sum("transcriber", "minutes").map(|minutes| minutes * 60.0),
        );
    let each = items.iter().map(|item| number(item, &["cost"]));
    let cost = number(message, &["cost"])
        .or_else(|| number(broken_down, &["total"]))
        .or_else(|| number(message, &["call", "cost"]))
        .or_else(|| each.sum::<Option<f64>>().filter(|_| !items.is_empty()));
    form.set("costUsd", cost.filter(|usd| *usd >= 0.0))
        .set("voice", voice)
        .set("language", language)
        .object("models", models)
        .object("providers", providers)
        .object("usage", usage);
}

/// What has no field of its own and is told all the same.
fn metadata(message: &Value, turns_left_out: Option<usize>, form: &mut Form) {
    let mut vapi = Form::default();
    for (name, path) in [
        ("costBreakdown", &["costBreakdown"][..]),
        ("performanceMetrics", &["artifact", "performanceMetrics"]),
        ("successEvaluation", &["analysis", "successEvaluation"]),
        ("destination", &["destination"]),
    ] {
        vapi.set(name, at(message, path).cloned());
    }
    vapi.set("turnsLeftOut", turns_left_out);
    let mut metadata = Form::default();
    metadata.object("vapi", vapi);
    form.object("metadata", metadata);
}

fn judgement(analysis: &Value, said_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Event> {
    let verdict = match at(analysis, &["successEvaluation"])? {
        Value::Bool(is_success) => Some(*is_success),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        // By a scale that only its author knows.
        _ => None,
    };
    let mut form = Form::default();
    form.set("reviewer", Some("vapi")).set(
        "verdict",
        verdict.map(|pass| if pass { "pass" } else { "fail" }),
    );
    verdict.and_then(|_| lens::event(Kind::Evaluation, "success", said_at, form, now))
}

/// Where the recording lies, by an address that stays. It may open to nobody but Vapi.
fn recording_url(message: &Value) -> Option<&str> {
    let paths: [&[&str]; 6] = [
        &["artifact", "stereoRecordingUrl"],
        &["artifact", "recording", "stereoUrl"],
        &["artifact", "recordingUrl"],
        &["artifact", "recording", "mono", "combinedUrl"],
        &["stereoRecordingUrl"],
        &["recordingUrl"],
    ];
    paths.iter().find_map(|path| text(message, path))
}

/// What is fetched: by an address that is signed, so that whoever has it may, and that is another one each time.
fn recording(message: &Value, now: DateTime<Utc>) -> Option<Announced> {
    let signed = ["presignedStereoUrl", "presignedMonoUrl"].into_iter();
    let signed = signed.filter_map(|name| text(message, &["artifact", name]));
    let url = signed.chain(recording_url(message)).next()?;
    Some(Announced::At {
        url: url.to_owned(),
        // A recording begins with the answer.
        placement: Placement {
            started_at: Beginning::of(message, now).answered_at,
            start_offset_ms: None,
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-21T12:00:00Z".parse().unwrap()
    }

    fn told(message: Value) -> Told {
        read(
            TenantId(uuid::Uuid::nil()),
            &json!({ "message": message }),
            now(),
        )
    }

    fn events(told: &Told) -> Vec<Event> {
        match &told.submissions[..] {
            [Submission::Report(Source::Vapi, report)] => report.events.clone(),
            [Submission::Event(Source::Vapi, event)] => vec![event.clone()],
            other => panic!("{other:?}"),
        }
    }

    fn of_kind(events: &[Event], kind: Kind) -> Vec<Map<String, Value>> {
        let found = events.iter().filter(|event| event.kind == kind);
        found.map(|event| event.fields.fields().clone()).collect()
    }

    #[test]
    fn a_call_begins_with_the_attempt_where_that_is_told() {
        let of = |created: Value, started: Value, reason: &str| {
            let told = told(json!({
                "type": "end-of-call-report", "timestamp": 1_774_087_531_000_i64, "endedReason": reason,
                "startedAt": started, "endedAt": "2026-03-21T10:05:30Z", "call": {"id": "c", "createdAt": created},
                "artifact": {"recordingUrl": "https://storage.vapi.ai/r.wav", "messages": [
                    {"role": "bot", "message": "Hello", "time": 1_774_087_200_100_i64, "secondsFromStart": 0.1},
                    {"role": "user", "message": "Hi", "time": 1_774_087_202_000_i64}]}
            }));
            let events = events(&told);
            let session = of_kind(&events, Kind::Session)[0].clone();
            let starts: Vec<Value> = of_kind(&events, Kind::Turn)
                .iter()
                .map(|turn| turn["startMs"].clone())
                .collect();
            let Some(Announced::At { placement, .. }) = told.recording else {
                panic!("no recording")
            };
            let text = |name: &str| session.get(name).cloned().unwrap_or_default();
            let recorded_at = placement.started_at.map(lens::written).unwrap_or_default();
            json!([text("startedAt"), text("answeredAt"), starts, recorded_at])
        };
        let (created, answered) = ("2026-03-21T09:59:52Z", "2026-03-21T10:00:00Z");
        assert_eq!(
            of(json!(created), json!(answered), "customer-ended-call"),
            json!([created, answered, [8100, 10_000], answered])
        );
        // Planned long before it was dialled, or not told at all.
        for unknown in [
            json!("2026-03-21T09:57:59Z"),
            json!("2026-03-21T10:00:01Z"),
            Value::Null,
        ] {
            assert_eq!(
                of(unknown, json!(answered), "customer-ended-call"),
                json!([answered, null, [100, 2_000], null])
            );
        }
        let missed = of(json!(created), Value::Null, "customer-did-not-answer");
        assert_eq!((&missed[0], &missed[1]), (&json!(created), &Value::Null));
        let missed = of(json!(created), json!(answered), "customer-did-not-answer");
        assert_eq!((&missed[0], &missed[1]), (&json!(created), &Value::Null));
    }

    #[test]
    fn a_recording_is_fetched_by_its_signed_address_and_known_by_the_one_that_stays() {
        let of = |signed: &str| {
            told(json!({
                "type": "end-of-call-report", "timestamp": 1_774_087_531_000_i64, "endedReason": "customer-ended-call",
                "call": {"id": "c"},
                "artifact": {"recordingUrl": "https://a.r2.cloudflarestorage.com/r/c-mono.wav",
                    "stereoRecordingUrl": "https://a.r2.cloudflarestorage.com/r/c-stereo.wav",
                    "presignedMonoUrl": "https://a.r2.cloudflarestorage.com/r/c-mono.wav?X-Amz-Signature=1",
                    "presignedStereoUrl": signed},
            }))
        };
        let signed = "https://a.r2.cloudflarestorage.com/r/c-stereo.wav?X-Amz-Signature=2";
        let first = of(signed);
        let Some(Announced::At { url, .. }) = &first.recording else {
            panic!("{first:?}")
        };
        assert_eq!(url, signed);
        let stays = json!({"url": "https://a.r2.cloudflarestorage.com/r/c-stereo.wav"});
        assert_eq!(
            of_kind(&events(&first), Kind::Session)[0]["recording"],
            stays
        );
        // Signed anew for each delivery, which says the same all the same.
        let again = of(&signed.replace("=2", "=3"));
        assert_eq!(first.submissions, again.submissions);
    }

    #[test]
    fn a_report_tells_who_spoke_and_what_was_read_out_of_it() {
        let told = told(json!({
            "type": "end-of-call-report", "endedReason": "customer-ended-call", "assistantVersion": "v3",
            "call": {"id": "c", "type": "inboundPhoneCall", "customer": {"sipUri": "sip:ann@example.org"}},
            "analysis": {"structuredData": {"seats": 2}},
            "artifact": {
                "structuredOutputs": {"550e": {"name": "Order", "result": {"id": 1}}, "551e": {"result": 4}},
                "messages": [
                    {"role": "user", "message": "Hi", "secondsFromStart": 1, "confidence": 0.93},
                    {"role": "bot", "message": "Hello", "secondsFromStart": 2, "assistantId": "a2", "assistantName": "Billing"},
                ]},
        }));
        let events = events(&told);
        let session = &of_kind(&events, Kind::Session)[0];
        assert_eq!(
            session["extracted"],
            json!({"seats": 2, "Order": {"id": 1}, "551e": 4})
        );
        assert_eq!(
            (&session["agentVersion"], &session["from"]),
            (&json!("v3"), &json!("sip:ann@example.org"))
        );
        let turns = of_kind(&events, Kind::Turn);
        assert_eq!(turns[0]["confidence"], 0.93);
        assert_eq!(
            turns[1]["metadata"],
            json!({"assistantId": "a2", "assistantName": "Billing"})
        );
    }

    #[test]
    fn a_report_is_a_whole_session() {
        let told = told(json!({
            "type": "end-of-call-report", "timestamp": 1_774_087_531_000_i64,
            "endedReason": "customer-ended-call",
            "startedAt": "2026-03-21T10:00:00.000Z", "endedAt": "2026-03-21T10:05:30.000Z", "cost": 0.21,
            "call": {"id": "7b0f", "type": "inboundPhoneCall", "assistantId": "a1",
                     "phoneCallProviderId": "CA0123456789abcdef0123456789abcdef",
                     "customer": {"number": "+15005550006"}},
            "costs": [{"type": "model", "model": {"provider": "openai", "model": "gpt-4o"},
                       "promptTokens": 100, "completionTokens": 20, "cost": 0.1},
                      {"type": "transcriber", "minutes": 2, "transcriber": {"provider": "deepgram"}}],
            "analysis": {"summary": "A table.", "successEvaluation": "true", "structuredData": {"seats": 2}},
            "artifact": {
                "recordingUrl": "https://storage.vapi.ai/r.wav",
                "messages": [
                    {"role": "system", "message": "Be kind", "secondsFromStart": 0},
                    {"role": "bot", "message": "Hello", "time": 1000, "endTime": 2200, "secondsFromStart": 0.1},
                    {"role": "user", "message": "Hi", "time": 3000, "endTime": 3500, "secondsFromStart": 2.0},
                    {"role": "tool_calls", "secondsFromStart": 2.6, "toolCalls": [
                        {"id": "t1", "type": "function", "function": {"name": "find", "arguments": "{\"a\":1}"}}]},
                    {"role": "tool_call_result", "toolCallId": "t1", "name": "find", "result": "none",
                     "secondsFromStart": 2.9},
                    {"role": "bot", "message": "Well", "time": 4500, "endTime": 5000, "secondsFromStart": 3.5},
                ],
                "performanceMetrics": {"turnLatencies": [{"modelLatency": 450, "voiceLatency": 380,
                    "transcriberLatency": 20, "endpointingLatency": -1, "turnLatency": 950}]},
            },
        }));
        assert_eq!(told.session.as_ref().unwrap().claims.len(), 2);
        let events = events(&told);
        let turns = of_kind(&events, Kind::Turn);
        assert_eq!(turns.len(), 3);
        let [first, answer] = [&turns[0], &turns[2]].map(|turn| Value::Object(turn.clone()));
        assert_eq!(
            first,
            json!({"index": 0, "speaker": "agent", "text": "Hello", "startMs": 100, "endMs": 1300})
        );
        assert_eq!(
            answer,
            json!({"index": 2, "speaker": "agent", "text": "Well", "startMs": 3500, "endMs": 4000,
                   "sttMs": 20.0, "llmMs": 450.0, "ttsMs": 380.0, "latencyMs": 950.0})
        );
        assert_eq!(
            Value::Object(of_kind(&events, Kind::ToolCall)[0].clone()),
            json!({"callId": "t1", "name": "find", "arguments": {"a": 1}, "result": "none", "turn": 2,
                   "startMs": 2600, "endMs": 2900})
        );
        let session = &of_kind(&events, Kind::Session)[0];
        for (name, value) in [
            ("status", json!("completed")),
            ("startedAt", json!("2026-03-21T10:00:00Z")),
            ("endedBy", json!("user")),
            ("from", json!("+15005550006")),
            ("costUsd", json!(0.21)),
            (
                "usage",
                json!({"promptTokens": 100, "completionTokens": 20, "sttSeconds": 120.0}),
            ),
            ("providers", json!({"llm": "openai", "stt": "deepgram"})),
            ("extracted", json!({"seats": 2})),
        ] {
            assert_eq!(session[name], value, "{name}");
        }
        assert_eq!(of_kind(&events, Kind::Evaluation)[0]["verdict"], "pass");
        assert!(of_kind(&events, Kind::Error).is_empty());
    }

    #[test]
    fn a_state_is_an_event_and_nonsense_is_none() {
        let told_state = told(json!({"type": "status-update", "status": "in-progress",
            "timestamp": 1_774_087_000_000_i64, "call": {"id": "c", "type": "webCall"}}));
        let event = &events(&told_state)[0];
        assert_eq!(
            (event.id.as_str(), &event.fields["status"]),
            ("status/in-progress", &json!("active"))
        );
        assert!(
            told(json!({"type": "transcript[transcriptType=\"final\"]"}))
                .ignored
                .is_some()
        );
        assert!(
            told(json!({"type": "end-of-call-report"}))
                .ignored
                .is_some()
        );
        assert!(told(json!(["a"])).ignored.is_some());
        let odd = told(
            json!({"type": "end-of-call-report", "call": {"id": "c"}, "costs": {"a": 1},
            "artifact": {"messages": [7, {"role": "bot"}, {"role": "user", "message": "x", "time": "?"}]}}),
        );
        assert_eq!(of_kind(&events(&odd), Kind::Turn).len(), 1);
    }
}
