//! Edits of a session's summary and tags.

use crate::domain::Result;
use crate::domain::audit::{Action, Deed};
use crate::domain::ids::SessionId;
use crate::domain::review::{EditChange, Edits};
use crate::store::audit;
use crate::store::failure::failure;
use crate::store::scope::Scope;

use super::{Author, Locked, lock};

/// Changes a session's edits. What stays as it was is not written, nor noted.
pub async fn edit(
    scope: &Scope,
    session: SessionId,
    change: EditChange,
    author: Author,
) -> Result<()> {
    let mut locked = lock(scope, session).await?;
    let mut edits = current(scope, session, &mut locked).await?;
    let changed = change.apply(&mut edits);
    if changed.is_empty() {
        return Ok(());
    }
    write(scope, session, &edits, &author, &mut locked).await?;
    if changed.contains(&"tags") {
        let tags = edits.tags.as_ref().unwrap_or(&locked.derived_tags).clone();
        retag(scope, session, &tags, &mut locked).await?;
    }
    let deed = Deed {
        at: author.at,
        actor: author.key_id,
        action: Action::SessionEdit,
        object_id: session.to_string(),
        fields: changed.into_iter().map(str::to_owned).collect(),
    };
    audit::append(&mut locked.transaction, scope.tenant, deed).await?;
    locked.transaction.commit().await.map_err(failure)
}

async fn current(scope: &Scope, session: SessionId, locked: &mut Locked) -> Result<Edits> {
    let row = sqlx::query!(
        "select summary_edited, summary, tags
           from session_edits
          where tenant_id = $1 and session_id = $2",
        scope.tenant.0,
        session.0,
    )
    .fetch_optional(&mut *locked.transaction)
    .await
    .map_err(failure)?;
    Ok(row.map_or_else(Edits::default, |row| Edits {
        summary: row.summary_edited.then_some(row.summary),
        tags: row.tags,
    }))
}

/// Keeps the edits; where none is left, their row goes.
async fn write(
    scope: &Scope,
    session: SessionId,
    edits: &Edits,
    author: &Author,
    locked: &mut Locked,
) -> Result<()> {
    let connection = &mut *locked.transaction;
    if edits.is_empty() {
        sqlx::query!(
            "delete from session_edits where tenant_id = $1 and session_id = $2",
            scope.tenant.0,
            session.0,
        )
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    } else {
        sqlx::query!(
            "insert into session_edits
                  (tenant_id, session_id, summary_edited, summary, tags, edited_at, edited_by)
             values ($1, $2, $3, $4, $5, $6, $7)
                 on conflict (tenant_id, session_id)
                 do update set summary_edited = excluded.summary_edited, summary = excluded.summary,
                    tags = excluded.tags, edited_at = excluded.edited_at, edited_by = excluded.edited_by",
            scope.tenant.0,
            session.0,
            edits.summary.is_some(),
            edits.summary.clone().flatten(),
            edits.tags.as_deref(),
            author.at,
            author.key_id,
        )
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    }
    sqlx::query!(
        "update sessions
            set has_edits = $3
          where tenant_id = $1 and id = $2 and has_edits <> $3",
        scope.tenant.0,
        session.0,
        !edits.is_empty(),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Lists by tag go by what readers see.
async fn retag(
    scope: &Scope,
    session: SessionId,
    tags: &[String],
    locked: &mut Locked,
) -> Result<()> {
    let connection = &mut *locked.transaction;
    sqlx::query!(
        "delete from session_tags where tenant_id = $1 and session_id = $2",
        scope.tenant.0,
        session.0,
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    sqlx::query!(
        "insert into session_tags (tenant_id, session_id, tag, started_at)
         select $1, $2, tag, $4 from unnest($3::text[]) as t (tag)",
        scope.tenant.0,
        session.0,
        tags,
        locked.started_at,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}
