//! What a call cost, where its sources say only what it used: a pure step behind the assembly, over sums
//! that the session's digest keeps anyway.
//!
//! What is known is summed up; what was used and has no price is listed, never counted as nothing.

mod amounts;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::digest::{Digest, Measure, Stage};
use crate::domain::session::{Session, Status};
use crate::domain::turn::Turn;

pub use table::{OVERRIDES_MAX, Price, Prices, Rates, Service, VERSION, shipped};

/// Where a session keeps how its cost came about. No source may say it.
pub const PRICING: &str = "pricing";

/// Something that was used and whose price, or whose amount, is not known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unpriced {
    pub service: Service,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Neither the table nor the tenant has a price for it.
    NoPrice,
    /// Its price is known and how much was used is not.
    NoUsage,
}

/// How a session's cost came about, where its sources did not state it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pricing {
    pub prices_version: String,
    pub unpriced: Vec<Unpriced>,
}

/// How much of one model was used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    pub prompt_tokens: i64,
    /// Of those that were read.
    pub cached_tokens: i64,
    pub audio_tokens: i64,
    pub completion_tokens: i64,
    pub audio_ms: i64,
    pub characters: i64,
    /// What a source says it cost.
    pub stated_nano_usd: Option<i64>,
}

/// Trillionths of a US dollar: a price a token is a whole number of them.
type Picos = i128;
const PICOS: f64 = 1e12;
const PICOS_PER_NANO: Picos = 1_000;
const NANOS_PER_MICRO: i64 = 1_000;
const MS_PER_MINUTE: Picos = 60_000;

impl Used {
    /// What it costs by these rates; none where something that was used has no rate.
    fn cost(&self, rates: &Rates) -> Option<Picos> {
        let plain = |rate: f64, count: i64| per_million(rate, count);
        let audio = self
            .audio_tokens
            .clamp(0, self.prompt_tokens.max(self.audio_tokens));
        let cached = self
            .cached_tokens
            .clamp(0, (self.prompt_tokens - audio).max(0));
        let text = (self.prompt_tokens - audio - cached).max(0);
        let costs = [
            (text, rates.input),
            (cached, rates.cached_input.or(rates.input)),
            (audio, rates.audio_input),
            (self.completion_tokens, rates.output),
            (self.characters, rates.per_million_characters),
        ];
        let mut total = 0;
        for (count, rate) in costs.into_iter().filter(|(count, _)| *count > 0) {
            total += plain(rate?, count);
        }
        if self.audio_ms > 0 {
            total += per_minute(rates.per_minute?, self.audio_ms);
        }
        Some(total)
    }

