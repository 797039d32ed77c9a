//! The extractors: asking for one in a handler's signature is what guards the handler.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::UPGRADE;
use axum::http::request::Parts;

use super::key::Presented;
use super::{Keyring, browser, key, present, ticket};
use crate::app::Clock;
use crate::domain::access::Right;
use crate::domain::ids::TenantId;
use crate::domain::{Error, Fault};
use crate::problem::{Kind, Problem, Query};
use crate::store::{ContentScope, Grant, Scope};

/// May read lists and numbers (`sessions:read`); `content` is there if it may also see what was said.
pub struct Reader {
    pub scope: Scope,
    pub content: Option<ContentScope>,
}

/// May see what was said (`transcripts:read`).
pub struct Transcripts {
    pub scope: Scope,
    pub content: ContentScope,
}

/// May write what happened (`ingest:write`).
pub struct Ingestor {
    pub scope: Scope,
}

/// May judge calls (`reviews:write`). `key_id` is the author in the audit log; `content` is there if the
/// key may also see what was said.
pub struct Reviewer {
    pub scope: Scope,
    pub content: Option<ContentScope>,
    /// Whether it may also see the calls (`sessions:read`).
    pub may_read: bool,
    pub key_id: String,
}

/// Looks at pages (`sessions:read`): what they may be shown and offered.
pub struct Viewer {
    pub scope: Scope,
    pub content: Option<ContentScope>,
    pub may_review: bool,
    /// By a session of the console, which can be closed; else by a key in the request.
    pub is_signed_in: bool,
    pub key_id: String,
}

/// May manage the tenant (`admin`). `key_id` is the author in the audit log.
pub struct Admin {
    pub scope: Scope,
    pub key_id: String,
}

/// May watch calls as they happen (`sessions:read`). Its grant is looked at again while it watches.
pub struct Watcher {
    pub grant: Grant,
}

impl Watcher {
    pub fn tenant(&self) -> TenantId {
        self.grant.scope().tenant()
    }
}

/// The same, also by a ticket in the query string: browsers send no headers when they open a socket.
pub struct SocketWatcher {
    pub watcher: Watcher,
    /// The ticket is used up.
    pub by_ticket: bool,
}

/// Paths that the SDKs of Langfuse ask, which have a pair of keys and send it as HTTP Basic. Elsewhere nobody is asked
/// for that: a browser would come up with a window of its own.
const LANGFUSE: &str = "/api/public/";
const BASIC: &str = "Basic realm=\"voxray\"";

/// The parameter that carries a ticket.
pub const TOKEN: &str = "token";

impl Reader {
    /// For what only those may ask who may also see what was said.
    pub fn transcripts(&self) -> Result<&ContentScope, Problem> {
        let content = self.content.as_ref();
        content.ok_or_else(|| missing(Right::TranscriptsRead))
    }
}

impl Viewer {
    /// For what only those may ask who may also see what was said.
    pub fn transcripts(&self) -> Result<&ContentScope, Problem> {
        let content = self.content.as_ref();
        content.ok_or_else(|| missing(Right::TranscriptsRead))
    }
}

/// Makes a type an extractor: the right it needs, and how it comes out of a grant.
macro_rules! extractor {
    ($type:ident needs $right:ident: $make:expr) => {
        impl<S> FromRequestParts<S> for $type
        where
            S: Send + Sync,
            Keyring: FromRef<S>,
            Clock: FromRef<S>,
        {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
                let make: fn(&Grant) -> Option<Self> = $make;
                let grant = grant(parts, state).await?;
                let made = if grant.allows(Right::$right) {
                    make(&grant)
                } else {
                    None
                };
                made.ok_or_else(|| missing(Right::$right))
            }
        }
    };
}

extractor!(Reader needs SessionsRead: |grant| {
    Some(Self { scope: grant.scope().clone(), content: grant.content() })
});
extractor!(Transcripts needs TranscriptsRead: |grant| {
    Some(Self { scope: grant.scope().clone(), content: grant.content()? })
});
extractor!(Ingestor needs IngestWrite: |grant| Some(Self { scope: grant.scope().clone() }));
extractor!(Reviewer needs ReviewsWrite: |grant| {
    let key_id = grant.key_id().to_owned();
    Some(Self {
        scope: grant.scope().clone(),
        content: grant.content(),
        may_read: grant.allows(Right::SessionsRead),
        key_id,
    })
});
extractor!(Viewer needs SessionsRead: |grant| {
    Some(Self {
        scope: grant.scope().clone(),
        content: grant.content(),
        may_review: grant.allows(Right::ReviewsWrite),
        is_signed_in: grant.session().is_some(),
        key_id: grant.key_id().to_owned(),
    })
});
extractor!(Admin needs Admin: |grant| {
    Some(Self { scope: grant.scope().clone(), key_id: grant.key_id().to_owned() })
});

