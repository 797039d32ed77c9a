//! A turn's state: what was said and how long each stage took, first as the facts about the turn
//! alone say, then with what follows from the turn before it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::digest::{Measure, Stage};
use crate::domain::fact;
use crate::domain::fact::Fact;
use crate::domain::fact::Taker;
use crate::domain::price;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    Agent,
    User,
}

impl Speaker {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::User => "user",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Agent, Self::User]
            .into_iter()
            .find(|speaker| speaker.as_str() == text)
    }
}

/// Where a turn's latency comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencySource {
    /// The source measured it.
    Measured,
    /// From the times of the two turns.
    Derived,
    /// The sum of the stages.
    Summed,
}

impl LatencySource {
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Measured, Self::Derived, Self::Summed]
            .into_iter()
            .find(|source| source.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Derived => "derived",
            Self::Summed => "summed",
        }
    }
}

/// Marks in a turn's `metadata` that no source tells when it was heard: its `startMs` is no more than its place among the
/// others.
pub const UNTIMED: &str = "untimed";
/// Marks in a user's turn's `metadata` that it was typed, and not spoken.
pub const TYPED: &str = "typed";
/// Marks a turn of another conversation that the agent held meanwhile, as with a colleague of its own.
pub const ASIDE: &str = "aside";
/// Names in a turn's `metadata` which of the call's agents spoke, where one hands over to another.
pub const AGENT: &str = "agent";

/// What the way to an answer is told to have taken beside its stages and tools.
const BESIDE_STAGES: [&str; 5] = [
    "callbackMs",
    "aggregationMs",
    "playoutMs",
    "transportMs",
    "telephonyMs",
];

#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    pub index: i32,
    pub speaker: Speaker,
    pub text: Option<String>,
    pub start_ms: Option<i32>,
    pub end_ms: Option<i32>,
    pub stt_ms: Option<f64>,
    pub endpointing_ms: Option<f64>,
    pub llm_ms: Option<f64>,
    pub llm_total_ms: Option<f64>,
    pub tts_ms: Option<f64>,
    pub tts_total_ms: Option<f64>,
    pub latency_ms: Option<f64>,
    pub latency_source: Option<LatencySource>,
    /// An agent turn right behind a user turn.
    pub answers_user: bool,
    pub confidence: Option<f64>,
    pub interrupted: bool,
    pub failed: bool,
    pub cancelled: bool,
    pub extra: Map<String, Value>,
    /// Tokens that language models read and wrote, and of those the ones that they read.
    pub tokens: i64,
    pub prompt_tokens: i64,
}

/// What the turn before tells about the one that answers it.
#[derive(Clone, Debug, PartialEq)]
pub struct Predecessor {
    pub speaker: Speaker,
    pub end_ms: Option<i32>,
    pub stt_ms: Option<f64>,
    pub endpointing_ms: Option<f64>,
    pub eou_probability: Option<f64>,
    pub stt_provider: Option<String>,
    pub stt_model: Option<String>,
    pub is_aside: bool,
}

/// A turn's place among its session's: by time, those without times last.
pub type Position = (i32, i32, i32);

