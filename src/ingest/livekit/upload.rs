//! What an agent uploads when a session is over: a form whose parts are a header in protobuf, the chat
//! history, and the recording. The audio goes to disk as it arrives; the other parts are small and bounded.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use multer::{Constraints, Field, Multipart, SizeLimit};
use prost::Message;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::app::App;
use crate::app::Now;
use crate::auth::LivekitAgent;
use crate::domain::Error;
use crate::domain::Fault;
use crate::domain::event::{Event, Kind, SessionRef, Source};
use crate::domain::json;
use crate::domain::recording::Placement;
use crate::ingest::beside;
use crate::ingest::document;
use crate::problem::Json;
use crate::problem::Kind as ProblemKind;
use crate::problem::Problem;
use crate::problem::Query;
use crate::problem::Upload;
use crate::services::ingest;
use crate::services::ingest::Item;
use crate::services::patience::within;
use crate::services::recordings;
use crate::services::recordings::Spooled;

use super::{chat, event, item, moment, number, parts, put, text, written};

/// The header holds ids, times and a summary.
const HEADER_MAX_BYTES: u64 = 1 << 20;
/// The SDK sends three parts.
const PARTS_MAX: usize = 32;

/// `livekit.MetricsRecordingHeader`, the fields that say something here.
#[derive(Message)]
struct Header {
    #[prost(string, tag = "1")]
    room_id: String,
    /// In milliseconds.
    #[prost(uint64, tag = "3")]
    duration_ms: u64,
    /// When the recording began.
    #[prost(message, optional, tag = "4")]
    start_time: Option<Timestamp>,
    #[prost(btree_map = "string, string", tag = "5")]
    room_tags: BTreeMap<String, String>,
    #[prost(string, tag = "6")]
    room_name: String,
    #[prost(string, tag = "8")]
    job_id: String,
    #[prost(bool, tag = "9")]
    simulated: bool,
    #[prost(string, tag = "11")]
    session_summary: String,
}

/// `google.protobuf.Timestamp`
#[derive(Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// What was kept.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    session_id: String,
    accepted: usize,
    duplicates: usize,
    rejected: usize,
    recording: bool,
}

/// What has been read of a form.
#[derive(Default)]
struct Form {
    header: Option<Header>,
    history: Option<Value>,
    audio: Option<Spooled>,
}

/// `POST /observability/recordings/v0`
pub async fn recordings(
    State(app): State<App>,
    agent: LivekitAgent,
    Now(now): Now,
    query: Query,
    headers: HeaderMap,
    upload: Upload,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let boundary = boundary(&headers)?;
    let admission = app.writer.admit(&agent.scope, 0)?;
    let limit = app.settings.recordings_limit_bytes as u64;
    let small = app.settings.body_limit_bytes as u64;
    let sizes = SizeLimit::new().whole_stream(limit.saturating_add(2 * small));
    let constraints = Constraints::new().size_limit(sizes);
    let mut fields = Multipart::with_constraints(upload.into_stream(), boundary, constraints);
    let mut form = Form::default();
    let mut count = 0;
    while let Some(field) = fields.next_field().await.map_err(broken)? {
        count += 1;
        if count > PARTS_MAX {
            let message = format!("must have at most {PARTS_MAX} parts");
            return Err(malformed("body", message));
        }
        match field.name() {
            Some("header") if form.header.is_none() => {
                let bytes = whole(field, "header", HEADER_MAX_BYTES, |bytes| {
                    admission.grow(bytes)
                })
                .await?;
                let header = Header::decode(bytes.as_slice());
                let header = header
                    .map_err(|error| malformed("header", format!("must be protobuf: {error}")))?;
                form.header = Some(header);
            }
            Some("chat_history") if form.history.is_none() => {
                let bytes =
                    whole(field, "chat_history", small, |bytes| admission.grow(bytes)).await?;
                let read = beside(bytes.into(), |bytes| {
                    let read = document::parse(bytes);
                    read.map_err(|error| {
                        malformed("chat_history", format!("must be JSON: {error}"))
                    })
                });
                form.history = Some(read.await?);
            }
            Some("audio") if form.audio.is_none() => {
                let received = recordings::receive(&app.objects, limit, Box::pin(field)).await?;
                form.audio = Some(received);
            }
            _ => {}
        }
    }
    let missing = || malformed("header", "is required: which session it is".to_owned());
    let header = form.header.ok_or_else(missing)?;
    let tenant = agent.scope.tenant();
    let unnamed = || malformed("header", "must name the room in `room_id`".to_owned());
    let session = parts::session(tenant, &header.room_id).ok_or_else(unnamed)?;
    let place = Report::read(&header, now);
    let items = place.items(&session, form.history.as_ref(), now);
    let taken = ingest::take(&app.writer, &agent.scope, items, admission, now);
    let receipt = within(app.settings.request_timeout, taken).await?;
    // What is over and done with gets no audio either.
    let audio = form.audio.filter(|_| receipt.closed == 0);
    let recording = audio.is_some();
    if let Some(audio) = audio {
        keep(&app, &agent, &session, audio, place.recorded_at, now).await?;
    }
    let kept = Kept {
        session_id: session.id.prefixed(),
        accepted: receipt.accepted,
        duplicates: receipt.duplicates,
        rejected: receipt.rejected.len(),
        recording,
    };
    Ok(Json(kept).into_response())
}

