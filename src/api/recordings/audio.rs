//! `GET /v1/recordings/{callId}/audio`: the bytes, whole or in part.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::range::Part;
use crate::api::polled;
use crate::app::App;
use crate::auth::Transcripts;
use crate::domain::Error;
use crate::problem::Kind;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::recordings;
use crate::services::recordings::Shown;

/// How the audio is wanted.
pub struct Wanted {
    /// To be saved, not played.
    is_download: bool,
}

impl Wanted {
    pub fn from_query(query: Query) -> Result<Self, Error> {
        let mut params = query.params();
        let is_download = params.one_of("download", &["0", "1"]) == Some("1");
        params.finish()?;
        Ok(Self { is_download })
    }
}

pub async fn handle(
    State(app): State<App>,
    reader: Transcripts,
    Path(call_id): Path<String>,
    query: Query,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wanted = Wanted::from_query(query)?;
    let shown = recordings::show(&reader.scope, &reader.content, &call_id).await?;
    respond(&app, shown, &method, &headers, wanted).await
}

pub async fn respond(
    app: &App,
    shown: Shown,
    method: &Method,
    headers: &HeaderMap,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let recording = &shown.recording;
    let size = u64::try_from(recording.size_bytes).unwrap_or_default();
    let etag = text(&format!("\"{}\"", recording.sha256_hex()))?;
    let private = HeaderValue::from_static("private, no-cache");
    let common = [(ETAG, etag.clone()), (CACHE_CONTROL, private)];
    if polled::is_known(headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    // Ranges are for GET alone (RFC 9110, section 14.2).
    let asked = match *method == Method::HEAD {
        true => Part::Whole,
        false => part(headers, &etag, size),
    };
    let (status, range) = match asked {
        Part::Whole => (StatusCode::OK, 0..size),
        Part::Some(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::None => {
            let detail = format!("the recording has {size} bytes; no range of it was asked for");
            let size = text(&format!("bytes */{size}"))?;
            let problem = Problem::new(&Kind::RANGE_NOT_SATISFIABLE, detail);
            return Err(problem.with_header(CONTENT_RANGE, size));
        }
    };
    let mut told: Vec<(HeaderName, HeaderValue)> = vec![
        (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (
            CONTENT_TYPE,
            HeaderValue::from_static(recording.audio.format.media_type()),
        ),
        (CONTENT_LENGTH, HeaderValue::from(range.end - range.start)),
        (CONTENT_DISPOSITION, text(&disposition(&shown, &wanted))?),
    ];
    if status == StatusCode::PARTIAL_CONTENT {
        let place = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        told.push((CONTENT_RANGE, text(&place)?));
    }
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(recordings::bytes(&app.objects, recording, range).await?)
    };
    let mut response = (status, common, body).into_response();
    response.headers_mut().extend(told);
    Ok(response)
}

/// A range counts only for the very bytes that it was meant for.
fn part(headers: &HeaderMap, etag: &HeaderValue, size: u64) -> Part {
    if headers.get(IF_RANGE).is_some_and(|wanted| wanted != etag) {
        return Part::Whole;
    }
    match headers.get(RANGE).and_then(|range| range.to_str().ok()) {
        Some(range) => Part::of(range, size),
        None => Part::Whole,
    }
}

/// The name that it is saved under.
fn disposition(shown: &Shown, wanted: &Wanted) -> String {
    let kind = if wanted.is_download {
        "attachment"
    } else {
        "inline"
    };
    let ending = shown.recording.audio.format.as_str();
    format!("{kind}; filename=\"{}.{ending}\"", shown.path_id())
}

fn text(value: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value).map_err(|error| Error::Internal(error.to_string()))
}
