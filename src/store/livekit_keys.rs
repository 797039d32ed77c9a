//! Keys of LiveKit servers. A reference table, found by the name in a token: whose secret verifies it is
//! what proves who the tenant is, so no scope exists yet.

use uuid::Uuid;

use super::failure::{failure, read};
use super::{Scope, Store, audit};
use crate::domain::audit::{Action, Deed};
use crate::domain::ids::TenantId;
use crate::domain::livekit::{KEYS_MAX, LivekitKey, NewLivekitKey};
use crate::domain::{Error, Result};

/// Of one name no more are tried: far more tenants than can share one by chance.
const CANDIDATES_MAX: i64 = 1000;

/// A secret, and what it opens for whoever proves to know it.
#[derive(Clone)]
pub struct Candidate {
    secret: String,
    scope: Scope,
}

impl Candidate {
    /// The tenant's scope, if this check of the secret holds.
    pub fn open(&self, holds: impl FnOnce(&[u8]) -> bool) -> Option<&Scope> {
        holds(self.secret.as_bytes()).then_some(&self.scope)
    }
}

/// Whoever knows a key of this name, the oldest first.
pub async fn candidates(store: &Store, key_name: &str) -> Result<Vec<Candidate>> {
    let rows = read(&store.pool, || {
        sqlx::query!(
            "select tenant_id, secret
               from livekit_keys
              where key_name = $1
              order by created_at, id
              limit $2",
            key_name,
            CANDIDATES_MAX,
        )
        .fetch_all(&store.pool)
    })
    .await?;
    let candidates = rows.into_iter().map(|row| Candidate {
        secret: row.secret,
        scope: Scope::of(store, TenantId(row.tenant_id)),
    });
    Ok(candidates.collect())
}

/// Adds a key. `actor` is who does it, for the audit log.
pub async fn add(scope: &Scope, key: &NewLivekitKey, actor: &str) -> Result<()> {
    let mut transaction = scope.pool.begin().await.map_err(failure)?;
    // Several tenants may know a name. With its secret too nobody could tell whose token it is.
    let is_taken = sqlx::query_scalar!(
        r#"select exists (select 1
                            from livekit_keys
                           where key_name = $2 and secret = $3 and tenant_id <> $1) as "taken!""#,
        scope.tenant.0,
        key.key_name,
        key.secret,
    )
    .fetch_one(&mut *transaction)
    .await
    .map_err(failure)?;
    if is_taken {
        return Err(Error::Conflict(
            "this LiveKit key with this secret is in use already: a token that it signs can open one \
             tenant only"
                .to_owned(),
        ));
    }
    let added = sqlx::query!(
        "insert into livekit_keys (id, tenant_id, key_name, secret, created_at)
         select $2, $1, $3, $4, $5::timestamptz
          where (select count(*) from livekit_keys where tenant_id = $1) < $6",
        scope.tenant.0,
        key.id,
        key.key_name,
        key.secret,
        key.created_at,
        KEYS_MAX,
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    if added.rows_affected() == 0 {
        return Err(Error::Conflict(format!(
            "a tenant may have {KEYS_MAX} LiveKit keys: remove one first"
        )));
    }
    let deed = Deed {
        at: key.created_at,
        actor: actor.to_owned(),
        action: Action::LivekitKeyAdd,
        object_id: key.id.clone(),
        fields: Vec::new(),
    };
    audit::append(&mut transaction, scope.tenant, deed).await?;
    transaction.commit().await.map_err(failure)
}

/// A tenant's keys, oldest first.
pub async fn list(scope: &Scope) -> Result<Vec<LivekitKey>> {
    let rows = read(&scope.pool, || {
        sqlx::query!(
            "select id, key_name, created_at
               from livekit_keys
              where tenant_id = $1
              order by created_at, id",
            scope.tenant.0,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    let keys = rows.into_iter().map(|row| LivekitKey {
        id: row.id,
        tenant: scope.tenant,
        key_name: row.key_name,
        created_at: row.created_at,
    });
    Ok(keys.collect())
}

/// Ends a key now; every server knows within seconds.
pub async fn remove(scope: &Scope, id: &str, deed: Deed) -> Result<()> {
    let mut transaction = scope.pool.begin().await.map_err(failure)?;
    let removed = sqlx::query!(
        "delete from livekit_keys where tenant_id = $1 and id = $2",
        scope.tenant.0,
        id,
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    if removed.rows_affected() == 0 {
        return Err(Error::NotFound("LiveKit key"));
    }
    audit::append(&mut transaction, scope.tenant, deed).await?;
    transaction.commit().await.map_err(failure)
}

/// Which tenant a key is of, for whoever has the shell of this machine.
pub async fn tenant_of(store: &Store, id: &str) -> Result<TenantId> {
    let tenant: Option<Uuid> = read(&store.pool, || {
        sqlx::query_scalar!("select tenant_id from livekit_keys where id = $1", id)
            .fetch_optional(&store.pool)
    })
    .await?;
    tenant.map(TenantId).ok_or(Error::NotFound("LiveKit key"))
}