fn boundary(headers: &HeaderMap) -> Result<String, Problem> {
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    multer::parse_boundary(declared.unwrap_or_default()).map_err(|_| {
        let detail = "`Content-Type` must be `multipart/form-data` with a boundary";
        Problem::new(&ProblemKind::UNSUPPORTED_MEDIA_TYPE, detail)
    })
}

/// A small part. `count` is told of bytes before they are kept, and may refuse them.
async fn whole(
    mut field: Field<'_>,
    name: &str,
    max_bytes: u64,
    count: impl Fn(usize) -> Result<(), Error>,
) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        if (bytes.len() + chunk.len()) as u64 > max_bytes {
            let detail = format!("the part `{name}` is larger than {max_bytes} bytes");
            return Err(Problem::new(&ProblemKind::TOO_LARGE, detail));
        }
        count(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn malformed(name: &str, message: String) -> Problem {
    Error::Invalid(vec![Fault::body(name, message)]).into()
}

fn broken(error: multer::Error) -> Problem {
    match error {
        multer::Error::StreamSizeExceeded { limit }
        | multer::Error::FieldSizeExceeded { limit, .. } => {
            let detail = format!("the body is larger than {limit} bytes");
            Problem::new(&ProblemKind::TOO_LARGE, detail)
        }
        error => malformed("body", format!("broke off or is no form: {error}")),
    }
}

/// What has arrived is kept, whether or not its sender still waits for the answer.
async fn keep(
    app: &App,
    agent: &LivekitAgent,
    session: &SessionRef,
    audio: Spooled,
    recorded_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), Problem> {
    let (scope, app, reference) = (agent.scope.clone(), app.clone(), session.id.prefixed());
    let kept = tokio::spawn(async move {
        let patience = app.settings.request_timeout;
        let place = within(patience, recordings::place(&scope, &reference, now)).await?;
        let place = place.within(patience);
        let placement = Placement {
            started_at: recorded_at,
            start_offset_ms: None,
        };
        recordings::keep(&scope, &app.objects, place, &audio, placement, now).await
    });
    let kept = kept
        .await
        .map_err(|error| Error::Internal(error.to_string()))?;
    kept.map(|_| ()).map_err(Problem::from)
}

/// What the header and its summary say.
struct Report {
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    recorded_at: Option<DateTime<Utc>>,
    summary: Value,
    room_id: String,
    room_name: Option<String>,
    job_id: String,
    room_tags: BTreeMap<String, String>,
    simulated: bool,
}

impl Report {
    fn read(header: &Header, now: DateTime<Utc>) -> Self {
        let summary = json::unpacked(&header.session_summary).unwrap_or_default();
        // The SDK writes the report when the session is over.
        let ended_at = number(&summary, "timestamp").and_then(moment);
        let duration_ms = number(&summary, "duration_ms").unwrap_or(header.duration_ms as f64);
        let duration = TimeDelta::try_milliseconds(duration_ms.clamp(0.0, 1e12) as i64);
        let began = ended_at
            .zip(duration)
            .and_then(|(end, length)| end.checked_sub_signed(length));
        let stated = header.start_time.as_ref().and_then(|time| {
            let nanos = u32::try_from(time.nanos).ok()?;
            DateTime::from_timestamp(time.seconds, nanos)
        });
        let is_sound = |at: &DateTime<Utc>| {
            at.timestamp() > 0 && *at <= now + crate::domain::fields::FUTURE_MAX
        };
        let recorded_at = stated.filter(is_sound);
        let room_name = Some(header.room_name.as_str()).filter(|name| !name.is_empty());
        Self {
            started_at: began
                .filter(|_| duration_ms > 0.0)
                .or(recorded_at)
                .filter(is_sound),
            ended_at: ended_at.filter(is_sound),
            recorded_at,
            room_name: room_name.or(text(&summary, "room")).map(str::to_owned),
            summary,
            room_id: header.room_id.clone(),
            job_id: header.job_id.clone(),
            room_tags: header.room_tags.clone(),
            simulated: header.simulated,
        }
    }

    fn items(
        &self,
        session: &SessionRef,
        history: Option<&Value>,
        now: DateTime<Utc>,
    ) -> Vec<Item> {
        let started = || {
            let items = history?.get("items")?.as_array()?;
            let times = items
                .iter()
                .filter_map(|item| moment(number(item, "created_at")?));
            times.min()
        };
        let start = self.started_at.or_else(started).unwrap_or(now);
        let last = history.and_then(chat::ended_at);
        let told = self.event(start, last, now).into_iter();
        let chat = history.map(|history| chat::events(history, start, now));
        let all = told.chain(chat.into_iter().flatten());
        all.map(|event| item(session, Source::LivekitReport, event))
            .collect()
    }

    /// `last` is the last moment that the chat history tells of.
    fn event(
        &self,
        start: DateTime<Utc>,
        last: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Option<Event> {
        let summary = &self.summary;
        let mut fields = Map::new();
        put(&mut fields, "startedAt", Some(written(start)));
        let reason = text(summary, "close_reason");
        let reason = reason.map(|name| name.trim_start_matches("CR_").to_ascii_lowercase());
        // What is uploaded is over. Before 1.7 nobody says since when: as of a call that does not say it, since its last word.
        let ended_at = self.ended_at.or(last.filter(|at| *at <= now));
        let ended_at = ended_at.map(|at| written(at.max(start)));
        put(&mut fields, "endedAt", ended_at);
        let failed = reason.as_deref() == Some("error");
        let status = if failed { "failed" } else { "completed" };
        put(&mut fields, "status", Some(status));
        let ended_by = match reason.as_deref() {
            Some("participant_disconnected") => Some("user"),
            Some("completed" | "task_completed") => Some("agent"),
            Some("error" | "job_shutdown") => Some("system"),
            _ => None,
        };
        put(&mut fields, "endedBy", ended_by);
        put(&mut fields, "endReason", reason);
        put(&mut fields, "agentId", text(summary, "agent_name"));
        put(&mut fields, "tags", summary.get("tags").cloned());
        let job_id = Some(self.job_id.as_str());
        let ids = parts::external_ids(&self.room_id, self.room_name.as_deref(), job_id);
        put(&mut fields, "externalIds", Some(ids));
        put(&mut fields, "transport", Some("webrtc"));
        parts::usage(&summary["usage"], &mut fields);
        let mut metadata = Map::new();
        put(&mut metadata, "livekitAgents", text(summary, "sdk_version"));
        put(&mut metadata, "simulated", self.simulated.then_some(true));
        for (name, value) in &self.room_tags {
            put(&mut metadata, &format!("room:{name}"), Some(value.as_str()));
        }
        put(
            &mut fields,
            "metadata",
            (!metadata.is_empty()).then_some(metadata),
        );
        // Of two that know equally well, the tracer's word is the newer one: it saw the session itself.
        event(
            Kind::Session,
            format!("upload:{}", self.job_id),
            start,
            fields,
            now,
        )
    }
}
