//! The sealed scope: proof that somebody may see a tenant's rows, and the only way to the pool.

use sqlx::PgPool;

use crate::domain::ids::TenantId;

/// The whole store. Hands out scopes; shows nobody its pool.
#[derive(Clone)]
pub struct Store {
    pub(in crate::store) pool: PgPool,
}

/// Proof that a key was checked: the only way to reach a tenant's data.
///
/// ```compile_fail
/// fn steal(scope: &voxray::store::Scope) { let _ = &scope.pool; }
/// ```
/// ```compile_fail
/// let forged = voxray::store::Scope { tenant: todo!(), pool: todo!() };
/// ```
#[derive(Clone)]
pub struct Scope {
    pub(in crate::store) tenant: TenantId,
    pub(in crate::store) pool: PgPool,
}

/// Proof that the key may also see what was said: made only from a grant with `transcripts:read`.
#[derive(Clone)]
pub struct ContentScope {
    _sealed: (),
}

impl Scope {
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }
}
