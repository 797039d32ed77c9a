//! What providers charge: the table that is shipped as data, and a tenant's own prices, which count more.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{Error, Fault, Result};

/// The table's own version: changed with every price in `prices/`, and with the way in which costs are computed.
pub const VERSION: &str = "2026-11-22.2";

const FILES: [&str; 2] = [
    include_str!("../../../prices/llm.json"),
    include_str!("../../../prices/speech.json"),
];

/// What is paid for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    Stt,
    #[default]
    Llm,
    Tts,
    Telephony,
}

/// What a model costs, in US dollars. A price that is left out is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rates {
    /// A million tokens.
    #[serde(default)]
    pub input: Option<f64>,
    /// The same, of those that the provider had in its cache; a model without any price for its cache asks for them
    /// what it asks for the others.
    #[serde(default)]
    pub cached_input: Option<f64>,
    /// The same, of those that the provider put into its cache.
    #[serde(default)]
    pub cache_write: Option<f64>,
    #[serde(default)]
    pub output: Option<f64>,
    #[serde(default)]
    pub audio_input: Option<f64>,
    #[serde(default)]
    pub cached_audio_input: Option<f64>,
    #[serde(default)]
    pub audio_output: Option<f64>,
    #[serde(default)]
    pub per_minute: Option<f64>,
    #[serde(default)]
    pub per_million_characters: Option<f64>,
}

/// One model's price.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    pub service: Service,
    pub provider: Option<String>,
    /// `*` stands for every model of the provider.
    pub model: String,
    #[serde(skip)]
    pub aliases: Vec<String>,
    #[serde(flatten)]
    pub rates: Rates,
    pub note: Option<String>,
    /// Where the price was read, and when it was true.
    pub source: Option<String>,
    pub as_of: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    #[serde(default)]
    service: Service,
    provider: String,
    source: String,
    as_of: String,
    models: Vec<Map<String, Value>>,
}

static SHIPPED: LazyLock<Vec<Price>> = LazyLock::new(|| {
    let groups = FILES.iter().filter_map(|file| {
        let groups: Vec<Group> = serde_json::from_str(file).ok()?;
        Some(groups)
    });
    groups.flatten().flat_map(Group::prices).collect()
});

impl Group {
    fn prices(self) -> Vec<Price> {
        let prices = self.models.into_iter().filter_map(|mut fields| {
            let text = |value: Option<Value>| Some(value?.as_str()?.to_owned());
            let aliases = fields.remove("aliases");
            Some(Price {
                service: self.service,
                provider: Some(self.provider.clone()),
                model: text(fields.remove("model"))?,
                note: text(fields.remove("note")),
                aliases: serde_json::from_value(aliases.unwrap_or_default()).unwrap_or_default(),
                rates: serde_json::from_value(Value::Object(fields)).ok()?,
                source: Some(self.source.clone()),
                as_of: Some(self.as_of.clone()),
            })
        });
        prices.collect()
    }
}

/// The table that is shipped.
pub fn shipped() -> &'static [Price] {
    &SHIPPED
}

/// What a tenant pays: its own prices before those of the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    pub overrides: Vec<Price>,
    /// How often the tenant has changed its prices.
    pub version: i64,
}

/// Prices that one tenant may have of its own.
pub const OVERRIDES_MAX: usize = 500;
const NAME_MAX_CHARS: usize = 255;
const RATE_MAX_USD: f64 = 1e6;
/// What a price says besides, in a tenant's list or as it is stored.
const NAMES: [&str; 4] = ["service", "provider", "model", "note"];

