//! How much of one model was used, and what that costs by its rates.

use serde_json::{Map, Value};

use super::{Rates, Reason};
use crate::domain::tokens;
use crate::domain::tokens::{CACHED_AUDIO, Cache, Count};

/// Trillionths of a US dollar: a price a token is a whole number of them.
pub(super) type Picos = i128;
const PICOS: f64 = 1e12;
const PICOS_PER_NANO: Picos = 1_000;
const MS_PER_MINUTE: Picos = 60_000;
const COUNT_MAX: f64 = 1e12;

/// What something costs, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cost {
    /// None where nothing of it has a price.
    pub known: Option<Picos>,
    /// Why some of it is not known.
    pub unknown: Vec<Reason>,
}

impl Cost {
    /// Of something that nobody has any price for.
    pub fn without_price() -> Self {
        Self {
            known: None,
            unknown: vec![Reason::NoPrice],
        }
    }

    fn add(&mut self, parts: impl IntoIterator<Item = Part>) {
        for part in parts.into_iter().flatten() {
            match part {
                Ok(price) => self.known = Some(self.known.unwrap_or_default() + price),
                Err(reason) => self.unknown.push(reason),
            }
        }
    }
}

/// How much of one model was used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// All that were read; the next four are among them.
    pub prompt_tokens: i64,
    pub cached_tokens: i64,
    pub cache_write_tokens: i64,
    pub audio_tokens: i64,
    /// Audio from a cache: among the cached ones and among those of audio.
    pub cached_audio_tokens: i64,
    /// All that were written.
    pub completion_tokens: i64,
    /// Of those that were written.
    pub audio_output_tokens: i64,
    /// Tokens of which nobody says what kind they are of: of those that were read, of those that were written, and where
    /// not even that is said.
    pub unsplit_prompt_tokens: i64,
    pub unsplit_completion_tokens: i64,
    pub unsplit_tokens: i64,
    pub audio_ms: i64,
    pub characters: i64,
    /// What a source says it cost.
    pub stated_nano_usd: Option<i64>,
}

impl Used {
    /// What a generation says that it used, or a turn or a session of all of them, by the native names: for certain;
    /// where counts leave open what is of which kind, that so many are of none.
    pub fn of_generations(counts: &Map<String, Value>) -> Self {
        let said = |name: &str| counts.get(name).and_then(Value::as_f64).map(whole);
        let count = |name: &str| said(name).unwrap_or_default();
        let (audio, audio_output) = (count("audioTokens"), count("audioOutputTokens"));
        let prompt = said("promptTokens").unwrap_or(audio);
        let completion = said("completionTokens").unwrap_or(audio_output);
        let mut used = Self {
            prompt_tokens: prompt,
            cached_tokens: count("cachedTokens").min(prompt),
            cache_write_tokens: count("cacheWriteTokens").min(prompt),
            completion_tokens: completion,
            ..Self::default()
        };
        // More audio than was read at all: a sum of both ways, unless what was written is told apart.
        match said("audioOutputTokens") {
            _ if audio <= prompt => used.audio_tokens = audio,
            Some(_) => used.unsplit_prompt_tokens += audio,
            None => used.unsplit_tokens += audio,
        }
        match audio_output <= completion {
            true => used.audio_output_tokens = audio_output,
            false => used.unsplit_completion_tokens += audio_output,
        }
        let least = used.cached_tokens + used.cache_write_tokens + used.audio_tokens - prompt;
        let most = used.cached_tokens.min(used.audio_tokens);
        let least = least.clamp(0, most);
        used.cached_audio_tokens = match said("cachedAudioTokens") {
            Some(told) => told.clamp(least, most),
            None => {
                used.unsplit_prompt_tokens += most - least;
                least
            }
        };
        used
    }

