//! Sessions by other ids than their own.

use crate::domain::Result;
use crate::domain::ids::SessionId;
use crate::store::failure::read;
use crate::store::scope::Scope;

/// The newest session of a telephone call.
pub async fn newest_of_call(scope: &Scope, call_sid: &str) -> Result<Option<SessionId>> {
    let id = read(&scope.pool, || {
        sqlx::query_scalar!(
            "select id
               from sessions
              where tenant_id = $1
                and call_sid = $2
              order by started_at desc, id desc
              limit 1",
            scope.tenant.0,
            call_sid,
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    Ok(id.map(SessionId))
}