impl Service {
    /// The prices that what it uses can be asked for.
    fn rates(self) -> &'static [&'static str] {
        match self {
            Self::Llm => &[
                "input",
                "cachedInput",
                "cacheWrite",
                "output",
                "audioInput",
                "cachedAudioInput",
                "audioOutput",
            ],
            Self::Stt | Self::Telephony => &["perMinute"],
            Self::Tts => &["perMillionCharacters"],
        }
    }

    /// Whose price this is; of several that have it, the first.
    fn of_rate(name: &str) -> Option<Self> {
        let mut all = [Self::Llm, Self::Stt, Self::Tts].into_iter();
        all.find(|service| service.rates().contains(&name))
    }

    /// Why another service's price can never price anything of this one.
    fn refuses(self, other: Self) -> String {
        let rates: Vec<String> = self
            .rates()
            .iter()
            .map(|rate| format!("`{rate}`"))
            .collect();
        let (own, other) = (self.as_str(), other.as_str());
        let rates = rates.join(", ");
        format!("is a price of `{other}`; `{own}` can have {rates}")
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Stt => "stt",
            Self::Llm => "llm",
            Self::Tts => "tts",
            Self::Telephony => "telephony",
        }
    }
}

impl Prices {
    /// Which prices a cost was computed with.
    pub fn version(&self) -> String {
        match self.version {
            0 => VERSION.to_owned(),
            own => format!("{VERSION}+{own}"),
        }
    }

    /// The price of a model: the tenant's, else the table's; of several providers' that have the model, the
    /// one that is named.
    pub fn find(&self, service: Service, provider: &str, model: &str) -> Option<&Price> {
        let own = self.overrides.as_slice();
        [own, shipped()]
            .into_iter()
            .find_map(|prices| find(prices, service, provider, model))
    }

    /// Reads what a tenant writes: `{"prices": [...]}`, all faults told at once.
    pub fn read(body: &Map<String, Value>) -> Result<Vec<Price>> {
        let mut faults = Vec::new();
        for name in body.keys().filter(|name| *name != "prices") {
            faults.push(Fault::body(name, "is not known"));
        }
        let mut prices = Vec::new();
        match body.get("prices") {
            Some(Value::Array(items)) if items.len() <= OVERRIDES_MAX => {
                for (place, item) in items.iter().enumerate() {
                    prices.extend(read(item, &format!("prices[{place}]"), &mut faults));
                }
            }
            Some(Value::Array(items)) => faults.push(Fault::body(
                "prices",
                format!(
                    "must have at most {OVERRIDES_MAX} items, got {}",
                    items.len()
                ),
            )),
            Some(_) => faults.push(Fault::body("prices", "must be a list")),
            None => faults.push(Fault::body("prices", "is required")),
        }
        let key = |price: &Price| (price.service, price.provider.clone(), price.model.clone());
        for (place, price) in prices.iter().enumerate() {
            if prices[..place].iter().any(|other| key(other) == key(price)) && faults.is_empty() {
                faults.push(Fault::body(
                    format!("prices[{place}]"),
                    "is the second price of its model",
                ));
            }
        }
        match faults.is_empty() {
            true => Ok(prices),
            false => Err(Error::Unprocessable(faults)),
        }
    }
}

