//! Answers that many browsers ask for again and again: kept for a moment per tenant and question, one
//! query for all who ask meanwhile, and 304 for those who have the answer already.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use moka::future::Cache;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::domain::Error;
use crate::domain::ids::TenantId;
use crate::problem::Problem;
use crate::problem::whole;

/// Bytes of answers kept at once; what is asked most stays.
const KEPT_MAX_BYTES: u64 = 64 << 20;
/// What an answer takes besides its question and its body, roughly.
const OVERHEAD_BYTES: usize = 512;

/// Answers by who asks what. Errors are never kept.
#[derive(Clone)]
pub struct Polled {
    answers: Cache<Key, Answer>,
    is_on: bool,
    ttl: Duration,
}

/// A tenant and its whole question: bytes of one tenant cannot reach another.
pub type Key = (TenantId, &'static str, String);

#[derive(Clone)]
struct Answer {
    body: Bytes,
    etag: HeaderValue,
    /// Where the next page is.
    link: Option<(HeaderName, HeaderValue)>,
    loaded_at: Instant,
    /// Somebody has a newer one: nobody is to be given this after that.
    is_overtaken: Arc<AtomicBool>,
}

/// Marks a response that may be given to the same question again until then, or until there is a newer one.
#[derive(Clone)]
pub struct Fresh {
    pub until: Instant,
    pub is_overtaken: Arc<AtomicBool>,
}

impl Fresh {
    pub fn is_fresh(&self, now: Instant) -> bool {
        now < self.until && !self.is_overtaken.load(Ordering::Relaxed)
    }
}

/// A page of a list, and the header that leads to the next.
pub struct Page<T> {
    pub body: T,
    pub link: Option<(HeaderName, HeaderValue)>,
}

impl Polled {
    /// An answer is up to `ttl` old; with zero each is fresh.
    pub fn new(ttl: Duration) -> Self {
        let answers = Cache::builder()
            .weigher(|key: &Key, answer: &Answer| {
                let bytes = key.2.len() + answer.body.len() + OVERHEAD_BYTES;
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .max_capacity(KEPT_MAX_BYTES)
            .time_to_live(ttl)
            .build();
        Self {
            answers,
            is_on: !ttl.is_zero(),
            ttl,
        }
    }

    /// What one has seen, nobody is told otherwise a moment later.
    async fn replace(&self, key: Key, fresh: Answer) {
        if let Some(old) = self.answers.get(&key).await {
            old.is_overtaken.store(true, Ordering::Relaxed);
        }
        self.answers.insert(key, fresh).await;
    }
}

/// Whether the request has the directive `no-cache`, among whichever others.
fn wants_fresh(headers: &HeaderMap) -> bool {
    let given = headers.get_all(CACHE_CONTROL).iter();
    given
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
}

pub fn key(tenant: TenantId, endpoint: &'static str, question: &impl std::fmt::Debug) -> Key {
    (tenant, endpoint, format!("{question:?}"))
}

/// Answers from memory or by `load`; `Cache-Control: no-cache` in the request asks for a fresh one.
pub async fn answer<T: Serialize, F>(
    polled: &Polled,
    headers: &HeaderMap,
    key: Key,
    load: impl FnOnce() -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<T, Error>>,
{
    let load = || async {
        let body = load().await?;
        Ok(Page { body, link: None })
    };
    answer_page(polled, headers, key, load).await
}

/// The same for a page of a list.
pub async fn answer_page<T: Serialize, F>(
    polled: &Polled,
    headers: &HeaderMap,
    key: Key,
    load: impl FnOnce() -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Page<T>, Error>>,
{
    if !polled.is_on || wants_fresh(headers) {
        let fresh = Answer::of(Box::pin(load()).await?)?;
        if polled.is_on {
            polled.replace(key, fresh.clone()).await;
        }
        return Ok(fresh.respond(headers));
    }
    // Most find an answer: what it takes to make one is not carried about before it is needed.
    let answer = match polled.answers.get(&key).await {
        Some(answer) => answer,
        None => {
            let load = Box::pin(async { Answer::of(load().await?) });
            let loaded = polled.answers.try_get_with(key, load).await;
            loaded.map_err(|error| Error::clone(&error))?
        }
    };
    let fresh = Fresh {
        until: answer.loaded_at + polled.ttl,
        is_overtaken: answer.is_overtaken.clone(),
    };
    let mut response = answer.respond(headers);
    response.extensions_mut().insert(fresh);
    Ok(response)
}

impl Answer {
    fn of(page: Page<impl Serialize>) -> Result<Self, Error> {
        let body =
            serde_json::to_vec(&page.body).map_err(|error| Error::Internal(error.to_string()))?;
        let hash: [u8; 32] = Sha256::digest(&body).into();
        let etag = HeaderValue::from_str(&format!("\"{}\"", hex::encode(&hash[..12])))
            .map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Self {
            body: body.into(),
            etag,
            link: page.link,
            loaded_at: Instant::now(),
            is_overtaken: Arc::default(),
        })
    }

    fn respond(self, headers: &HeaderMap) -> Response {
        let common = [
            (ETAG, self.etag.clone()),
            (CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        ];
        let common = AppendHeaders(common.into_iter().chain(self.link));
        if is_known(headers, &self.etag) {
            return whole((StatusCode::NOT_MODIFIED, common).into_response());
        }
        let kind = HeaderValue::from_static("application/json");
        whole((common, [(CONTENT_TYPE, kind)], self.body).into_response())
    }
}

/// Whether the caller says that it has this answer (RFC 9110, weak comparison).
pub fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let given = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut tags = given
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|tag| tag == "*" || tag.as_bytes() == etag.as_bytes())
}
