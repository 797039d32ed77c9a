//! API keys: opening one, and their life. A reference table, found by public id: that is what proves
//! who the tenant is, so no scope exists yet.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::failure::{failure, read};
use super::{Grant, Scope, Store, audit, console};
use crate::domain::access::{ApiKey, KeyHash, Right, Rights};
use crate::domain::audit::{Action, Deed, OPERATOR};
use crate::domain::ids::TenantId;
use crate::domain::{Error, Result};

/// A key to be stored: everything but the key itself.
pub struct NewKey {
    pub id: String,
    pub tenant: TenantId,
    pub name: String,
    pub hash: KeyHash,
    pub rights: Rights,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

impl Store {
    /// What the key with this public id and hash opens; nothing if there is none, or none any more.
    pub async fn open(
        &self,
        id: &str,
        hash: &KeyHash,
        now: DateTime<Utc>,
    ) -> Result<Option<Grant>> {
        let row = read(&self.pool, || {
            sqlx::query!(
                "select tenant_id, hash, scopes, expires_at
                   from api_keys
                  where id = $1
                    and revoked_at is null",
                id,
            )
            .fetch_optional(&self.pool)
        })
        .await?;
        let Some(row) = row.filter(|row| same(&row.hash, hash)) else {
            return Ok(None);
        };
        let grant = Grant {
            key_id: id.to_owned(),
            scope: Scope::of(self, TenantId(row.tenant_id)),
            rights: rights(&row.scopes)?,
            expires_at: row.expires_at,
            session: None,
        };
        Ok((!grant.is_expired(now)).then_some(grant))
    }
}

/// What a key opens by its public id alone: for who has shown before that the key is theirs.
pub(in crate::store) async fn current(
    store: &Store,
    id: &str,
    now: DateTime<Utc>,
) -> Result<Option<Grant>> {
    let row = read(&store.pool, || {
        sqlx::query!(
            "select tenant_id, scopes, expires_at
               from api_keys
              where id = $1
                and revoked_at is null",
            id,
        )
        .fetch_optional(&store.pool)
    })
    .await?;
    let Some(row) = row else { return Ok(None) };
    let grant = Grant {
        key_id: id.to_owned(),
        scope: Scope::of(store, TenantId(row.tenant_id)),
        rights: rights(&row.scopes)?,
        expires_at: row.expires_at,
        session: None,
    };
    Ok((!grant.is_expired(now)).then_some(grant))
}

impl Grant {
    /// The same key or console session again, as it is now; nothing if it has ended.
    pub async fn renew(&self, store: &Store, now: DateTime<Utc>) -> Result<Option<Self>> {
        match &self.session {
            Some(hash) => console::open(store, &self.key_id, hash, now).await,
            None => current(store, &self.key_id, now).await,
        }
    }
}

/// Compares in a time that does not depend on where the two differ.
fn same(stored: &[u8], presented: &KeyHash) -> bool {
    stored.len() == presented.len()
        && std::hint::black_box(
            stored
                .iter()
                .zip(presented)
                .fold(0, |bits, (a, b)| bits | (a ^ b)),
        ) == 0
}

pub async fn create(store: &Store, key: &NewKey) -> Result<()> {
    let mut transaction = store.pool.begin().await.map_err(failure)?;
    insert(&mut transaction, key).await?;
    note(
        &mut transaction,
        key.tenant,
        Action::KeyCreate,
        &key.id,
        key.created_at,
    )
    .await?;
    transaction.commit().await.map_err(failure)
}

/// Keys are made and ended by the command line.
pub(in crate::store) async fn note(
    connection: &mut PgConnection,
    tenant: TenantId,
    action: Action,
    id: &str,
    at: DateTime<Utc>,
) -> Result<()> {
    let deed = Deed {
        at,
        actor: OPERATOR.to_owned(),
        action,
        object_id: id.to_owned(),
        fields: Vec::new(),
    };
    audit::append(connection, tenant, deed).await
}

pub(in crate::store) async fn insert(connection: &mut PgConnection, key: &NewKey) -> Result<()> {
    sqlx::query!(
        "insert into api_keys (id, tenant_id, name, hash, scopes, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        key.id,
        key.tenant.0,
        key.name,
        key.hash.as_slice(),
        &key.rights.to_texts(),
        key.created_at,
        key.expires_at,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// A tenant's keys, oldest first, revoked and expired ones too; of all tenants if none is named.
pub async fn list(store: &Store, tenant: Option<TenantId>) -> Result<Vec<ApiKey>> {
    let tenant = tenant.map(|tenant| tenant.0);
    let rows = read(&store.pool, || {
        sqlx::query_as!(
            Row,
            "select id, tenant_id, name, scopes, created_at, expires_at, revoked_at, replaced_by,
                    last_used_at
               from api_keys
              where $1::uuid is null or tenant_id = $1
              order by created_at, id",
            tenant,
        )
        .fetch_all(&store.pool)
    })
    .await?;
    rows.into_iter().map(ApiKey::try_from).collect()
}

pub async fn find(store: &Store, id: &str) -> Result<ApiKey> {
    let row = read(&store.pool, || {
        sqlx::query_as!(
            Row,
            "select id, tenant_id, name, scopes, created_at, expires_at, revoked_at, replaced_by,
                    last_used_at
               from api_keys
              where id = $1",
            id,
        )
        .fetch_optional(&store.pool)
    })
    .await?;
    row.map(ApiKey::try_from).ok_or(Error::NotFound("key"))?
}

/// Puts `successor` in the place of key `id`, which works until `grace_end` (or its own end).
pub async fn rotate(
    store: &Store,
    id: &str,
    successor: &NewKey,
    grace_end: DateTime<Utc>,
) -> Result<()> {
    let mut transaction = store.pool.begin().await.map_err(failure)?;
    let replaced = sqlx::query!(
        "update api_keys
            set replaced_by = $2,
                expires_at = least(expires_at, $3)
          where id = $1
            and revoked_at is null
            and replaced_by is null
            and (expires_at is null or expires_at > $4)",
        id,
        successor.id,
        grace_end,
        successor.created_at,
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    if replaced.rows_affected() == 0 {
        return Err(Error::Conflict(format!(
            "key `{id}` is revoked, expired, or rotated already"
        )));
    }
    insert(&mut transaction, successor).await?;
    let (tenant, at) = (successor.tenant, successor.created_at);
    note(&mut transaction, tenant, Action::KeyRotate, id, at).await?;
    note(
        &mut transaction,
        tenant,
        Action::KeyCreate,
        &successor.id,
        at,
    )
    .await?;
    transaction.commit().await.map_err(failure)
}

/// Ends a key now. Ending it twice keeps the first time.
pub async fn revoke(store: &Store, id: &str, now: DateTime<Utc>) -> Result<()> {
    let mut transaction = store.pool.begin().await.map_err(failure)?;
    let key = sqlx::query!(
        "select tenant_id, revoked_at from api_keys where id = $1 for update",
        id,
    )
    .fetch_optional(&mut *transaction)
    .await
    .map_err(failure)?
    .ok_or(Error::NotFound("key"))?;
    if key.revoked_at.is_some() {
        return Ok(());
    }
    sqlx::query!("update api_keys set revoked_at = $2 where id = $1", id, now,)
        .execute(&mut *transaction)
        .await
        .map_err(failure)?;
    let tenant = TenantId(key.tenant_id);
    note(&mut transaction, tenant, Action::KeyRevoke, id, now).await?;
    transaction.commit().await.map_err(failure)
}

/// Notes when keys were last used: many keys in one statement, and no time goes backwards.
pub async fn touch(store: &Store, ids: &[String], used_at: &[DateTime<Utc>]) -> Result<()> {
    sqlx::query!(
        "update api_keys
            set last_used_at = greatest(last_used_at, used.at)
           from unnest($1::text[], $2::timestamptz[]) as used (id, at)
          where api_keys.id = used.id",
        ids,
        used_at,
    )
    .execute(&store.pool)
    .await
    .map_err(failure)?;
    Ok(())
}

struct Row {
    id: String,
    tenant_id: Uuid,
    name: String,
    scopes: Vec<String>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    replaced_by: Option<String>,
    last_used_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for ApiKey {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            rights: rights(&row.scopes)?,
            id: row.id,
            tenant: TenantId(row.tenant_id),
            name: row.name,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            replaced_by: row.replaced_by,
            last_used_at: row.last_used_at,
        })
    }
}

fn rights(texts: &[String]) -> Result<Rights> {
    let unreadable =
        |message| Error::Internal(format!("unreadable value in api_keys.scopes: {message}"));
    texts
        .iter()
        .map(|text| text.parse::<Right>())
        .collect::<std::result::Result<_, _>>()
        .map_err(unreadable)
}
