//! What a call cost, where its sources say only what it used: a pure step behind the assembly, over sums
//! that the session's digest keeps anyway.
//!
//! What is known is summed up; what was used and has no price is listed, never counted as nothing.

mod amounts;
mod table;
mod used;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::digest::{Digest, Measure, Stage};
use crate::domain::session::{Session, Status};
use crate::domain::turn::Turn;

use used::{Cost, nanos, picos};

pub use table::{OVERRIDES_MAX, Price, Prices, Rates, Service, VERSION, shipped};
pub use used::{Used, counts};

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
    /// How much was used is not known, or how much of what.
    NoUsage,
}

/// How a session's cost came about, where its sources did not state it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pricing {
    pub prices_version: String,
    pub unpriced: Vec<Unpriced>,
    /// Sources say what each part cost, and nothing was priced.
    #[serde(default)]
    pub is_stated: bool,
}

const NANOS_PER_MICRO: i64 = 1_000;

/// What one observation cost, in billionths of a US dollar, by what it says it used.
pub fn of_observation(usage: &Map<String, Value>, model: &str, prices: &Prices) -> Option<i64> {
    let used = Used::of_observation(usage);
    let rates = &prices.find(Service::Llm, "", model)?.rates;
    let cost = used.cost(rates);
    cost.known.filter(|_| cost.unknown.is_empty()).map(nanos)
}

/// (service, provider, model): empty where the source names none.
type Key = (Service, String, String);

