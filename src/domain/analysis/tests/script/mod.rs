//! A second kind of sessions, made up from scripts: other lengths, other distributions, other ways of
//! telling, with interruptions, signs of listening and tools that are as they should be. Faults are put into
//! the script, as the definitions of issues say them.

pub mod faults;
mod tell;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::LogNormal;
use serde_json::{Map, Value, json};

const WORDS: [&str; 96] = [
    "account",
    "address",
    "afternoon",
    "airport",
    "amount",
    "answer",
    "balance",
    "battery",
    "bicycle",
    "bottle",
    "branch",
    "bridge",
    "button",
    "camera",
    "carpet",
    "ceiling",
    "charge",
    "cheque",
    "chimney",
    "circle",
    "coffee",
    "colour",
    "contract",
    "corner",
    "cotton",
    "counter",
    "courier",
    "damage",
    "dealer",
    "delivery",
    "deposit",
    "design",
    "device",
    "dinner",
    "discount",
    "district",
    "doctor",
    "drawer",
    "engine",
    "evening",
    "exchange",
    "express",
    "factory",
    "fabric",
    "family",
    "ferry",
    "figure",
    "finger",
    "flight",
    "flower",
    "forest",
    "freezer",
    "garage",
    "garden",
    "glass",
    "grocer",
    "harbour",
    "heating",
    "helmet",
    "holiday",
    "hospital",
    "insurance",
    "jacket",
    "journey",
    "kitchen",
    "ladder",
    "laptop",
    "leather",
    "letter",
    "library",
    "luggage",
    "machine",
    "manager",
    "market",
    "medicine",
    "mirror",
    "mobile",
    "monday",
    "mountain",
    "number",
    "office",
    "orange",
    "parcel",
    "passport",
    "payment",
    "pillow",
    "platform",
    "police",
    "printer",
    "quarter",
    "railway",
    "receipt",
    "saturday",
    "station",
    "summer",
    "ticket",
];
/// What callers take for a word, and agents for a letter.
const WORD_MS: f64 = 340.0;
const LETTER_MS: f64 = 66.0;

/// What an answer waits for, in this order.
#[derive(Clone, Default)]
pub struct Gap {
    pub stt: f64,
    pub endpointing: f64,
    pub llm: f64,
    pub tool: Option<f64>,
    pub llm_after_tool: f64,
    pub tts: f64,
    pub rest: f64,
}

impl Gap {
    pub fn ms(&self) -> f64 {
        let Self {
            stt,
            endpointing,
            llm,
            tool,
            llm_after_tool,
            tts,
            rest,
        } = self;
        stt + endpointing + llm + tool.unwrap_or_default() + llm_after_tool + tts + rest
    }
}

/// What the user does while the agent speaks.
#[derive(Clone)]
pub struct Over {
    pub text: String,
    /// After the agent's beginning.
    pub after_ms: f64,
    pub ms: f64,
    /// How long the agent goes on; none where it says all that it has.
    pub stops_after_ms: Option<f64>,
    /// Whether the source flags the turn, and reports the interruption.
    pub is_flagged: bool,
    pub is_reported: bool,
}

/// A question and its answer.
#[derive(Clone)]
pub struct Exchange {
    pub pause_ms: f64,
    pub user: String,
    pub user_ms: f64,
    pub user_more: Map<String, Value>,
    pub is_heard: bool,
    pub gap: Gap,
    /// Below zero the agent begins before the user has ended.
    pub early_ms: f64,
    pub is_answered: bool,
    pub agent: String,
    pub agent_ms: f64,
    pub agent_more: Map<String, Value>,
    pub llm: (&'static str, &'static str),
    pub tool: Option<Value>,
    pub over: Option<Over>,
}

pub struct Script {
    pub rng: StdRng,
    pub session: Map<String, Value>,
    pub greeting_after_ms: f64,
    pub exchanges: Vec<Exchange>,
    pub network: Vec<Value>,
    /// Errors by exchange.
    pub errors: Vec<(usize, Value)>,
    /// What the call goes on after its last sound.
    pub tail_ms: f64,
    /// Generations and syntheses with their times, or how long they took alone.
    is_rich: bool,
    is_measured: bool,
}

/// A session as it is told, and the turns of each exchange: the user's, the agent's.
pub struct Told {
    pub call: Value,
    pub turns: Vec<(i32, Option<i32>)>,
}

pub fn words(rng: &mut StdRng, count: usize) -> String {
    let words: Vec<&str> = WORDS.sample(rng, count).copied().collect();
    words.join(" ")
}

/// About the median, as waiting times are: most near it, some far above.
fn about(rng: &mut StdRng, median: f64, spread: f64, most: f64) -> f64 {
    let times = LogNormal::new(median.ln(), spread).unwrap();
    rng.sample(times).clamp(median / 3.0, most).round()
}

pub fn agent_ms(rng: &mut StdRng, text: &str) -> f64 {
    about(rng, text.len() as f64 * LETTER_MS, 0.06, 18_500.0)
}

