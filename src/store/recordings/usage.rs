//! How much audio a tenant has: a counter that every change of a recording keeps in its own transaction.

use sqlx::PgConnection;

use super::AVAILABLE;
use crate::domain::Result;
use crate::domain::recording::Usage;
use crate::store::failure::{failure, read};
use crate::store::scope::Scope;

pub async fn usage(scope: &Scope) -> Result<Usage> {
    let row = read(&scope.pool, || {
        sqlx::query!(
            "select recordings, size_bytes from recording_usage where tenant_id = $1",
            scope.tenant.0,
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    Ok(row.map_or_else(Usage::default, |row| Usage {
        recordings: row.recordings,
        size_bytes: row.size_bytes,
    }))
}

/// Adds to what a tenant has, and answers how much that is.
pub(super) async fn add(
    connection: &mut PgConnection,
    scope: &Scope,
    more: Usage,
) -> Result<Usage> {
    let row = sqlx::query!(
        "insert into recording_usage (tenant_id, recordings, size_bytes)
         values ($1, $2, $3)
             on conflict (tenant_id)
             do update set recordings = recording_usage.recordings + $2, size_bytes = recording_usage.size_bytes + $3
         returning recordings, size_bytes",
        scope.tenant.0,
        more.recordings,
        more.size_bytes,
    )
    .fetch_one(connection)
    .await
    .map_err(failure)?;
    Ok(Usage {
        recordings: row.recordings,
        size_bytes: row.size_bytes,
    })
}

/// The same less, of recordings that go, by their sizes.
pub(super) async fn take(
    connection: &mut PgConnection,
    scope: &Scope,
    sizes_bytes: &[i64],
) -> Result<()> {
    if sizes_bytes.is_empty() {
        return Ok(());
    }
    let less = Usage {
        recordings: -(sizes_bytes.len() as i64),
        size_bytes: -sizes_bytes.iter().sum::<i64>(),
    };
    add(connection, scope, less).await.map(|_| ())
}

/// Counts a tenant's recordings one by one: what the counter should say. With `repairs` it is made to say so.
pub async fn recount(scope: &Scope, repairs: bool) -> Result<(Usage, Usage)> {
    let mut transaction = scope.analytics.begin().await.map_err(failure)?;
    // Held until it is counted, so that nothing is written in between.
    let kept = add(&mut transaction, scope, Usage::default()).await?;
    let counted = sqlx::query!(
        r#"select count(*) as "recordings!", coalesce(sum(size_bytes), 0)::bigint as "size_bytes!"
             from recordings
            where tenant_id = $1 and status = $2"#,
        scope.tenant.0,
        AVAILABLE,
    )
    .fetch_one(&mut *transaction)
    .await
    .map_err(failure)?;
    let counted = Usage {
        recordings: counted.recordings,
        size_bytes: counted.size_bytes,
    };
    if repairs && counted != kept {
        let difference = Usage {
            recordings: counted.recordings - kept.recordings,
            size_bytes: counted.size_bytes - kept.size_bytes,
        };
        add(&mut transaction, scope, difference).await?;
    }
    transaction.commit().await.map_err(failure)?;
    Ok((kept, counted))
}
