//! Sessions by other ids than their own.

use crate::domain::Result;
use crate::domain::ids::{Claim, ClaimKind, LabelKind, SessionId};
use crate::store::failure::read;
use crate::store::scope::{ContentScope, Scope};

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

/// The session that any source calls so: by an id that leads to another session by now, by a name that its id
/// follows from, or by one that was heard beside. The best kind of name first; of several sessions that share a name,
/// the newest. A person's name or number leads only those to a session who may see it there.
pub async fn named(
    scope: &Scope,
    content: Option<&ContentScope>,
    name: &str,
) -> Result<Option<SessionId>> {
    let kinds = ClaimKind::ALL.into_iter();
    let derived: Vec<uuid::Uuid> = kinds
        .map(|kind| Claim::new(kind, name).session(scope.tenant).0)
        .collect();
    let own = SessionId::from_reference(scope.tenant, name).to_string();
    let id = read(&scope.pool, || {
        sqlx::query_scalar!(
            r#"select id as "id!"
                 from (select id, array_position($2::uuid[], id) as place
                         from sessions
                        where tenant_id = $1 and id = any($2)
                       union all
                       select session_id, 100 + kind
                         from session_aliases
                        where tenant_id = $1 and value in ($3, $4)
                       union all
                       select session_id, 1000
                         from (select session_id
                                 from session_labels
                                where tenant_id = $1 and value = $3 and ($5 or kind <> all($6))
                                order by started_at desc, session_id desc
                                limit 1) as heard) as found
                order by place
                limit 1"#,
            scope.tenant.0,
            &derived,
            name,
            own,
            content.is_some(),
            &LabelKind::PERSONAL.map(|kind| kind as i16),
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    Ok(id.map(SessionId))
}
