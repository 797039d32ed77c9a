//! What calls are held to. A setting is never changed: the newest version of each holds.

use chrono::{DateTime, Utc};

use crate::domain::audit::{Action, Deed};
use crate::domain::settings::Setting;
use crate::domain::{Error, Result};
use crate::store::audit;
use crate::store::columns::object;
use crate::store::columns::to_text;
use crate::store::failure::{failure, read};
use crate::store::scope::Scope;

struct Row {
    agent_key: String,
    version: i64,
    targets: String,
    created_at: DateTime<Utc>,
    created_by: String,
}

impl Row {
    fn into_setting(self) -> Result<Setting> {
        Ok(Setting {
            targets: object("target_settings.targets", &self.targets)?,
            agent_key: self.agent_key,
            version: self.version,
            created_at: self.created_at,
            created_by: self.created_by,
        })
    }
}

/// The newest setting for all agents, and those for these agents, of what there is.
pub async fn of_agents(scope: &Scope, agents: &[String]) -> Result<Vec<Setting>> {
    let rows = read(&scope.pool, || {
        sqlx::query_as!(
            Row,
            r#"select t.agent_key, t.version, t.targets, t.created_at, t.created_by
                 from (select distinct agent_key from unnest($2::text[]) as g (agent_key)
                        union select '') a
                cross join lateral (select * from target_settings o
                                     where o.tenant_id = $1 and o.agent_key = a.agent_key
                                     order by o.version desc
                                     limit 1) t"#,
            scope.tenant.0,
            agents,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    rows.into_iter().map(Row::into_setting).collect()
}

/// The newest of each.
async fn all(connection: &mut sqlx::PgConnection, scope: &Scope) -> Result<Vec<Setting>> {
    let rows = sqlx::query_as!(
        Row,
        "select distinct on (agent_key) agent_key, version, targets, created_at, created_by
           from target_settings
          where tenant_id = $1
          order by agent_key, version desc",
        scope.tenant.0,
    )
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    rows.into_iter().map(Row::into_setting).collect()
}

/// Who sets something, and over which version; none for whatever there is.
pub struct Author {
    pub key_id: String,
    pub at: DateTime<Utc>,
    pub over: Option<i64>,
}

/// Sets the targets of one agent, or (without its name) of all. `make` is shown everything that is set, and
/// makes the setting of it and what changed, or refuses. Where nothing changes, nothing is written.
pub async fn set<F>(scope: &Scope, agent_key: &str, author: Author, make: F) -> Result<()>
where
    F: FnOnce(&[Setting]) -> Result<(serde_json::Map<String, serde_json::Value>, Vec<String>)>,
{
    let mut transaction = scope.pool.begin().await.map_err(failure)?;
    // One at a time: what is set is checked with what else is.
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended($1, 14))",
        scope.tenant.to_string(),
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    let settings = all(&mut transaction, scope).await?;
    let current = settings.iter().find(|one| one.agent_key == agent_key);
    let version = current.map_or(0, |one| one.version);
    if let Some(over) = author.over.filter(|over| *over != version) {
        return Err(Error::Conflict(format!(
            "the targets are at version {version}, not at {over}: somebody else has set them meanwhile"
        )));
    }
    let (targets, changed) = make(&settings)?;
    if changed.is_empty() {
        return Ok(());
    }
    let newest = settings.iter().map(|one| one.version).max().unwrap_or(0);
    sqlx::query!(
        "insert into target_settings (tenant_id, agent_key, version, targets, created_at, created_by)
         values ($1, $2, $3, $4, $5, $6)",
        scope.tenant.0,
        agent_key,
        newest + 1,
        to_text(&targets),
        author.at,
        author.key_id,
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    let object_id = match agent_key {
        "" => "all agents".to_owned(),
        one => one.to_owned(),
    };
    let deed = Deed {
        at: author.at,
        actor: author.key_id,
        action: Action::TargetsUpdate,
        object_id,
        fields: changed,
    };
    audit::append(&mut transaction, scope.tenant, deed).await?;
    transaction.commit().await.map_err(failure)
}
