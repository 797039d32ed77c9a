//! What is done to whole calls, by whoever manages the tenant.

pub mod delete;
