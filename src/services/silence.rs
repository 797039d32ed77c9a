//! Calls whose end nobody reports: after a while without a word they count as over.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::Result;
use crate::domain::event::Submission;
use crate::store::Store;
use crate::store::ingest::Writer;
use crate::store::sessions;

/// For how long a session may be silent before it counts as over.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub active: Duration,
    /// Queued, or ringing.
    pub unanswered: Duration,
}

/// Ends what has been silent for too long, as a fact that any later one outranks. Answers how many.
pub async fn end_silent(
    store: &Store,
    writer: &Writer,
    patience: Patience,
    now: DateTime<Utc>,
) -> Result<usize> {
    let silent = sessions::silent(store, now - patience.active, now - patience.unanswered).await?;
    let count = silent.len();
    for one in silent {
        let submission = (one.session, Submission::Silence(one.last_at));
        let admission = writer.admit(&one.scope, 0)?;
        writer
            .submit(&one.scope, vec![submission], admission, now)
            .await?;
    }
    Ok(count)
}