impl Turn {
    /// The turn as the facts about it alone say.
    pub fn derive(index: i32, facts: &[&Fact]) -> Self {
        let mut ordered = facts.to_vec();
        fact::order(&mut ordered);
        let mut fields = Taker(fact::merge(&ordered));
        fields.0.remove("index");
        let speaker = fields
            .text("speaker")
            .and_then(|text| Speaker::parse(&text));
        let llm_ms = last_first_token_ms(&fields.0);
        let tts_ms = first_byte_ms(&fields.0);
        let mut turn = Self {
            index,
            // A turn that only ever spoke of generating is the agent's.
            speaker: speaker.unwrap_or(if says_agent(&fields.0) {
                Speaker::Agent
            } else {
                Speaker::User
            }),
            text: fields.text("text"),
            start_ms: fields.whole("startMs"),
            end_ms: fields.whole("endMs"),
            stt_ms: fields.number("sttMs"),
            endpointing_ms: fields.number("endpointingMs"),
            llm_ms: llm_ms.or(fields.0.get("llmMs").and_then(Value::as_f64)),
            llm_total_ms: fields.number("llmTotalMs"),
            tts_ms: tts_ms.or(fields.0.get("ttsMs").and_then(Value::as_f64)),
            tts_total_ms: fields.number("ttsTotalMs"),
            // Zero is how sources write that they did not measure.
            latency_ms: fields.number("latencyMs").filter(|ms| *ms > 0.0),
            latency_source: None,
            answers_user: false,
            confidence: fields.number("confidence"),
            interrupted: fields.flag("interrupted"),
            failed: fields.flag("failed"),
            cancelled: fields.flag("cancelled"),
            tokens: tokens(&fields.0, "promptTokens")
                .saturating_add(tokens(&fields.0, "completionTokens")),
            prompt_tokens: tokens(&fields.0, "promptTokens"),
            extra: Map::new(),
        };
        fields.0.remove("llmMs");
        fields.0.remove("ttsMs");
        turn.extra = fields.0;
        turn.latency_source = turn.latency_ms.map(|_| LatencySource::Measured);
        turn
    }

    pub fn position(&self) -> Position {
        (
            self.start_ms.unwrap_or(i32::MAX),
            self.end_ms.unwrap_or(i32::MAX),
            self.index,
        )
    }

    pub fn as_predecessor(&self) -> Predecessor {
        Predecessor {
            speaker: self.speaker,
            end_ms: self.end_ms,
            stt_ms: self.stt_ms,
            endpointing_ms: self.endpointing_ms,
            eou_probability: self.extra.get("eouProbability").and_then(Value::as_f64),
            stt_provider: member(&self.extra, "providers", "stt"),
            stt_model: member(&self.extra, "models", "stt"),
            is_aside: self.is_marked(ASIDE),
        }
    }

    /// An agent's turn that was thrown away before it was heard. The answer is the one behind it.
    pub fn is_discarded(&self) -> bool {
        self.cancelled && self.speaker == Speaker::Agent
    }

    /// Completes a turn by what the one right before it tells: what the user's side was measured at
    /// belongs to the answer, and the gap between the two is the answer's latency.
    pub fn resolve(mut self, before: Option<&Predecessor>, tools_ms: f64) -> Self {
        if self.speaker == Speaker::User {
            self.latency_ms = None;
            self.latency_source = None;
            return self;
        }
        // What somebody else has said is not answered by what the caller hears.
        let is_aside = self.is_marked(ASIDE);
        let is_asked =
            |before: &&Predecessor| before.speaker == Speaker::User && before.is_aside == is_aside;
        let Some(user) = before.filter(is_asked) else {
            return self;
        };
        self.answers_user = true;
        self.stt_ms = self.stt_ms.or(user.stt_ms);
        self.endpointing_ms = self.endpointing_ms.or(user.endpointing_ms);
        adopt(
            &mut self.extra,
            "eouProbability",
            user.eou_probability.map(Value::from),
        );
        adopt_member(
            &mut self.extra,
            "providers",
            "stt",
            user.stt_provider.as_deref(),
        );
        adopt_member(&mut self.extra, "models", "stt", user.stt_model.as_deref());
        // Who failed and said nothing has answered nothing.
        let is_silent = self.failed && self.text.is_none();
        if is_silent && !self.extra.contains_key("firstAudioMs") && self.latency_ms.is_none() {
            return self;
        }
        match self.gap_ms(user) {
            // An answer that began before the user ended is an overlap, whatever anybody measured.
            Some(gap_ms) if gap_ms < 0.0 => (self.latency_ms, self.latency_source) = (None, None),
            _ if self.latency_ms.is_some() || self.cancelled || self.is_unheard() => {}
            Some(gap_ms) => {
                (self.latency_ms, self.latency_source) =
                    (Some(gap_ms), Some(LatencySource::Derived));
            }
            None => {
                self.latency_ms = self.summed_ms(tools_ms);
                self.latency_source = self.latency_ms.map(|_| LatencySource::Summed);
            }
        }
        self
    }

    /// Whether the latency may have to be summed up from stages and tools, whoever spoke before.
    pub fn is_summable(&self) -> bool {
        let may_be = !self.cancelled && !self.is_unheard();
        self.speaker == Speaker::Agent && self.latency_ms.is_none() && may_be
    }

