//! Every session that a filter matches, a few at a time: however many there are, no more than one batch
//! is in memory, and no connection is held between two.

use std::collections::VecDeque;

use crate::domain::Result;
use crate::domain::ids::SessionId;
use crate::domain::page::{Limit, Start};
use crate::domain::record::{Filter, Headline, Key, Record};
use crate::store::ContentScope;
use crate::store::Scope;
use crate::store::sessions;

/// Headlines that are read at once.
const PAGE: u32 = 200;
/// A batch ends with whichever is reached first, since sessions are of very different sizes.
pub const BATCH_SESSIONS: usize = 50;
pub const BATCH_TURNS: i64 = 2_000;

/// An export on its way, newest first.
pub struct Export {
    scope: Scope,
    content: Option<ContentScope>,
    filter: Filter,
    /// Where the next page of headlines starts; none once the last one is read.
    start: Option<Start<Key>>,
    waiting: VecDeque<Headline>,
}

impl Export {
    pub fn new(scope: &Scope, content: Option<&ContentScope>, filter: Filter) -> Self {
        Self {
            scope: scope.in_bulk(),
            content: content.cloned(),
            filter,
            start: Some(Start::Beginning),
            waiting: VecDeque::new(),
        }
    }

    /// The next whole sessions; none once all have been told.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>> {
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
        let page = sessions::list(&self.scope, &self.filter, &start, limit).await?;
        let last = page.items.last().filter(|_| page.more);
        self.start = last.map(|last| Start::After(last.key()));
        self.waiting = page.items.into();
        Ok(())
    }

    fn take_batch(&mut self) -> Vec<SessionId> {
        let (mut ids, mut turns) = (Vec::new(), 0);
        while let Some(next) = self.waiting.front() {
            turns += i64::from(next.turns);
            let is_full = ids.len() == BATCH_SESSIONS || turns > BATCH_TURNS;
            if is_full && !ids.is_empty() {
                break;
            }
            ids.push(next.id);
            self.waiting.pop_front();
        }
        ids
    }
}
