//! Doors that vendors call: each has an address of its own, proves who it is in its own way, and is read by
//! its own file. `POST /v1/ingest/{vendor}/{endpointId}`.
//!
//! What is no use here is answered like what is, so that no vendor tries again or gives up on us; the
//! endpoint's log says which was which.

mod budget;
mod dialogue;
mod elevenlabs;
mod lens;
mod retell;
mod signature;
mod twilio;
mod vapi;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use crate::app::App;
use crate::app::Now;
use crate::auth::LivekitServer;
use crate::domain::Error;
use crate::domain::webhook::{Announced, Endpoint, Fate, Told, Vendor};
use crate::ingest::beside;
use crate::ingest::document;
use crate::ingest::livekit;
use crate::problem::Json;
use crate::problem::Kind;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Upload;
use crate::problem::is_json;
use crate::services::webhooks;
use crate::services::webhooks::{Done, Door};

/// A body, or why it is none that could be read: that too is noted in the endpoint's log.
type Arrived = Result<Upload, Problem>;

const TWILIO_SIGNATURE: &str = "x-twilio-signature";
const RETELL_SIGNATURE: &str = "x-retell-signature";
const ELEVENLABS_SIGNATURE: &str = "elevenlabs-signature";
/// More than any callback has: they are taken apart before anybody is believed.
const PARAMS_MAX: usize = 1_000;
/// No report of a call takes so much memory: two are read at once.
const HEAVY_BYTES: usize = 64 << 20;

