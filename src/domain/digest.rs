//! What a session's measurements amount to: counts, sums and histograms that add and subtract
//! exactly. A session has one, an hour is the sum of its sessions', a day of its hours'.
//!
//! Values are whole microseconds, so that adding and taking away leaves no rounding behind.
//! Histogram buckets are logarithmic: value `v` ms lies in bucket `ceil(ln v / ln GAMMA)`, and a
//! bucket is read as the middle of its bounds, which is within [`RELATIVE_ERROR`] of every value in it.

mod stored;

use std::borrow::Cow;
use std::iter::Peekable;
use std::slice::Iter;

use serde::{Deserialize, Serialize};

/// Largest relative error of a percentile.
pub const RELATIVE_ERROR: f64 = 0.01;
const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);
/// Values below this many ms share one bucket: shorter than any clock here resolves.
const SMALLEST_MS: f64 = 0.01;
/// `ceil(ln SMALLEST_MS / ln GAMMA)` is -230: buckets count up from zero.
const BUCKET_OFFSET: i32 = 240;
/// So many buckets are put in one by one: a call's. More are gone through side by side.
const FEW_BUCKETS: usize = 8;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    Stt,
    Endpointing,
    Llm,
    Tts,
    /// The whole answer: end of the user's speech to the agent's first audio.
    Turn,
    /// Interruptions: onset to decision, onset to silence, words spoken into the user's.
    Detection,
    Stop,
    BleedThroughWords,
    /// Not how long but how much: what a price is asked for (`domain::price`). The numbers are stored by
    /// their place: new ones come last.
    PromptTokens,
    CachedTokens,
    AudioTokens,
    CompletionTokens,
    SttAudioMs,
    TtsCharacters,
    StatedNanoUsd,
    AudioOutputTokens,
    CachedAudioTokens,
    CacheWriteTokens,
    /// Tokens of which nobody says what kind they are of, nor whether they were read or written.
    UnsplitTokens,
    /// How long a model was at work from start to end, where nobody measured its first token or byte: that it was
    /// used at all.
    LlmWhole,
    TtsWhole,
    /// Tokens that were read, and that were written, of which nobody says what kind they are of.
    UnsplitPromptTokens,
    UnsplitCompletionTokens,
}

impl Stage {
    /// Whether it is summed up only: how often and how evenly does not matter.
    pub fn is_amount(self) -> bool {
        self >= Self::PromptTokens
    }
}

/// One measurement. Provider and model are empty where the source names none of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    pub stage: Stage,
    pub provider: String,
    pub model: String,
    pub micros: i64,
}

impl Measure {
    /// A measurement in ms; none where nothing took place (0) or the value makes no sense. Only of a whole
    /// answer is 0 a measurement: it began the moment the user ended.
    pub fn of(
        stage: Stage,
        provider: Option<&str>,
        model: Option<&str>,
        ms: Option<f64>,
    ) -> Option<Self> {
        let ms =
            ms.filter(|ms| ms.is_finite() && (*ms > 0.0 || stage == Stage::Turn && *ms == 0.0))?;
        Some(Self {
            stage,
            provider: provider.unwrap_or_default().to_owned(),
            model: model.unwrap_or_default().to_owned(),
            micros: (ms * 1000.0).round() as i64,
        })
    }
}

impl Measure {
    /// So much of something.
    pub fn amount(stage: Stage, provider: &str, model: &str, amount: i64) -> Self {
        Self {
            stage,
            provider: provider.to_owned(),
            model: model.to_owned(),
            micros: amount,
        }
    }
}

/// Measurements of many kinds, summed. Entries are sorted by key and never empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Digest {
    entries: Vec<Entry>,
}

/// The measurements of one stage, provider and model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub stage: Stage,
    pub provider: String,
    pub model: String,
    /// Distinct sessions that measured this.
    pub sessions: u64,
    pub count: u64,
    pub sum_micros: i64,
    /// (bucket, count), sorted by bucket, counts above zero.
    buckets: Vec<(u16, u64)>,
}

impl Digest {
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds one measurement of this session.
    pub fn add(&mut self, measure: &Measure) {
        let position = self.position(measure.stage, &measure.provider, &measure.model);
        let at = position.unwrap_or_else(|at| {
            self.entries.insert(
                at,
                Entry::empty(measure.stage, &measure.provider, &measure.model, 1),
            );
            at
        });
        let entry = &mut self.entries[at];
        entry.count += 1;
        entry.sum_micros = entry.sum_micros.saturating_add(measure.micros);
        if !measure.stage.is_amount() {
            add_to_bucket(&mut entry.buckets, bucket_of(measure.micros), 1);
        }
    }

