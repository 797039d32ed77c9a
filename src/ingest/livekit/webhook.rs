//! `POST /v1/webhooks/livekit`, and what comes to an endpoint of its own: what a LiveKit server tells of its rooms. It signs a hash of the body; what it
//! sends again changes nothing, since every event has an id.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::app::Now;
use crate::auth::LivekitServer;
use crate::domain::Error;
use crate::domain::Fault;
use crate::domain::event;
use crate::domain::event::{Event, Kind, SessionRef, Source, Submission};
use crate::domain::ids::{Claim, ClaimKind, LabelKind, TenantId, is_call_sid};
use crate::domain::sip::Leg;
use crate::domain::webhook::Told;
use crate::ingest::beside;
use crate::ingest::document;
use crate::ingest::receive;
use crate::problem::Json;
use crate::problem::Problem;
use crate::problem::Query;
use crate::problem::Upload;
use crate::services::ingest;
use crate::services::ingest::Item;

use super::{moment, number, parts, put, text, written};

/// Why a participant left who was called and did not answer.
const OUTCOMES: [(&str, &str); 5] = [
    ("USER_UNAVAILABLE", "missed"),
    ("USER_REJECTED", "declined"),
    ("SIP_TRUNK_FAILURE", "failed"),
    ("MEDIA_FAILURE", "failed"),
    ("AGENT_ERROR", "failed"),
];

/// No room is kept longer for those who may come back.
const IDLE_MAX_SECONDS: f64 = 86_400.0;
/// No event takes so much memory.
const HEAVY_BYTES: usize = 64 << 20;

#[derive(Serialize)]
struct Taken {
    accepted: usize,
    duplicates: usize,
    /// Nothing in it is about a session, or about one that may still be written.
    ignored: usize,
}

/// Events of a room, of its participants, of what is recorded of it.
pub async fn webhook(
    State(app): State<App>,
    server: LivekitServer,
    Now(now): Now,
    query: Query,
    upload: Upload,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let (admission, bytes) = receive(&app, &server.scope, upload).await?;
    server.check(&bytes)?;
    let tenant = server.scope.tenant();
    let told = beside(bytes, move |bytes| told(tenant, bytes, now)).await?;
    let is_ignored = told.ignored.is_some();
    let items = items(told);
    let receipt = ingest::take(&app.writer, &server.scope, items, admission, now).await?;
    let taken = Taken {
        accepted: receipt.accepted,
        duplicates: receipt.duplicates,
        ignored: receipt.rejected.len() + usize::from(is_ignored),
    };
    Ok(Json(taken).into_response())
}

fn items(told: Told) -> Vec<Item> {
    let (submissions, session) = (told.submissions, told.session);
    let told = submissions.into_iter().zip(std::iter::repeat(session));
    told.filter_map(|(submission, session)| {
        Some(Item {
            id: None,
            content: Ok((session?, submission)),
            unknown: Vec::new(),
        })
    })
    .collect()
}

/// What an event of a LiveKit server amounts to.
pub fn told(tenant: TenantId, bytes: &[u8], now: DateTime<Utc>) -> Result<Told, Problem> {
    document::refuse_heavier(bytes, HEAVY_BYTES)?;
    let said = document::parse(bytes).map_err(|error| {
        let message = format!("must be JSON: {error}");
        Error::Invalid(vec![Fault::body("body", message)])
    })?;
    let said_at = number(&said, "createdAt").and_then(moment);
    let name = text(&said, "event").unwrap_or("unknown").to_owned();
    let hook = Hook {
        at: said_at.unwrap_or(now),
        id: match text(&said, "id") {
            Some(id) => id.to_owned(),
            None => {
                let whole = said.as_object().cloned().unwrap_or_default();
                format!("{:016x}", event::fields_hash(&whole))
            }
        },
        said,
        now,
    };
    let Some(session) = hook.session(tenant) else {
        return Ok(Told::ignored(name, "it names no room"));
    };
    let events = hook.events();
    if events.is_empty() {
        return Ok(Told::ignored(name, "it says nothing that is kept here"));
    }
    let told = events.into_iter();
    let told = told.map(|event| Submission::Event(Source::LivekitWebhook, event));
    Ok(Told {
        event: name,
        session: Some(session),
        submissions: match said_at {
            Some(_) => told.collect(),
            None => told.map(Submission::undated).collect(),
        },
        ..Told::default()
    })
}

struct Hook {
    said: Value,
    id: String,
    at: DateTime<Utc>,
    now: DateTime<Utc>,
}