/// `POST /v1/ingest/twilio/{endpointId}`
pub async fn twilio(
    State(app): State<App>,
    Now(now): Now,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    upload: Arrived,
) -> Result<Response, Problem> {
    let call = Call::open(&app, Vendor::Twilio, &id, now).await?;
    let door = &call.door;
    let is_proxied = app.settings.trust_proxy;
    let known = required(&headers, TWILIO_SIGNATURE).map(|_| ());
    call.answer(known, upload, async |body| {
        let params = twilio_params(&door.endpoint, &uri, &headers, is_proxied, &body)?;
        Ok(twilio::read(door.tenant(), &params, now))
    })
    .await?;
    // Not a word: Twilio would take one for instructions.
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/ingest/vapi/{endpointId}`
pub async fn vapi(
    State(app): State<App>,
    Now(now): Now,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    upload: Arrived,
) -> Result<Response, Problem> {
    let call = Call::open(&app, Vendor::Vapi, &id, now).await?;
    let door = &call.door;
    let url = address(&door.endpoint, &uri, &headers, app.settings.trust_proxy);
    // Where nothing is signed the body does not matter.
    let known = match &door.endpoint.settings.signature {
        Some(signing) => required(&headers, &signing.signature_header).map(|_| ()),
        None => believe_vapi(&door.endpoint, &headers, &url, b"", now),
    };
    call.answer_in_json(known, upload, async |body| {
        believe_vapi(&door.endpoint, &headers, &url, &body, now)?;
        let tenant = door.tenant();
        let read = move |document| vapi::read(tenant, &document, now);
        json(&headers, body, read).await
    })
    .await
}

/// `POST /v1/ingest/retell/{endpointId}`
pub async fn retell(
    State(app): State<App>,
    Now(now): Now,
    Path(id): Path<String>,
    headers: HeaderMap,
    upload: Arrived,
) -> Result<Response, Problem> {
    let call = Call::open(&app, Vendor::Retell, &id, now).await?;
    let door = &call.door;
    let known = required(&headers, RETELL_SIGNATURE).map(|_| ());
    call.answer_in_json(known, upload, async |body| {
        let header = required(&headers, RETELL_SIGNATURE)?;
        let signed_at = signature::retell(&door.endpoint.secret, header, &body, now);
        let signed_at = signed_at.map_err(refused)?;
        let tenant = door.tenant();
        let read = move |document| retell::read(tenant, &document, signed_at, now);
        json(&headers, body, read).await
    })
    .await
}

/// `POST /v1/ingest/elevenlabs/{endpointId}`
pub async fn elevenlabs(
    State(app): State<App>,
    Now(now): Now,
    Path(id): Path<String>,
    headers: HeaderMap,
    upload: Arrived,
) -> Result<Response, Problem> {
    let call = Call::open(&app, Vendor::Elevenlabs, &id, now).await?;
    let door = &call.door;
    let known = required(&headers, ELEVENLABS_SIGNATURE).map(|_| ());
    call.answer_in_json(known, upload, async |body| {
        let header = required(&headers, ELEVENLABS_SIGNATURE)?;
        signature::elevenlabs(&door.endpoint.secret, header, &body, now).map_err(refused)?;
        let tenant = door.tenant();
        let read = move |document| elevenlabs::read(tenant, document, now);
        json(&headers, body, read).await
    })
    .await
}

/// `POST /v1/ingest/livekit/{endpointId}`
pub async fn livekit(
    State(app): State<App>,
    Now(now): Now,
    Path(id): Path<String>,
    headers: HeaderMap,
    upload: Arrived,
) -> Result<Response, Problem> {
    let call = Call::open(&app, Vendor::Livekit, &id, now).await?;
    let tenant = call.door.tenant();
    let as_others = |problem: Problem| match problem.status() {
        StatusCode::UNAUTHORIZED => Problem::new(&Kind::INVALID_SIGNATURE, problem.detail()),
        _ => problem,
    };
    let (server, known) = match LivekitServer::of(tenant, &headers, &app).await {
        Ok(server) => (Some(server), Ok(())),
        Err(problem) => (None, Err(as_others(problem))),
    };
    call.answer_in_json(known, upload, async |body| {
        if let Some(server) = server {
            server.check(&body).map_err(as_others)?;
        }
        beside(body, move |bytes| livekit::told(tenant, bytes, now)).await
    })
    .await
}

#[derive(Serialize)]
struct Answer {
    result: &'static str,
    reason: Option<String>,
}

impl From<Done> for Answer {
    fn from(done: Done) -> Self {
        Self {
            result: done.fate.as_str(),
            reason: done.reason,
        }
    }
}

/// A delivery on its way.
struct Call<'a> {
    app: &'a App,
    door: Door,
    now: DateTime<Utc>,
}

impl<'a> Call<'a> {
    async fn open(
        app: &'a App,
        vendor: Vendor,
        id: &str,
        now: DateTime<Utc>,
    ) -> Result<Self, Problem> {
        let door = webhooks::open(&app.store, vendor, id).await?;
        Ok(Self { app, door, now })
    }

    /// The same as `answer`, for vendors that read what became of it.
    async fn answer_in_json(
        &self,
        known: Result<(), Problem>,
        upload: Arrived,
        read: impl AsyncFnOnce(Bytes) -> Result<Told, Problem>,
    ) -> Result<Response, Problem> {
        let done = self.answer(known, upload, read).await?;
        Ok(Json(Answer::from(done)).into_response())
    }

    /// Reads the body, has it believed and understood, writes what it says, and notes what came of it. `known` is what
    /// there is to be said before the body: nothing is kept of whoever cannot be believed.
    async fn answer(
        &self,
        known: Result<(), Problem>,
        upload: Arrived,
        read: impl AsyncFnOnce(Bytes) -> Result<Told, Problem>,
    ) -> Result<Done, Problem> {
        if let Err(problem) = known {
            return Err(self.refuse(problem, None).await);
        }
        let mut held = budget::Held::default();
        let body = match upload {
            Ok(upload) => upload.read(|bytes| held.grow(bytes)).await,
            Err(problem) => Err(problem),
        };
        let told = match body {
            Ok(body) => read(body.clone()).await.map(|told| (told, body)),
            Err(problem) => Err(problem),
        };
        let (told, body) = match told {
            Ok(told) => told,
            Err(problem) => return Err(self.refuse(problem, None).await),
        };
        // Audio never waits among what is to be written.
        let is_enclosed = matches!(told.recording, Some(Announced::Enclosed(_)));
        let size = if is_enclosed { 0 } else { body.len() };
        let (event, session) = (told.event.clone(), told.session.clone());
        let known = Some((event.as_str(), session.as_ref()));
        let is_undated = told.is_undated && told.ignored.is_none();
        let digest: Option<[u8; 32]> = is_undated.then(|| Sha256::digest(&body).into());
        match self.take_once(told, size, digest).await {
            Ok(done) => {
                let status = match self.door.endpoint.vendor {
                    Vendor::Twilio => StatusCode::NO_CONTENT,
                    _ => StatusCode::OK,
                };
                let line = (status.as_u16(), &done, digest);
                self.door
                    .note(line, Some(&event), session.as_ref(), self.now)
                    .await;
                Ok(done)
            }
            Err(error) => Err(self.refuse(error.into(), known).await),
        }
    }

    async fn take_once(
        &self,
        told: Told,
        size: usize,
        digest: Option<[u8; 32]>,
    ) -> Result<Done, Error> {
        let taken = match digest {
            Some(digest) if self.door.was_taken(&digest).await? => {
                self.door.take_again(self.app.audio(), told, self.now).await
            }
            _ => self.take(told, size).await,
        };
        match taken {
            // Whoever deleted it does not want it again, and the vendor must not try.
            Err(error @ Error::Gone(_)) => Ok(Done {
                fate: Fate::Ignored,
                reason: Some(error.to_string()),
            }),
            taken => taken,
        }
    }

    async fn take(&self, told: Told, size: usize) -> Result<Done, Error> {
        let writer = &self.app.writer;
        let admission = self.door.admit(writer, size)?;
        self.door
            .take(writer, self.app.audio(), told, admission, self.now)
            .await
    }

    /// Notes why nothing came of a delivery.
    async fn refuse(
        &self,
        problem: Problem,
        known: Option<(&str, Option<&crate::domain::event::SessionRef>)>,
    ) -> Problem {
        let status = problem.status();
        let fate = match status {
            StatusCode::FORBIDDEN => Fate::Refused,
            StatusCode::TOO_MANY_REQUESTS => Fate::Failed,
            status if status.is_server_error() => Fate::Failed,
            _ => Fate::Invalid,
        };
        let done = Done {
            fate,
            reason: Some(problem.detail().to_owned()),
        };
        let (event, session) = known.unzip();
        let line = (status.as_u16(), &done, None);
        self.door
            .note(line, event, session.flatten(), self.now)
            .await;
        problem
    }
}

fn refused(why: &str) -> Problem {
    Problem::new(&Kind::INVALID_SIGNATURE, why)
}

/// Why somebody is not believed whose signature is over an address too: what that was taken for, without its query.
fn unfit(why: signature::Refused, url: &str) -> String {
    let address = url.split('?').next().unwrap_or_default();
    format!("{why}; the address was taken for `{address}`: behind a proxy `public_url` says it")
}

fn required<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Problem> {
    let found = headers.get(name).and_then(|value| value.to_str().ok());
    found.ok_or_else(|| {
        let detail = format!("the header `{name}` is missing");
        Problem::new(&Kind::INVALID_SIGNATURE, detail)
    })
}

/// Reads a document that is JSON, a large one beside the threads that answer requests.
async fn json(
    headers: &HeaderMap,
    body: Bytes,
    read: impl FnOnce(Value) -> Told + Send + 'static,
) -> Result<Told, Problem> {
    if !is_json(headers) {
        let detail = "`Content-Type` must be `application/json`";
        return Err(Problem::new(&Kind::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    beside(body, move |bytes| {
        document::refuse_heavier(bytes, HEAVY_BYTES)?;
        let document = document::parse(bytes).map_err(|_| broken("JSON"))?;
        Ok(read(document))
    })
    .await
}

fn broken(what: &str) -> Problem {
    Problem::new(&Kind::INVALID_REQUEST, format!("the body must be {what}"))
}

/// Vapi signs the body, or sends its secret along: alone, or as a bearer token, with or without that word.
fn believe_vapi(
    endpoint: &Endpoint,
    headers: &HeaderMap,
    url: &str,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Problem> {
    let settings = &endpoint.settings;
    if let Some(signing) = &settings.signature {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let sent = signature::Sent {
            signature: required(headers, &signing.signature_header)?,
            timestamp: header(&signing.timestamp_header),
            message_id: header(&signing.message_id_header),
            method: "POST",
            url,
        };
        return signature::vapi(&endpoint.secret, signing, sent, body, now).map_err(refused);
    }
    const OWN: &str = "x-vapi-secret";
    let name = match &settings.secret_header {
        Some(name) => name,
        None if headers.contains_key(OWN) || !headers.contains_key(AUTHORIZATION) => OWN,
        None => AUTHORIZATION.as_str(),
    };
    let given = required(headers, name)?.trim();
    let token = match given.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
        _ => given,
    };
    signature::shared_secret(&endpoint.secret, given)
        .or_else(|_| signature::shared_secret(&endpoint.secret, token))
        .map_err(refused)
}

/// A callback's parameters, once the signature over them and the address holds.
fn twilio_params(
    endpoint: &Endpoint,
    uri: &Uri,
    headers: &HeaderMap,
    is_proxied: bool,
    body: &[u8],
) -> Result<Vec<(String, String)>, Problem> {
    let signature = required(headers, TWILIO_SIGNATURE)?;
    let url = address(endpoint, uri, headers, is_proxied);
    let query = uri.query().unwrap_or_default();
    let mut query = form_urlencoded::parse(query.as_bytes());
    let sha256_hex = query.find(|(name, _)| name == "bodySHA256");
    let is_form = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
    let check = |signed| {
        let urls = [url];
        let checked = signature::twilio(&endpoint.secret, &urls, signed, signature);
        checked.map_err(|why| refused(&unfit(why, &urls[0])))
    };
    let params = if is_form {
        let count = body.iter().filter(|byte| **byte == b'&').count();
        if count >= PARAMS_MAX {
            let detail = format!("a callback has at most {PARAMS_MAX} parameters");
            return Err(Problem::new(&Kind::TOO_LARGE, detail));
        }
        let pairs = form_urlencoded::parse(body).into_owned();
        let params: Vec<(String, String)> = pairs.collect();
        check(signature::Signed::Form(&params))?;
        let kept = |(name, value): (String, String)| (name, value.replace('\0', ""));
        params.into_iter().map(kept).collect()
    } else if is_json(headers) {
        let sha256_hex = sha256_hex.map(|(_, value)| value).unwrap_or_default();
        let signed = signature::Signed::Hashed {
            sha256_hex: &sha256_hex,
            bytes: body,
        };
        check(signed)?;
        document::refuse_heavier(body, HEAVY_BYTES)?;
        let document = document::parse(body).map_err(|_| broken("JSON"))?;
        twilio::of_json(&document).ok_or_else(|| broken("an object"))?
    } else {
        let detail =
            "`Content-Type` must be `application/x-www-form-urlencoded` or `application/json`";
        return Err(Problem::new(&Kind::UNSUPPORTED_MEDIA_TYPE, detail));
    };
    let expected = endpoint.settings.account_sid.as_deref();
    if expected.is_some() && expected != twilio::account(&params) {
        return Err(refused("it is of another account"));
    }
    Ok(params)
}

/// The address as Twilio called it: as the endpoint says, else as this request does. What a proxy adds is
/// believed only where the server's settings say that there is one.
fn address(endpoint: &Endpoint, uri: &Uri, headers: &HeaderMap, is_proxied: bool) -> String {
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    if let Some(base) = &endpoint.settings.public_url {
        let base = base.trim_end_matches('/');
        return match base.ends_with(uri.path()) {
            true => format!("{base}{query}"),
            false => format!("{base}{}{query}", uri.path()),
        };
    }
    let forwarded = |name: &str| {
        let value = headers.get(name).filter(|_| is_proxied)?.to_str().ok()?;
        let first = value.split(',').next().unwrap_or_default().trim();
        (!first.is_empty()).then_some(first)
    };
    let host = headers.get(HOST).and_then(|value| value.to_str().ok());
    let host = forwarded("x-forwarded-host").or(host).unwrap_or_default();
    let scheme = forwarded("x-forwarded-proto").unwrap_or("http");
    format!("{scheme}://{host}{}{query}", uri.path())
}
