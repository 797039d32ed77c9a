//! Reads a tenant's new events once for all who watch it here, for as long as somebody does.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::feed::PAGE;
use super::{Batch, Channel, Live, Told};
use crate::domain::Result;
use crate::domain::analytics::Dimensions;
use crate::domain::live::{Detail, Event};
use crate::store::Scope;
use crate::store::analytics;
use crate::store::live;

/// Looked at without being told that there is something.
const POLL_EVERY: Duration = Duration::from_secs(2);
/// The number of active calls is told at most so often.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// A batch with more text than this is passed around without it: who may see it reads it by itself.
const TEXT_MAX_BYTES: usize = 256 * 1024;

struct Pump {
    scope: Scope,
    channel: Arc<Channel>,
    /// Unknown until the store has told.
    position: Option<i64>,
    /// What was told last.
    count: Option<i64>,
    /// When the count is to be looked at.
    count_at: Option<Instant>,
    counted_at: Instant,
}

pub async fn run(live: Live, scope: Scope, channel: Arc<Channel>) {
    let mut pump = Pump {
        scope,
        channel: channel.clone(),
        position: None,
        count: None,
        count_at: None,
        counted_at: Instant::now(),
    };
    let stop = live.stopping();
    loop {
        if let Err(error) = pump.round(&live).await {
            tracing::warn!(%error, "new events could not be read, trying again");
        }
        let poll_at = Instant::now() + POLL_EVERY;
        let next_at = pump.count_at.map_or(poll_at, |at| at.min(poll_at));
        tokio::select! {
            () = stop.cancelled() => return,
            () = channel.wake.notified() => {}
            () = sleep_until(next_at) => {}
        }
        if live.leave(&channel) {
            return;
        }
    }
}

impl Pump {
    async fn round(&mut self, feed: &Live) -> Result<()> {
        let mut position = match self.position {
            Some(position) => position,
            None => {
                let (_, head) = live::bounds(&self.scope).await?;
                self.position = Some(head);
                // Who came before we looked has perhaps missed something until here.
                self.tell(head, head, Vec::new(), true);
                head
            }
        };
        loop {
            let content = self.channel.content.get();
            let page = live::page(&self.scope, content, position, PAGE).await?;
            let Some(last) = page.events.last().map(|event| event.seq) else {
                break;
            };
            let changes_calls = page
                .events
                .iter()
                .any(|event| matches!(event.detail, Detail::Call(_) | Detail::Deleted));
            if changes_calls && self.count_at.is_none() {
                self.count_at = Some(self.counted_at + COUNT_EVERY);
            }
            self.tell(position, last, page.events, content.is_some());
            position = last;
            self.position = Some(last);
            if page.is_last {
                break;
            }
            // There may be much to read, and nobody left to read it for.
            if feed.stopping().is_cancelled() || !self.channel.is_watched() {
                return Ok(());
            }
        }
        self.count().await
    }

    fn tell(&self, from: i64, to: i64, events: Vec<Event>, has_content: bool) {
        let is_light = events.iter().map(text_bytes).sum::<usize>() <= TEXT_MAX_BYTES;
        let has_content = has_content && is_light;
        let events = events.into_iter().map(|event| match has_content {
            true => Arc::new(event),
            false => Arc::new(event.withheld()),
        });
        let batch = Batch {
            from,
            to,
            events: events.collect(),
            has_content,
        };
        // Nobody listening is no harm.
        let _ = self.channel.sender.send(Told::Events(Arc::new(batch)));
    }

    async fn count(&mut self) -> Result<()> {
        let now = Instant::now();
        if self.count_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        let count = analytics::active(&self.scope, &Dimensions::default()).await?;
        (self.count_at, self.counted_at) = (None, now);
        if self.count != Some(count) {
            self.count = Some(count);
            let _ = self.channel.sender.send(Told::Count(count));
        }
        Ok(())
    }
}

fn text_bytes(event: &Event) -> usize {
    match &event.detail {
        Detail::Transcript(said) => said.text.len(),
        Detail::Error(failure) => failure.message.as_ref().map_or(0, String::len),
        _ => 0,
    }
}
