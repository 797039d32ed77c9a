//! Adding up digests as they are stored: entry by entry from their bytes, without a copy of each.

use serde::Deserialize;

use super::{Digest, Entry, Stage};

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
        let mut next = 0;
        each(bytes, |head, buckets| {
            let at = self.place(next, (head.stage, head.provider, head.model));
            self.entries[at].add(&head, head.sessions, buckets);
            next = at + 1;
        })
    }

    /// The same of a session's digest, as [`merge_session`](Self::merge_session) does it.
    pub fn merge_session_bytes<'s>(
        &mut self,
        bytes: &[u8],
        default_provider: impl Fn(Stage) -> Option<&'s str>,
    ) -> Option<()> {
        // What this session was counted under: by place, which moves where an entry is put in before.
        let mut seen: Vec<(Stage, usize)> = Vec::new();
        each(bytes, |head, buckets| {
            if head.stage.is_amount() {
                return;
            }
            let provider = match head.provider {
                "" => default_provider(head.stage).unwrap_or_default(),
                named => named,
            };
            let before = self.entries.len();
            let at = self.place(0, (head.stage, provider, ""));
            if self.entries.len() > before {
                let behind = seen.iter_mut().filter(|(_, place)| *place >= at);
                behind.for_each(|(_, place)| *place += 1);
            }
            let is_first = !seen.contains(&(head.stage, at));
            self.entries[at].add(&head, u64::from(is_first), buckets);
            if is_first {
                seen.push((head.stage, at));
            }
        })
    }
}

impl Entry {
    fn add(&mut self, head: &Head<'_>, sessions: u64, buckets: &[(u16, u64)]) {
        self.sessions = self.sessions.saturating_add(sessions);
        self.count = self.count.saturating_add(head.count);
        self.sum_micros = self.sum_micros.saturating_add(head.sum_micros);
        self.add_buckets(buckets);
    }
}

/// Hands out entry by entry. None where the bytes are no digest's.
fn each(bytes: &[u8], mut entry: impl FnMut(Head<'_>, &[(u16, u64)])) -> Option<()> {
    if bytes.is_empty() {
        return Some(());
    }
    let (entries, mut rest) = take::<usize>(bytes)?;
    let mut buckets = Vec::new();
    for _ in 0..entries {
        let (head, behind) = take::<Head<'_>>(rest)?;
        rest = read_buckets(behind, &mut buckets)?;
        entry(head, &buckets);
    }
    rest.is_empty().then_some(())
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