    /// What an observation says that it used, by the names of Langfuse and OpenAI.
    pub fn of_observation(usage: &Map<String, Value>) -> Self {
        Self {
            characters: said(usage, "input_characters"),
            audio_ms: said(usage, "input_seconds").saturating_mul(1_000),
            ..Self::of_generations(&counts(usage))
        }
    }

    /// What it costs by these rates.
    pub(super) fn cost(&self, rates: &Rates) -> Cost {
        let is_open = self.unsplit_tokens > 0;
        let mut cost = Cost::default();
        match is_open || self.unsplit_prompt_tokens > 0 {
            true => cost.unknown.push(Reason::NoUsage),
            false => cost.add(self.read(rates)),
        }
        match is_open || self.unsplit_completion_tokens > 0 {
            true => cost.unknown.push(Reason::NoUsage),
            false => cost.add(self.written(rates)),
        }
        cost.add([
            per_million(self.characters, rates.per_million_characters),
            per_minute(self.audio_ms, rates.per_minute),
        ]);
        cost
    }

    /// Every kind of tokens that were read.
    fn read(&self, rates: &Rates) -> [Part; 5] {
        let cached_text = self.cached_tokens - self.cached_audio_tokens;
        let audio = self.audio_tokens - self.cached_audio_tokens;
        let text = self.prompt_tokens - self.audio_tokens - cached_text - self.cache_write_tokens;
        // A model without any price for its cache charges what it always does.
        let has_cache = rates.cached_input.is_some() || rates.cached_audio_input.is_some();
        let uncached = |rate: Option<f64>| rate.filter(|_| !has_cache);
        let cached_audio_rate = rates.cached_audio_input.or(uncached(rates.audio_input));
        [
            per_million(text, rates.input),
            per_million(cached_text, rates.cached_input.or(uncached(rates.input))),
            per_million(self.cache_write_tokens, rates.cache_write),
            per_million(audio, rates.audio_input),
            per_million(self.cached_audio_tokens, cached_audio_rate),
        ]
    }

    fn written(&self, rates: &Rates) -> [Part; 2] {
        let text = self.completion_tokens - self.audio_output_tokens;
        [
            per_million(text, rates.output),
            per_million(self.audio_output_tokens, rates.audio_output),
        ]
    }

