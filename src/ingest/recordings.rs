//! `PUT /v1/recordings/{callId}`: a call's audio, as it is or by a URL that it is fetched from.

use axum::RequestExt;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::app::App;
use crate::app::Now;
use crate::auth::Ingestor;
use crate::domain::Error;
use crate::domain::Fault;
use crate::domain::recording::Placement;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::problem::Upload;
use crate::problem::is_json;
use crate::services::recordings;
use crate::services::recordings::Shown;

/// No call is longer, and no clock so far off.
const OFFSET_MAX_MS: i64 = 7 * 24 * 3_600_000;

/// Where to fetch audio from, and where it begins.
struct Source {
    url: String,
    placement: Placement,
}

const URL: &str = "url";
const STARTED_AT: &str = "startedAt";
const START_OFFSET: &str = "startOffsetMs";

/// What was kept. The audio and its waveform are for those who may listen.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    call_id: String,
    session_id: Option<String>,
    status: &'static str,
    format: &'static str,
    duration_ms: Option<i64>,
    channels: Option<i32>,
    sample_rate_hz: Option<i32>,
    size_bytes: i64,
    sha256: String,
}

/// `PUT /v1/recordings/{callId}`
pub async fn put(
    State(app): State<App>,
    ingestor: Ingestor,
    Now(now): Now,
    Path(call_id): Path<String>,
    query: Query,
    request: Request,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let given = Placement {
        started_at: params.time("startedAt"),
        start_offset_ms: params.int_opt("startOffsetMs", -OFFSET_MAX_MS..=OFFSET_MAX_MS),
    };
    params.finish()?;
    // Before the body: a call that nobody knows is not worth sending it.
    let place = recordings::place(&ingestor.scope, &call_id, now).await?;
    let declared = content_length(request.headers()).filter(|_| !is_json(request.headers()));
    recordings::check_room(
        &ingestor.scope,
        &app.objects,
        declared.unwrap_or(1),
        place.size_bytes(),
    )
    .await?;
    let limit_bytes = app.settings.recordings_limit_bytes as u64;
    let (spooled, placement) = if is_json(request.headers()) {
        let Json(body) = request.extract::<Json<Map<String, Value>>, _>().await?;
        let source = Source::read(&body, given)?;
        let fetched = recordings::fetch(&app.objects, &app.fetcher, limit_bytes, &source.url);
        (fetched.await?, source.placement)
    } else {
        let upload = request.extract::<Upload, _>().await?;
        let received = recordings::receive(&app.objects, limit_bytes, upload.into_stream());
        (received.await?, given)
    };
    let place = place.within(app.settings.request_timeout);
    // What has arrived is kept, whether or not its sender still waits for the answer.
    let kept = tokio::spawn(async move {
        let (scope, objects) = (&ingestor.scope, &app.objects);
        recordings::keep(scope, objects, place, &spooled, placement, now).await
    });
    let kept = kept
        .await
        .map_err(|error| Error::Internal(error.to_string()))?;
    Ok(Json(Kept::from(kept?)).into_response())
}

/// What the body says of its length.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Source {
    /// What a body says; where audio begins, else as the query says.
    fn read(body: &Map<String, Value>, otherwise: Placement) -> Result<Self, Error> {
        let known = [URL, STARTED_AT, START_OFFSET];
        let unknown = body.keys().filter(|name| !known.contains(&name.as_str()));
        let mut faults: Vec<Fault> = unknown.map(|name| Fault::no_field(name, &known)).collect();
        let given = |name: &str| body.get(name).filter(|value| !value.is_null());
        let mut refuse = |name: &str, message: String| faults.push(Fault::body(name, message));
        let url = given(URL).and_then(Value::as_str);
        if url.is_none() {
            refuse(URL, "is required, as text".to_owned());
        }
        let started_at = given(STARTED_AT).map(time);
        if started_at == Some(None) {
            refuse(STARTED_AT, "must be an RFC 3339 time since 1970".to_owned());
        }
        let start_offset_ms = given(START_OFFSET).map(offset_ms);
        if start_offset_ms == Some(None) {
            let least = -OFFSET_MAX_MS;
            let message = format!("must be a whole number between {least} and {OFFSET_MAX_MS}");
            refuse(START_OFFSET, message);
        }
        match url.filter(|_| faults.is_empty()) {
            Some(url) => Ok(Self {
                url: url.to_owned(),
                placement: Placement {
                    started_at: started_at.flatten().or(otherwise.started_at),
                    start_offset_ms: start_offset_ms.flatten().or(otherwise.start_offset_ms),
                },
            }),
            None => Err(Error::Unprocessable(faults)),
        }
    }
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(value.as_str()?).ok()?.to_utc();
    (time.timestamp() >= 0).then_some(time)
}

fn offset_ms(value: &Value) -> Option<i64> {
    let ms = value.as_i64()?;
    (-OFFSET_MAX_MS..=OFFSET_MAX_MS).contains(&ms).then_some(ms)
}

impl From<Shown> for Kept {
    fn from(shown: Shown) -> Self {
        let recording = &shown.recording;
        Self {
            call_id: shown.call_id(),
            session_id: shown.call.as_ref().map(|call| call.id.prefixed()),
            status: "available",
            format: recording.audio.format.as_str(),
            duration_ms: recording.audio.duration_ms,
            channels: recording.audio.channels,
            sample_rate_hz: recording.audio.sample_rate_hz,
            size_bytes: recording.size_bytes,
            sha256: recording.sha256_hex(),
        }
    }
}
