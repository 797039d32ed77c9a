//! What the facts about a session say of its state.

use crate::domain::Result;
use crate::domain::event::{Kind, Source};
use crate::domain::fact;
use crate::domain::history::Said;
use crate::domain::ids::SessionId;
use crate::domain::session::Status;
use crate::store::columns::unreadable;
use crate::store::failure::read;
use crate::store::scope::Scope;

/// In the order in which they overrule each other. Reads nothing else of the facts: the rest is content.
pub async fn said(scope: &Scope, id: SessionId) -> Result<Vec<Said>> {
    let rows = read(&scope.pool, || {
        sqlx::query!(
            r#"select source, at, body::json ->> 'status' as status, body::json ->> 'answeredAt' as answered_at,
                      body::json ->> 'endedAt' as ended_at
                 from facts
                where tenant_id = $1
                  and session_id = $2
                  and kind = $3
                  and entity is not null
                order by at, id collate "C", source"#,
            scope.tenant.0,
            id.0,
            Kind::Session as i16,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    let said = rows.into_iter().map(|row| {
        Ok(Said {
            source: Source::from_stored(row.source)
                .ok_or_else(|| unreadable("facts.source", row.source))?,
            at: row.at,
            status: row.status.as_deref().and_then(Status::parse),
            answered_at: row.answered_at.as_deref().and_then(fact::parse_time),
            ended_at: row.ended_at.as_deref().and_then(fact::parse_time),
        })
    });
    said.collect()
}
