//! `/v1/admin/webhooks`: the addresses that vendors call, and what came of their calls.

pub mod create;
pub mod deliveries;
pub mod list;
pub mod remove;

mod body;
