//! What comes too late: facts about sessions whose content was deleted, or that were deleted themselves. It is
//! refused, and nothing of the session is put together again.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

use crate::domain::event::Outcome;
use crate::store::retention;
use crate::store::retention::Asked;

use super::Result;
use super::load::{Key, SessionBefore};
use super::resolve::{Resolved, own_claims};

/// Takes out of a batch what is about such sessions, and answers what became of it. Asks for tombstones only of
/// sessions that nobody has.
pub async fn refuse(
    connection: &mut PgConnection,
    resolved: &mut Resolved<'_>,
    before: &BTreeMap<Key, SessionBefore>,
    now: DateTime<Utc>,
) -> Result<Vec<(usize, Outcome)>> {
    let is_closed = |key: &Key| before.get(key).is_some_and(|session| session.is_closed);
    // What is closed becomes part of nothing.
    for (into, others) in &mut resolved.absorbed {
        others.retain(|other| !is_closed(&(into.0, *other)));
    }
    let mut refused = buried(connection, resolved, before, now).await?;
    refused.extend(resolved.work.keys().filter(|key| is_closed(key)));
    resolved
        .absorbed
        .retain(|into, others| !others.is_empty() && !refused.contains(into));
    if refused.is_empty() {
        return Ok(Vec::new());
    }
    resolved
        .aliases
        .retain(|name, session| !refused.contains(&(name.0, *session)));
    let mut outcomes = Vec::new();
    for key in &refused {
        let work = resolved.work.remove(key);
        let places = work.into_iter().flat_map(|work| work.submissions);
        outcomes.extend(places.map(|(place, _)| (place, Outcome::Closed)));
    }
    Ok(outcomes)
}

/// Which of the sessions that are not there were deleted.
async fn buried(
    connection: &mut PgConnection,
    resolved: &Resolved<'_>,
    before: &BTreeMap<Key, SessionBefore>,
    now: DateTime<Utc>,
) -> Result<BTreeSet<Key>> {
    let new = resolved
        .work
        .iter()
        .filter(|(key, _)| !before.contains_key(key));
    let (keys, asked): (Vec<Key>, Vec<Asked>) = new
        .map(|(key, work)| {
            let names = own_claims(work).map(|claim| (claim.kind, claim.value));
            let asked = Asked {
                tenant: key.0,
                id: key.1,
                kind: work.named.kind,
                names: names.collect(),
            };
            (*key, asked)
        })
        .unzip();
    if asked.is_empty() {
        return Ok(BTreeSet::new());
    }
    let buried = retention::buried(connection, &asked, now).await?;
    Ok(buried.into_iter().map(|place| keys[place]).collect())
}
