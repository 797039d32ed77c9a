//! For how long calls are kept, and their going: by themselves when they are due, or because somebody wants one
//! gone.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::retention::Retention;
use crate::domain::{Error, Result};
use crate::objects::Objects;
use crate::services::recordings;
use crate::services::sessions;
use crate::store::Scope;
use crate::store::Store;
use crate::store::retention;
use crate::store::retention::Due;

pub use crate::store::retention::{Settings, Waiting};

/// What a tenant has set.
pub async fn settings(scope: &Scope) -> Result<Settings> {
    retention::get(scope).await
}

/// Puts what a tenant writes in the place of what it had set.
pub async fn set(
    scope: &Scope,
    body: &Map<String, Value>,
    key_id: &str,
    now: DateTime<Utc>,
) -> Result<Settings> {
    retention::put(scope, Retention::read(body)?, key_id, now).await?;
    retention::get(scope).await
}

/// Has nothing of a tenant ever go by itself, unless it has chosen otherwise.
pub async fn keep_forever(scope: &Scope, actor: &str, now: DateTime<Utc>) -> Result<()> {
    if retention::get(scope).await?.updated.is_some() {
        return Ok(());
    }
    retention::put(scope, Retention::FOREVER, actor, now).await
}

/// Deletes a call with all that belongs to it. Audio that cannot be removed now is removed later.
pub async fn erase(
    scope: &Scope,
    objects: &Objects,
    reference: &str,
    key_id: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let gone = match erase_found(scope, reference, key_id, now).await {
        // It may have become part of another one meanwhile, to which its names lead now.
        Err(Error::NotFound(_)) => erase_found(scope, reference, key_id, now).await?,
        erased => erased?,
    };
    for object in gone {
        recordings::remove(scope, objects, &object).await;
    }
    Ok(())
}

async fn erase_found(
    scope: &Scope,
    reference: &str,
    key_id: &str,
    now: DateTime<Utc>,
) -> Result<Vec<String>> {
    let session = sessions::resolve(scope, None, reference).await?;
    retention::erase(scope, session, key_id, now).await
}

/// What has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Calls whose content was deleted.
    pub closed: usize,
    /// Calls that were deleted.
    pub deleted: usize,
    /// Tombstones.
    pub forgotten: u64,
}

impl Gone {
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    pub fn add(&mut self, other: Self) {
        self.closed += other.closed;
        self.deleted += other.deleted;
        self.forgotten += other.forgotten;
    }
}

/// Lets some go of what is due, of each tenant. Any number of processes may do so at once: each takes what
/// nobody else is at.
pub async fn round(store: &Store, now: DateTime<Utc>) -> Result<Gone> {
    let mut gone = Gone::default();
    for due in retention::due(store, now).await? {
        match step(&due, now).await {
            Ok(of_tenant) => gone.add(of_tenant),
            // One tenant's trouble is not the others'.
            Err(error) => {
                let tenant = due.scope.tenant();
                tracing::error!(%tenant, %error, "calls that are due could not be deleted");
            }
        }
    }
    Ok(gone)
}

/// Lets everything of one tenant go that is due.
pub async fn drain(scope: &Scope, now: DateTime<Utc>) -> Result<Gone> {
    let retention = retention::get(scope).await?.retention;
    let due = Due {
        scope: scope.clone(),
        content_before: retention.content().cutoff(now),
        metrics_before: retention.metrics().cutoff(now),
        closes: true,
        deletes: true,
        forgets: true,
    };
    let mut all = Gone::default();
    loop {
        let gone = step(&due, now).await?;
        if gone.is_nothing() {
            return Ok(all);
        }
        all.add(gone);
    }
}

/// How much of a tenant is due.
pub async fn waiting(scope: &Scope, now: DateTime<Utc>) -> Result<Waiting> {
    retention::waiting(scope, now).await
}

async fn step(due: &Due, now: DateTime<Utc>) -> Result<Gone> {
    let mut gone = Gone::default();
    if let Some(before) = due.content_before.filter(|_| due.closes) {
        gone.closed = retention::close_due(&due.scope, before, now).await?;
    }
    if let Some(before) = due.metrics_before.filter(|_| due.deletes) {
        gone.deleted = retention::bury_due(&due.scope, before, now).await?;
    }
    if due.forgets {
        gone.forgotten = retention::forget_due(&due.scope, now).await?;
    }
    let sorts = [
        ("closed", gone.closed as u64),
        ("deleted", gone.deleted as u64),
        ("forgotten", gone.forgotten),
    ];
    for (what, count) in sorts {
        metrics::counter!("voxray_retention_total", "what" => what).increment(count);
    }
    Ok(gone)
}
