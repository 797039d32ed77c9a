//! The extractors: asking for one in a handler's signature is what guards the handler.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use super::{Keyring, present};
use crate::app::Clock;
use crate::domain::access::Right;
use crate::problem::{Kind, Problem};
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
    pub key_id: String,
}

/// May manage the tenant (`admin`). `key_id` is the author in the audit log.
pub struct Admin {
    pub scope: Scope,
    pub key_id: String,
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
    Some(Self { scope: grant.scope().clone(), content: grant.content(), key_id })
});
extractor!(Admin needs Admin: |grant| {
    Some(Self { scope: grant.scope().clone(), key_id: grant.key_id().to_owned() })
});

/// Any valid key, or 401.
async fn grant<S>(parts: &Parts, state: &S) -> Result<Grant, Problem>
where
    Keyring: FromRef<S>,
    Clock: FromRef<S>,
{
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

fn missing(right: Right) -> Problem {
    let detail = format!("this needs an API key with the scope `{}`", right.as_str());
    Problem::new(&Kind::MISSING_SCOPE, detail)
}
