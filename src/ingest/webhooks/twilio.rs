//! Twilio's callbacks: states of a call, its recordings, its media streams, and who answered. Pure.
//!
//! A callback is known by its call, state and sequence number, and happened when Twilio says so: they may
//! come in any order, and the default of one callback at the end is enough for a call.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::lens;
use super::lens::Form;
use crate::domain::event::{Event, Kind, SessionRef, Source, Submission};
use crate::domain::ids::{Claim, ClaimKind, TenantId, is_call_sid};
use crate::domain::recording::Placement;
use crate::domain::webhook::{Announced, Told};

/// No call is longer: what says more is no duration.
const DURATION_MAX_SECONDS: i64 = 7 * 24 * 3600;

/// A callback's parameters by name. Of several under one name the first counts.
pub struct Params<'a>(pub &'a [(String, String)]);

impl<'a> Params<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        let value = value.trim();
        (!value.is_empty()).then_some(value)
    }

    fn whole(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// Twilio writes RFC 2822, of streams RFC 3339.
    fn time(&self, name: &str) -> Option<DateTime<Utc>> {
        let text = self.text(name)?;
        let time =
            DateTime::parse_from_rfc2822(text).or_else(|_| DateTime::parse_from_rfc3339(text));
        let time = time.ok()?.to_utc();
        (time >= DateTime::UNIX_EPOCH).then_some(time)
    }
}

/// The account that a callback says it is of.
pub fn account(params: &[(String, String)]) -> Option<&str> {
    Params(params).text("AccountSid")
}

pub fn read(tenant: TenantId, params: &[(String, String)], now: DateTime<Utc>) -> Told {
    let params = Params(params);
    let event = name(&params);
    let Some(call_sid) = params.text("CallSid").filter(|sid| is_call_sid(sid)) else {
        return Told::ignored(event, "it names no call");
    };
    let stream = params.text("StreamSid");
    let claims = [Some(Claim::new(ClaimKind::CallSid, call_sid))]
        .into_iter()
        .chain([stream.map(|sid| Claim::new(ClaimKind::StreamSid, sid))])
        .flatten();
    let session = SessionRef::claimed(tenant, claims);
    // A clock that is far ahead would hold the call open.
    let said_at = params.time("Timestamp").filter(|at| lens::is_set(*at, now));
    let at = said_at.unwrap_or(now);
    let is_undated = said_at.is_none();
    let mut events = Vec::new();
    if let Some(status) = params.text("CallStatus").and_then(Known::of)
        && params.text("RecordingStatus").is_none()
    {
        events.extend(state(&params, call_sid, status, (at, said_at), now));
    } else if params.text("AnsweredBy").is_some() || stream.is_some() {
        let mut form = common(&params, call_sid);
        form.set("streamId", stream);
        events.extend(lens::event(Kind::Session, event.clone(), at, form, now));
    }
    let recording = recording(&params);
    if events.is_empty() && recording.is_none() {
        let why = match params.text("CallStatus") {
            Some(given) if Known::of(given).is_none() => {
                format!("this server knows no status `{given}`")
            }
            _ => "it says nothing that is kept here".to_owned(),
        };
        return Told::ignored(event, why);
    }
    if let Some(Announced::At { url, placement }) = &recording {
        let mut audio = Form::default();
        audio
            .set("url", Some(url.as_str()))
            .time("startedAt", placement.started_at)
            .set("channels", params.whole("RecordingChannels"));
        let mut form = Form::default();
        form.set("callSid", Some(call_sid))
            .object("recording", audio);
        // When it was made, not when the callback came: so that the same word again is the same.
        let said_at = placement.started_at.or(params.time("Timestamp"));
        let id = format!(
            "recording/{}",
            params.text("RecordingSid").unwrap_or_default()
        );
        if let Some(at) = said_at {
            events.extend(lens::event(Kind::Session, id, at, form, now));
        }
    }
    Told {
        event,
        session,
        submissions: events
            .into_iter()
            .map(|event| Submission::Event(Source::Twilio, event))
            .collect(),
        recording,
        ignored: None,
        is_undated,
    }
}

/// What the callback is called in the log, and what its statement is known by.
fn name(params: &Params) -> String {
    let of = |kind: &str, name: &str| Some(format!("{kind}/{}", params.text(name)?));
    of("recording", "RecordingStatus")
        .or_else(|| of("call", "CallStatus"))
        .or_else(|| of("stream", "StreamEvent"))
        .or_else(|| of("answered-by", "AnsweredBy"))
        .or_else(|| of("conference", "StatusCallbackEvent"))
        .or_else(|| of("transcription", "TranscriptionEvent"))
        .unwrap_or_else(|| "unknown".to_owned())
}

/// A state of a call as Twilio names it, and as it is here.
struct Known {
    name: &'static str,
    status: &'static str,
    is_final: bool,
}

