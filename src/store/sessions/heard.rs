//! What is only kept as facts: speech that was heard, and how the network was. Neither says a word.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::domain::Result;
use crate::domain::analysis::{NetworkSample, Speech};
use crate::domain::event::Kind;
use crate::domain::ids::SessionId;
use crate::store::columns::object;
use crate::store::failure::read;
use crate::store::scope::Scope;

/// What was heard in a session, and its network.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub speech: Vec<Speech>,
    pub network: Vec<NetworkSample>,
}

/// Of each of these sessions of which any is known.
pub async fn heard(scope: &Scope, ids: &[SessionId]) -> Result<BTreeMap<SessionId, Heard>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = read(&scope.pool, || {
        sqlx::query!(
            "select session_id, kind, body
               from facts
              where tenant_id = $1
                and session_id = any ($2)
                and kind in ($3, $4)
              order by session_id, at, id, source",
            scope.tenant.0,
            &ids,
            Kind::Speech as i16,
            Kind::Network as i16,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    let mut heard: BTreeMap<SessionId, Heard> = BTreeMap::new();
    for row in rows {
        let fields = object("facts.body", &row.body)?;
        let of_session = heard.entry(SessionId(row.session_id)).or_default();
        if row.kind == Kind::Speech as i16 {
            of_session.speech.extend(Speech::of(&fields));
        } else {
            of_session.network.extend(NetworkSample::of(&fields));
        }
    }
    Ok(heard)
}
