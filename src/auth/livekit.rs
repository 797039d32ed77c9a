//! LiveKit's own way to say who asks: a token signed with one of a tenant's LiveKit keys.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::Keyring;
use super::jwt::Token;
use crate::app::Clock;
use crate::domain::ids::TenantId;
use crate::problem::Problem;
use crate::store::Scope;

const HOW: &str =
    "an agent sends it by itself where `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET` are set";

/// An agent that may upload what it observes.
pub struct LivekitAgent {
    pub scope: Scope,
}

/// A LiveKit server that calls a webhook; it has signed this body's hash.
pub struct LivekitServer {
    pub scope: Scope,
    sha256: Vec<u8>,
}

impl LivekitServer {
    /// A server that has a key of this tenant, whoever else may have it.
    pub async fn of<S>(tenant: TenantId, headers: &HeaderMap, state: &S) -> Result<Self, Problem>
    where
        Keyring: FromRef<S>,
        Clock: FromRef<S>,
    {
        let token = presented(headers)?;
        let token = read(token)?;
        let scope = open(&token, Some(tenant), state).await?;
        Ok(Self::signed(scope, &token))
    }

    fn signed(scope: Scope, token: &Token<'_>) -> Self {
        let hash = token.claims.sha256.as_deref().unwrap_or_default();
        let sha256 = STANDARD.decode(hash).unwrap_or_default();
        Self { scope, sha256 }
    }

    /// Refuses a body that is not the one that was signed.
    pub fn check(&self, body: &[u8]) -> Result<(), Problem> {
        let hash = Sha256::digest(body);
        let same = self.sha256.len() == hash.len()
            && std::hint::black_box(
                hash.iter()
                    .zip(&self.sha256)
                    .fold(0, |bits, (a, b)| bits | (a ^ b)),
            ) == 0;
        match same {
            true => Ok(()),
            false => Err(refused(
                "body_mismatch",
                "the token was signed for another body",
            )),
        }
    }
}

impl<S> FromRequestParts<S> for LivekitAgent
where
    S: Send + Sync,
    Keyring: FromRef<S>,
    Clock: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = presented(&parts.headers)?;
        let token = read(token)?;
        let scope = open(&token, None, state).await?;
        if !token.claims.may_observe() {
            // LiveKit Cloud answers so too, and not 403.
            let detail = "the LiveKit token lacks the grant to write observability data";
            return Err(refused("missing_grant", detail));
        }
        Ok(Self { scope })
    }
}

impl<S> FromRequestParts<S> for LivekitServer
where
    S: Send + Sync,
    Keyring: FromRef<S>,
    Clock: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = presented(&parts.headers)?;
        let token = read(token)?;
        let scope = open(&token, None, state).await?;
        Ok(Self::signed(scope, &token))
    }
}

/// With or without the word `Bearer`: servers leave it out.
fn presented(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let first = all.next().and_then(|value| value.to_str().ok());
    let Some(text) = first.filter(|_| all.next().is_none()) else {
        let detail = format!("there must be one LiveKit token in `Authorization`: {HOW}");
        return Err(refused("no_token", detail));
    };
    let text = text.trim();
    Ok(match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => text,
    })
}

fn read(text: &str) -> Result<Token<'_>, Problem> {
    Token::read(text).map_err(|why| refused("malformed", format!("{why}: {HOW}")))
}

/// The tenant whose secret verifies the token, if it is valid now; only this one where one is wanted.
async fn open<S>(token: &Token<'_>, wanted: Option<TenantId>, state: &S) -> Result<Scope, Problem>
where
    Keyring: FromRef<S>,
    Clock: FromRef<S>,
{
    let candidates = Keyring::from_ref(state).livekit(&token.claims.iss).await?;
    let mut known = candidates
        .iter()
        .filter_map(|candidate| candidate.open(|secret| token.is_signed_with(secret)))
        .filter(|scope| wanted.is_none_or(|wanted| scope.tenant() == wanted));
    let Some(scope) = known.next() else {
        let detail = "no tenant has this LiveKit key with the secret that signed the token: \
                      `voxray livekit-key add` adds one";
        return Err(refused("unknown_key", detail));
    };
    let now: DateTime<Utc> = Clock::from_ref(state).now();
    if let Some(why) = token.untimely(now) {
        return Err(refused("untimely", why));
    }
    tracing::Span::current().record("tenant.id", tracing::field::display(scope.tenant()));
    Ok(scope.clone())
}

/// Never with the words by which LiveKit Cloud says that recording is switched off: an agent that reads them
/// stops uploading for good.
fn refused(reason: &'static str, detail: impl Into<String>) -> Problem {
    metrics::counter!("voxray_livekit_refused_total", "reason" => reason).increment(1);
    Problem::unauthenticated(detail)
}