fn read(item: &Value, place: &str, faults: &mut Vec<Fault>) -> Option<Price> {
    let before = faults.len();
    let Some(members) = item.as_object() else {
        faults.push(Fault::body(place, "must be an object"));
        return None;
    };
    let mut fault = |name: &str, message: &str| {
        faults.push(Fault::body(format!("{place}.{name}"), message));
    };
    let mut text = |name: &str| match members.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text))
            if (1..=NAME_MAX_CHARS).contains(&text.trim().chars().count()) =>
        {
            Some(text.trim().to_owned())
        }
        Some(_) => {
            fault(name, "must be a text of 1 to 255 characters");
            None
        }
    };
    let (provider, model, note) = (text("provider"), text("model"), text("note"));
    let service = members
        .get("service")
        .and_then(|service| Service::deserialize(service).ok());
    if service.is_none() {
        fault(
            "service",
            "must be one of `stt`, `llm`, `tts` or `telephony`",
        );
    }
    if model.is_none() && !members.contains_key("model") {
        fault(
            "model",
            "is required; `*` stands for every model of the provider",
        );
    }
    if model.as_deref() == Some("*") && provider.is_none() {
        fault("provider", "is required where the model is `*`");
    }
    let mut rates = Map::new();
    // A price that is not known is written as null.
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        let Some(own) = Service::of_rate(name) else {
            if !NAMES.contains(&name.as_str()) {
                fault(name, "is not known");
            }
            continue;
        };
        if let Some(service) = service
            && !service.rates().contains(&name.as_str())
        {
            fault(name, &service.refuses(own));
            continue;
        }
        match value.as_f64() {
            Some(rate) if (0.0..=RATE_MAX_USD).contains(&rate) => {
                rates.insert(name.clone(), value.clone());
            }
            _ => fault(name, "must be a number of US dollars between 0 and 1000000"),
        }
    }
    if rates.is_empty() {
        match service.map_or(Service::Llm.rates(), Service::rates) {
            [only] => fault(only, "is required"),
            rates => fault(rates[0], "or another price is required"),
        }
    }
    (faults.len() == before).then_some(())?;
    Some(Price {
        service: service?,
        provider,
        model: model?,
        aliases: Vec::new(),
        rates: serde_json::from_value(Value::Object(rates)).ok()?,
        note,
        source: None,
        as_of: None,
    })
}

/// As it is stored: a price of another service, which was once let in, prices nothing and stays.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    service: Service,
    provider: Option<String>,
    model: String,
    note: Option<String>,
    #[serde(flatten)]
    rates: Map<String, Value>,
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        let mut stored = Stored::deserialize(deserializer)?;
        stored
            .rates
            .retain(|name, _| Service::of_rate(name).is_some());
        let rates = serde_json::from_value(Value::Object(stored.rates));
        Ok(Self {
            service: stored.service,
            provider: stored.provider,
            model: stored.model,
            aliases: Vec::new(),
            rates: rates.map_err(serde::de::Error::custom)?,
            note: stored.note,
            source: None,
            as_of: None,
        })
    }
}

fn find<'a>(
    prices: &'a [Price],
    service: Service,
    provider: &str,
    model: &str,
) -> Option<&'a Price> {
    let provider = provider.to_ascii_lowercase();
    let is_provider = |price: &&Price| {
        let own = price.provider.as_deref().map(str::to_ascii_lowercase);
        own.is_some_and(|own| own == provider)
    };
    for name in spellings(model) {
        let mut named = prices.iter().filter(|price| {
            let is_it = |own: &String| own.eq_ignore_ascii_case(&name);
            price.service == service && (is_it(&price.model) || price.aliases.iter().any(is_it))
        });
        let all: Vec<&Price> = named.by_ref().collect();
        let best = all.iter().find(|price| is_provider(price));
        let any = || {
            all.iter()
                .find(|price| price.provider.is_none())
                .or(all.first())
        };
        if let Some(price) = best.or_else(any) {
            return Some(price);
        }
    }
    let mut rest = prices.iter().filter(is_provider);
    rest.find(|price| price.service == service && price.model == "*")
}

/// Whether two names are one model's, whatever others put around it.
pub(super) fn is_same_model(one: &str, other: &str) -> bool {
    spellings(one).last() == spellings(other).last()
}

/// A model's name as it is, then without what others put around it: the path or vendor before it, the date
/// or revision behind it.
fn spellings(model: &str) -> Vec<String> {
    let mut name = model.trim().to_ascii_lowercase();
    let mut spellings = vec![name.clone()];
    let mut add = |name: &str| {
        if !name.is_empty() && !spellings.iter().any(|known| known == name) {
            spellings.push(name.to_owned());
        }
    };
    if let Some((_, last)) = name.rsplit_once('/') {
        name = last.to_owned();
        add(&name);
    }
    // As Amazon's Bedrock names them: `us.anthropic.claude-…-v1:0`.
    for vendor in ["anthropic.", "meta.", "amazon."] {
        if let Some((_, last)) = name.split_once(vendor) {
            name = last.to_owned();
        }
    }
    if let Some((first, revision)) = name.rsplit_once("-v")
        && revision.contains(':')
    {
        name = first.to_owned();
    }
    add(&name);
    name = name.trim_end_matches("-latest").to_owned();
    name = undated(&name).to_owned();
    add(&name);
    spellings
}

