//! Calls whose end nobody reports: after a while without a word they count as over.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::Error;
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
    let (active_before, ringing_before) = (now - patience.active, now - patience.unanswered);
    let (mut count, mut place) = (0, sessions::START);
    loop {
        let silent = sessions::silent(store, active_before, ringing_before, place).await?;
        let Some(last) = silent.last() else {
            return Ok(count);
        };
        place = last.place;
        for one in silent {
            let submission = (one.session, Submission::Silence(one.last_at));
            // A tenant that sends too much has its turn in the next round.
            let admission = match writer.admit(&one.scope, 0) {
                Err(Error::Throttled { .. }) => continue,
                admission => admission?,
            };
            writer
                .submit(&one.scope, vec![submission], admission, now)
                .await?;
            count += 1;
        }
    }
}