    fn add(&mut self, other: &Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.audio_tokens += other.audio_tokens;
        self.completion_tokens += other.completion_tokens;
        self.audio_ms += other.audio_ms;
        self.characters += other.characters;
        self.stated_nano_usd = self.stated_nano_usd.or(other.stated_nano_usd);
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

fn per_million(rate_usd: f64, count: i64) -> Picos {
    Picos::from(count) * (rate_usd * PICOS / 1e6).round() as Picos
}

fn per_minute(rate_usd: f64, ms: i64) -> Picos {
    Picos::from(ms) * (rate_usd * PICOS).round() as Picos / MS_PER_MINUTE
}

/// What one observation cost, in billionths of a US dollar, by what it says it used.
pub fn of_observation(
    usage: &serde_json::Map<String, Value>,
    model: &str,
    prices: &Prices,
) -> Option<i64> {
    let used = Used::read(usage);
    let cost = used.cost(&prices.find(Service::Llm, "", model)?.rates)?;
    (!used.is_nothing()).then(|| nanos(cost))
}

impl Used {
    /// What counts by the names of Langfuse and OpenAI say. Parts of the input are within it if the total
    /// says so, else beside it.
    pub fn read(usage: &serde_json::Map<String, Value>) -> Self {
        let count = |name: &str| {
            let count = usage.get(name).and_then(Value::as_f64);
            count
                .filter(|n| (0.0..=1e12).contains(n))
                .unwrap_or_default() as i64
        };
        let first = |names: &[&str]| names.iter().map(|name| count(name)).find(|n| *n > 0);
        let cached = first(&[
            "input_cached_tokens",
            "input_cache_read",
            "cache_read_input_tokens",
        ]);
        let cached = cached.unwrap_or_default();
        let audio = first(&["input_audio_tokens", "input_audio"]).unwrap_or_default();
        let (input, output, total) = (count("input"), count("output"), count("total"));
        let beside = total > 0 && total == input + output + cached + audio;
        Self {
            prompt_tokens: if beside {
                input + cached + audio
            } else {
                input
            },
            cached_tokens: cached,
            audio_tokens: audio,
            completion_tokens: output,
            characters: count("input_characters"),
            audio_ms: count("input_seconds").saturating_mul(1_000),
            stated_nano_usd: None,
        }
    }
}

fn nanos(picos: Picos) -> i64 {
    let rounded = (picos + PICOS_PER_NANO / 2) / PICOS_PER_NANO;
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

/// (service, provider, model): empty where the source names none.
type Key = (Service, String, String);

/// Gives a session that does not say what it cost the cost of what it used.
pub fn apply(session: &mut Session, digest: &Digest, prices: &Prices) {
    session.extra.remove(PRICING);
    if session.cost_micro_usd.is_some() {
        return;
    }
    let mut used = used(session, digest);
    if let Some((key, amount)) = telephony(session) {
        used.insert(key, amount);
    }
    if used.is_empty() {
        return;
    }
    let (mut known, mut total) = (false, 0);
    let mut unpriced = Vec::new();
    for ((service, provider, model), amount) in &used {
        let rates = prices
            .find(*service, provider, model)
            .map(|price| &price.rates);
        let cost = rates.and_then(|rates| amount.cost(rates));
        if let Some(stated) = amount.stated_nano_usd {
            known = true;
            total += Picos::from(stated) * PICOS_PER_NANO;
        }
        let is_only_stated = Used {
            stated_nano_usd: None,
            ..*amount
        }
        .is_nothing();
        match cost {
            _ if is_only_stated => {}
            Some(cost) => {
                known = true;
                total += cost;
            }
            None => unpriced.push(listed(*service, provider, model, Reason::NoPrice)),
        }
    }
    unpriced.extend(unmeasured(session, digest, &used));
    unpriced.sort();
    unpriced.dedup();
    session.cost_micro_usd = known.then(|| {
        let nanos = nanos(total);
        nanos.saturating_add(NANOS_PER_MICRO / 2) / NANOS_PER_MICRO
    });
    let pricing = Pricing {
        prices_version: prices.version(),
        unpriced,
    };
    // A plain structure of texts always serialises.
    let pricing = serde_json::to_value(pricing).unwrap_or_default();
    session.extra.insert(PRICING.to_owned(), pricing);
}

/// How a session's cost came about; none where its sources state it, or nothing is known of it.
pub fn pricing(session: &Session) -> Option<Pricing> {
    Pricing::deserialize(session.extra.get(PRICING)?).ok()
}

fn listed(service: Service, provider: &str, model: &str, reason: Reason) -> Unpriced {
    let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    Unpriced {
        service,
        provider: named(provider),
        model: named(model),
        reason,
    }
}

/// What the turns used, by model; what the session says of the whole in its place.
fn used(session: &Session, digest: &Digest) -> BTreeMap<Key, Used> {
    let mut used: BTreeMap<Key, Used> = BTreeMap::new();
    for entry in digest.entries() {
        let Some(service) = service_of_amount(entry.stage, &entry.provider) else {
            continue;
        };
        let (provider, model) = named(session, service, plain(&entry.provider), &entry.model);
        let used = used.entry((service, provider, model)).or_default();
        let amount = entry.sum_micros;
        match entry.stage {
            Stage::PromptTokens => used.prompt_tokens += amount,
            Stage::CachedTokens => used.cached_tokens += amount,
            Stage::AudioTokens => used.audio_tokens += amount,
            Stage::CompletionTokens => used.completion_tokens += amount,
            Stage::SttAudioMs => used.audio_ms += amount,
            Stage::TtsCharacters => used.characters += amount,
            _ => used.stated_nano_usd = Some(used.stated_nano_usd.unwrap_or_default() + amount),
        }
    }
    for service in [Service::Llm, Service::Stt, Service::Tts] {
        if let Some(whole) = stated(session, service) {
            let own = used.keys().filter(|key| key.0 == service);
            let only: Vec<Key> = own.cloned().collect();
            // A cost that a source states counts more than amounts to be priced; and a session that only
            // repeats the sum of its turns does not know better which model it was.
            let mut sum = Used::default();
            only.iter().for_each(|key| sum.add(&used[key]));
            if sum.stated_nano_usd.is_some() || sum == whole {
                continue;
            }
            used.retain(|key, _| key.0 != service);
            let key = match &only[..] {
                [key] => key.clone(),
                _ => {
                    let (provider, model) = named(session, service, "", "");
                    (service, provider, model)
                }
            };
            used.insert(key, whole);
        }
    }
    used
}

/// What a session says that it used in all.
fn stated(session: &Session, service: Service) -> Option<Used> {
    let usage = session.extra.get("usage")?;
    let amount = |name: &str| usage.get(name).and_then(Value::as_f64);
    let count = |name: &str| amount(name).unwrap_or_default() as i64;
    let is_stated = match service {
        Service::Llm => amount("promptTokens").or(amount("completionTokens")),
        Service::Stt => amount("sttSeconds"),
        Service::Tts => amount("ttsCharacters"),
        Service::Telephony => None,
    };
    is_stated?;
    let mut used = Used::default();
    match service {
        Service::Llm => {
            used.prompt_tokens = count("promptTokens");
            used.cached_tokens = count("cachedTokens");
            used.audio_tokens = count("audioTokens");
            used.completion_tokens = count("completionTokens");
        }
        Service::Stt => {
            used.audio_ms = (amount("sttSeconds").unwrap_or_default() * 1_000.0).round() as i64;
        }
        Service::Tts => used.characters = count("ttsCharacters"),
        Service::Telephony => {}
    }
    (!used.is_nothing()).then_some(used)
}

/// Provider and model of an amount: its own, else the session's usual ones.
fn named(session: &Session, service: Service, provider: &str, model: &str) -> (String, String) {
    let name = match service {
        Service::Stt => "stt",
        Service::Llm => "llm",
        Service::Tts => "tts",
        Service::Telephony => return (provider.to_owned(), model.to_owned()),
    };
    let usual = |object: &str| {
        let value = session.extra.get(object)?.get(name)?.as_str()?;
        Some(value.to_owned())
    };
    let or = |own: &str, object: &str| match own {
        "" => usual(object).unwrap_or_default(),
        own => own.to_owned(),
    };
    (or(provider, "providers"), or(model, "models"))
}

/// Services that were measured at work, and of which nobody says how much.
fn unmeasured(session: &Session, digest: &Digest, used: &BTreeMap<Key, Used>) -> Vec<Unpriced> {
    let services = [
        (Stage::Stt, Service::Stt),
        (Stage::Llm, Service::Llm),
        (Stage::Tts, Service::Tts),
    ];
    let mut unmeasured = Vec::new();
    for (stage, service) in services {
        if used.keys().any(|key| key.0 == service) {
            continue;
        }
        let at_work = digest.entries().iter().filter(|entry| entry.stage == stage);
        for entry in at_work {
            let (provider, model) = named(session, service, &entry.provider, &entry.model);
            unmeasured.push(listed(service, &provider, &model, Reason::NoUsage));
        }
    }
    unmeasured
}

/// Calls over Twilio, whose own ids begin so.
const TWILIO_CALL: &str = "CA";
const TWILIO: &str = "twilio";

/// The minutes of a call over a carrier that is known, every one begun counted whole.
fn telephony(session: &Session) -> Option<(Key, Used)> {
    let sid = session.call_sid.as_deref()?;
    let was_connected = matches!(session.status, Status::Completed | Status::Failed);
    if !sid.starts_with(TWILIO_CALL) || !was_connected {
        return None;
    }
    let direction = session
        .channel
        .as_deref()
        .filter(|channel| *channel != "web")?;
    let duration_ms = session.duration_ms().filter(|ms| *ms > 0)?;
    // Both ways the number called decides.
    let called = session.to_number.as_deref().unwrap_or_default();
    let digits = called.strip_prefix("+1").unwrap_or_default();
    let is_american = digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let zone = if is_american { " +1" } else { "" };
    let minutes = duration_ms.saturating_add(59_999) / 60_000;
    let used = Used {
        audio_ms: minutes.saturating_mul(60_000),
        ..Used::default()
    };
    let model = format!("{direction}{zone}");
    Some(((Service::Telephony, TWILIO.to_owned(), model), used))
}

/// Costs that a source states carry their service in the provider's place, before its name.
const STATED: [(Service, &str); 3] = [
    (Service::Stt, "stt\n"),
    (Service::Llm, "llm\n"),
    (Service::Tts, "tts\n"),
];

fn service_of_amount(stage: Stage, provider: &str) -> Option<Service> {
    match stage {
        Stage::PromptTokens
        | Stage::CachedTokens
        | Stage::AudioTokens
        | Stage::CompletionTokens => Some(Service::Llm),
        Stage::SttAudioMs => Some(Service::Stt),
        Stage::TtsCharacters => Some(Service::Tts),
        Stage::StatedNanoUsd => {
            let mut all = STATED.iter();
            all.find(|(_, prefix)| provider.starts_with(prefix))
                .map(|(service, _)| *service)
        }
        _ => None,
    }
}

fn plain(provider: &str) -> &str {
    let mut all = STATED.iter();
    all.find_map(|(_, prefix)| provider.strip_prefix(prefix))
        .unwrap_or(provider)
}

/// What a turn used, for its session's digest. A generation that was cancelled has cost too.
pub fn amounts(turn: &Turn) -> Vec<Measure> {
    amounts::of(turn)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn observation(usage: Value, model: &str) -> Option<i64> {
        let usage = usage.as_object().cloned().unwrap();
        of_observation(&usage, model, &Prices::default())
    }

    #[test]
    fn an_observation_costs_what_its_parts_cost() {
        // 60 at 2.50, 40 from the cache at 1.25 and 10 at 10, in billionths: 150,000 + 50,000 + 100,000.
        let within = json!({"input": 100, "output": 10, "input_cached_tokens": 40, "total": 110});
        assert_eq!(observation(within, "gpt-4o"), Some(300_000));
        let beside = json!({"input": 60, "output": 10, "input_cached_tokens": 40, "total": 110});
        assert_eq!(observation(beside, "gpt-4o"), Some(300_000));
        assert_eq!(observation(json!({"input": 1}), "unheard-of"), None);
        assert_eq!(observation(json!({}), "gpt-4o"), None);
        assert_eq!(
            observation(json!({"input": 5, "input_audio_tokens": 5}), "gpt-4o"),
            None,
            "audio has no price there"
        );
        assert_eq!(
            observation(json!({"input": 1e12, "output": 1e12}), "gpt-4"),
            Some(90_000_000_000_000_000)
        );
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
        let one = used.cost(&rates).unwrap();
        assert_eq!(one, 75_000);
        assert_eq!(nanos(one * 1_000), 75_000);
    }
}
