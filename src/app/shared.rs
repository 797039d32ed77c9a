//! One answer for all who ask the same at the same time, around everything else.
//!
//! Two requests ask the same if nothing but their ids differs: path, query and every header, credentials among
//! them. While one such question is being answered, those that come in meanwhile wait together for the next
//! answer, which begins after the last of them has asked: nobody gets an answer that is older than his question.
//! What a polled endpoint marks as [`Fresh`] is given again without asking anybody, for as long as it says.

mod rounds;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{MatchedPath, Request};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use moka::sync::Cache;
use tower::Service;

use self::rounds::{Part, Rounds};
use super::edge::{X_REQUEST_ID, request_id};
use crate::api::polled::Fresh;
use crate::problem::Whole;
use crate::services::pace::Traffic;
use crate::telemetry;

/// Larger answers are not kept for others.
const ANSWER_MAX_BYTES: usize = 1 << 20;
/// Bytes of fresh answers kept at once.
const KEPT_MAX_BYTES: u64 = 32 << 20;
/// What an answer takes besides its question and its body, roughly.
const OVERHEAD_BYTES: usize = 1024;
/// A key that is revoked opens nothing after this and the time that `auth::Keyring` remembers it.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// The router behind what is shared. Cheap to clone, as it is for every request.
#[derive(Clone)]
pub struct Shared(Arc<Parts>);

struct Parts {
    router: Router,
    memory: Memory,
    traffic: Traffic,
}

type BoxedAnswer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl Shared {
    pub fn new(router: Router, traffic: Traffic) -> Self {
        Self(Arc::new(Parts {
            router,
            traffic,
            memory: Memory::new(),
        }))
    }

    pub fn answer(&self, request: Request) -> BoxedAnswer {
        let Some(question) = question(&request) else {
            return Box::pin(self.0.router.clone().call(request));
        };
        let started = Instant::now();
        if let Some(answer) = self.0.memory.fresh(&question, started) {
            let response = answer.again(request.headers(), started);
            return Box::pin(std::future::ready(Ok(response)));
        }
        self.0.traffic.note();
        Box::pin(share(
            self.0.router.clone(),
            self.0.memory.clone(),
            question.into(),
            request,
        ))
    }
}

/// Everything that an answer may depend on, as bytes.
type Question = Arc<[u8]>;

/// None where the answer is not for others: what is written, streamed, or a part.
fn question(request: &Request) -> Option<Vec<u8>> {
    let headers = request.headers();
    let is_own = [header::UPGRADE, header::RANGE, header::EXPECT]
        .iter()
        .any(|name| headers.contains_key(name));
    if request.method() != Method::GET || is_own || !request.body().is_end_stream() {
        return None;
    }
    let target = request.uri().path_and_query()?.as_str();
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(target.as_bytes());
    for (name, value) in headers.iter().filter(|(name, _)| !is_told_apart_by(name)) {
        // Neither byte can be in a name or in a value.
        bytes.push(b'\n');
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(value.as_bytes());
    }
    Some(bytes)
}

/// Headers that no answer depends on, but for the id that is written into each.
fn is_told_apart_by(name: &HeaderName) -> bool {
    name == X_REQUEST_ID
        || name == header::USER_AGENT
        || matches!(name.as_str(), "traceparent" | "tracestate")
}

/// An answer that may be given again.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    route: Option<MatchedPath>,
    /// Whether it is given again without asking.
    fresh: Option<Fresh>,
}

impl Answer {
    /// The same answer under another request's id.
    fn again(&self, asked: &HeaderMap, started: Instant) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        if let Ok(id) = HeaderValue::from_str(&request_id(asked)) {
            response.headers_mut().insert(X_REQUEST_ID, id);
        }
        let route = self.route.as_ref().map_or("unmatched", MatchedPath::as_str);
        telemetry::answered(route, "GET", self.status, started.elapsed());
        response
    }
}

/// Asks, or waits for somebody who does.
async fn share(
    mut router: Router,
    memory: Memory,
    question: Question,
    request: Request,
) -> Result<Response, Infallible> {
    let started = Instant::now();
    let turn = match memory.rounds.join(&question) {
        Part::Ask(turn) => turn,
        Part::AskNext(mut turn, begun) => {
            turn.come(begun).await;
            turn
        }
        Part::Wait(mut answer) => {
            let found = answer.wait_for(Option::is_some).await;
            let found = found.ok().and_then(|found| found.clone());
            return match found {
                Some(found) => Ok(found.again(request.headers(), started)),
                // Not an answer for others, or whoever asked for it has gone.
                None => router.call(request).await,
            };
        }
    };
    let response = router.call(request).await?;
    if !turn.is_awaited() && response.extensions().get::<Fresh>().is_none() {
        return Ok(response);
    }
    let (response, answer) = keep(response).await;
    if let Some(answer) = answer.map(Arc::new) {
        if answer.fresh.is_some() {
            memory.fresh.insert(question, answer.clone());
        }
        turn.tell(answer);
    }
    Ok(response)
}

/// Takes what can be given again out of a response.
async fn keep(response: Response) -> (Response, Option<Answer>) {
    let extensions = response.extensions();
    let is_whole = extensions.get::<Whole>().is_some()
        && matches!(response.status(), StatusCode::OK | StatusCode::NOT_MODIFIED)
        && response.body().size_hint().lower() <= ANSWER_MAX_BYTES as u64;
    if !is_whole {
        return (response, None);
    }
    let fresh = extensions.get::<Fresh>().cloned();
    let route = extensions.get::<MatchedPath>().cloned();
    let (parts, body) = response.into_parts();
    // Whoever marks a body as whole has it in memory.
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        let mut broken = Response::new(Body::empty());
        *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return (broken, None);
    };
    let answer = Answer {
        status: parts.status,
        headers: parts.headers.clone(),
        body: body.clone(),
        route,
        fresh,
    };
    (Response::from_parts(parts, Body::from(body)), Some(answer))
}

/// What is being asked, and what was answered a moment ago. Cheap to clone.
#[derive(Clone)]
struct Memory {
    fresh: Cache<Question, Arc<Answer>>,
    rounds: Rounds,
}

impl Memory {
    fn new() -> Self {
        let fresh = Cache::builder()
            .weigher(|question: &Question, answer: &Arc<Answer>| {
                let bytes = question.len() + answer.body.len() + OVERHEAD_BYTES;
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .max_capacity(KEPT_MAX_BYTES)
            .time_to_live(KEPT_FOR)
            .build();
        Self {
            fresh,
            rounds: Rounds::default(),
        }
    }

    fn fresh(&self, question: &[u8], now: Instant) -> Option<Arc<Answer>> {
        let answer = self.fresh.get(question)?;
        let is_fresh = |fresh: &Fresh| fresh.is_fresh(now);
        answer
            .fresh
            .as_ref()
            .is_some_and(is_fresh)
            .then_some(answer)
    }
}

#[cfg(test)]
mod tests;
