//! Waiting for the store, but not for ever: one that hangs refuses nobody.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use crate::domain::{Error, Result};

/// What is asked of the store, if it answers within this time.
pub async fn within<T>(limit: Duration, asked: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || Error::Unavailable("the store did not answer in time".to_owned());
    timeout(limit, asked).await.unwrap_or_else(|_| Err(late()))
}