    /// Takes one measurement of this session away again; one that was never added is ignored.
    pub fn remove(&mut self, measure: &Measure) {
        let Ok(at) = self.position(measure.stage, &measure.provider, &measure.model) else {
            return;
        };
        let entry = &mut self.entries[at];
        entry.count -= 1;
        entry.sum_micros = entry.sum_micros.saturating_sub(measure.micros);
        if let Ok(bucket) = entry
            .buckets
            .binary_search_by_key(&bucket_of(measure.micros), |b| b.0)
        {
            entry.buckets[bucket].1 -= 1;
            if entry.buckets[bucket].1 == 0 {
                entry.buckets.remove(bucket);
            }
        }
        if entry.count == 0 {
            self.entries.remove(at);
        }
    }

    /// Adds another digest's sums to this one's.
    pub fn merge(&mut self, other: &Self) {
        let mut next = 0;
        for entry in &other.entries {
            let at = self.place(next, (entry.stage, &entry.provider, &entry.model));
            self.entries[at].absorb(entry, entry.sessions);
            next = at + 1;
        }
    }

    /// Adds a session's digest, told by provider only (a session counts once however many models it
    /// used); what names no provider of its own is counted under the session's. How much a session used
    /// stays its own.
    pub fn merge_session(
        &mut self,
        session: &Self,
        default_provider: impl Fn(Stage) -> Option<String>,
    ) {
        let mut seen: Vec<(Stage, Cow<'_, str>)> = Vec::new();
        for entry in session.entries.iter().filter(|e| !e.stage.is_amount()) {
            let provider = match entry.provider.as_str() {
                "" => Cow::Owned(default_provider(entry.stage).unwrap_or_default()),
                named => Cow::Borrowed(named),
            };
            let key = (entry.stage, provider);
            let first = !seen.contains(&key);
            self.merge_entry(entry, &key.1, "", u64::from(first));
            if first {
                seen.push(key);
            }
        }
    }

    /// Adds a session's times by provider and model; what names no provider of its own is counted under the
    /// session's.
    pub fn merge_models(
        &mut self,
        session: &Self,
        default_provider: impl Fn(Stage) -> Option<String>,
    ) {
        for entry in session.entries.iter().filter(|e| !e.stage.is_amount()) {
            let provider = match entry.provider.as_str() {
                "" => default_provider(entry.stage).unwrap_or_default(),
                named => named.to_owned(),
            };
            self.merge_entry(entry, &provider, &entry.model, 0);
        }
    }

    /// What one provider took for a stage, with those of its models that are asked for.
    pub fn of_provider(
        &self,
        stage: Stage,
        provider: &str,
        is_asked: impl Fn(&str) -> bool,
    ) -> Entry {
        let mut all = Entry::empty(stage, provider, "", 0);
        let asked = |e: &&Entry| e.stage == stage && e.provider == provider && is_asked(&e.model);
        for entry in self.entries.iter().filter(asked) {
            all.absorb(entry, entry.sessions);
        }
        all
    }

    /// Takes away another digest's sums, which are part of these.
    pub fn take(&mut self, part: &Self) {
        for entry in &part.entries {
            let position = self.position(entry.stage, &entry.provider, &entry.model);
            let Ok(at) = position else { continue };
            self.entries[at].release(entry);
            if self.entries[at].count == 0 {
                self.entries.remove(at);
            }
        }
    }

    /// All entries of one stage as one.
    pub fn of_stage(&self, stage: Stage) -> Entry {
        let mut all = Entry::empty(stage, "", "", 0);
        for entry in self.entries.iter().filter(|e| e.stage == stage) {
            all.absorb(entry, 0);
        }
        all
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing to memory cannot fail for these types.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        postcard::from_bytes(bytes).ok()
    }

    fn merge_entry(&mut self, entry: &Entry, provider: &str, model: &str, sessions: u64) {
        let at = self.place(0, (entry.stage, provider, model));
        self.entries[at].absorb(entry, sessions);
    }

    /// Where the entry of this key is, made where there is none. Digests of one tenant have much the same keys in
    /// the same order: looked at first is where it would then be.
    fn place(&mut self, next: usize, (stage, provider, model): (Stage, &str, &str)) -> usize {
        let is_next = self.entries.get(next).is_some_and(|entry| {
            entry.stage == stage && entry.provider == provider && entry.model == model
        });
        if is_next {
            return next;
        }
        self.position(stage, provider, model).unwrap_or_else(|at| {
            self.entries
                .insert(at, Entry::empty(stage, provider, model, 0));
            at
        })
    }

    fn position(&self, stage: Stage, provider: &str, model: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|e| {
            (e.stage, e.provider.as_str(), e.model.as_str()).cmp(&(stage, provider, model))
        })
    }
}