impl Hook {
    /// A member in either of protobuf's spellings.
    fn member(&self, camel: &str, snake: &str) -> &Value {
        let member = self.said.get(camel).or_else(|| self.said.get(snake));
        member.unwrap_or(&Value::Null)
    }

    fn room(&self) -> &Value {
        match self.said.get("room") {
            Some(room) if text(room, "sid").is_some() => room,
            _ => &self.said["job"]["room"],
        }
    }

    fn egress(&self) -> &Value {
        self.member("egressInfo", "egress_info")
    }

    /// The room's own id: a name may be used again.
    fn room_sid(&self) -> Option<&str> {
        let egress = self.egress();
        let of_egress = text(egress, "roomId").or(text(egress, "room_id"));
        text(self.room(), "sid").or(of_egress)
    }

    fn session(&self, tenant: TenantId) -> Option<SessionRef> {
        let room = Claim::new(ClaimKind::LivekitRoomSid, self.room_sid()?);
        let call = attribute(&self.said["participant"], "sip.twilio.callSid");
        let call = call.filter(|sid| is_call_sid(sid));
        let call = call.map(|sid| Claim::new(ClaimKind::CallSid, sid));
        SessionRef::claimed(tenant, [room].into_iter().chain(call))
    }

    fn events(&self) -> Vec<Event> {
        let Some(room) = self.room_sid() else {
            return Vec::new();
        };
        let mut fields = Map::new();
        let name = text(self.room(), "name").or(text(self.egress(), "roomName"));
        let job = text(&self.said["job"], "id");
        put(
            &mut fields,
            "externalIds",
            Some(parts::external_ids(room, name, job)),
        );
        let mut error = None;
        match text(&self.said, "event") {
            Some("room_started") => {
                put(&mut fields, "startedAt", self.room_start());
                put(&mut fields, "status", Some("active"));
            }
            Some("room_finished") => {
                put(&mut fields, "startedAt", self.room_start());
                // That the room is gone says that the call is over, and not how it ended.
                put(&mut fields, "endedAt", Some(written(self.room_end())));
            }
            Some("participant_joined") => self.participant(&mut fields, None),
            Some("participant_left" | "participant_connection_aborted") => {
                self.participant(&mut fields, Some(self.at));
            }
            Some("egress_started" | "egress_updated" | "egress_ended") => {
                self.recorded(&mut fields)
            }
            Some("agent_job_started" | "agent_job_ended") => {
                put(&mut fields, "agentId", text(&self.said["job"], "agentName"));
                error = self.job_error();
            }
            _ => return Vec::new(),
        }
        let session = super::event(Kind::Session, self.id.clone(), self.at, fields, self.now);
        session.into_iter().chain(error).collect()
    }

    fn room_start(&self) -> Option<Value> {
        let room = self.room();
        let ms = number(room, "creationTimeMs").filter(|ms| *ms > 0.0);
        let seconds = ms.map(|ms| ms / 1e3).or(number(room, "creationTime"));
        seconds.and_then(moment).map(written)
    }

    /// When the last one had left: a room that is closed for being idle was kept for so long.
    fn room_end(&self) -> DateTime<Utc> {
        let reason = self.member("roomEndReason", "room_end_reason").as_str();
        let room = self.room();
        let kept = number(room, "departureTimeout").or(number(room, "departure_timeout"));
        let kept = kept.filter(|seconds| (0.0..=IDLE_MAX_SECONDS).contains(seconds));
        match kept.filter(|_| reason == Some("ROOM_END_IDLE_TIMEOUT")) {
            Some(seconds) => self.at - TimeDelta::seconds(seconds as i64),
            None => self.at,
        }
    }

