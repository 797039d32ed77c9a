//! Evaluations that people write here, beside those that sources send.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::audit::{Action, Deed};
use crate::domain::error::Fault;
use crate::domain::ids::SessionId;
use crate::domain::items::Evaluation;
use crate::domain::page::{Limit, Start};
use crate::domain::review::{EVALUATIONS_MAX, EvaluationChange, blank};
use crate::domain::{Error, Result};
use crate::store::audit;
use crate::store::failure::{failure, read};
use crate::store::scope::{ContentScope, Scope};

use super::{Author, Locked, lock};

struct Row {
    id: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    reviewer: Option<String>,
    score: Option<f64>,
    verdict: Option<String>,
    labels: Vec<String>,
    notes: Option<String>,
    turn: Option<i32>,
}

/// One page, oldest first, and how many there are in all.
pub async fn list(
    scope: &Scope,
    content: Option<&ContentScope>,
    session: SessionId,
    start: &Start<()>,
    limit: Limit,
) -> Result<(Vec<Evaluation>, i64)> {
    let skip = match start {
        Start::Skip(rows) => i64::from(*rows),
        Start::Beginning | Start::After(()) => 0,
    };
    let total = read(&scope.pool, || {
        sqlx::query_scalar!(
            "select evaluation_count from sessions where tenant_id = $1 and id = $2",
            scope.tenant.0,
            session.0,
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    let total = total.ok_or(Error::NotFound("session"))?;
    let rows = read(&scope.pool, || {
        sqlx::query_as!(
            Row,
            r#"select id, created_at, coalesce(updated_at, created_at) as "updated_at!", reviewer, score, verdict,
                      labels, notes, turn
                 from evaluations
                where tenant_id = $1 and session_id = $2
                order by created_at, id, by_person
                limit $3 offset $4"#,
            scope.tenant.0,
            session.0,
            i64::from(limit.get()),
            skip,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    let shown = rows.into_iter().map(|row| row.shown(content));
    Ok((shown.collect(), i64::from(total)))
}

pub async fn one(
    scope: &Scope,
    content: Option<&ContentScope>,
    session: SessionId,
    id: &str,
) -> Result<Evaluation> {
    let row = read(&scope.pool, || {
        sqlx::query_as!(
            Row,
            r#"select id, created_at, coalesce(updated_at, created_at) as "updated_at!", reviewer, score, verdict,
                      labels, notes, turn
                 from evaluations
                where tenant_id = $1 and session_id = $2 and id = $3
                order by by_person desc
                limit 1"#,
            scope.tenant.0,
            session.0,
            id,
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    row.map(|row| row.shown(content))
        .ok_or(Error::NotFound("evaluation"))
}

/// Adds one, and answers its id.
pub async fn create(
    scope: &Scope,
    session: SessionId,
    change: EvaluationChange,
    author: Author,
) -> Result<String> {
    let mut locked = lock(scope, session).await?;
    if locked.evaluation_count >= EVALUATIONS_MAX {
        return Err(Error::Conflict(format!(
            "a session has at most {EVALUATIONS_MAX} evaluations: delete some first"
        )));
    }
    let mut evaluation = blank(Uuid::new_v4().to_string(), author.at);
    let changed = change.apply(&mut evaluation)?;
    check_turn(scope, session, &evaluation, &mut locked).await?;
    write(scope, session, &evaluation, &mut locked).await?;
    count(scope, session, 1, &mut locked).await?;
    let id = evaluation.id;
    let deed = deed(Action::EvaluationCreate, &id, changed, author);
    audit::append(&mut locked.transaction, scope.tenant, deed).await?;
    locked.transaction.commit().await.map_err(failure)?;
    Ok(id)
}

/// Changes one that was written here. What stays as it was is not noted.
pub async fn update(
    scope: &Scope,
    session: SessionId,
    id: &str,
    change: EvaluationChange,
    author: Author,
) -> Result<()> {
    let mut locked = lock(scope, session).await?;
    let mut evaluation = own(scope, session, id, &mut locked).await?;
    let changed = change.apply(&mut evaluation)?;
    if changed.is_empty() {
        return Ok(());
    }
    if changed.contains(&"turn") {
        check_turn(scope, session, &evaluation, &mut locked).await?;
    }
    evaluation.updated_at = author.at;
    write(scope, session, &evaluation, &mut locked).await?;
    let deed = deed(Action::EvaluationUpdate, id, changed, author);
    audit::append(&mut locked.transaction, scope.tenant, deed).await?;
    locked.transaction.commit().await.map_err(failure)
}

/// Takes one away that was written here.
pub async fn delete(scope: &Scope, session: SessionId, id: &str, author: Author) -> Result<()> {
    let mut locked = lock(scope, session).await?;
    own(scope, session, id, &mut locked).await?;
    sqlx::query!(
        "delete from evaluations where tenant_id = $1 and session_id = $2 and id = $3 and by_person",
        scope.tenant.0,
        session.0,
        id,
    )
    .execute(&mut *locked.transaction)
    .await
    .map_err(failure)?;
    count(scope, session, -1, &mut locked).await?;
    let deed = deed(Action::EvaluationDelete, id, Vec::new(), author);
    audit::append(&mut locked.transaction, scope.tenant, deed).await?;
    locked.transaction.commit().await.map_err(failure)
}

/// The evaluation with this id, if it was written here.
async fn own(
    scope: &Scope,
    session: SessionId,
    id: &str,
    locked: &mut Locked,
) -> Result<Evaluation> {
    let row = sqlx::query!(
        r#"select created_at, coalesce(updated_at, created_at) as "updated_at!", reviewer, score, verdict, labels,
                  notes, turn, by_person
             from evaluations
            where tenant_id = $1 and session_id = $2 and id = $3
            order by by_person desc
            limit 1"#,
        scope.tenant.0,
        session.0,
        id,
    )
    .fetch_optional(&mut *locked.transaction)
    .await
    .map_err(failure)?
    .ok_or(Error::NotFound("evaluation"))?;
    if !row.by_person {
        return Err(Error::Conflict(
            "this evaluation came from a source: it is changed by what that source sends, and not here"
                .to_owned(),
        ));
    }
    Ok(Evaluation {
        id: id.to_owned(),
        created_at: row.created_at,
        updated_at: row.updated_at,
        reviewer: row.reviewer,
        score: row.score,
        verdict: row.verdict,
        labels: row.labels,
        notes: row.notes,
        turn: row.turn,
    })
}

async fn check_turn(
    scope: &Scope,
    session: SessionId,
    evaluation: &Evaluation,
    locked: &mut Locked,
) -> Result<()> {
    let Some(turn) = evaluation.turn else {
        return Ok(());
    };
    let exists = sqlx::query_scalar!(
        r#"select exists (select from turns where tenant_id = $1 and session_id = $2 and index = $3) as "exists!""#,
        scope.tenant.0,
        session.0,
        turn,
    )
    .fetch_one(&mut *locked.transaction)
    .await
    .map_err(failure)?;
    if exists {
        return Ok(());
    }
    let message = format!("is no turn of this session, got `{turn}`");
    Err(Error::Unprocessable(vec![Fault::body("turn", message)]))
}

async fn write(
    scope: &Scope,
    session: SessionId,
    evaluation: &Evaluation,
    locked: &mut Locked,
) -> Result<()> {
    sqlx::query!(
        "insert into evaluations
              (tenant_id, session_id, id, by_person, created_at, updated_at, reviewer, score, verdict, labels, notes, turn)
         values ($1, $2, $3, true, $4, $5, $6, $7, $8, $9, $10, $11)
             on conflict (tenant_id, session_id, id, by_person)
             do update set updated_at = excluded.updated_at, reviewer = excluded.reviewer, score = excluded.score,
                verdict = excluded.verdict, labels = excluded.labels, notes = excluded.notes, turn = excluded.turn",
        scope.tenant.0,
        session.0,
        evaluation.id,
        evaluation.created_at,
        evaluation.updated_at,
        evaluation.reviewer,
        evaluation.score,
        evaluation.verdict,
        &evaluation.labels,
        evaluation.notes,
        evaluation.turn,
    )
    .execute(&mut *locked.transaction)
    .await
    .map_err(failure)?;
    Ok(())
}

/// The writer of facts adds differences under the same lock, so that the two never lose each other's.
async fn count(scope: &Scope, session: SessionId, more: i32, locked: &mut Locked) -> Result<()> {
    sqlx::query!(
        "update sessions
            set evaluation_count = evaluation_count + $3
          where tenant_id = $1 and id = $2",
        scope.tenant.0,
        session.0,
        more,
    )
    .execute(&mut *locked.transaction)
    .await
    .map_err(failure)?;
    Ok(())
}

fn deed(action: Action, id: &str, changed: Vec<&'static str>, author: Author) -> Deed {
    Deed {
        at: author.at,
        actor: author.key_id,
        action,
        object_id: id.to_owned(),
        fields: changed.into_iter().map(str::to_owned).collect(),
    }
}

impl Row {
    /// What it says in words only with proof that it may be seen.
    fn shown(self, content: Option<&ContentScope>) -> Evaluation {
        let mut evaluation = Evaluation {
            id: self.id,
            created_at: self.created_at,
            updated_at: self.updated_at,
            reviewer: self.reviewer,
            score: self.score,
            verdict: self.verdict,
            labels: self.labels,
            notes: self.notes,
            turn: self.turn,
        };
        if content.is_none() {
            evaluation.withhold();
        }
        evaluation
    }
}