impl Known {
    fn of(text: &str) -> Option<Self> {
        let (name, status, is_final) = match text {
            "queued" => ("queued", "queued", false),
            "initiated" => ("initiated", "queued", false),
            "ringing" => ("ringing", "ringing", false),
            "in-progress" => ("in-progress", "active", false),
            // Of the callback event that is called so; the status is `in-progress`.
            "answered" => ("answered", "active", false),
            "completed" => ("completed", "completed", true),
            "busy" => ("busy", "declined", true),
            "no-answer" => ("no-answer", "missed", true),
            "failed" => ("failed", "failed", true),
            "canceled" => ("canceled", "failed", true),
            _ => return None,
        };
        Some(Self {
            name,
            status,
            is_final,
        })
    }
}

fn state(
    params: &Params,
    call_sid: &str,
    known: Known,
    (at, said_at): (DateTime<Utc>, Option<DateTime<Utc>>),
    now: DateTime<Utc>,
) -> Vec<Event> {
    // Who names the state beside something else does not say since when, and may be late.
    let is_last_word = said_at.is_some() || known.is_final;
    let mut form = common(params, call_sid);
    form.set("status", Some(known.status))
        .set("carrierStatus", is_last_word.then_some(known.name))
        .set(
            "sipCode",
            params.whole("SipResponseCode").filter(|code| *code > 0),
        );
    // Requests for instructions, pieces of speech, transcriptions name the state too, and no time: that it was so when
    // they came does not say since when.
    match known.name {
        "queued" | "initiated" => {
            form.time("startedAt", said_at);
        }
        "in-progress" | "answered" => {
            form.time("answeredAt", said_at);
        }
        _ => {}
    }
    if known.is_final {
        form.time("endedAt", said_at);
        if known.name != "completed" {
            form.set("endReason", Some(known.name));
        }
    }
    // Sequence numbers tell apart what happened within one second.
    let sequence = params.whole("SequenceNumber");
    let id = match sequence {
        Some(number) => format!("call/{number:05}/{}", known.name),
        None => format!("call/{}", known.name),
    };
    let mut events = Vec::from_iter(lens::event(Kind::Session, id, at, form, now));
    events.extend(answer(params, &known, at, now));
    events
}

/// When a call was answered of which only the end is told: as long before as it lasted. A statement of its
/// own that is as old as what it says, so that the exact word of a callback at the answer outranks it.
fn answer(params: &Params, known: &Known, end: DateTime<Utc>, now: DateTime<Utc>) -> Option<Event> {
    let seconds = params.whole("CallDuration")?;
    if known.name != "completed" || !(1..=DURATION_MAX_SECONDS).contains(&seconds) {
        return None;
    }
    let at = end - TimeDelta::seconds(seconds);
    let mut form = Form::default();
    form.time("answeredAt", Some(at));
    lens::event(Kind::Session, "answer", at, form, now)
}

/// What every callback may say of its call.
fn common(params: &Params, call_sid: &str) -> Form {
    let channel = match params.text("Direction") {
        Some("inbound") => Some("inbound"),
        Some(direction) if direction.starts_with("outbound") => Some("outbound"),
        _ => None,
    };
    let answered_by = match params.text("AnsweredBy") {
        Some("human") => Some("human"),
        Some("fax") => Some("machine"),
        Some(other) if other.starts_with("machine") => Some("machine"),
        _ => None,
    };
    let mut metadata = Form::default();
    metadata
        .set("parentCallSid", params.text("ParentCallSid"))
        .set("forwardedFrom", params.text("ForwardedFrom"))
        .set("callerName", params.text("CallerName"));
    let mut ids = vec![json!({"kind": "call_sid", "id": call_sid})];
    ids.extend(
        params
            .text("StreamSid")
            .map(|sid| json!({"kind": "stream_sid", "id": sid})),
    );
    let mut form = Form::default();
    form.set("callSid", Some(call_sid))
        .set("externalIds", Some(ids))
        .set("channel", channel)
        .set("from", params.text("From").or(params.text("Caller")))
        .set("to", params.text("To").or(params.text("Called")))
        .set("answeredBy", answered_by)
        .set("transport", Some("twilio"))
        .object("metadata", metadata);
    form
}

