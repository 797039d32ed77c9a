//! The words by which turns are found.

use crate::domain::Result;
use crate::store::Store;
use crate::store::words;

/// Makes a few more sessions found by words that were written before words were kept. Answers whether there is
/// more to do at once.
pub async fn round(store: &Store) -> Result<bool> {
    words::round(store).await
}