impl Entry {
    fn empty(stage: Stage, provider: &str, model: &str, sessions: u64) -> Self {
        let (provider, model) = (provider.to_owned(), model.to_owned());
        Self {
            stage,
            provider,
            model,
            sessions,
            count: 0,
            sum_micros: 0,
            buckets: Vec::new(),
        }
    }

    fn absorb(&mut self, other: &Self, sessions: u64) {
        self.sessions += sessions;
        self.count += other.count;
        self.sum_micros = self.sum_micros.saturating_add(other.sum_micros);
        self.add_buckets(&other.buckets);
    }

    /// Most are there already; lists are put together anew only where some are not.
    fn add_buckets(&mut self, others: &[(u16, u64)]) {
        if others.len() <= FEW_BUCKETS {
            for (bucket, count) in others {
                add_to_bucket(&mut self.buckets, *bucket, *count);
            }
            return;
        }
        let mut mine = self.buckets.iter_mut();
        for (done, (bucket, count)) in others.iter().enumerate() {
            match mine.find(|own| own.0 >= *bucket) {
                Some(own) if own.0 == *bucket => own.1 = own.1.saturating_add(*count),
                _ => {
                    self.buckets = merged(&self.buckets, &others[done..]);
                    return;
                }
            }
        }
    }

    fn release(&mut self, part: &Self) {
        self.sessions = self.sessions.saturating_sub(part.sessions);
        self.count = self.count.saturating_sub(part.count);
        self.sum_micros = self.sum_micros.saturating_sub(part.sum_micros);
        for (bucket, count) in &part.buckets {
            let Ok(at) = self.buckets.binary_search_by_key(bucket, |b| b.0) else {
                continue;
            };
            self.buckets[at].1 = self.buckets[at].1.saturating_sub(*count);
            if self.buckets[at].1 == 0 {
                self.buckets.remove(at);
            }
        }
    }

    /// The exact mean in ms; none over nothing.
    pub fn mean_ms(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_micros as f64 / 1000.0 / self.count as f64)
    }

    /// The nearest-rank percentile in ms, `rank` in (0, 1]; none over nothing.
    pub fn percentile_ms(&self, rank: f64) -> Option<f64> {
        let wanted = ((rank * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        self.buckets.iter().find_map(|(bucket, count)| {
            seen += count;
            (seen >= wanted).then(|| middle_ms(*bucket))
        })
    }
}

/// Two sorted lists as one.
fn merged(one: &[(u16, u64)], other: &[(u16, u64)]) -> Vec<(u16, u64)> {
    let mut all = Vec::with_capacity(one.len() + other.len());
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    loop {
        let first = match (one.peek(), other.peek()) {
            (Some(a), Some(b)) => a.0.min(b.0),
            (Some(a), None) => a.0,
            (None, Some(b)) => b.0,
            (None, None) => return all,
        };
        let here = |list: &mut Peekable<Iter<'_, (u16, u64)>>| {
            list.next_if(|bucket| bucket.0 == first)
                .map_or(0, |bucket| bucket.1)
        };
        all.push((first, here(&mut one).saturating_add(here(&mut other))));
    }
}

fn add_to_bucket(buckets: &mut Vec<(u16, u64)>, bucket: u16, count: u64) {
    match buckets.binary_search_by_key(&bucket, |b| b.0) {
        Ok(at) => buckets[at].1 = buckets[at].1.saturating_add(count),
        Err(at) => buckets.insert(at, (bucket, count)),
    }
}

fn bucket_of(micros: i64) -> u16 {
    let ms = (micros as f64 / 1000.0).max(SMALLEST_MS);
    ((ms.ln() / GAMMA.ln()).ceil() as i32 + BUCKET_OFFSET).clamp(0, i32::from(u16::MAX)) as u16
}

/// The value that stands for all in its bucket; zero for itself alone.
pub(in crate::domain) fn rounded_micros(micros: i64) -> i64 {
    if micros <= 0 {
        return 0;
    }
    (middle_ms(bucket_of(micros)) * 1000.0).round() as i64
}