impl<S> FromRequestParts<S> for Watcher
where
    S: Send + Sync,
    Keyring: FromRef<S>,
    Clock: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        refuse_key_in_query(&query_pairs(parts, state).await)?;
        watcher(grant(parts, state).await?)
    }
}

impl<S> FromRequestParts<S> for SocketWatcher
where
    S: Send + Sync,
    Keyring: FromRef<S>,
    Clock: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let pairs = query_pairs(parts, state).await;
        refuse_key_in_query(&pairs)?;
        let token = pairs.iter().find(|(name, _)| name == TOKEN);
        let Some((_, token)) = token.filter(|_| !present::is_presented(&parts.headers)) else {
            return Ok(Self {
                watcher: watcher(grant(parts, state).await?)?,
                by_ticket: false,
            });
        };
        let now = Clock::from_ref(state).now();
        let grant = match ticket::parse(token) {
            Some(ticket) => Keyring::from_ref(state).redeem(&ticket, now).await?,
            None => None,
        };
        let Some(grant) = grant else {
            return Err(Problem::unauthenticated(
                "the ticket is unknown, used or expired: `POST /api/v1/live/tickets` makes another",
            ));
        };
        tracing::Span::current()
            .record("tenant.id", tracing::field::display(grant.scope().tenant()));
        Ok(Self {
            watcher: watcher(grant)?,
            by_ticket: true,
        })
    }
}

fn watcher(grant: Grant) -> Result<Watcher, Problem> {
    match grant.allows(Right::SessionsRead) {
        true => Ok(Watcher { grant }),
        false => Err(missing(Right::SessionsRead)),
    }
}

async fn query_pairs<S: Send + Sync>(parts: &mut Parts, state: &S) -> Vec<(String, String)> {
    let Ok(query) = Query::from_request_parts(parts, state).await;
    query.params().pairs().to_vec()
}

/// A key in a URL would end up in logs, so it is not even looked at.
fn refuse_key_in_query(pairs: &[(String, String)]) -> Result<(), Problem> {
    let Some((name, _)) = pairs
        .iter()
        .find(|(_, value)| value.starts_with(key::PREFIX))
    else {
        return Ok(());
    };
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let message = "must not be an API key: URLs end up in logs. Send the key in a header, or a ticket from \
                   `POST /api/v1/live/tickets` as `token` of `/ws/calls`; and rotate this key";
    Err(Error::Invalid(vec![Fault::query(name, message)]).into())
}

/// Any valid key or console session, or 401 with the way that its client knows to present a key.
async fn grant<S>(parts: &Parts, state: &S) -> Result<Grant, Problem>
where
    Keyring: FromRef<S>,
    Clock: FromRef<S>,
{
    let found = found(parts, state).await;
    found.map_err(|problem| match parts.uri.path().starts_with(LANGFUSE) {
        true => problem.with_challenge(BASIC),
        false => problem,
    })
}

async fn found<S>(parts: &Parts, state: &S) -> Result<Grant, Problem>
where
    Keyring: FromRef<S>,
    Clock: FromRef<S>,
{
    if !present::is_presented(&parts.headers)
        && let Some(session) = browser::session(&parts.headers)
    {
        return signed_in(parts, state, &session).await;
    }
    let key = present::presented(&parts.headers)?;
    let now = Clock::from_ref(state).now();
    let Some(grant) = Keyring::from_ref(state).open(&key, now).await? else {
        return Err(Problem::unauthenticated(
            "the API key is unknown, expired or revoked",
        ));
    };
    tracing::Span::current().record("tenant.id", tracing::field::display(grant.scope().tenant()));
    Ok(grant)
}

/// A browser sends its cookie whoever wrote the page. What changes something, or opens a socket, must come from
/// a page of this server.
async fn signed_in<S>(parts: &Parts, state: &S, session: &Presented) -> Result<Grant, Problem>
where
    Keyring: FromRef<S>,
    Clock: FromRef<S>,
{
    let is_harmless = parts.method.is_safe() && !parts.headers.contains_key(UPGRADE);
    if !is_harmless && !browser::is_same_origin(&parts.headers) {
        let detail = "this was not sent by a page of this server; use an API key instead";
        return Err(Problem::new(&Kind::CROSS_ORIGIN, detail));
    }
    let now = Clock::from_ref(state).now();
    let grant = Keyring::from_ref(state).open_session(session, now).await?;
    let Some(grant) = grant else {
        return Err(Problem::unauthenticated(
            "the session has ended: sign in at /console/sign-in, or send an API key",
        ));
    };
    tracing::Span::current().record("tenant.id", tracing::field::display(grant.scope().tenant()));
    Ok(grant)
}

fn missing(right: Right) -> Problem {
    let detail = format!("this needs an API key with the scope `{}`", right.as_str());
    Problem::new(&Kind::MISSING_SCOPE, detail)
}
