//! How many exports may run at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::ids::TenantId;
use crate::problem::Problem;

/// Of all tenants, in this process.
pub const EXPORTS_MAX: usize = 4;
pub const EXPORTS_MAX_PER_TENANT: usize = 2;

/// Exports that are running, by tenant.
#[derive(Clone, Default)]
pub struct Slots(Arc<Mutex<HashMap<TenantId, usize>>>);

/// The right to run one; given back when dropped.
pub struct Slot {
    slots: Slots,
    tenant: TenantId,
}

impl Slots {
    pub fn take(&self, tenant: TenantId) -> Result<Slot, Problem> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = running.get(&tenant).copied().unwrap_or_default();
        if own >= EXPORTS_MAX_PER_TENANT {
            let detail = format!(
                "{EXPORTS_MAX_PER_TENANT} exports of this tenant are running: try again when one has ended"
            );
            return Err(Problem::unavailable(detail));
        }
        if running.values().sum::<usize>() >= EXPORTS_MAX {
            let detail = "too many exports are running, try again shortly";
            return Err(Problem::unavailable(detail));
        }
        running.insert(tenant, own + 1);
        Ok(Slot {
            slots: self.clone(),
            tenant,
        })
    }

    /// How many are running now.
    pub fn running(&self) -> usize {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.values().sum()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut running = self.slots.0.lock().unwrap_or_else(PoisonError::into_inner);
        match running.get_mut(&self.tenant) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                running.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn tenant(n: u128) -> TenantId {
        TenantId(Uuid::from_u128(n))
    }

    #[test]
    fn a_tenant_has_its_share_and_all_have_a_bound() {
        let slots = Slots::default();
        let mut held: Vec<Slot> = [1, 1, 2, 2]
            .into_iter()
            .map(|n| slots.take(tenant(n)).map_err(|_| n).expect("room"))
            .collect();
        assert!(slots.take(tenant(1)).is_err(), "its share is used up");
        assert!(slots.take(tenant(3)).is_err(), "all are taken");
        held.remove(0);
        assert!(slots.take(tenant(3)).is_ok());
        held.clear();
        assert_eq!(slots.running(), 0);
    }
}
