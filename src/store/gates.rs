//! Gates that were evaluated. Never changed: they are shown later as what was known then.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::analysis::gate::Verdict;
use crate::domain::{Error, Result};
use crate::store::columns::{object, to_text};
use crate::store::failure::{failure, read};
use crate::store::scope::Scope;

pub struct Gate {
    pub id: Uuid,
    pub created_at: DateTime<Utc>,
    pub verdict: Verdict,
    pub digest: [u8; 32],
    pub report: Map<String, Value>,
}

pub async fn keep(scope: &Scope, gate: &Gate) -> Result<()> {
    sqlx::query!(
        "insert into gates (tenant_id, id, created_at, verdict, digest, report)
         values ($1, $2, $3, $4, $5, $6)",
        scope.tenant.0,
        gate.id,
        gate.created_at,
        gate.verdict.as_str(),
        gate.digest.as_slice(),
        to_text(&gate.report),
    )
    .execute(&scope.pool)
    .await
    .map_err(failure)?;
    Ok(())
}

/// What its report says.
pub async fn report(scope: &Scope, id: Uuid) -> Result<Map<String, Value>> {
    let report = read(&scope.pool, || {
        sqlx::query_scalar!(
            "select report
               from gates
              where tenant_id = $1 and id = $2",
            scope.tenant.0,
            id,
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    object("gates.report", &report.ok_or(Error::NotFound("gate"))?)
}
