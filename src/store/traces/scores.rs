//! Scores of a trace, out of the statements in which they came.

use crate::domain::Result;
use crate::domain::event::{Kind, Source};
use crate::domain::items::is_code;
use crate::domain::trace::{Score, Trace};
use crate::store::columns::object;
use crate::store::failure::read;
use crate::store::scope::{ContentScope, Scope};

/// Scores that one answer shows.
const SCORES_MAX: i64 = 1_000;
/// Words of whoever judged.
const CONTENT: [&str; 2] = ["comment", "notes"];
/// Values of these sorts are words too, and so is any text that is no name of a category.
const WORDS: [&str; 2] = ["TEXT", "CORRECTION"];

/// A trace's scores, the oldest first; a session's evaluations are bounded, and so is this.
pub async fn scores(
    scope: &Scope,
    content: Option<&ContentScope>,
    trace: &Trace,
) -> Result<Vec<Score>> {
    let rows = read(&scope.pool, || {
        sqlx::query!(
            "select id, at, body
               from facts
              where tenant_id = $1
                and session_id = $2
                and source = $3
                and kind = $4
                and body::jsonb ->> 'traceId' = $5
              order by at, id
              limit $6",
            scope.tenant.0,
            trace.session.0,
            Source::Langfuse as i16,
            Kind::Evaluation as i16,
            trace.id,
            SCORES_MAX,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = object("facts.body", &row.body)?;
            if content.is_none() {
                let sort = fields.get("dataType").and_then(serde_json::Value::as_str);
                let value = fields.get("value").and_then(serde_json::Value::as_str);
                if sort.is_some_and(|sort| WORDS.contains(&sort))
                    || value.is_some_and(|value| !is_code(value))
                {
                    fields.remove("value");
                }
                fields.retain(|name, _| !CONTENT.contains(&name.as_str()));
            }
            Ok(Score {
                id: row.id,
                at: row.at,
                fields,
            })
        })
        .collect()
}