/// The value that is within [`RELATIVE_ERROR`] of both bounds of a bucket.
fn middle_ms(bucket: u16) -> f64 {
    2.0 * GAMMA.powi(i32::from(bucket) - BUCKET_OFFSET) / (GAMMA + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(ms: f64) -> Measure {
        Measure::of(Stage::Llm, Some("openai"), None, Some(ms)).unwrap()
    }

    #[test]
    fn percentiles_are_within_one_percent() {
        let mut digest = Digest::default();
        for ms in 1..=10_000 {
            digest.add(&measure(f64::from(ms)));
        }
        let all = digest.of_stage(Stage::Llm);
        for (rank, truth) in [
            (0.5, 5000.0),
            (0.95, 9500.0),
            (0.99, 9900.0),
            (1.0, 10_000.0),
            (0.0001, 1.0),
        ] {
            let found: f64 = all.percentile_ms(rank).unwrap();
            assert!(
                (found / truth - 1.0).abs() <= RELATIVE_ERROR + 1e-9,
                "p{rank}: {found} for {truth}"
            );
        }
        assert_eq!(all.mean_ms(), Some(5000.5));
    }

    #[test]
    fn what_was_merged_can_be_taken_again() {
        let of = |range: std::ops::Range<i32>| {
            let mut digest = Digest::default();
            range.for_each(|ms| digest.add(&measure(f64::from(ms))));
            digest
        };
        let (rest, part) = (of(1..400), of(300..2_000));
        let mut whole = rest.clone();
        whole.merge(&part);
        whole.merge(&Digest::default());
        let mut from_bytes = rest.clone();
        assert_eq!(from_bytes.merge_bytes(&part.to_bytes()), Some(()));
        assert_eq!(from_bytes.merge_bytes(&[]), Some(()));
        assert_eq!(from_bytes, whole);
        whole.take(&part);
        assert_eq!(whole.to_bytes(), rest.to_bytes());
        whole.take(&rest);
        assert_eq!(whole, Digest::default());
    }

    #[test]
    fn removing_undoes_adding_to_the_byte() {
        let mut digest = Digest::default();
        digest.add(&measure(120.25));
        let before = digest.to_bytes();
        digest.add(&measure(0.004));
        digest.add(&Measure::of(Stage::Tts, None, None, Some(3.3)).unwrap());
        digest.remove(&Measure::of(Stage::Tts, None, None, Some(3.3)).unwrap());
        digest.remove(&measure(0.004));
        assert_eq!(digest.to_bytes(), before);
        assert_eq!(Digest::from_bytes(&before), Some(digest));
    }

    #[test]
    fn a_session_counts_once_per_provider() {
        let mut session = Digest::default();
        for model in ["a", "b"] {
            session.add(&Measure::of(Stage::Llm, Some("openai"), Some(model), Some(10.0)).unwrap());
        }
        session.add(&Measure::of(Stage::Llm, None, None, Some(20.0)).unwrap());
        let mut hour = Digest::default();
        hour.merge_session(&session, |_| Some("openai".to_owned()));
        hour.merge_session(&session, |_| None);
        let mut from_bytes = Digest::default();
        for provider in [Some("openai"), None] {
            let merged = from_bytes.merge_session_bytes(&session.to_bytes(), |_| provider);
            assert_eq!(merged, Some(()));
        }
        assert_eq!(from_bytes, hour);
        let found: Vec<_> = hour
            .entries()
            .iter()
            .map(|e| (e.provider.as_str(), e.sessions, e.count))
            .collect();
        assert_eq!(found, [("", 1, 1), ("openai", 2, 5)]);
    }

    #[test]
    fn nothing_measured_is_null() {
        assert_eq!(Measure::of(Stage::Stt, None, None, Some(0.0)), None);
        let at_once = Measure::of(Stage::Turn, None, None, Some(0.0)).unwrap();
        let mut answers = Digest::default();
        answers.add(&at_once);
        assert_eq!(answers.of_stage(Stage::Turn).mean_ms(), Some(0.0));
        assert!(answers.of_stage(Stage::Turn).percentile_ms(0.95) < Some(0.05));
        assert_eq!(Digest::default().of_stage(Stage::Stt).mean_ms(), None);
        assert_eq!(
            Digest::default().of_stage(Stage::Stt).percentile_ms(0.5),
            None
        );
        assert_eq!(Digest::from_bytes(&[255, 255, 1]), None);
        for broken in [&[255, 255, 1][..], &[2, 0], &[0, 0]] {
            assert_eq!(Digest::default().merge_bytes(broken), None, "{broken:?}");
        }
    }
}
