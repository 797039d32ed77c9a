//! Every session that a filter matches, a few at a time: however many there are, no more than one batch
//! is in memory, and no connection is held between two.

use std::collections::VecDeque;
use std::time::Instant;

use crate::domain::Result;
use crate::domain::ids::SessionId;
use crate::domain::page::{Limit, Start};
use crate::domain::record::{Filter, Headline, Key, Record};
use crate::services::pace::{Pace, Traffic};
use crate::services::sessions::check_words;
use crate::store::ContentScope;
use crate::store::Scope;
use crate::store::sessions;

/// Headlines that are read at once.
const PAGE: u32 = 200;
/// A batch ends with whichever is reached first, since sessions are of very different sizes.
pub const BATCH_SESSIONS: usize = 50;
pub const BATCH_TURNS: i64 = 2_000;
/// Of what sources said. As values in memory it is several times as much.
const BATCH_BYTES: i64 = 4 << 20;

/// An export on its way, newest first.
pub struct Export {
    scope: Scope,
    content: Option<ContentScope>,
    filter: Filter,
    /// Where the next page of headlines starts; none once the last one is read.
    start: Option<Start<Key>>,
    waiting: VecDeque<Headline>,
    /// Sessions and turns of a batch.
    batch: (usize, i64),
    pace: Pace,
}

impl Export {
    /// Makes room for whoever else is asking, as the traffic tells.
    pub async fn new(
        scope: &Scope,
        content: Option<&ContentScope>,
        filter: Filter,
        traffic: &Traffic,
    ) -> Result<Self> {
        check_words(scope, &filter).await?;
        Ok(Self {
            scope: scope.in_bulk(),
            content: content.cloned(),
            filter,
            start: Some(Start::Beginning),
            waiting: VecDeque::new(),
            batch: (BATCH_SESSIONS, BATCH_TURNS),
            pace: Pace::eased(traffic),
        })
    }

    /// Just these, in batches bounded by what was said.
    pub fn of(scope: &Scope, content: Option<&ContentScope>, headlines: Vec<Headline>) -> Self {
        Self {
            scope: scope.clone(),
            content: content.cloned(),
            filter: Filter::default(),
            start: None,
            waiting: headlines.into(),
            batch: (usize::MAX, i64::MAX),
            pace: Pace::Full,
        }
    }

    /// Whether everything has been read.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.start.is_none()
    }

    /// The next whole sessions; none once all have been told.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>> {
        self.pace.rest().await;
        let started = Instant::now();
        let records = self.read().await?;
        self.pace.note(started.elapsed());
        Ok(records)
    }

    async fn read(&mut self) -> Result<Option<Vec<Record>>> {
        loop {
            if self.waiting.is_empty() {
                let Some(start) = self.start.take() else {
                    return Ok(None);
                };
                self.read_page(start).await?;
            }
            let ids = self.take_batch();
            let records = sessions::records(&self.scope, self.content.as_ref(), &ids).await?;
            if !records.is_empty() {
                return Ok(Some(records));
            }
        }
    }

    async fn read_page(&mut self, start: Start<Key>) -> Result<()> {
        let limit = Limit::checked(PAGE);
        let page = sessions::list(
            &self.scope,
            self.content.as_ref(),
            &self.filter,
            &start,
            limit,
        )
        .await?;
        self.start = page.next().map(Start::After);
        self.waiting = page.items.into();
        Ok(())
    }

    fn take_batch(&mut self) -> Vec<SessionId> {
        let (mut ids, mut turns, mut bytes) = (Vec::new(), 0, 0);
        while let Some(next) = self.waiting.front() {
            turns += i64::from(next.turns);
            bytes += next.fact_bytes;
            let is_full = ids.len() == self.batch.0 || turns > self.batch.1 || bytes > BATCH_BYTES;
            if is_full && !ids.is_empty() {
                break;
            }
            ids.push(next.id);
            self.waiting.pop_front();
        }
        ids
    }
}
