//! A tenant's keys of its LiveKit servers: adding, listing, removing.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::audit::{Action, Deed};
use crate::domain::livekit;
use crate::domain::livekit::{LivekitKey, NewLivekitKey};
use crate::domain::{Error, Result};
use crate::store::{Scope, livekit_keys};

/// Adds a key; the secret is never shown again.
pub async fn add(
    scope: &Scope,
    key_name: &str,
    secret: &str,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<LivekitKey> {
    let faults = livekit::faults(key_name, secret);
    if !faults.is_empty() {
        return Err(Error::Unprocessable(faults));
    }
    let key = NewLivekitKey {
        id: format!("lk_{}", Uuid::new_v4().simple()),
        key_name: key_name.to_owned(),
        secret: secret.to_owned(),
        created_at: now,
    };
    livekit_keys::add(scope, &key, actor).await?;
    Ok(LivekitKey {
        id: key.id,
        tenant: scope.tenant(),
        key_name: key.key_name,
        created_at: key.created_at,
    })
}

pub async fn list(scope: &Scope) -> Result<Vec<LivekitKey>> {
    livekit_keys::list(scope).await
}

pub async fn remove(scope: &Scope, id: &str, actor: &str, now: DateTime<Utc>) -> Result<()> {
    let deed = Deed {
        at: now,
        actor: actor.to_owned(),
        action: Action::LivekitKeyRemove,
        object_id: id.to_owned(),
        fields: Vec::new(),
    };
    livekit_keys::remove(scope, id, deed).await
}