/// Without a date or number of revision at its end: `-2024-08-06`, `-20250514`, `@20250514`, `-001`, `-0613`.
fn undated(name: &str) -> &str {
    let is_digits = |text: &str, count: usize| {
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let parts: Vec<&str> = name.rsplitn(4, '-').collect();
    if let [day, month, year, rest] = parts[..]
        && is_digits(day, 2)
        && is_digits(month, 2)
        && is_digits(year, 4)
    {
        return rest;
    }
    let Some((first, last)) = name.rsplit_once(['-', '@']) else {
        return name;
    };
    let is_revision = [8, 4, 3].into_iter().any(|count| is_digits(last, count));
    if is_revision { first } else { name }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_shipped_table_is_sound() {
        let all: Vec<Vec<Value>> = FILES
            .iter()
            .map(|file| serde_json::from_str(file).expect("JSON"))
            .collect();
        let stated: usize = all
            .iter()
            .flatten()
            .map(|group| group["models"].as_array().expect("a list").len())
            .sum();
        assert_eq!(shipped().len(), stated, "every price can be read");
        let mut names = std::collections::BTreeSet::new();
        for price in shipped() {
            assert_ne!(price.rates, Rates::default(), "{price:?}");
            let rates = serde_json::to_value(&price.rates).expect("rates");
            for (name, _) in rates
                .as_object()
                .expect("rates")
                .iter()
                .filter(|(_, rate)| !rate.is_null())
            {
                assert!(price.service.rates().contains(&name.as_str()), "{price:?}");
            }
            assert!(price.as_of.as_deref().unwrap() <= VERSION, "{price:?}");
            assert!(price.source.as_deref().unwrap().starts_with("https://"));
            for name in price.aliases.iter().chain([&price.model]) {
                let key = (price.service, price.provider.clone(), name.clone());
                assert!(names.insert(key), "two prices of {name}");
            }
        }
    }

    #[test]
    fn a_model_is_found_under_the_names_that_others_give_it() {
        let prices = Prices::default();
        let found = |provider: &str, model: &str| {
            let price = prices.find(Service::Llm, provider, model);
            price.map(|price| price.model.as_str())
        };
        for (model, expected) in [
            ("gpt-4o", "gpt-4o"),
            ("GPT-4o-mini-2024-07-18", "gpt-4o-mini"),
            ("openai/gpt-4.1-2025-04-14", "gpt-4.1"),
            ("gpt-4-0613", "gpt-4"),
            // Some revisions have prices of their own.
            ("gpt-4o-2024-11-20", "gpt-4o"),
            ("azure/gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
            (
                "gpt-4o-realtime-preview-2024-12-17",
                "gpt-4o-realtime-preview",
            ),
            (
                "gpt-4o-realtime-preview-2024-10-01",
                "gpt-4o-realtime-preview-2024-10-01",
            ),
            ("gpt-3.5-turbo-0125", "gpt-3.5-turbo"),
            ("gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613"),
            ("claude-3-5-sonnet-latest", "claude-3-5-sonnet"),
            ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
            ("anthropic/claude-haiku-4.5", "claude-haiku-4-5"),
            ("gpt-5.4-mini-2026-03-17", "gpt-5.4-mini"),
            ("claude-sonnet-4-20250514", "claude-sonnet-4"),
            ("claude-sonnet-4@20250514", "claude-sonnet-4"),
            (
                "us.anthropic.claude-3-5-haiku-20241022-v1:0",
                "claude-3-5-haiku",
            ),
            ("models/gemini-2.0-flash-001", "gemini-2.0-flash"),
        ] {
            assert_eq!(found("", model), Some(expected), "{model}");
        }
        for model in [
            "",
            "gpt-4o-mini-tuned",
            "gpt-4o-mini-search-preview",
            "gpt",
            "llama",
        ] {
            assert_eq!(found("openai", model), None, "{model}");
        }
        let any = prices.find(Service::Stt, "azure", "whatever").unwrap();
        assert_eq!(any.model, "*");
        assert_eq!(prices.find(Service::Tts, "", "gpt-4o"), None);
    }

    #[test]
    fn a_tenant_s_price_counts_more() {
        let read = |body: Value| Prices::read(body.as_object().unwrap());
        let prices = Prices {
            overrides: read(json!({"prices": [
                {"service": "llm", "model": "gpt-4o", "input": 1, "output": 0},
                {"service": "llm", "provider": "own", "model": "*", "input": 0.0}
            ]}))
            .unwrap(),
            version: 3,
        };
        let find = |provider, model| prices.find(Service::Llm, provider, model).unwrap();
        assert_eq!(find("openai", "gpt-4o-2024-08-06").rates.input, Some(1.0));
        assert_eq!(find("own", "anything").rates.input, Some(0.0));
        assert_eq!(find("openai", "gpt-4o-mini").rates.input, Some(0.15));
        assert_eq!(prices.version(), format!("{VERSION}+3"));
    }

    #[test]
    fn faults_are_told_at_once() {
        let body = json!({"more": 1, "prices": [
            {"service": "llm", "model": "*", "input": -1},
            {"service": "x", "model": 7, "perMinute": 1, "colour": "red"},
            5,
        ]});
        let Err(Error::Unprocessable(faults)) = Prices::read(body.as_object().unwrap()) else {
            panic!("faults")
        };
        let names: Vec<&str> = faults.iter().map(|fault| fault.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "more",
                "prices[0].provider",
                "prices[0].input",
                "prices[0].input",
                "prices[1].model",
                "prices[1].service",
                "prices[1].colour",
                "prices[2]",
            ]
        );
    }

    #[test]
    fn a_price_that_its_service_never_asks_for_is_refused() {
        let body = json!({"prices": [
            {"service": "tts", "model": "x", "input": 1},
            {"service": "llm", "model": "x", "input": 1, "perMinute": 2},
            {"service": "telephony", "provider": "twilio", "model": "inbound", "perMinute": 0.01},
        ]});
        let Err(Error::Unprocessable(faults)) = Prices::read(body.as_object().unwrap()) else {
            panic!("faults")
        };
        let told: Vec<String> = faults
            .iter()
            .map(|fault| format!("{} {}", fault.name, fault.message))
            .collect();
        assert_eq!(
            told,
            [
                "prices[0].input is a price of `llm`; `tts` can have `perMillionCharacters`",
                "prices[0].perMillionCharacters is required",
                "prices[1].perMinute is a price of `stt`; `llm` can have `input`, `cachedInput`, `cacheWrite`, \
                 `output`, `audioInput`, `cachedAudioInput`, `audioOutput`",
            ]
        );
    }

    #[test]
    fn what_is_stored_is_read_whatever_was_once_let_in() {
        let mut own = Price {
            service: Service::Tts,
            provider: None,
            model: "x".to_owned(),
            aliases: Vec::new(),
            rates: Rates {
                input: Some(1.0),
                ..Rates::default()
            },
            note: Some("once".to_owned()),
            source: None,
            as_of: None,
        };
        for _ in 0..2 {
            let stored = serde_json::to_string(&own).expect("JSON");
            assert_eq!(
                serde_json::from_str::<Price>(&stored).expect("a price"),
                own
            );
            own.service = Service::Llm;
        }
    }
}
