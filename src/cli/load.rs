//! Many calls through the one funnel: batches of a size that a commit likes, and what became of them.

use chrono::{DateTime, Utc};

use crate::domain::Error;
use crate::domain::Result;
use crate::ingest::native::{call_item, unknown};
use crate::services::ingest;
use crate::services::ingest::{Item, Rejection};
use crate::store::Scope;
use crate::store::ingest::Writer;

/// A batch is sent when it holds so many items (turns, tool calls …), or bytes.
const BATCH_ITEMS: usize = 4_000;
const BATCH_BYTES: usize = 4 << 20;
/// Warnings that are kept to be told; the rest is counted.
const WARNINGS_MAX: usize = 20;

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
    /// The first of what calls said that nobody understands.
    pub warnings: Vec<Told>,
}

/// A line of a file; or the running number of a made-up call.
pub type Origin = (usize, u64);

#[derive(Debug, Default)]
pub struct Tally {
    pub accepted: usize,
    pub duplicates: usize,
    pub rejected: usize,
    /// Parts of calls that nobody understands.
    pub unknown: usize,
}

/// Why an item was not taken, or what is odd about it, and where it came from.
pub struct Told {
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
            warnings: Vec::new(),
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
    pub async fn flush(&mut self) -> Result<Vec<Told>> {
        let items = std::mem::take(&mut self.items);
        let origins = std::mem::take(&mut self.origins);
        let bytes = std::mem::take(&mut self.bytes);
        self.held = 0;
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let admission = self.writer.admit(self.scope, bytes)?;
        let receipt = ingest::take(self.writer, self.scope, items, admission, self.now).await?;
        self.tally.accepted += receipt.accepted;
        self.tally.duplicates += receipt.duplicates;
        self.tally.rejected += receipt.rejected.len();
        self.tally.unknown += receipt.warnings.len();
        let told = |index: usize, reasons: String| {
            let origin = origins.get(index).copied();
            Ok(Told {
                origin: origin.ok_or_else(|| Error::Internal("an answer to no item".to_owned()))?,
                reasons,
            })
        };
        let left = WARNINGS_MAX.saturating_sub(self.warnings.len());
        for warning in receipt.warnings.iter().take(left) {
            let reasons = format!("{} {}", warning.unknown.name, unknown(&warning.unknown));
            self.warnings.push(told(warning.index, reasons)?);
        }
        let refused = receipt.rejected.iter();
        refused.map(|r| told(r.index, reasons(r))).collect()
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