/// Gives a session that does not say what it cost the cost of what it used.
pub fn apply(session: &mut Session, digest: &Digest, prices: &Prices) {
    session.extra.remove(PRICING);
    if session.cost_micro_usd.is_some() {
        return;
    }
    let mut used = Usage::of(session, digest);
    if let Some((key, amount)) = telephony(session) {
        used.by_model.insert(key, amount);
    }
    let mut unpriced = used.uncounted(session, digest);
    let beside = beside(session);
    if used.by_model.is_empty() && beside.is_none() && unpriced.is_empty() {
        return;
    }
    let mut is_stated = true;
    let (mut known, mut total) = (beside.is_some(), beside.map_or(0, picos));
    for ((service, provider, model), amount) in &used.by_model {
        if let Some(stated) = amount.stated_nano_usd {
            known = true;
            total += picos(stated);
        }
        let amount = Used {
            stated_nano_usd: None,
            ..*amount
        };
        if amount.is_nothing() {
            continue;
        }
        let price = prices.find(*service, provider, model);
        let cost = price.map_or_else(Cost::without_price, |price| amount.cost(&price.rates));
        if let Some(cost) = cost.known {
            (known, is_stated) = (true, false);
            total += cost;
        }
        let lacks_prompt = price.is_some() && amount.lacks_prompt();
        let reasons = cost.unknown.into_iter();
        let reasons = reasons.chain(lacks_prompt.then_some(Reason::NoUsage));
        unpriced.extend(reasons.map(|reason| listed(*service, provider, model, reason)));
    }
    unpriced.sort();
    unpriced.dedup();
    session.cost_micro_usd = known.then(|| {
        let nanos = nanos(total);
        nanos.saturating_add(NANOS_PER_MICRO / 2) / NANOS_PER_MICRO
    });
    let pricing = Pricing {
        prices_version: prices.version(),
        is_stated: is_stated && unpriced.is_empty(),
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

/// What a session used.
struct Usage {
    /// What its parts used, by model; what the session says of the whole in its place.
    by_model: BTreeMap<Key, Used>,
    /// Services of which the session says the whole: whatever was at work is in it.
    whole: Vec<Service>,
}

impl Usage {
    fn of(session: &Session, digest: &Digest) -> Self {
        let mut used = Self {
            by_model: of_parts(session, digest),
            whole: Vec::new(),
        };
        for service in [Service::Llm, Service::Stt, Service::Tts] {
            if let Some(whole) = stated(session, service) {
                used.take_whole(session, service, whole);
            }
        }
        used
    }

    /// A cost that a source states counts more than amounts to be priced; and a session that only repeats the sum of its
    /// turns does not know better which model it was.
    fn take_whole(&mut self, session: &Session, service: Service, whole: Used) {
        let own = self.by_model.keys().filter(|key| key.0 == service);
        let own: Vec<Key> = own.cloned().collect();
        let mut sum = Used::default();
        own.iter().for_each(|key| sum.add(&self.by_model[key]));
        if sum.stated_nano_usd.is_some() || repeats(session, service, &sum) {
            return;
        }
        self.by_model.retain(|key, _| key.0 != service);
        let key = match &own[..] {
            [key] => key.clone(),
            _ => {
                let (provider, model) = named(session, service, "", "");
                (service, provider, model)
            }
        };
        self.by_model.insert(key, whole);
        self.whole.push(service);
    }

    /// Models that were measured at work, and of which nobody says how much. What names no model, or no provider, may be
    /// of any.
    fn uncounted(&self, session: &Session, digest: &Digest) -> Vec<Unpriced> {
        let mut uncounted = Vec::new();
        for entry in digest.entries() {
            let service = service_at_work(entry.stage);
            let Some(service) = service.filter(|service| !self.whole.contains(service)) else {
                continue;
            };
            let (provider, model) = named(session, service, &entry.provider, &entry.model);
            let is_it = |(of, other_provider, other_model): &Key| {
                let may_be = |one: &str, other: &str, same: fn(&str, &str) -> bool| {
                    one.is_empty() || other.is_empty() || same(one, other)
                };
                *of == service
                    && may_be(other_provider, &provider, str::eq_ignore_ascii_case)
                    && may_be(other_model, &model, table::is_same_model)
            };
            if !self.by_model.keys().any(is_it) {
                uncounted.push(listed(service, &provider, &model, Reason::NoUsage));
            }
        }
        uncounted
    }
}

/// Whose time a stage is.
fn service_at_work(stage: Stage) -> Option<Service> {
    match stage {
        Stage::Stt => Some(Service::Stt),
        Stage::Llm | Stage::LlmWhole => Some(Service::Llm),
        Stage::Tts | Stage::TtsWhole => Some(Service::Tts),
        _ => None,
    }
}

/// What the turns used, and the generations beside them.
fn of_parts(session: &Session, digest: &Digest) -> BTreeMap<Key, Used> {
    let mut used: BTreeMap<Key, Used> = BTreeMap::new();
    let mut count = |stage: Stage, provider: &str, model: &str, amount: i64| {
        let Some(service) = service_of_amount(stage, provider) else {
            return;
        };
        let (provider, model) = named(session, service, plain(provider), model);
        let used = used.entry((service, provider, model)).or_default();
        match stage {
            Stage::PromptTokens => used.prompt_tokens += amount,
            Stage::CachedTokens => used.cached_tokens += amount,
            Stage::AudioTokens => used.audio_tokens += amount,
            Stage::CompletionTokens => used.completion_tokens += amount,
            Stage::AudioOutputTokens => used.audio_output_tokens += amount,
            Stage::CachedAudioTokens => used.cached_audio_tokens += amount,
            Stage::CacheWriteTokens => used.cache_write_tokens += amount,
            Stage::UnsplitPromptTokens => used.unsplit_prompt_tokens += amount,
            Stage::UnsplitCompletionTokens => used.unsplit_completion_tokens += amount,
            Stage::UnsplitTokens => used.unsplit_tokens += amount,
            Stage::SttAudioMs => used.audio_ms += amount,
            Stage::TtsCharacters => used.characters += amount,
            _ => used.stated_nano_usd = Some(used.stated_nano_usd.unwrap_or_default() + amount),
        }
    };
    for entry in digest.entries() {
        count(entry.stage, &entry.provider, &entry.model, entry.sum_micros);
    }
    for measure in amounts::beside(session) {
        count(
            measure.stage,
            &measure.provider,
            &measure.model,
            measure.micros,
        );
    }
    used
}

/// What a session says of the whole.
fn usage(session: &Session) -> Option<&Map<String, Value>> {
    session.extra.get("usage")?.as_object()
}

/// What a session says that it used in all.
fn stated(session: &Session, service: Service) -> Option<Used> {
    let usage = usage(session)?;
    let amount = |name: &str| usage.get(name).and_then(Value::as_f64);
    let used = match service {
        Service::Llm => {
            amount("promptTokens").or(amount("completionTokens"))?;
            Used::of_generations(usage)
        }
        Service::Stt => Used {
            audio_ms: ms(amount("sttSeconds")?),
            ..Used::default()
        },
        Service::Tts => Used {
            characters: amount("ttsCharacters")? as i64,
            ..Used::default()
        },
        Service::Telephony => return None,
    };
    (!used.is_nothing()).then_some(used)
}

fn ms(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}

/// Whether what a session says of the whole is what its turns say in all, which may say more.
fn repeats(session: &Session, service: Service, sum: &Used) -> bool {
    let Some(usage) = usage(session) else {
        return true;
    };
    let said = |name: &str| usage.get(name).and_then(Value::as_f64);
    let is = |name: &str, own: i64| said(name).is_none_or(|said| said.round() as i64 == own);
    match service {
        Service::Llm => {
            is("promptTokens", sum.prompt_tokens)
                && is("cachedTokens", sum.cached_tokens)
                && is("cacheWriteTokens", sum.cache_write_tokens)
                && is("audioTokens", sum.audio_tokens)
                && is("completionTokens", sum.completion_tokens)
                && is("audioOutputTokens", sum.audio_output_tokens)
        }
        Service::Stt => said("sttSeconds").is_none_or(|s| ms(s) == sum.audio_ms),
        Service::Tts => is("ttsCharacters", sum.characters),
        Service::Telephony => true,
    }
}

/// What a session's sources say that something beside its speech and its generations cost, in billionths of a dollar.
fn beside(session: &Session) -> Option<i64> {
    let usd = usage(session)?.get("otherCostUsd")?.as_f64()?;
    Some((usd * 1e9).round() as i64)
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

/// Calls over Twilio, whose own ids begin so.
const TWILIO_CALL: &str = "CA";
const TWILIO: &str = "twilio";
/// How a carrier calls the end of a call that it did not connect, and asks nothing for.
const UNCONNECTED: [&str; 4] = ["busy", "no-answer", "failed", "canceled"];

/// The minutes of a call over a carrier that is known, every one begun counted whole.
fn telephony(session: &Session) -> Option<(Key, Used)> {
    let sid = session.call_sid.as_deref()?;
    if !sid.starts_with(TWILIO_CALL) || !was_connected(session) {
        return None;
    }
    let direction = session
        .channel
        .as_deref()
        .filter(|channel| *channel != "web")?;
    let duration_ms = session.duration_ms().filter(|ms| *ms > 0)?;
    // Both ways the number called decides.
    let called = session.to_number.as_deref().unwrap_or_default();
    let zone = match is_american(called, direction) {
        true => " +1",
        false => "",
    };
    let minutes = duration_ms.saturating_add(59_999) / 60_000;
    let used = Used {
        audio_ms: minutes.saturating_mul(60_000),
        ..Used::default()
    };
    let model = format!("{direction}{zone}");
    Some(((Service::Telephony, TWILIO.to_owned(), model), used))
}

/// Behind `+1`, and none of the United States or Canada: islands, each at a price of its own; and what costs extra.
const OTHERS: [&str; 28] = [
    "242", "246", "264", "268", "284", "340", "345", "441", "473", "649", "658", "664", "670",
    "671", "684", "721", "758", "767", "784", "787", "809", "829", "849", "868", "869", "876",
    "900", "939",
];
/// Whoever is called there pays more.
const TOLL_FREE: [&str; 7] = ["800", "833", "844", "855", "866", "877", "888"];

/// Whether a number is one of those that the table has a price for.
fn is_american(called: &str, direction: &str) -> bool {
    let digits = called.strip_prefix("+1").unwrap_or_default();
    let is_whole = digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_one_of = |areas: &[&str]| areas.iter().any(|area| digits.starts_with(area));
    let is_dearer = is_one_of(&OTHERS) || direction == "inbound" && is_one_of(&TOLL_FREE);
    is_whole && !is_dearer
}

/// A failure may come before the answer or behind it: which of both the carrier's own word tells, where there is one.
fn was_connected(session: &Session) -> bool {
    let carrier_status = session.extra.get("carrierStatus").and_then(Value::as_str);
    let is_over = matches!(session.status, Status::Completed | Status::Failed);
    let is_unconnected = carrier_status.is_some_and(|status| UNCONNECTED.contains(&status));
    is_over && (session.answered_at.is_some() || !is_unconnected)
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
        | Stage::CompletionTokens
        | Stage::AudioOutputTokens
        | Stage::CachedAudioTokens
        | Stage::CacheWriteTokens
        | Stage::UnsplitPromptTokens
        | Stage::UnsplitCompletionTokens
        | Stage::UnsplitTokens => Some(Service::Llm),
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

    #[test]
    fn not_all_that_is_called_by_one_code_costs_the_same() {
        for (called, direction, is_priced) in [
            ("+14155550100", "outbound", true),
            ("+16045550100", "inbound", true),
            ("+18765550100", "outbound", false),
            ("+18095550100", "inbound", false),
            ("+18005550100", "outbound", true),
            ("+18005550100", "inbound", false),
            ("+19005550100", "outbound", false),
            ("+1415555010", "outbound", false),
            ("+442071838750", "outbound", false),
        ] {
            assert_eq!(is_american(called, direction), is_priced, "{called}");
        }
    }

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
}