    /// An answer that failed before anything of it was heard, or said nothing: nobody can say how long it took.
    fn is_unheard(&self) -> bool {
        let is_silent = self.text.as_ref().is_none_or(String::is_empty);
        let is_none = |name: &str| self.extra.get(name).and_then(Value::as_f64) == Some(0.0);
        let was_played = !is_none("playedMs") && !is_none("audioMs");
        let says_nothing = self.text.as_deref() == Some("") && self.tts_ms.is_none();
        let is_voiceless = says_nothing || self.failed && is_silent;
        !was_played || is_voiceless && !self.extra.contains_key("firstAudioMs")
    }

    /// Whether its start is its place among the others, and not when it was heard.
    pub fn is_untimed(&self) -> bool {
        self.is_marked(UNTIMED)
    }

    /// Whether the user wrote it: nobody heard them, and nobody knows how long they took.
    pub fn is_typed(&self) -> bool {
        self.is_marked(TYPED)
    }

    /// Which of the call's agents spoke, if that is told.
    pub fn agent(&self) -> Option<&str> {
        self.extra.get("metadata")?.get(AGENT)?.as_str()
    }

    fn is_marked(&self, mark: &str) -> bool {
        is_marked(&self.extra, mark)
    }

    /// From the user's end to the first that is heard of the answer.
    fn gap_ms(&self, user: &Predecessor) -> Option<f64> {
        // Of an answer that failed nothing was heard, unless it says when.
        let is_told = !self.failed && !self.is_unheard() && !self.is_untimed();
        let start_ms = self.start_ms.filter(|_| is_told);
        let first_audio_ms = first_audio_ms(&self.extra).or(start_ms.map(f64::from));
        Some(first_audio_ms? - f64::from(user.end_ms?))
    }

    /// Whether something that ran from then on was waited for: nothing is that began when the answer was heard
    /// already.
    pub fn waits_for(&self, start_ms: f64) -> bool {
        begins_unheard(&self.extra, start_ms)
    }

    /// Where several generations made what was heard first: from the first one's start to the first token of
    /// the last, which is the way through all of them and the tools in between.
    pub fn generations_ms(&self) -> Option<(f64, f64)> {
        let calls: Vec<&Value> = waited_for(&self.extra).collect();
        let start = calls.first()?.get("startMs")?.as_f64()?;
        let (last, _) = counted(calls.iter().copied(), "firstTokenMs").last()?;
        let first_token = last.get("firstTokenMs")?.as_f64()?;
        (calls.len() >= 2 && start < first_token).then_some((start, first_token))
    }

    /// The sum of all that lies between the user's end and what is heard of the answer; `tools_ms` is the
    /// time of tools outside of [`Self::generations_ms`].
    fn summed_ms(&self, tools_ms: f64) -> Option<f64> {
        if self.stt_ms.is_none() && self.endpointing_ms.is_none() {
            return None;
        }
        let before_llm = self.stt_ms.unwrap_or_default() + self.endpointing_ms.unwrap_or_default();
        let llm = match self.generations_ms() {
            Some((start, first_token)) => first_token - start,
            None => self.llm_ms?,
        };
        let beside = BESIDE_STAGES.iter().filter_map(|name| {
            let ms = self.extra.get(*name)?.as_f64()?;
            (ms > 0.0).then_some(ms)
        });
        let beside: f64 = beside.sum();
        Some(before_llm + llm + self.tts_ms? + tools_ms + beside).filter(|ms| *ms > 0.0)
    }

