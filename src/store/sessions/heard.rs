//! What is only kept as facts: speech that was heard, and how the network was. Neither says a word.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::domain::Result;
use crate::domain::analysis::{NetworkSample, Speech};
use crate::domain::event::Kind;
use crate::domain::fact::Fact;
use crate::domain::ids::SessionId;
use crate::domain::offsets;
use crate::domain::session;
use crate::store::facts::Stored;
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
            "select session_id, source, kind, id, at, hash, body
               from facts
              where tenant_id = $1
                and session_id = any ($2)
                and kind in ($3, $4, $5)
              order by session_id, at, id, source",
            scope.tenant.0,
            &ids,
            Kind::Session as i16,
            Kind::Speech as i16,
            Kind::Network as i16,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    let mut facts: BTreeMap<SessionId, Vec<Fact>> = BTreeMap::new();
    for row in rows {
        let of_session = facts.entry(SessionId(row.session_id)).or_default();
        let stored = Stored {
            source: row.source,
            kind: row.kind,
            id: row.id,
            at: row.at,
            hash: row.hash,
            body: row.body,
        };
        of_session.push(stored.into_fact()?);
    }
    let heard = facts.into_iter().map(|(id, facts)| (id, Heard::of(&facts)));
    Ok(heard.collect())
}

impl Heard {
    /// What was heard, by the start of its session.
    fn of(facts: &[Fact]) -> Self {
        let (session, heard): (Vec<&Fact>, Vec<&Fact>) =
            facts.iter().partition(|fact| fact.kind == Kind::Session);
        let late_by = session::late_by(&session);
        let placed = |wanted: Kind| {
            let facts = heard.iter().filter(move |fact| fact.kind == wanted);
            facts.map(|fact| offsets::from_start(fact, late_by))
        };
        Self {
            speech: placed(Kind::Speech)
                .filter_map(|fact| Speech::of(&fact.fields))
                .collect(),
            network: placed(Kind::Network)
                .filter_map(|fact| NetworkSample::of(&fact.fields))
                .collect(),
        }
    }
}
