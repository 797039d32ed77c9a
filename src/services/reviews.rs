//! What people write about calls, told back as readers see it.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::Result;
use crate::domain::ids::SessionId;
use crate::domain::items::Evaluation;
use crate::domain::page::{Limit, Start};
use crate::domain::record::Record;
use crate::domain::review::{EditChange, EvaluationChange};
use crate::services::sessions;
use crate::store::ContentScope;
use crate::store::Scope;
use crate::store::reviews;

/// Whoever writes: what the key opens, and its public id.
pub struct Reviewer<'a> {
    pub scope: &'a Scope,
    pub content: Option<&'a ContentScope>,
    pub key_id: &'a str,
    pub now: DateTime<Utc>,
}

type Body = Map<String, Value>;

impl Reviewer<'_> {
    fn author(&self) -> reviews::Author {
        reviews::Author {
            key_id: self.key_id.to_owned(),
            at: self.now,
        }
    }

    async fn session(&self, reference: &str) -> Result<SessionId> {
        sessions::resolve(self.scope, self.content, reference).await
    }

    /// Changes a session's summary and tags.
    pub async fn edit(&self, reference: &str, body: Body) -> Result<Record> {
        let change = EditChange::read(body, self.now)?;
        let session = self.session(reference).await?;
        reviews::edit(self.scope, session, change, self.author()).await?;
        sessions::by_reference(self.scope, self.content, reference).await
    }

    /// Answers the session too, which the path may have named in another spelling.
    pub async fn evaluate(&self, reference: &str, body: Body) -> Result<(SessionId, Evaluation)> {
        let change = EvaluationChange::read(body, self.now)?;
        let session = self.session(reference).await?;
        let id = reviews::create(self.scope, session, change, self.author()).await?;
        let evaluation = reviews::one(self.scope, self.content, session, &id).await?;
        Ok((session, evaluation))
    }

    pub async fn change(&self, reference: &str, id: &str, body: Body) -> Result<Evaluation> {
        let change = EvaluationChange::read(body, self.now)?;
        let session = self.session(reference).await?;
        reviews::update(self.scope, session, id, change, self.author()).await?;
        reviews::one(self.scope, self.content, session, id).await
    }

    pub async fn withdraw(&self, reference: &str, id: &str) -> Result<()> {
        let session = self.session(reference).await?;
        reviews::delete(self.scope, session, id, self.author()).await
    }
}

/// One page of a session's evaluations, and how many there are in all.
pub async fn evaluations(
    scope: &Scope,
    content: Option<&ContentScope>,
    reference: &str,
    start: &Start<()>,
    limit: Limit,
) -> Result<(Vec<Evaluation>, i64)> {
    let session = sessions::resolve(scope, content, reference).await?;
    reviews::list(scope, content, session, start, limit).await
}

/// One evaluation, by its own id.
pub async fn evaluation(
    scope: &Scope,
    content: Option<&ContentScope>,
    reference: &str,
    id: &str,
) -> Result<Evaluation> {
    let session = sessions::resolve(scope, content, reference).await?;
    reviews::one(scope, content, session, id).await
}