    /// What this (resolved) turn adds to its session's statistics. A cancelled generation says
    /// nothing about how fast a stage is.
    pub fn measures(&self) -> Vec<Measure> {
        let amounts = price::amounts(self);
        if self.speaker == Speaker::User || self.cancelled {
            return amounts;
        }
        let mut measures = Vec::from_iter(self.measure(Stage::Stt, "stt", self.stt_ms));
        measures.extend(Measure::of(
            Stage::Endpointing,
            None,
            None,
            self.endpointing_ms,
        ));
        measures.extend(self.timed(&Timed {
            name: "llm",
            calls: "llmCalls",
            first: (Stage::Llm, "firstTokenMs", self.llm_ms),
            whole: (Stage::LlmWhole, "endMs", self.llm_total_ms),
        }));
        measures.extend(self.timed(&Timed {
            name: "tts",
            calls: "ttsCalls",
            first: (Stage::Tts, "firstByteMs", self.tts_ms),
            whole: (Stage::TtsWhole, "endMs", self.tts_total_ms),
        }));
        if self.answers_user {
            measures.extend(Measure::of(Stage::Turn, None, None, self.latency_ms));
        }
        measures.extend(amounts);
        measures
    }

    /// By the best that is told of a stage: to its first result, else as a whole; by its calls, else by the turn's own
    /// word.
    fn timed(&self, timed: &Timed<'_>) -> Vec<Measure> {
        for (stage, until, ms) in [timed.first, timed.whole] {
            let by_calls = self.calls(timed, until, stage);
            if !by_calls.is_empty() {
                return by_calls;
            }
            // Of calls that failed, a turn's own word on the whole is the length of what brought nothing.
            let is_of_failures = self.failed || self.extra.contains_key(timed.calls);
            let is_good = stage == timed.first.0 || !is_of_failures;
            if let Some(own) = self.measure(stage, timed.name, ms.filter(|_| is_good)) {
                return vec![own];
            }
        }
        Vec::new()
    }

    /// A stage's measure, of the provider and the model that the turn names for it.
    fn measure(&self, stage: Stage, name: &str, ms: Option<f64>) -> Option<Measure> {
        let [provider, model] = self.names(name);
        Measure::of(stage, provider, model, ms)
    }

    /// Each call's measure. What a call does not name is what the turn names.
    fn calls(&self, timed: &Timed<'_>, until: &str, stage: Stage) -> Vec<Measure> {
        let [provider, model] = self.names(timed.name);
        let measures = counted(listed(&self.extra, timed.calls), until).filter_map(|(call, ms)| {
            let own = |name: &str| call.get(name)?.as_str();
            let (provider, model) = (own("provider").or(provider), own("model").or(model));
            Measure::of(stage, provider, model, Some(ms))
        });
        measures.collect()
    }

    /// Provider and model of a service, as the turn names them.
    fn names(&self, service: &str) -> [Option<&str>; 2] {
        ["providers", "models"].map(|object| self.extra.get(object)?.get(service)?.as_str())
    }
}

/// Where a turn tells how long a stage took: its list of calls, and of the first result and of the whole the moment in
/// a call and the turn's own word.
struct Timed<'a> {
    name: &'a str,
    calls: &'a str,
    first: (Stage, &'a str, Option<f64>),
    whole: (Stage, &'a str, Option<f64>),
}

/// Whether a turn's `metadata` marks it so, `extra` being what has no column of its own.
pub fn is_marked(extra: &Map<String, Value>, mark: &str) -> bool {
    let metadata = extra.get("metadata");
    metadata.and_then(|metadata| metadata.get(mark)) == Some(&Value::Bool(true))
}

fn says_agent(fields: &Map<String, Value>) -> bool {
    [
        "llmMs",
        "llmTotalMs",
        "ttsMs",
        "ttsTotalMs",
        "llmCalls",
        "ttsCalls",
        "latencyMs",
        "playedMs",
    ]
    .iter()
    .any(|name| fields.contains_key(*name))
}

fn member(fields: &Map<String, Value>, object: &str, name: &str) -> Option<String> {
    Some(fields.get(object)?.get(name)?.as_str()?.to_owned())
}

fn adopt(fields: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value
        && !fields.contains_key(name)
    {
        fields.insert(name.to_owned(), value);
    }
}

fn adopt_member(fields: &mut Map<String, Value>, object: &str, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    let slot = fields
        .entry(object)
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(members) = slot {
        members.entry(name).or_insert_with(|| Value::from(value));
    }
}

/// The calls of a stage.
fn listed<'a>(
    fields: &'a Map<String, Value>,
    list: &str,
) -> impl Iterator<Item = &'a Value> + use<'a> {
    let items = fields.get(list).and_then(Value::as_array);
    items.map(Vec::as_slice).unwrap_or_default().iter()
}

