//! Limits on a request: how many at once, how long, how large; and none before the store is ready.

use std::future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::{App, arrival};
use crate::config::Settings;
use crate::problem::{BodyLimit, Kind, Oversized, Problem};

/// Paths that must answer however busy the rest is.
const VITAL: [&str; 2] = ["/healthz", "/readyz"];
/// Takes whole recordings, which are larger and slower than anything else, and never in memory.
const RECORDINGS: [(Method, &str); 2] = [
    (Method::PUT, "/v1/recordings/{callId}"),
    (Method::POST, "/observability/recordings/v0"),
];

/// Sends whole recordings too, in base64 and inside JSON: in memory, so within bounds of its own.
const WITH_AUDIO: &str = "/v1/ingest/elevenlabs/{endpointId}";
const WITH_AUDIO_BYTES: usize = 64 << 20;

/// Recordings that are taken in at once.
const UPLOADS_MAX: usize = 64;

#[derive(Clone)]
pub(super) struct Limits {
    app: App,
    free: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
}

impl Limits {
    pub fn new(app: &App) -> Self {
        Self {
            free: Arc::new(Semaphore::new(app.settings.concurrency_limit)),
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            app: app.clone(),
        }
    }
}

pub(super) async fn limit(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map(MatchedPath::as_str);
    if path.is_some_and(|path| VITAL.contains(&path)) {
        return next.run(request).await;
    }
    let (request, awaited) = arrival::watch(request);
    if !limits.app.store.is_migrated() {
        return Problem::unavailable("the store is not ready yet, try again shortly")
            .into_response();
    }
    // Uploads may take long: they must not use up what everybody else needs.
    let is_upload = takes_audio(&request);
    let free = if is_upload {
        &limits.uploads
    } else {
        &limits.free
    };
    let Ok(_permit) = free.try_acquire() else {
        return Problem::unavailable("the server is busy, try again shortly").into_response();
    };
    let settings = &limits.app.settings;
    let bounds = Bounds::of(&request, settings);
    let mut request = without_oversized(request, bounds.body_bytes);
    request
        .extensions_mut()
        .insert(BodyLimit(bounds.kept_bytes));
    let arrives = is_upload && !request.body().is_end_stream();
    let answered = match arrives {
        true => upload(request, next, settings).await,
        false => timeout(settings.request_timeout, next.run(request))
            .await
            .ok(),
    };
    answered.unwrap_or_else(|| too_late(awaited.is_so()))
}

/// Only a body on its way takes longer than a request may otherwise, and only once somebody asks for it: who sends it,
/// and for which call, is found out before.
async fn upload(request: Request, next: Next, settings: &Settings) -> Option<Response> {
    let (request, asked) = told_of_asking(request);
    let answered = timeout(settings.recordings_timeout, next.run(request));
    tokio::select! {
        answered = answered => answered.ok(),
        () = unasked(asked, settings.request_timeout) => None,
    }
}

/// What one request may take.
struct Bounds {
    body_bytes: usize,
    /// Of these in memory.
    kept_bytes: usize,
}

impl Bounds {
    fn of(request: &Request, settings: &Settings) -> Self {
        let path = request.extensions().get::<MatchedPath>();
        let brings_audio = path.is_some_and(|path| path.as_str() == WITH_AUDIO);
        let kept_bytes = match brings_audio {
            true => settings.body_limit_bytes.max(WITH_AUDIO_BYTES),
            false => settings.body_limit_bytes,
        };
        let body_bytes = match takes_audio(request) {
            true => settings.recordings_limit_bytes,
            false => kept_bytes,
        };
        Self {
            body_bytes,
            kept_bytes,
        }
    }
}

/// A request that tells when its body is first asked for, by dropping what the other end waits for.
fn told_of_asking(request: Request) -> (Request, oneshot::Receiver<()>) {
    let (tell, asked) = oneshot::channel();
    let mut tell = Some(tell);
    let request = request.map(|body| {
        let mut chunks = body.into_data_stream();
        Body::from_stream(stream::poll_fn(move |context| {
            tell.take();
            chunks.poll_next_unpin(context)
        }))
    });
    (request, asked)
}

/// Returns once nobody has asked for a body for so long.
async fn unasked(asked: oneshot::Receiver<()>, limit: Duration) {
    if timeout(limit, asked).await.is_ok() {
        future::pending::<()>().await;
    }
}

/// Takes a body away that is declared to be larger than the limit, and leaves word of it.
fn without_oversized(request: Request, limit: usize) -> Request {
    if declared_length(&request) <= limit {
        return request;
    }
    let (mut parts, _) = request.into_parts();
    parts.extensions.insert(Oversized { limit });
    Request::from_parts(parts, Body::empty())
}

fn takes_audio(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>();
    RECORDINGS.iter().any(|(method, recording)| {
        request.method() == method && path.is_some_and(|path| path.as_str() == *recording)
    })
}

fn declared_length(request: &Request) -> usize {
    let length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    length
        .and_then(|length| length.parse().ok())
        .unwrap_or_default()
}

/// Whose fault a timeout is shows in what was last waited for: the next piece of the body, or, with what there is of
/// it or before anybody asked for it, something of ours.
fn too_late(is_body_awaited: bool) -> Response {
    if is_body_awaited {
        Problem::new(&Kind::REQUEST_TIMEOUT, "the body did not arrive in time").into_response()
    } else {
        Problem::unavailable("the answer took too long, try again or ask for less").into_response()
    }
}
