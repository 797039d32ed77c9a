//! Analysing calls as they change, beside requests. Several processes may do so at once.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::root_cause::analyse;
use crate::domain::Error;
use crate::domain::Result;
use crate::domain::analysed::Analysed;
use crate::domain::analysis::RULES_VERSION;
use crate::domain::ids::{SessionId, TenantId};
use crate::domain::settings::Effective;
use crate::store::ContentScope;
use crate::store::Scope;
use crate::store::Store;
use crate::store::analysis;
use crate::store::analysis::Taken;
use crate::store::sessions;
use crate::store::targets;

/// How often to look whether another process has done what it holds.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Calls that are read together.
const PIECE_SESSIONS: usize = 50;
/// Text of what sources said of the calls that are in memory at once; one that has more is there alone. As values it
/// takes some twenty times as much.
const PIECE_BYTES: i64 = 512 << 10;

/// Analyses some calls that are due. Answers whether there were any.
pub async fn round(store: &Store, now: DateTime<Utc>) -> Result<bool> {
    let Some(batch) = analysis::take(store, now).await? else {
        return Ok(false);
    };
    let mut by_tenant: BTreeMap<TenantId, Vec<Vec<SessionId>>> = BTreeMap::new();
    let mut bytes = 0;
    for Taken {
        tenant,
        session,
        fact_bytes,
    } in &batch.sessions
    {
        let pieces = by_tenant.entry(*tenant).or_default();
        bytes += fact_bytes;
        match pieces.last_mut() {
            Some(piece) if bytes <= PIECE_BYTES && piece.len() < PIECE_SESSIONS => {
                piece.push(*session);
            }
            _ => {
                bytes = *fact_bytes;
                pieces.push(vec![*session]);
            }
        }
    }
    let mut analysed = Vec::new();
    for (tenant, pieces) in by_tenant {
        let scope = Scope::for_worker(store, tenant).in_bulk();
        let mut of_tenant = Vec::new();
        for piece in pieces {
            of_tenant.extend(analyse_piece(&scope, &piece).await?);
        }
        analysed.push((tenant, of_tenant));
    }
    batch.finish(analysed, now).await?;
    Ok(true)
}

/// One call's trouble is not the others': where a piece cannot be read, its calls are read one by one, and
/// what is left over is told in the log.
async fn analyse_piece(scope: &Scope, piece: &[SessionId]) -> Result<Vec<Analysed>> {
    match analyse_all(scope, piece).await {
        Err(error @ Error::Unavailable(_)) => Err(error),
        Err(_) if piece.len() > 1 => {
            let mut all = Vec::new();
            for one in piece {
                all.extend(Box::pin(analyse_piece(scope, std::slice::from_ref(one))).await?);
            }
            Ok(all)
        }
        Err(error) => {
            tracing::error!(session = ?piece, %error, "a call could not be analysed");
            Ok(Vec::new())
        }
        done => done,
    }
}

async fn analyse_all(scope: &Scope, ids: &[SessionId]) -> Result<Vec<Analysed>> {
    let content = ContentScope::for_analysis();
    let records = sessions::records(scope, Some(&content), ids).await?;
    let heard = sessions::heard(scope, ids).await?;
    let agents = records
        .iter()
        .filter_map(|one| one.session.agent_key.clone());
    let agents: Vec<String> = agents.collect();
    let settings = targets::of_agents(scope, &agents).await?;
    let analysed = records.iter().map(|record| {
        let agent = record.session.agent_key.as_deref();
        let effective = Effective::of(settings.iter(), agent);
        let heard = heard.get(&record.id).cloned().unwrap_or_default();
        let analysis = analyse(record, &heard, &effective);
        Analysed::of(record, &analysis, effective.version)
    });
    Ok(analysed.collect())
}

/// Marks calls whose analysis is by other rules or targets than today's. Answers whether there may be more.
pub async fn sweep(store: &Store, now: DateTime<Utc>) -> Result<bool> {
    analysis::sweep(store, RULES_VERSION, now).await
}

/// Analyses everything that is due, whoever holds it.
pub async fn drain(store: &Store, now: DateTime<Utc>) -> Result<()> {
    loop {
        let more = sweep(store, now).await?;
        while round(store, now).await? {}
        if analysis::is_waiting(store, now).await? {
            tokio::time::sleep(LOOK_EVERY).await;
        } else if !more {
            return Ok(());
        }
    }
}
