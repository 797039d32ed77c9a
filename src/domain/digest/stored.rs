//! Adding up digests as they are stored: entry by entry from their bytes, without a copy of each.

use serde::Deserialize;

use super::{Digest, Stage};

/// An entry as it is written, but for its buckets, which follow.
#[derive(Deserialize)]
struct Head<'a> {
    stage: Stage,
    provider: &'a str,
    model: &'a str,
    sessions: u64,
    count: u64,
    sum_micros: i64,
}

impl Digest {
    /// Adds the sums of a digest that is stored as these bytes. None where they are no digest's; then only part of
    /// it may have been added.
    pub fn merge_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        if bytes.is_empty() {
            return Some(());
        }
        let (entries, mut rest) = take::<usize>(bytes)?;
        let mut buckets = Vec::new();
        let mut next = 0;
        for _ in 0..entries {
            let (head, behind) = take::<Head<'_>>(rest)?;
            rest = read_buckets(behind, &mut buckets)?;
            let at = self.place(next, (head.stage, head.provider, head.model));
            let entry = &mut self.entries[at];
            entry.sessions = entry.sessions.saturating_add(head.sessions);
            entry.count = entry.count.saturating_add(head.count);
            entry.sum_micros = entry.sum_micros.saturating_add(head.sum_micros);
            entry.add_buckets(&buckets);
            next = at + 1;
        }
        rest.is_empty().then_some(())
    }
}

fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<(T, &'a [u8])> {
    postcard::take_from_bytes(bytes).ok()
}

/// Reads buckets into a list that is used again and again; answers what is behind them.
fn read_buckets<'a>(bytes: &'a [u8], buckets: &mut Vec<(u16, u64)>) -> Option<&'a [u8]> {
    let (count, mut rest) = take::<usize>(bytes)?;
    buckets.clear();
    for _ in 0..count {
        let (bucket, behind) = take(rest)?;
        buckets.push(bucket);
        rest = behind;
    }
    Some(rest)
}
