//! What ranges of calls add up to: rollups where they are up to date, calls where they are not.

mod errors;
pub(in crate::store) mod range;
mod tallies;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::analytics::{Dimensions, Sums, Window};
use crate::domain::digest::Digest;
use crate::domain::session::Providers;
use crate::store::columns::unreadable;
use crate::store::failure::{failure, read, read_whole};
use crate::store::scope::Scope;

pub use errors::errors;
pub use tallies::{total, volume, workflows};

/// Reads a range, exact at every instant: a change and its mark are seen together or not at all.
pub async fn sums(scope: &Scope, window: Window, dimensions: &Dimensions) -> Result<Sums> {
    read_whole(&scope.analytics, || sum_up(scope, window, dimensions)).await
}

async fn sum_up(scope: &Scope, window: Window, dimensions: &Dimensions) -> Result<Sums> {
    let mut connection = scope.analytics.acquire().await.map_err(failure)?;
    let mut rows = range::over_range!(
        Row,
        scope,
        (window, window.cover_nearest()),
        (dimensions.is_all(), dimensions, dimensions.bits()),
        r#"calls as "calls!", completed as "completed!", failed as "failed!", declined as "declined!",
                  missed as "missed!", ended as "ended!", duration_ms as "duration_ms!", tokens as "tokens!",
                  priced as "priced!", cost_micro_usd as "cost_micro_usd!", last_started_at as "last_started_at!",
                  digest as "digest!", is_call as "is_call!", is_outside as "is_outside!", stt_provider, llm_provider, tts_provider"#,
        ""
    )
    .fetch(&mut *connection);
    let (mut sums, mut outside) = (Sums::default(), Sums::default());
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        let part = if row.is_outside {
            &mut outside
        } else {
            &mut sums
        };
        row.add_to(part)?;
    }
    drop(rows);
    connection.done();
    sums.take(&outside);
    Ok(sums)
}

/// Whether some hour or day of a range does not tell these dimensions apart, a bit each.
pub async fn is_folded(scope: &Scope, window: Window, bits: i16) -> Result<bool> {
    if bits == 0 {
        return Ok(false);
    }
    read(&scope.pool, || {
        sqlx::query_scalar!(
            r#"select exists (select 1
                                from rollup_folds
                               where tenant_id = $1 and at > $2::timestamptz - interval '1 day' and at < $3
                                 and dimensions & $4::smallint <> 0) as "is_folded!""#,
            scope.tenant.0,
            window.from,
            window.to,
            bits,
        )
        .fetch_one(&scope.pool)
    })
    .await
}

/// Calls that are being held right now, whenever they started.
pub async fn active(scope: &Scope, dimensions: &Dimensions) -> Result<i64> {
    read(&scope.pool, || {
        sqlx::query_scalar!(
            r#"select count(*) as "count!"
                 from sessions
                where tenant_id = $1
                  and status = 'active'
                  and status in ('queued', 'ringing', 'active')
                  and ($2::text is null or agent_key = $2)
                  and ($3::text is null or workflow_slug = $3 or workflow_id = $3)
                  and ($4::text is null or channel = $4)
                  and ($5::text is null or campaign = $5)"#,
            scope.tenant.0,
            dimensions.agent_key.as_deref(),
            dimensions.workflow.as_deref(),
            dimensions.channel.as_deref(),
            dimensions.campaign.as_deref(),
        )
        .fetch_one(&scope.pool)
    })
    .await
}

struct Row {
    calls: i64,
    completed: i64,
    failed: i64,
    declined: i64,
    missed: i64,
    ended: i64,
    duration_ms: i64,
    tokens: i64,
    priced: i64,
    cost_micro_usd: i64,
    last_started_at: DateTime<Utc>,
    digest: Vec<u8>,
    is_call: bool,
    is_outside: bool,
    stt_provider: Option<String>,
    llm_provider: Option<String>,
    tts_provider: Option<String>,
}

impl Row {
    fn add_to(self, sums: &mut Sums) -> Result<()> {
        let wrong = || unreadable("digest", self.digest.len());
        let row = Sums {
            calls: self.calls,
            completed: self.completed,
            failed: self.failed,
            declined: self.declined,
            missed: self.missed,
            ended: self.ended,
            duration_ms: self.duration_ms,
            tokens: self.tokens,
            priced: self.priced,
            cost_micro_usd: self.cost_micro_usd,
            last_started_at: Some(self.last_started_at),
            digest: Digest::default(),
        };
        sums.merge(&row);
        if self.is_call {
            let providers = Providers {
                stt: self.stt_provider,
                llm: self.llm_provider,
                tts: self.tts_provider,
            };
            let provider = |stage| providers.of(stage).map(String::as_str);
            let merged = sums.digest.merge_session_bytes(&self.digest, provider);
            merged.ok_or_else(wrong)?;
        } else {
            sums.digest.merge_bytes(&self.digest).ok_or_else(wrong)?;
        }
        Ok(())
    }
}

/// Sums of a rollup table by its row, for comparing and for adding up.
pub(in crate::store) struct RollupRow {
    pub at: DateTime<Utc>,
    pub dimension_set: Uuid,
    pub calls: i64,
    pub completed: i64,
    pub failed: i64,
    pub declined: i64,
    pub missed: i64,
    pub ended: i64,
    pub duration_ms: i64,
    pub tokens: i64,
    pub priced: i64,
    pub cost_micro_usd: i64,
    pub last_started_at: DateTime<Utc>,
    pub digest: Vec<u8>,
}

impl RollupRow {
    pub fn into_sums(self) -> Result<(DateTime<Utc>, Uuid, Sums)> {
        let digest =
            Digest::from_bytes(&self.digest).ok_or_else(|| unreadable("rollup digest", self.at))?;
        let sums = Sums {
            calls: self.calls,
            completed: self.completed,
            failed: self.failed,
            declined: self.declined,
            missed: self.missed,
            ended: self.ended,
            duration_ms: self.duration_ms,
            tokens: self.tokens,
            priced: self.priced,
            cost_micro_usd: self.cost_micro_usd,
            last_started_at: Some(self.last_started_at),
            digest,
        };
        Ok((self.at, self.dimension_set, sums))
    }
}
