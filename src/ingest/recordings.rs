//! `PUT /v1/recordings/{callId}`: a call's audio, as it is or by a URL that it is fetched from.

use axum::RequestExt;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

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

/// Where to fetch audio from.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Source {
    url: String,
    started_at: Option<String>,
    start_offset_ms: Option<i64>,
}

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
        let Json(source) = request.extract::<Json<Source>, _>().await?;
        let placement = source.placement(given)?;
        let fetched = recordings::fetch(&app.objects, &app.fetcher, limit_bytes, &source.url);
        (fetched.await?, placement)
    } else {
        let upload = request.extract::<Upload, _>().await?;
        let received = recordings::receive(&app.objects, limit_bytes, upload.into_stream());
        (received.await?, given)
    };
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
    /// As the body says, else as the query does.
    fn placement(&self, otherwise: Placement) -> Result<Placement, Error> {
        let mut faults = Vec::new();
        let started_at = self.started_at.as_deref().and_then(|text| {
            let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
            if !time.is_ok_and(|time: DateTime<Utc>| time.timestamp() >= 0) {
                let message = "must be an RFC 3339 time since 1970";
                faults.push(Fault::body("startedAt", message));
            }
            time.ok()
        });
        let is_off = |ms: i64| !(-OFFSET_MAX_MS..=OFFSET_MAX_MS).contains(&ms);
        if self.start_offset_ms.is_some_and(is_off) {
            let message = format!("must be between {} and {OFFSET_MAX_MS}", -OFFSET_MAX_MS);
            faults.push(Fault::body("startOffsetMs", message));
        }
        if !faults.is_empty() {
            return Err(Error::Unprocessable(faults));
        }
        Ok(Placement {
            started_at: started_at.or(otherwise.started_at),
            start_offset_ms: self.start_offset_ms.or(otherwise.start_offset_ms),
        })
    }
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
