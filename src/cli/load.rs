//! Many calls through the one funnel: batches of a size that a commit likes, and what became of them.

use chrono::{DateTime, Utc};

use crate::domain::Error;
use crate::domain::Result;
use crate::ingest::native::call_item;
use crate::services::ingest;
use crate::services::ingest::{Item, Rejection};
use crate::store::Scope;
use crate::store::ingest::Writer;

/// A batch is sent when it holds so many items (turns, tool calls …), or bytes.
const BATCH_ITEMS: usize = 4_000;
const BATCH_BYTES: usize = 4 << 20;

pub struct Loader<'a> {
    writer: &'a Writer,
    scope: &'a Scope,
    now: DateTime<Utc>,
    items: Vec<Item>,
    /// Where each item comes from.
    origins: Vec<Origin>,
    held: usize,
    bytes: usize,
    pub tally: Tally,
}

/// A line of a file; or the running number of a made-up call.
pub type Origin = (usize, u64);

#[derive(Debug, Default)]
pub struct Tally {
    pub accepted: usize,
    pub duplicates: usize,
    pub rejected: usize,
}

/// An item that was not taken, and where it came from.
pub struct Refused {
    pub origin: Origin,
    pub reasons: String,
}

impl<'a> Loader<'a> {
    pub fn new(writer: &'a Writer, scope: &'a Scope, now: DateTime<Utc>) -> Self {
        let (items, origins) = (Vec::new(), Vec::new());
        Self {
            writer,
            scope,
            now,
            items,
            origins,
            held: 0,
            bytes: 0,
            tally: Tally::default(),
        }
    }

    /// Takes one native call. Answers whether a batch is full: then [`Self::flush`] it.
    pub fn push(&mut self, origin: Origin, call: &[u8]) -> bool {
        let (item, held) = call_item(self.scope.tenant(), call, self.now);
        self.items.push(item);
        self.origins.push(origin);
        self.held += held;
        self.bytes += call.len();
        self.held >= BATCH_ITEMS || self.bytes >= BATCH_BYTES
    }

    /// Commits what has gathered, and tells what was refused.
    pub async fn flush(&mut self) -> Result<Vec<Refused>> {
        let items = std::mem::take(&mut self.items);
        let origins = std::mem::take(&mut self.origins);
        let bytes = std::mem::take(&mut self.bytes);
        self.held = 0;
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let receipt = ingest::take(self.writer, self.scope, items, bytes, self.now).await?;
        self.tally.accepted += receipt.accepted;
        self.tally.duplicates += receipt.duplicates;
        self.tally.rejected += receipt.rejected.len();
        let refused = receipt.rejected.into_iter().map(|rejection| {
            let origin = origins.get(rejection.index).copied();
            Ok(Refused {
                origin: origin.ok_or_else(|| Error::Internal("an answer to no item".to_owned()))?,
                reasons: reasons(&rejection),
            })
        });
        refused.collect()
    }
}

fn reasons(rejection: &Rejection) -> String {
    let each = rejection.faults.iter().map(|fault| {
        format!("{} {}", fault.name, fault.message)
            .trim()
            .to_owned()
    });
    each.collect::<Vec<_>>().join("; ")
}