impl Script {
    /// A session with nothing wrong.
    pub fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = rng.random_range(8..15);
        let exchanges = (0..count).map(|n| exchange(&mut rng, n)).collect();
        let network = (0..5).map(|n| {
            let (loss, jitter) = (rng.random_range(0.0..2.5), rng.random_range(3.0..27.0));
            json!({"atMs": n * 9000, "lossPercent": loss, "jitterMs": jitter, "rttMs": rng.random_range(40.0..350.0), "mos": 4.1})
        });
        let network = network.collect();
        let session = json!({"agentId": "clinic", "status": "completed", "endedBy": "user", "startedAt": "1970-01-01T00:00:00Z",
            "connectedAt": "1970-01-01T00:00:02Z", "channel": if rng.random_bool(0.5) { "inbound" } else { "web" }});
        let Value::Object(session) = session else {
            unreachable!()
        };
        Self {
            session,
            greeting_after_ms: rng.random_range(150.0..780.0),
            exchanges,
            network,
            errors: Vec::new(),
            tail_ms: rng.random_range(200.0..2800.0),
            is_rich: rng.random_bool(0.6),
            is_measured: rng.random_bool(0.6),
            rng,
        }
    }
}

fn exchange(rng: &mut StdRng, n: usize) -> Exchange {
    // The first answer is as quick as the others: a slow first one is a fault.
    let mut gap = Gap {
        stt: about(rng, 140.0, 0.4, if n == 0 { 180.0 } else { 400.0 }),
        endpointing: about(rng, 330.0, 0.35, if n == 0 { 400.0 } else { 800.0 }),
        llm: about(rng, 300.0, 0.3, if n == 0 { 240.0 } else { 700.0 }),
        tts: about(rng, 130.0, 0.3, 260.0),
        rest: rng.random_range(0..140) as f64,
        ..Gap::default()
    };
    let tool = rng.random_bool(if n == 0 { 0.0 } else { 0.2 }).then(|| {
        (gap.tool, gap.llm_after_tool) = (Some(about(rng, 180.0, 0.5, 500.0)), about(rng, 120.0, 0.2, 200.0));
        json!({"name": "look_up", "arguments": {"id": rng.random_range(0..1_000_000)}, "result": "found"})
    });
    let over_ms = gap.ms() - 1450.0;
    if over_ms > 0.0 {
        let rest = over_ms.min(gap.rest);
        gap.rest -= rest;
        gap.endpointing = (gap.endpointing - (over_ms - rest)).max(60.0);
        gap.llm = gap.llm.min(1450.0 - (gap.ms() - gap.llm)).max(60.0);
    }
    let count = rng.random_range(4..14);
    let user = words(rng, count);
    let count = rng.random_range(6..26);
    let agent = words(rng, count);
    let mut user_more = Map::new();
    if rng.random_bool(0.8) {
        user_more.insert("confidence".to_owned(), json!(rng.random_range(0.71..0.99)));
    }
    let agent_ms = agent_ms(rng, &agent);
    Exchange {
        pause_ms: about(rng, 700.0, 0.6, 4700.0),
        user_ms: about(rng, user.split(' ').count() as f64 * WORD_MS, 0.1, 9000.0),
        user,
        user_more,
        is_heard: true,
        gap,
        early_ms: 0.0,
        is_answered: true,
        over: over(rng, agent_ms),
        agent,
        agent_ms,
        agent_more: Map::new(),
        llm: ("openai", "gpt-4o"),
        tool,
    }
}

/// Signs of listening, which do not stop the agent; interruptions, which do at once; words at the very end.
fn over(rng: &mut StdRng, agent_ms: f64) -> Option<Over> {
    let (is_flagged, is_reported) = (rng.random_bool(0.6), rng.random_bool(0.5));
    let kind = rng.random_range(0..100);
    if agent_ms < 4500.0 || kind >= 24 {
        return None;
    }
    let count = rng.random_range(4..8);
    Some(match kind {
        0..10 => Over {
            text: ["mm hmm", "okay", "yeah", "uh huh"]
                .choose(rng)?
                .to_string(),
            after_ms: rng.random_range(1000.0..agent_ms - 1500.0),
            ms: rng.random_range(250.0..550.0),
            stops_after_ms: None,
            is_flagged: false,
            is_reported: false,
        },
        10..20 => Over {
            text: words(rng, count),
            after_ms: rng.random_range(1300.0..agent_ms - 2000.0),
            ms: rng.random_range(1500.0..2600.0),
            stops_after_ms: Some(rng.random_range(200.0..760.0)),
            is_flagged: is_flagged || is_reported,
            is_reported,
        },
        _ => Over {
            text: words(rng, count),
            after_ms: agent_ms - rng.random_range(60.0..450.0),
            ms: rng.random_range(1500.0..2600.0),
            stops_after_ms: None,
            is_flagged: false,
            is_reported: false,
        },
    })
}