fn first_audio_ms(fields: &Map<String, Value>) -> Option<f64> {
    fields.get("firstAudioMs").and_then(Value::as_f64)
}

/// Whether nothing of an answer had been heard yet, as far as is known.
fn begins_unheard(fields: &Map<String, Value>, start_ms: f64) -> bool {
    first_audio_ms(fields).is_none_or(|heard_ms| start_ms < heard_ms)
}

/// The generations that an answer was waited for: one that began when it was heard already, behind a tool say,
/// has kept nobody waiting for its first word, nor has one that was made beside those of the answer.
pub fn waited_for(fields: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    listed(fields, "llmCalls").filter(|call| {
        let start_ms = call.get("startMs").and_then(Value::as_f64);
        !is_beside(call) && start_ms.is_none_or(|start_ms| begins_unheard(fields, start_ms))
    })
}

/// Whether a call was made beside those of the answer.
fn is_beside(call: &Value) -> bool {
    call.get("beside") == Some(&Value::Bool(true))
}

/// The calls that count: neither cancelled nor failed, with both times.
fn counted<'a>(
    calls: impl Iterator<Item = &'a Value>,
    first: &str,
) -> impl Iterator<Item = (&'a Value, f64)> {
    calls.filter_map(move |call| {
        let cancelled = call
            .get("cancelled")
            .and_then(Value::as_bool)
            .unwrap_or_default();
        let failed = call
            .get("error")
            .is_some_and(|error| !error.is_null() && error != &Value::Bool(false));
        let ms = call.get(first)?.as_f64()? - call.get("startMs")?.as_f64()?;
        (!cancelled && !failed && ms > 0.0).then_some((call, ms))
    })
}

/// The generation that produced what was heard first is the last that was waited for; those before it called
/// tools.
fn last_first_token_ms(fields: &Map<String, Value>) -> Option<f64> {
    counted(waited_for(fields), "firstTokenMs")
        .last()
        .map(|(_, ms)| ms)
}

/// What the caller hears first is the first synthesis.
fn first_byte_ms(fields: &Map<String, Value>) -> Option<f64> {
    let own = listed(fields, "ttsCalls").filter(|call| !is_beside(call));
    counted(own, "firstByteMs").next().map(|(_, ms)| ms)
}

/// How much of something a turn used, or a session beside its turns: as it says itself, else as its generations say; none
/// where neither does.
pub fn used(fields: &Map<String, Value>, name: &str) -> Option<f64> {
    let count = |value: &Value| value.get(name).and_then(Value::as_f64);
    fields.get("usage").and_then(count).or_else(|| {
        let calls = fields.get("llmCalls")?.as_array()?;
        calls.iter().filter_map(count).reduce(|a, b| a + b)
    })
}

