//! The sealed scope: proof that somebody may see a tenant's rows, and the only way to the pools.
//!
//! A `Scope` comes from a checked key ([`Grant`]) or from one of the named constructors at the end of
//! this file, which `tests/architecture.rs` lists.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnectOptions;

use crate::domain::access::{KeyHash, Right, Rights};
use crate::domain::ids::TenantId;
use crate::store::pool::Pool;

/// Long ranges and exports: few at a time, so that they cannot crowd out short reads.
const ANALYTICS_CONNECTIONS: u32 = 3;

/// The whole store. Hands out scopes; shows nobody its pools.
#[derive(Clone)]
pub struct Store {
    pub(in crate::store) pool: Pool,
    pub(in crate::store) analytics: Pool,
    pub(in crate::store) options: PgConnectOptions,
    pub(in crate::store) migrated: Arc<AtomicBool>,
}

impl Store {
    /// Connects when first used, and again whenever the database comes back.
    pub fn connect(options: PgConnectOptions, pool_size: u32) -> Self {
        // What a statement or a lock sees is reckoned with: another default of the database is not ours.
        let options = options.options([
            ("default_transaction_isolation", "read committed"),
            // A server that vanished without a word keeps its locks, and what is done by one process alone, until
            // Postgres misses it: by itself after hours. Of no meaning on a Unix socket.
            ("tcp_keepalives_idle", "30"),
            ("tcp_keepalives_interval", "10"),
            ("tcp_keepalives_count", "3"),
        ]);
        // A generic plan spares planning at every call; an analytics range decides its own plan.
        Self {
            pool: pool(&options, "force_generic_plan", pool_size),
            analytics: pool(&options, "force_custom_plan", ANALYTICS_CONNECTIONS),
            options,
            migrated: Arc::default(),
        }
    }

    /// Closes every connection, after what runs on them has ended.
    pub async fn close(&self) {
        self.pool.close().await;
        self.analytics.close().await;
    }

    /// Connections open and idle, for the gauges.
    pub fn connections(&self) -> [(&'static str, u32, usize); 2] {
        [
            ("oltp", self.pool.size(), self.pool.num_idle()),
            (
                "analytics",
                self.analytics.size(),
                self.analytics.num_idle(),
            ),
        ]
    }
}

fn pool(options: &PgConnectOptions, plan_cache_mode: &str, size: u32) -> Pool {
    // A statement whose asker has gone must not go on for ever, nor one that waits for a lost process.
    let options = options.clone().application_name("voxray").options([
        ("plan_cache_mode", plan_cache_mode),
        ("jit", "off"),
        // That a word is too long to be indexed is no matter of the log.
        ("client_min_messages", "warning"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "60s"),
    ]);
    Pool::lazy(options, size)
}

/// Proof that a key was checked: the only way to reach a tenant's data.
///
/// ```compile_fail
/// fn steal(scope: &voxray::store::Scope) { let _ = &scope.pool; }
/// ```
/// ```compile_fail
/// fn forge(own: voxray::store::Scope) -> voxray::store::Scope { voxray::store::Scope { ..own } }
/// ```
#[derive(Clone)]
pub struct Scope {
    pub(in crate::store) tenant: TenantId,
    pub(in crate::store) pool: Pool,
    pub(in crate::store) analytics: Pool,
}

/// Proof that the key may also see what was said: made from a grant with `transcripts:read`, or for the
/// command line.
///
/// ```compile_fail
/// let forged = voxray::store::ContentScope { _sealed: () };
/// ```
#[derive(Clone)]
pub struct ContentScope {
    _sealed: (),
}

impl ContentScope {
    /// For whoever has the shell of this machine, and so the database.
    pub fn for_operator(_: &Store) -> Self {
        Self { _sealed: () }
    }

    /// For the analysis of calls, which looks at what was said to find what went wrong. Whoever shows its
    /// findings withholds what they quote.
    pub fn for_analysis() -> Self {
        Self { _sealed: () }
    }
}

/// What a valid key opens.
#[derive(Clone)]
pub struct Grant {
    pub(in crate::store) key_id: String,
    pub(in crate::store) scope: Scope,
    pub(in crate::store) rights: Rights,
    pub(in crate::store) expires_at: Option<DateTime<Utc>>,
    /// The console session that stands for the key, where one does.
    pub(in crate::store) session: Option<KeyHash>,
}

impl Grant {
    /// The key's public id.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    pub fn allows(&self, right: Right) -> bool {
        self.rights.contains(right)
    }

    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// The hash of the console session that stands for the key, where one does.
    pub fn session(&self) -> Option<&KeyHash> {
        self.session.as_ref()
    }

    /// The same by a session of the console, which may end sooner than the key.
    pub(in crate::store) fn of_session(self, hash: KeyHash, expires_at: DateTime<Utc>) -> Self {
        let end = self
            .expires_at
            .map_or(expires_at, |end| end.min(expires_at));
        Self {
            session: Some(hash),
            expires_at: Some(end),
            ..self
        }
    }

    /// Whether this opens whatever the other does.
    pub fn covers(&self, other: &Self) -> bool {
        other.rights.iter().all(|right| self.allows(right))
    }

    /// Present only if the key may see what was said.
    pub fn content(&self) -> Option<ContentScope> {
        self.allows(Right::TranscriptsRead)
            .then_some(ContentScope { _sealed: () })
    }
}

impl Scope {
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// For background work on one tenant's rows: nobody asks, the server does.
    pub fn for_worker(store: &Store, tenant: TenantId) -> Self {
        Self::of(store, tenant)
    }

    /// For whoever has the shell of this machine and names a tenant.
    pub fn for_operator(store: &Store, tenant: TenantId) -> Self {
        Self::of(store, tenant)
    }

    /// The same rows over the few connections for long work, so that short reads keep theirs.
    pub fn in_bulk(&self) -> Self {
        Self {
            pool: self.analytics.clone(),
            ..self.clone()
        }
    }

    pub(in crate::store) fn of(store: &Store, tenant: TenantId) -> Self {
        Self {
            tenant,
            pool: store.pool.clone(),
            analytics: store.analytics.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_default_of_the_database_changes_no_transaction() {
        let options = PgConnectOptions::new().options([("work_mem", "8MB")]);
        let store = Store::connect(options, 1);
        for asked in [
            "work_mem=8MB",
            "default_transaction_isolation=read\\ committed",
        ] {
            let given = store.options.get_options().unwrap_or_default();
            assert!(given.contains(asked), "{given}");
        }
    }
}