    /// Who came or went. What a telephone call knows of itself stands in a participant's attributes.
    fn participant(&self, fields: &mut Map<String, Value>, left_at: Option<DateTime<Utc>>) {
        let who = &self.said["participant"];
        let Some(identity) = text(who, "identity") else {
            return;
        };
        if let Some(Value::Array(ids)) = fields.get_mut("externalIds") {
            ids.push(json!({"kind": LabelKind::Participant.as_str(), "id": identity}));
        }
        let joined = number(who, "joinedAtMs")
            .filter(|ms| *ms > 0.0)
            .map(|ms| ms / 1e3);
        let joined = joined.or(number(who, "joinedAt")).and_then(moment);
        let kind = text(who, "kind").unwrap_or("STANDARD");
        let reason = text(who, "disconnectReason");
        let told = json!({
            "sid": text(who, "sid"), "name": text(who, "name"), "kind": kind,
            "joinedAt": joined.map(written), "leftAt": left_at.map(written), "disconnectReason": reason,
        });
        put(
            fields,
            "metadata",
            Some(json!({ format!("participant:{identity}"): told })),
        );
        if kind == "SIP" {
            put(fields, "transport", Some("sip"));
            let leg = Leg::of(|name| attribute(who, &format!("sip.{name}")));
            put(fields, "channel", leg.channel);
            put(fields, "from", leg.from);
            put(fields, "to", leg.to);
            let sid = attribute(who, "sip.twilio.callSid").filter(|sid| is_call_sid(sid));
            put(fields, "callSid", sid);
        }
        let is_machine = ["AGENT", "EGRESS", "INGRESS"].contains(&kind);
        if let (Some(left_at), false) = (left_at, is_machine) {
            let outcome = OUTCOMES.iter().find(|(name, _)| Some(*name) == reason);
            if let Some((_, status)) = outcome {
                put(fields, "status", Some(*status));
                put(fields, "endedAt", Some(written(left_at)));
            }
            put(fields, "endReason", reason.map(str::to_ascii_lowercase));
            put(
                fields,
                "endedBy",
                (reason == Some("CLIENT_INITIATED")).then_some("user"),
            );
        }
    }

    /// What LiveKit recorded, and where it put it. Nothing is fetched: the place is the tenant's own.
    fn recorded(&self, fields: &mut Map<String, Value>) {
        let egress = self.egress();
        let either = |camel: &str, snake: &str| {
            text(egress, camel)
                .or(text(egress, snake))
                .map(str::to_owned)
        };
        let Some(id) = either("egressId", "egress_id") else {
            return;
        };
        let results = egress
            .get("fileResults")
            .or_else(|| egress.get("file_results"));
        let files = results.and_then(Value::as_array).into_iter().flatten();
        // The numbers are nanoseconds.
        let time = |file: &Value, name: &str| {
            number(file, name)
                .and_then(|nanos| moment(nanos / 1e9))
                .map(written)
        };
        let files: Vec<Value> = files
            .map(|file| {
                json!({
                    "filename": text(file, "filename"), "location": text(file, "location"),
                    "startedAt": time(file, "startedAt"), "endedAt": time(file, "endedAt"),
                    "durationMs": number(file, "duration").map(|nanos| (nanos / 1e6).round() as i64),
                    "sizeBytes": number(file, "size").map(|bytes| bytes as i64),
                })
            })
            .collect();
        // The first state is what is left out.
        let status = text(egress, "status").unwrap_or("EGRESS_STARTING");
        let told = json!({"status": status, "error": text(egress, "error"), "files": files});
        put(
            fields,
            "metadata",
            Some(json!({ format!("egress:{id}"): told })),
        );
    }

    /// Why an agent's job failed.
    fn job_error(&self) -> Option<Event> {
        let state = &self.said["job"]["state"];
        if text(state, "status") != Some("JS_FAILED") {
            return None;
        }
        let mut fields = Map::new();
        put(&mut fields, "service", Some("workflow"));
        put(&mut fields, "level", Some("error"));
        put(&mut fields, "code", Some("agent_job_failed"));
        let message = text(state, "error").unwrap_or("the agent's job failed");
        put(&mut fields, "message", Some(message));
        put(&mut fields, "agent", text(&self.said["job"], "agentName"));
        super::event(
            Kind::Error,
            format!("job:{}", self.id),
            self.at,
            fields,
            self.now,
        )
    }
}

fn attribute<'a>(participant: &'a Value, name: &str) -> Option<&'a str> {
    text(participant.get("attributes")?, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended_at(more: Value) -> Value {
        let mut said = json!({"event": "room_finished", "id": "EV_1", "createdAt": "1774000080",
            "room": {"sid": "RM_1", "name": "call-1", "creationTime": "1774000000", "departureTimeout": 20}});
        if let (Some(said), Value::Object(more)) = (said.as_object_mut(), more) {
            said.extend(more);
        }
        let tenant = TenantId(uuid::Uuid::nil());
        let told = told(tenant, said.to_string().as_bytes(), at(1_774_000_100)).unwrap();
        let [Submission::Event(_, event)] = &told.submissions[..] else {
            panic!("{told:?}")
        };
        event.fields["endedAt"].clone()
    }

    #[test]
    fn a_room_that_was_kept_for_nobody_ends_when_the_last_one_had_left() {
        let idle = json!({"roomEndReason": "ROOM_END_IDLE_TIMEOUT"});
        assert_eq!(ended_at(idle), written(at(1_774_000_060)));
        let deleted = json!({"roomEndReason": "ROOM_END_API_DELETE"});
        for other in [deleted, json!({})] {
            assert_eq!(ended_at(other), written(at(1_774_000_080)));
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }
}