fn tokens(fields: &Map<String, Value>, name: &str) -> i64 {
    used(fields, name).unwrap_or_default() as i64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn turn(fields: Value) -> Turn {
        let fields = fields.as_object().cloned().unwrap();
        Turn::derive(
            1,
            &[&Fact {
                source: crate::domain::event::Source::Event,
                kind: crate::domain::event::Kind::Turn,
                id: "t".to_owned(),
                at: chrono::DateTime::UNIX_EPOCH,
                hash: 0,
                fields: fields.into(),
            }],
        )
    }

    fn answer(fields: Value, user: Value, tools_ms: f64) -> (Option<f64>, Option<LatencySource>) {
        let before = turn(user).as_predecessor();
        let answer = turn(fields).resolve(Some(&before), tools_ms);
        (answer.latency_ms, answer.latency_source)
    }

    #[test]
    fn a_latency_is_measured_else_derived_else_summed() {
        let user = json!({"speaker": "user", "endMs": 1000, "sttMs": 100});
        let of = |fields: Value| answer(fields, user.clone(), 0.0);
        assert_eq!(
            of(json!({"speaker": "agent", "startMs": 1700, "latencyMs": 650})),
            (Some(650.0), Some(LatencySource::Measured))
        );
        // Zero stated is nothing measured; zero between the turns is.
        assert_eq!(
            of(json!({"speaker": "agent", "startMs": 1700, "latencyMs": 0})),
            (Some(700.0), Some(LatencySource::Derived))
        );
        assert_eq!(
            of(json!({"speaker": "agent", "startMs": 1000})),
            (Some(0.0), Some(LatencySource::Derived))
        );
        // An overlap has none, whatever is stated.
        assert_eq!(
            of(json!({"speaker": "agent", "startMs": 900, "latencyMs": 650})),
            (None, None)
        );
        assert_eq!(
            of(json!({"speaker": "agent", "llmMs": 300, "ttsMs": 50})),
            (Some(450.0), Some(LatencySource::Summed))
        );
        // Who said nothing was not heard after so long, unless something was.
        let nothing = json!({"speaker": "agent", "startMs": 1700, "text": ""});
        assert_eq!(of(nothing.clone()), (None, None));
        for (name, value) in [("firstAudioMs", 1700), ("ttsMs", 50)] {
            let mut heard = nothing.clone();
            heard[name] = json!(value);
            assert_eq!(of(heard).0, Some(700.0));
        }
        // What only has its place began nobody knows when.
        let untimed = json!({"speaker": "agent", "startMs": 1700, "metadata": {UNTIMED: true}});
        assert_eq!(of(untimed.clone()), (None, None));
        let mut measured = untimed;
        measured["latencyMs"] = json!(650);
        assert_eq!(of(measured), (Some(650.0), Some(LatencySource::Measured)));
    }

    #[test]
    fn what_is_said_aside_is_answered_aside() {
        let user = |aside: bool| json!({"speaker": "user", "endMs": 1000, "sttMs": 100, "metadata": {ASIDE: aside}});
        let agent =
            |aside: bool| json!({"speaker": "agent", "startMs": 1700, "metadata": {ASIDE: aside}});
        for aside in [false, true] {
            assert_eq!(answer(agent(aside), user(aside), 0.0).0, Some(700.0));
            assert_eq!(answer(agent(aside), user(!aside), 0.0), (None, None));
        }
    }

    #[test]
    fn what_began_when_the_answer_was_heard_was_not_waited_for() {
        let fields = json!({"speaker": "agent", "firstAudioMs": 2000, "llmMs": 4000, "llmCalls": [
            {"startMs": 1200, "firstTokenMs": 1500},
            {"startMs": 5000, "firstTokenMs": 9000},
        ]});
        let told = turn(fields);
        assert_eq!(told.llm_ms, Some(300.0));
        assert_eq!(told.generations_ms(), None, "one made what was heard");
        assert!(told.waits_for(1500.0) && !told.waits_for(2000.0));
    }

    #[test]
    fn what_another_model_made_beside_the_answer_was_not_waited_for() {
        let calls = |is_beside: bool| {
            json!({"speaker": "agent", "firstAudioMs": 2000, "llmCalls": [
                {"startMs": 1200, "firstTokenMs": 1500, "promptTokens": 7},
                {"startMs": 1201, "firstTokenMs": 1900, "promptTokens": 5, "beside": is_beside},
            ]})
        };
        let told = turn(calls(true));
        assert_eq!(told.llm_ms, Some(300.0));
        assert_eq!(told.generations_ms(), None);
        assert_eq!(told.prompt_tokens, 12, "it was used all the same");
        assert_eq!(turn(calls(false)).llm_ms, Some(699.0));
    }

    #[test]
    fn several_generations_count_from_the_first_start_to_the_last_first_token() {
        let user = json!({"speaker": "user", "endMs": 1000, "sttMs": 100});
        let fields = json!({"speaker": "agent", "ttsMs": 50, "llmCalls": [
            {"startMs": 1200, "firstTokenMs": 1500},
            {"startMs": 2500, "firstTokenMs": 2900},
            {"startMs": 2600, "firstTokenMs": 3900, "cancelled": true},
        ]});
        assert_eq!(
            turn(fields.clone()).generations_ms(),
            Some((1200.0, 2900.0))
        );
        assert_eq!(answer(fields, user, 0.0).0, Some(100.0 + 1700.0 + 50.0));
    }
}