/// What is said of a recording, where something is to be done about it.
fn recording(params: &Params) -> Option<Announced> {
    let url = params.text("RecordingUrl");
    // The state of a call tells of a recording too, by its address alone.
    let status = params
        .text("RecordingStatus")
        .or(url.map(|_| "completed"))?;
    match status {
        "completed" => Some(Announced::At {
            url: url?.to_owned(),
            placement: Placement {
                started_at: params.time("RecordingStartTime"),
                start_offset_ms: None,
            },
        }),
        "absent" | "failed" => {
            let why = match params.text("ErrorCode") {
                Some("16101") => "it was too short".to_owned(),
                Some("16102") => "nothing was heard".to_owned(),
                Some(code) if code != "0" => format!("error {}", shortened(code)),
                _ => "no reason is given".to_owned(),
            };
            Some(Announced::Missing(format!(
                "Twilio has no recording: {why}"
            )))
        }
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(20).collect()
}

/// The parameters of a body that is JSON: texts, numbers and flags by name.
pub fn of_json(body: &Value) -> Option<Vec<(String, String)>> {
    let members = body.as_object()?.iter();
    let pair = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return None,
        };
        Some((name.clone(), text))
    };
    Some(members.filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "CA0123456789abcdef0123456789abcdef";

    fn now() -> DateTime<Utc> {
        "2026-03-10T12:00:00Z".parse().unwrap()
    }

    fn told(more: &[(&str, &str)]) -> Told {
        let params = [("CallSid", SID)].iter().chain(more);
        let params: Vec<(String, String)> = params
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        read(TenantId(uuid::Uuid::nil()), &params, now())
    }

    fn said(told: &Told) -> Vec<(String, Value)> {
        let each = told.submissions.iter().map(|submission| match submission {
            Submission::Event(Source::Twilio, event) => (
                event.id.clone(),
                Value::Object(event.fields.fields().clone()),
            ),
            other => panic!("{other:?}"),
        });
        each.collect()
    }

    #[test]
    fn every_state_has_its_meaning() {
        for (status, here) in [
            ("queued", "queued"),
            ("initiated", "queued"),
            ("ringing", "ringing"),
            ("in-progress", "active"),
            ("completed", "completed"),
            ("busy", "declined"),
            ("no-answer", "missed"),
            ("failed", "failed"),
            ("canceled", "failed"),
        ] {
            let told = told(&[("CallStatus", status), ("SequenceNumber", "2")]);
            let said = said(&told);
            assert_eq!(said[0].0, format!("call/00002/{status}"));
            assert_eq!(said[0].1["status"], here, "{status}");
        }
        assert!(told(&[("CallStatus", "thinking")]).ignored.is_some());
    }

    #[test]
    fn what_names_the_state_beside_something_else_says_nothing_of_the_carrier_s_word() {
        let of = |more: &[(&str, &str)]| said(&told(more))[0].1.get("carrierStatus").cloned();
        let at = ("Timestamp", "Tue, 10 Mar 2026 10:00:00 +0000");
        let dialled = ("DialCallStatus", "completed");
        assert_eq!(of(&[("CallStatus", "in-progress"), dialled]), None);
        assert_eq!(
            of(&[("CallStatus", "in-progress"), at]),
            Some(json!("in-progress"))
        );
        assert_eq!(
            of(&[("CallStatus", "completed"), dialled]),
            Some(json!("completed"))
        );
    }

    #[test]
    fn a_last_word_alone_tells_when_the_call_was_answered() {
        let told = told(&[
            ("CallStatus", "completed"),
            ("CallDuration", "49"),
            ("Timestamp", "Tue, 10 Mar 2026 10:00:00 +0000"),
            ("Direction", "outbound-api"),
            ("AnsweredBy", "machine_end_beep"),
            ("SipResponseCode", "200"),
            ("From", "+15005550006"),
        ]);
        let said = said(&told);
        assert_eq!(said[0].1["endedAt"], "2026-03-10T10:00:00Z");
        assert_eq!(said[0].1["channel"], "outbound");
        assert_eq!(said[0].1["answeredBy"], "machine");
        assert_eq!(said[0].1["sipCode"], 200);
        assert_eq!(said[0].1["from"], "+15005550006");
        assert_eq!(
            said[1],
            (
                "answer".to_owned(),
                json!({"answeredAt": "2026-03-10T09:59:11Z"})
            )
        );
    }

    #[test]
    fn nonsense_is_left_out() {
        let told = told(&[
            ("CallStatus", "completed"),
            ("CallDuration", "-3"),
            ("SequenceNumber", "x"),
            ("SipResponseCode", "99999"),
            ("Timestamp", "yesterday"),
            ("AnsweredBy", "unknown"),
        ]);
        let said = said(&told);
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].1.get("sipCode"), None);
        assert_eq!(said[0].1.get("answeredBy"), None);
        assert_eq!(said[0].1.get("endedAt"), None);
    }

    #[test]
    fn recordings_are_there_or_will_not_be() {
        let there = told(&[
            ("RecordingSid", "RE1"),
            ("RecordingStatus", "completed"),
            ("RecordingUrl", "https://api.twilio.com/RE1"),
            ("RecordingStartTime", "Tue, 10 Mar 2026 09:59:11 +0000"),
        ]);
        let Some(Announced::At { url, placement }) = &there.recording else {
            panic!("{there:?}")
        };
        assert_eq!(url, "https://api.twilio.com/RE1");
        assert_eq!(placement.started_at, "2026-03-10T09:59:11Z".parse().ok());
        assert_eq!(said(&there)[0].0, "recording/RE1");
        let none = told(&[("RecordingStatus", "absent"), ("ErrorCode", "16102")]);
        let why = "Twilio has no recording: nothing was heard".to_owned();
        assert_eq!(none.recording, Some(Announced::Missing(why)));
        assert!(
            told(&[("RecordingStatus", "in-progress")])
                .ignored
                .is_some()
        );
    }

    #[test]
    fn a_stream_is_its_calls() {
        let told = told(&[("StreamSid", "MZ1"), ("StreamEvent", "stream-started")]);
        let session = told.session.as_ref().unwrap();
        assert_eq!(session.external_id, SID);
        assert_eq!(session.claims.len(), 2);
        assert_eq!(said(&told)[0].1["streamId"], "MZ1");
    }
}
