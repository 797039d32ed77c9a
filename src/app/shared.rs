//! One answer for all who ask the same at the same time, around everything else.
//!
//! Two requests ask the same if nothing but their ids differs: path, query and every header, credentials among
//! them. While one such question is being answered, those that come in meanwhile wait together for the next
//! answer, which begins after the last of them has asked: nobody gets an answer that is older than his question.
//! What a polled endpoint marks as [`Fresh`] is given again without asking anybody, for as long as it says.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{MatchedPath, Request};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use moka::sync::Cache;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tower::Service;

use super::edge::{X_REQUEST_ID, request_id};
use crate::api::polled::Fresh;
use crate::problem::Whole;
use crate::telemetry;

/// Larger answers are not kept for others.
const ANSWER_MAX_BYTES: usize = 1 << 20;
/// Bytes of fresh answers kept at once.
const KEPT_MAX_BYTES: u64 = 32 << 20;
/// What an answer takes besides its question and its body, roughly.
const OVERHEAD_BYTES: usize = 1024;
/// A key that is revoked opens nothing after this and the time that `auth::Keyring` remembers it.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Whoever waits for an answer that takes longer than this asks beside it.
const TURN_MAX: Duration = Duration::from_millis(100);

/// The router behind what is shared. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    router: Router,
    memory: Arc<Memory>,
}

type BoxedAnswer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl Shared {
    pub fn new(router: Router) -> Self {
        Self {
            router,
            memory: Arc::new(Memory::new()),
        }
    }
}

impl Service<Request> for Shared {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxedAnswer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> BoxedAnswer {
        let Some(question) = question(&request) else {
            return Box::pin(self.router.call(request));
        };
        let started = Instant::now();
        if let Some(answer) = self.memory.fresh(&question, started) {
            let response = answer.again(request.headers(), started);
            return Box::pin(std::future::ready(Ok(response)));
        }
        Box::pin(share(
            self.router.clone(),
            self.memory.clone(),
            question,
            request,
        ))
    }
}

/// Everything that an answer may depend on, as bytes.
type Question = Arc<[u8]>;

/// None where the answer is not for others: what is written, streamed, or a part.
fn question(request: &Request) -> Option<Question> {
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
    Some(bytes.into())
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
    /// Given again without asking until then.
    until: Option<Instant>,
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
    memory: Arc<Memory>,
    question: Question,
    request: Request,
) -> Result<Response, Infallible> {
    let started = Instant::now();
    let turn = match memory.join(&question) {
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
    let is_awaited = turn.tell.receiver_count() > 0;
    if !is_awaited && response.extensions().get::<Fresh>().is_none() {
        return Ok(response);
    }
    let (response, answer) = keep(response).await;
    if let Some(answer) = answer.map(Arc::new) {
        if answer.until.is_some() {
            memory.fresh.insert(question, answer.clone());
        }
        turn.tell.send_replace(Some(answer));
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
    let until = extensions.get::<Fresh>().map(|fresh| fresh.until);
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
        until,
    };
    (Response::from_parts(parts, Body::from(body)), Some(answer))
}

/// What is being asked, and what was answered a moment ago.
struct Memory {
    fresh: Cache<Question, Arc<Answer>>,
    /// Questions that are being answered, each with the round that waits behind it.
    asked: Mutex<HashMap<Question, Option<Round>>>,
}

/// Those who wait for the same next answer.
struct Round {
    answer: watch::Receiver<Option<Arc<Answer>>>,
    turn: oneshot::Sender<()>,
}

/// What somebody who asks has to do.
enum Part {
    Ask(Turn),
    AskNext(Turn, oneshot::Receiver<()>),
    Wait(watch::Receiver<Option<Arc<Answer>>>),
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
            asked: Mutex::default(),
        }
    }

    fn fresh(&self, question: &Question, now: Instant) -> Option<Arc<Answer>> {
        let answer = self.fresh.get(question)?;
        answer
            .until
            .is_some_and(|until| now < until)
            .then_some(answer)
    }

    fn join(self: &Arc<Self>, question: &Question) -> Part {
        let (tell, answer) = watch::channel(None);
        let turn = |place| Turn {
            memory: self.clone(),
            question: question.clone(),
            tell,
            place,
        };
        let mut asked = self.asked();
        match asked.get_mut(question) {
            None => {
                asked.insert(question.clone(), None);
                Part::Ask(turn(Place::Running))
            }
            Some(Some(round)) => Part::Wait(round.answer.clone()),
            Some(waiting @ None) => {
                let (begin, begun) = oneshot::channel();
                *waiting = Some(Round {
                    answer,
                    turn: begin,
                });
                Part::AskNext(turn(Place::Waiting), begun)
            }
        }
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<Question, Option<Round>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where somebody stands who asks for a round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    /// Holds the place of the question that is being answered.
    Running,
    /// Waited long enough: asks without holding up those behind.
    Beside,
}

/// The right to ask for a round, passed on when dropped.
struct Turn {
    memory: Arc<Memory>,
    question: Question,
    tell: watch::Sender<Option<Arc<Answer>>>,
    place: Place,
}

impl Turn {
    /// Waits until the answer before this one is there, though not for long. Whoever asks from then on is of
    /// another round.
    async fn come(&mut self, begun: oneshot::Receiver<()>) {
        let has_come = matches!(timeout(TURN_MAX, begun).await, Ok(Ok(())));
        // It may have come at the last moment.
        self.place = match !has_come && self.withdraw() {
            true => Place::Beside,
            false => Place::Running,
        };
    }

    /// Ends waiting; false if the turn had come.
    fn withdraw(&self) -> bool {
        let mut asked = self.memory.asked();
        let Some(waiting) = asked.get_mut(&self.question) else {
            return false;
        };
        let own = self.tell.subscribe();
        let is_own = waiting
            .as_ref()
            .is_some_and(|round| own.same_channel(&round.answer));
        if is_own {
            *waiting = None;
        }
        is_own
    }

    /// Lets the next round begin.
    fn pass_on(&self) {
        let mut asked = self.memory.asked();
        let next = asked.get_mut(&self.question).and_then(Option::take);
        // Whoever is next but has gone passes it on himself.
        let is_passed_on = next.is_some_and(|round| round.turn.send(()).is_ok());
        if !is_passed_on {
            asked.remove(&self.question);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        match self.place {
            Place::Beside => {}
            Place::Waiting if self.withdraw() => {}
            Place::Waiting | Place::Running => self.pass_on(),
        }
    }
}

#[cfg(test)]
mod tests;