    /// Whether tokens were written and nobody says what was read for them: 0 is how sources write that they did not
    /// count.
    pub(super) fn lacks_prompt(&self) -> bool {
        self.completion_tokens > 0 && self.prompt_tokens == 0
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.cache_write_tokens += other.cache_write_tokens;
        self.audio_tokens += other.audio_tokens;
        self.cached_audio_tokens += other.cached_audio_tokens;
        self.completion_tokens += other.completion_tokens;
        self.audio_output_tokens += other.audio_output_tokens;
        self.unsplit_prompt_tokens += other.unsplit_prompt_tokens;
        self.unsplit_completion_tokens += other.unsplit_completion_tokens;
        self.unsplit_tokens += other.unsplit_tokens;
        self.audio_ms += other.audio_ms;
        self.characters += other.characters;
        self.stated_nano_usd = self.stated_nano_usd.or(other.stated_nano_usd);
    }

    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What Langfuse and OpenAI call otherwise, by the native names. Whether parts are within what they are parts of, or
/// beside it, is as the total says.
pub fn counts(usage: &Map<String, Value>) -> Map<String, Value> {
    let mut counts = Map::new();
    let usage = &tokens::observed(usage);
    for Count { name, observed, .. } in &tokens::COUNTS {
        let mut told = observed.iter().map(|name| said(usage, name));
        let told = told.find(|count| *count > 0).or_else(|| {
            let is_said = observed.iter().any(|name| usage.contains_key(*name));
            // That none of it was audio is said too.
            (is_said && *name == CACHED_AUDIO).then_some(0)
        });
        counts.extend(told.map(|count| ((*name).to_owned(), Value::from(count))));
    }
    tokens::complete(&mut counts, Cache::Unknown);
    counts
}

fn said(usage: &Map<String, Value>, name: &str) -> i64 {
    let count = usage.get(name).and_then(Value::as_f64);
    whole(count.filter(|n| *n <= COUNT_MAX).unwrap_or_default())
}

fn whole(count: f64) -> i64 {
    count.max(0.0).round() as i64
}

/// What so much of one kind costs; none of nothing.
type Part = Option<Result<Picos, Reason>>;

fn per_million(count: i64, rate_usd: Option<f64>) -> Part {
    let price = |rate: f64| Picos::from(count) * (rate * PICOS / 1e6).round() as Picos;
    (count > 0).then(|| rate_usd.map(price).ok_or(Reason::NoPrice))
}

fn per_minute(ms: i64, rate_usd: Option<f64>) -> Part {
    let price = |rate: f64| Picos::from(ms) * (rate * PICOS).round() as Picos / MS_PER_MINUTE;
    (ms > 0).then(|| rate_usd.map(price).ok_or(Reason::NoPrice))
}

pub(super) fn nanos(picos: Picos) -> i64 {
    let rounded = (picos + PICOS_PER_NANO / 2) / PICOS_PER_NANO;
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

/// Trillionths of a dollar of what a source says in billionths.
pub(super) fn picos(nano_usd: i64) -> Picos {
    Picos::from(nano_usd) * PICOS_PER_NANO
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// In millionths of a dollar by gpt-realtime's rates, and why some of it is not known.
    fn cost(counts: Value) -> (Option<f64>, Vec<Reason>) {
        let rates = Rates {
            input: Some(4.0),
            cached_input: Some(0.4),
            output: Some(16.0),
            audio_input: Some(32.0),
            cached_audio_input: Some(0.5),
            audio_output: Some(64.0),
            ..Rates::default()
        };
        let used = Used::of_generations(counts.as_object().expect("counts"));
        let cost = used.cost(&rates);
        (cost.known.map(|picos| picos as f64 / 1e6), cost.unknown)
    }

    fn known(usd_micros: f64) -> (Option<f64>, Vec<Reason>) {
        (Some(usd_micros), Vec::new())
    }

    #[test]
    fn audio_has_prices_of_its_own_both_ways() {
        let mut counts = json!({"promptTokens": 1000, "audioTokens": 800,
            "completionTokens": 500, "audioOutputTokens": 450});
        assert_eq!(cost(counts.clone()), known(56_000.0));
        counts["cachedTokens"] = json!(600);
        counts["cachedAudioTokens"] = json!(500);
        // 100 of text and 300 of audio that were not in the cache.
        let read = 100.0 * 4.0 + 100.0 * 0.4 + 300.0 * 32.0 + 500.0 * 0.5;
        assert_eq!(cost(counts), known(read + 50.0 * 16.0 + 450.0 * 64.0));
    }

    #[test]
    fn counts_that_leave_the_kinds_open_have_no_price() {
        let open = (None, vec![Reason::NoUsage]);
        let spoken = json!({"completionTokens": 10, "audioOutputTokens": 11});
        assert_eq!(cost(spoken), open);
        let cached = json!({"promptTokens": 1000, "audioTokens": 800, "cachedTokens": 600});
        assert_eq!(cost(cached), open);
        // All that was read came from the cache: nothing is open.
        let all = json!({"promptTokens": 1000, "audioTokens": 800, "cachedTokens": 1000});
        assert_eq!(cost(all), known(200.0 * 0.4 + 800.0 * 0.5));
        let audio = json!({"promptTokens": 800, "audioTokens": 800, "cachedTokens": 600});
        assert_eq!(cost(audio), known(200.0 * 32.0 + 600.0 * 0.5));
    }

    #[test]
    fn the_way_that_leaves_nothing_open_has_its_price() {
        let no_usage = vec![Reason::NoUsage];
        let written = 100.0 * 16.0 + 400.0 * 64.0;
        let read_open = json!({"promptTokens": 1000, "audioTokens": 800, "cachedTokens": 300,
            "completionTokens": 500, "audioOutputTokens": 400});
        assert_eq!(cost(read_open), (Some(written), no_usage.clone()));
        let too_much_heard = json!({"promptTokens": 1000, "audioTokens": 1250,
            "completionTokens": 500, "audioOutputTokens": 400});
        assert_eq!(cost(too_much_heard), (Some(written), no_usage.clone()));
        let written_open =
            json!({"promptTokens": 1000, "completionTokens": 500, "audioOutputTokens": 501});
        assert_eq!(cost(written_open), (Some(4_000.0), no_usage.clone()));
        // The audio of both ways in one count.
        let both = json!({"promptTokens": 1000, "audioTokens": 1250, "completionTokens": 500});
        let (usd, reasons) = cost(both);
        assert_eq!(usd, None);
        assert!(reasons.iter().all(|reason| no_usage.contains(reason)));
    }

    #[test]
    fn a_cache_costs_what_its_provider_asks_for_it() {
        let rates = Rates {
            input: Some(3.0),
            cached_input: Some(0.3),
            cache_write: Some(3.75),
            output: Some(15.0),
            ..Rates::default()
        };
        let counts = json!({"promptTokens": 5410, "cachedTokens": 5000, "cacheWriteTokens": 400, "completionTokens": 100});
        let used = Used::of_generations(counts.as_object().expect("counts"));
        let cost = |rates: &Rates| {
            let cost = used.cost(rates);
            (cost.known.unwrap_or_default() as f64 / 1e6, cost.unknown)
        };
        let expected = 10.0 * 3.0 + 5000.0 * 0.3 + 400.0 * 3.75 + 100.0 * 15.0;
        assert_eq!(cost(&rates), (expected, Vec::new()));
        // What has no price is not counted as nothing, and the rest is known all the same.
        let no_writes = Rates {
            cache_write: None,
            ..rates.clone()
        };
        let expected = 10.0 * 3.0 + 5000.0 * 0.3 + 100.0 * 15.0;
        assert_eq!(cost(&no_writes), (expected, vec![Reason::NoPrice]));
        // One that has no price for its cache asks for it what it asks for all.
        let no_cache = Rates {
            cached_input: None,
            ..rates
        };
        let expected = 5010.0 * 3.0 + 400.0 * 3.75 + 100.0 * 15.0;
        assert_eq!(cost(&no_cache), (expected, Vec::new()));
    }

    #[test]
    fn the_total_says_what_is_beside_what() {
        let read = |usage: Value| {
            let used = Used::of_observation(usage.as_object().expect("usage"));
            (used.prompt_tokens, used.completion_tokens)
        };
        let within = json!({"input": 1000, "output": 500, "input_audio_tokens": 800, "output_audio_tokens": 450, "total": 1500});
        assert_eq!(read(within), (1000, 500));
        let beside = json!({"input": 200, "output": 50, "input_audio_tokens": 800, "output_audio_tokens": 450, "total": 1500});
        assert_eq!(read(beside), (1000, 500));
        let read_beside = json!({"input": 600, "output": 500, "input_cached_tokens": 400, "output_reasoning_tokens": 100, "total": 1500});
        assert_eq!(read(read_beside), (1000, 500));
        let anthropic = json!({"input": 10, "output": 100, "cache_read_input_tokens": 5000});
        assert_eq!(read(anthropic), (5010, 100));
    }

    #[test]
    fn nothing_is_lost_to_rounding_before_the_end() {
        let rates = Rates {
            input: Some(0.075),
            ..Rates::default()
        };
        let used = Used {
            prompt_tokens: 1,
            ..Used::default()
        };
        let one = used.cost(&rates).known.unwrap();
        assert_eq!(one, 75_000);
        assert_eq!(nanos(one * 1_000), 75_000);
    }
}
