//! What one watcher is told, in order and without gaps, from memory where it can be and else from the store.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::{Batch, Seat, Told};
use crate::domain::Error;
use crate::domain::Result;
use crate::domain::analytics::Dimensions;
use crate::domain::live::{Detail, Event};
use crate::store::ContentScope;
use crate::store::Grant;
use crate::store::Scope;
use crate::store::analytics;
use crate::store::live;

/// Events read at once.
pub(super) const PAGE: i64 = 100;

pub struct Feed {
    scope: Scope,
    content: Option<ContentScope>,
    receiver: broadcast::Receiver<Told>,
    /// The last event that was handed out or passed over.
    position: i64,
    active: i64,
    /// To be read from the store before anything that is heard.
    is_behind: bool,
    /// To be told before anything else.
    gap: Option<Item>,
    /// Heard, and not yet handed out. Kept here so that `next` may be given up half-way.
    heard: Option<Told>,
    seat: Seat,
}

/// What there is to tell.
#[derive(Clone, Debug)]
pub enum Item {
    Event(Arc<Event>),
    Count(i64),
    /// Events after this number are kept no more, up to the oldest that is.
    Gap {
        after: i64,
        oldest: i64,
    },
}

/// Why a watcher is told no more.
#[derive(Debug)]
pub enum End {
    /// It did not keep up.
    Slow,
    Stopping,
    Away(Error),
}

impl Feed {
    pub(super) async fn start(
        seat: Seat,
        receiver: broadcast::Receiver<Told>,
        grant: &Grant,
        after: Option<i64>,
    ) -> Result<Self> {
        let scope = grant.scope().clone();
        let active = analytics::active(&scope, &Dimensions::default()).await?;
        let (oldest, head) = live::bounds(&scope).await?;
        let (position, gap) = match after {
            None => (head, None),
            Some(after) if after > head => (head, Some(head + 1)),
            Some(after) if after < oldest - 1 => (oldest - 1, Some(oldest)),
            Some(after) => (after, None),
        };
        let gap = after
            .zip(gap)
            .map(|(after, oldest)| Item::Gap { after, oldest });
        Ok(Self {
            content: grant.content(),
            scope,
            receiver,
            position,
            active,
            is_behind: position < head,
            gap,
            heard: None,
            seat,
        })
    }

    /// The last event's number, whether it was told or not.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Calls that were active at the start.
    pub fn active(&self) -> i64 {
        self.active
    }

    /// To be held by whatever else must end before another may take the place.
    pub fn seat(&self) -> Seat {
        self.seat.clone()
    }

    /// The next things to tell, perhaps none. May be given up and asked again: nothing is lost.
    pub async fn next(&mut self) -> Result<Vec<Item>, End> {
        if let Some(gap) = self.gap.take() {
            return Ok(vec![gap]);
        }
        if self.is_behind {
            let (items, is_last) = self.read(None).await?;
            self.is_behind = !is_last;
            return Ok(items);
        }
        if self.heard.is_none() {
            self.heard = Some(match self.receiver.recv().await {
                Ok(told) => told,
                Err(RecvError::Lagged(_)) => return Err(End::Slow),
                Err(RecvError::Closed) => return Err(End::Stopping),
            });
        }
        let batch = match &self.heard {
            Some(Told::Events(batch)) => batch.clone(),
            Some(Told::Count(count)) => {
                let count = *count;
                self.heard = None;
                return Ok(vec![Item::Count(count)]);
            }
            None => return Ok(Vec::new()),
        };
        if batch.to <= self.position {
            self.heard = None;
            Ok(Vec::new())
        } else if batch.from <= self.position && self.may_take(&batch) {
            self.heard = None;
            let news = batch.events.iter().filter(|e| e.seq > self.position);
            Ok(self.pass(news.cloned().collect(), batch.to))
        } else {
            // Handed out in the end once the store has brought us there.
            Ok(self.read(Some(batch.to)).await?.0)
        }
    }

    /// Whether a batch has all that this watcher may see.
    fn may_take(&self, batch: &Batch) -> bool {
        self.content.is_none() || batch.has_content || batch.events.is_empty()
    }

    /// A page from the store; `known` is the number up to which there must be something.
    async fn read(&mut self, known: Option<i64>) -> Result<(Vec<Item>, bool), End> {
        let page = live::page(&self.scope, self.content.as_ref(), self.position, PAGE)
            .await
            .map_err(End::Away)?;
        let last = page.events.last().map(|event| event.seq);
        let to = last.or(known).unwrap_or(self.position);
        let events = page.events.into_iter().map(Arc::new).collect();
        Ok((self.pass(events, to), page.is_last))
    }

    /// Goes on to `to`, with what this watcher is told on the way.
    fn pass(&mut self, events: Vec<Arc<Event>>, to: i64) -> Vec<Item> {
        let oldest = events.first().map_or(to + 1, |event| event.seq);
        let gap = (oldest > self.position + 1).then_some(Item::Gap {
            after: self.position,
            oldest,
        });
        self.position = to;
        let may_see = self.content.is_some();
        let told = events.into_iter().map(|event| match may_see {
            true => event,
            false => Arc::new(event.withheld()),
        });
        let there = told.filter(|event| event.detail != Detail::Gone);
        gap.into_iter().chain(there.map(Item::Event)).collect()
    }
}
