//! A session's own state, derived from the facts that speak of the session as a whole.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::domain::assemble::Counters;
use crate::domain::digest::Stage;
use crate::domain::event::Source;
use crate::domain::fact;
use crate::domain::fact::Fact;
use crate::domain::fact::Taker;
use crate::domain::precedence;
use crate::domain::turn;

/// The states of a call. The last four are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Queued,
    Ringing,
    Active,
    Completed,
    Failed,
    Declined,
    Missed,
}

impl Status {
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Ringing,
        Self::Active,
        Self::Completed,
        Self::Failed,
        Self::Declined,
        Self::Missed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Ringing => "ringing",
            Self::Active => "active",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Declined => "declined",
            Self::Missed => "missed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Ringing | Self::Active)
    }
}

/// Why a session ended whose end nobody reported.
pub const NO_END_SEEN: &str = "no_end_seen";

/// The earliest and latest moment that any fact of a session speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
}

impl Activity {
    pub fn of(fact: &Fact) -> Self {
        let (first_at, last_at) = fact.span();
        Self { first_at, last_at }
    }

    pub fn and(self, other: Self) -> Self {
        Self {
            first_at: self.first_at.min(other.first_at),
            last_at: self.last_at.max(other.last_at),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub status: Status,
    pub agent_key: Option<String>,
    pub agent_version: Option<String>,
    pub channel: Option<String>,
    pub started_at: DateTime<Utc>,
    pub answered_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub end_reason: Option<String>,
    pub ended_by: Option<String>,
    pub answered_by: Option<String>,
    pub call_sid: Option<String>,
    pub stream_id: Option<String>,
    pub from_number: Option<String>,
    pub to_number: Option<String>,
    pub workflow: Workflow,
    pub campaign: Option<String>,
    pub language: Option<String>,
    pub voice: Option<String>,
    pub summary: Option<String>,
    pub tags: Vec<String>,
    pub providers: Providers,
    pub cost_micro_usd: Option<i64>,
    pub extra: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workflow {
    pub id: Option<String>,
    pub slug: Option<String>,
    pub name: Option<String>,
}

/// The session's usual providers: what a measurement without one of its own is counted under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Providers {
    pub stt: Option<String>,
    pub llm: Option<String>,
    pub tts: Option<String>,
}

impl Providers {
    pub fn of(&self, stage: Stage) -> Option<&String> {
        match stage {
            Stage::Stt => self.stt.as_ref(),
            Stage::Llm => self.llm.as_ref(),
            Stage::Tts => self.tts.as_ref(),
            _ => None,
        }
    }
}

impl Session {
    /// The session as the facts about it say. `activity` is that of all facts but time-outs.
    pub fn derive(facts: &[&Fact], activity: Activity) -> Self {
        let mut stated: Vec<&Fact> = facts
            .iter()
            .copied()
            .filter(|f| f.source != Source::Timeout)
            .collect();
        fact::order(&mut stated);
        let carrier = Carrier::of(&stated);
        let mut fields = Taker(merged(&stated, carrier.as_ref()));
        let best_start = fields.time("startedAt").unwrap_or(activity.first_at);
        let started_at = carrier
            .as_ref()
            .map_or(best_start, |carrier| carrier.start(best_start));
        // A call is not answered before it starts, whatever two clocks say: but the carrier's own word on the
        // answer is what is paid for.
        let is_carriers = carrier
            .as_ref()
            .is_some_and(|carrier| carrier.is_same_clock && carrier.tells("answeredAt"));
        let answered_at = fields.time("answeredAt");
        let answered_at = answered_at.map(|at| match is_carriers {
            true => at,
            false => at.max(started_at),
        });
        let end = End::derive(
            facts,
            &stated,
            fields.time("endedAt"),
            answered_at.is_some(),
            activity,
        );
        fields.0.remove("status");
        let stated_reason = fields.text("endReason");
        let workflow = Workflow {
            id: fields.member("workflow", "id"),
            slug: fields.member("workflow", "slug"),
            name: fields.member("workflow", "name"),
        };
        fields.0.remove("workflow");
        let providers = Providers {
            stt: fields.member("providers", "stt"),
            llm: fields.member("providers", "llm"),
            tts: fields.member("providers", "tts"),
        };
        Self {
            status: end.status,
            agent_key: fields.text("agentId"),
            agent_version: fields.text("agentVersion"),
            channel: fields.text("channel"),
            started_at,
            answered_at,
            ended_at: end.at,
            end_reason: if end.timed_out {
                Some(NO_END_SEEN.to_owned())
            } else {
                stated_reason
            },
            ended_by: fields.text("endedBy"),
            answered_by: fields.text("answeredBy"),
            call_sid: fields.text("callSid"),
            stream_id: fields.text("streamId"),
            from_number: fields.text("from"),
            to_number: fields.text("to"),
            workflow,
            campaign: fields.text("campaign"),
            language: fields.text("language"),
            voice: fields.text("voice"),
            summary: fields.text("summary"),
            tags: fields.texts("tags"),
            providers,
            cost_micro_usd: fields
                .number("costUsd")
                .map(|usd| (usd * 1e6).round() as i64),
            extra: fields.0,
        }
    }

    /// The model that the session says it uses for a stage.
    pub fn model_of(&self, stage: Stage) -> Option<&str> {
        let name = match stage {
            Stage::Stt => "stt",
            Stage::Llm => "llm",
            Stage::Tts => "tts",
            _ => return None,
        };
        self.extra.get("models")?.get(name)?.as_str()
    }

    /// Tokens read and written: each part as the session says, else as its turns say, and its generations beside them.
    pub fn total_tokens(&self, turns: &Counters) -> i64 {
        let whole = |name: &str, of_turns: i64| {
            let own = turn::used(&self.extra, name).unwrap_or_default() as i64;
            let is_stated = self.states_use_of(name);
            own.saturating_add(if is_stated { 0 } else { of_turns })
        };
        let written = turns.turn_tokens.saturating_sub(turns.turn_prompt_tokens);
        let prompt = whole("promptTokens", turns.turn_prompt_tokens);
        prompt.saturating_add(whole("completionTokens", written))
    }

    /// Whether the session itself says how much of something it used as a whole.
    pub fn states_use_of(&self, name: &str) -> bool {
        let usage = self.extra.get("usage");
        usage.is_some_and(|usage| usage.get(name).is_some_and(Value::is_number))
    }

    /// Length of the conversation in ms, from the answer where one is known. None while it runs, or
    /// where the sources' times contradict each other.
    pub fn duration_ms(&self) -> Option<i64> {
        let from = self.answered_at.unwrap_or(self.started_at);
        Some((self.ended_at? - from).num_milliseconds()).filter(|ms| *ms >= 0)
    }
}

/// How much later than the session begins those of its sources begin to count whose offsets are from the
/// start that they know themselves. None but for what a carrier saw before them.
pub fn late_by(facts: &[&Fact]) -> TimeDelta {
    let told = facts.iter().copied();
    let mut stated: Vec<&Fact> = told.filter(|f| f.source != Source::Timeout).collect();
    fact::order(&mut stated);
    let late = Carrier::of(&stated).and_then(|carrier| {
        let own_start = fact::time(&carrier.others, "startedAt")?;
        Some(own_start - carrier.start(own_start))
    });
    late.unwrap_or_default()
}

/// Each field from the best source, what a carrier knows better from the carrier.
fn merged(ordered: &[&Fact], carrier: Option<&Carrier>) -> Map<String, Value> {
    let mut merged = fact::merge(ordered);
    let Some(carrier) = carrier else {
        return merged;
    };
    let best = |f: &&&Fact| precedence::is_carrier(f.source) || precedence::is_first_hand(f.source);
    let better: Vec<&Fact> = ordered.iter().filter(best).copied().collect();
    let mut better = fact::merge(&better);
    if !carrier.is_same_clock {
        CARRIER_TIMES
            .iter()
            .for_each(|name| drop(better.remove(*name)));
        // Nor is an answer by the one clock the beginning of a conversation by the other.
        if !carrier.others.contains_key("answeredAt") {
            merged.remove("answeredAt");
        }
    }
    for name in precedence::CARRIER_FIELDS {
        if let Some(value) = better.remove(name) {
            merged.insert(name.to_owned(), value);
        }
    }
    merged
}

/// What a carrier knows better and is a time.
const CARRIER_TIMES: [&str; 2] = ["answeredAt", "endedAt"];
/// Clocks of two sources that differ by more do not tell of one call alike.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(10);

/// What a carrier tells of a call's times, beside what the others tell.
struct Carrier {
    said: Map<String, Value>,
    /// The first moment that it speaks of: it knows the call from the attempt to connect.
    from: DateTime<Utc>,
    others: Map<String, Value>,
    /// Whether native ingest says itself when the session starts: then it does.
    is_start_given: bool,
    is_same_clock: bool,
}

impl Carrier {
    /// None where no carrier speaks.
    fn of(ordered: &[&Fact]) -> Option<Self> {
        let (own, others): (Vec<&Fact>, Vec<&Fact>) = ordered
            .iter()
            .partition(|f| precedence::is_carrier(f.source));
        let heard = own.iter().map(|f| Activity::of(f)).reduce(Activity::and)?;
        let native = others
            .iter()
            .filter(|f| precedence::is_first_hand(f.source));
        let native = fact::merge(&native.copied().collect::<Vec<_>>());
        let others = fact::merge(&others);
        Some(Self {
            said: fact::merge(&own),
            from: heard.first_at,
            is_start_given: native.contains_key("startedAt"),
            is_same_clock: is_same_clock(heard, &others),
            others,
        })
    }

    fn tells(&self, name: &str) -> bool {
        self.said.contains_key(name)
    }

    /// When the session starts, of which the best source says this start.
    fn start(&self, best: DateTime<Utc>) -> DateTime<Utc> {
        match self.is_same_clock && !self.is_start_given {
            true => best.min(self.from),
            false => best,
        }
    }
}

/// Whether a carrier was heard of a call while, by what the others say, it was: a duration between two
/// clocks that are hours apart would be none. An agent may join late and leave early.
fn is_same_clock(carrier: Activity, others: &Map<String, Value>) -> bool {
    let Some(start) = fact::time(others, "startedAt") else {
        return true;
    };
    let end = fact::time(others, "endedAt");
    carrier.last_at >= start - CLOCKS_DIFFER
        && end.is_none_or(|end| carrier.first_at <= end + CLOCKS_DIFFER)
}

/// How a session stands: which state, since when it is over.
struct End {
    status: Status,
    at: Option<DateTime<Utc>>,
    timed_out: bool,
}

impl End {
    /// Final states beat others, a failure that an agent reports beats other ends, a carrier's word beats
    /// the rest, then the latest word counts, before what a whole call that names no state implies. A time-out
    /// is the weakest: it holds only as long as nothing later is known.
    fn derive(
        facts: &[&Fact],
        stated: &[&Fact],
        ended_at: Option<DateTime<Utc>>,
        answered: bool,
        activity: Activity,
    ) -> Self {
        // A null takes back what was said before it, final words too.
        let is_taken_back = |f: &&Fact| f.fields.get("status").is_some_and(Value::is_null);
        let since = stated.iter().rposition(is_taken_back).unwrap_or_default();
        let words = || {
            stated[since..].iter().filter_map(|f| {
                let status = Status::parse(f.fields.get("status")?.as_str()?)?;
                Some((status, f.at, *f))
            })
        };
        // max_by_key takes the last of equals, and `stated` is in overruling order.
        let last_final = words()
            .filter(|(s, ..)| s.is_final())
            .max_by_key(|(s, at, f)| {
                let is_carrier = precedence::is_carrier(f.source);
                let is_failure = *s == Status::Failed && !is_carrier;
                (is_failure, is_carrier, !f.implies("status"), *at)
            });
        if let Some((status, said_at, f)) = last_final {
            // What tells a whole call afterwards is dated by what it tells or by when it was written, and neither need
            // be the end.
            let said_at = (!f.tells_afterwards()).then_some(said_at);
            return Self {
                status,
                at: ended_at.or(said_at),
                timed_out: false,
            };
        }
        if ended_at.is_some() {
            return Self {
                status: Status::Completed,
                at: ended_at,
                timed_out: false,
            };
        }
        let status = words()
            .max_by_key(|(_, at, _)| *at)
            .map_or(Status::Active, |(status, ..)| status);
        let silent = facts
            .iter()
            .any(|f| f.source == Source::Timeout && f.at >= activity.last_at);
        if !silent {
            return Self {
                status,
                at: None,
                timed_out: false,
            };
        }
        let status = if status == Status::Active || answered {
            Status::Completed
        } else {
            Status::Missed
        };
        Self {
            status,
            at: Some(activity.last_at),
            timed_out: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::event::Kind;

    fn fact(source: Source, second: i64, fields: Value) -> Fact {
        Fact {
            source,
            kind: Kind::Session,
            id: second.to_string(),
            at: DateTime::UNIX_EPOCH + TimeDelta::seconds(second),
            hash: second,
            fields: fields.as_object().cloned().unwrap().into(),
        }
    }

    fn derived(facts: &[Fact]) -> Session {
        let told = facts.iter().filter(|f| f.source != Source::Timeout);
        let activity = told.map(Activity::of).reduce(Activity::and).unwrap();
        Session::derive(&facts.iter().collect::<Vec<_>>(), activity)
    }

    #[test]
    fn a_null_takes_back_a_status_be_it_final() {
        let said = |second, status: Value| fact(Source::Event, second, json!({"status": status}));
        let failed = [said(1, json!("active")), said(2, json!("failed"))];
        assert_eq!(derived(&failed).status, Status::Failed);
        let [active, failed] = failed;
        let back = [active, failed, said(3, Value::Null)];
        assert_eq!(derived(&back).status, Status::Active);
        assert_eq!(derived(&back).ended_at, None);
        let [active, failed, null] = back;
        let again = [active, failed, null, said(4, json!("completed"))];
        assert_eq!(derived(&again).status, Status::Completed);
    }

    #[test]
    fn a_call_that_was_answered_is_not_missed() {
        let timeout = || fact(Source::Timeout, 100, json!({}));
        let ringing = fact(Source::Event, 1, json!({"status": "ringing"}));
        assert_eq!(
            derived(&[ringing.clone(), timeout()]).status,
            Status::Missed
        );
        let answered = fact(
            Source::Event,
            2,
            json!({"answeredAt": "1970-01-01T00:00:02Z"}),
        );
        let both = derived(&[ringing, answered, timeout()]);
        assert_eq!(both.status, Status::Completed);
    }

    fn time(second: i64) -> String {
        (DateTime::UNIX_EPOCH + TimeDelta::seconds(second)).to_rfc3339()
    }

    /// A carrier's callbacks: it rings, somebody answers, it ends.
    fn carried() -> [Fact; 3] {
        let twilio = |second, fields| fact(Source::Twilio, second, fields);
        [
            twilio(1000, json!({"status": "ringing"})),
            twilio(1005, json!({"status": "active", "answeredAt": time(1005)})),
            twilio(1066, json!({"status": "completed", "endedAt": time(1066)})),
        ]
    }

    fn with_carrier(other: Fact) -> (i64, Option<i64>, Option<i64>, i64) {
        let facts: Vec<Fact> = carried().into_iter().chain([other]).collect();
        let session = derived(&facts);
        let second = |at: DateTime<Utc>| at.timestamp();
        (
            second(session.started_at),
            session.answered_at.map(second),
            session.duration_ms(),
            late_by(&facts.iter().collect::<Vec<_>>()).num_seconds(),
        )
    }

    #[test]
    fn a_call_starts_where_its_carrier_saw_it_start_whoever_joins_later() {
        for source in [Source::Trace, Source::Vapi, Source::LivekitWebhook] {
            let fields = json!({"startedAt": time(1009), "endedAt": time(1060)});
            let seen = with_carrier(fact(source, 1060, fields));
            assert_eq!(seen, (1000, Some(1005), Some(61_000), 9), "{source:?}");
        }
        let early = json!({"startedAt": time(990), "endedAt": time(1070)});
        let seen = with_carrier(fact(Source::Trace, 1070, early));
        assert_eq!(seen, (990, Some(1005), Some(61_000), 0));
        // Who names the call's start himself means what he says; the answer stays the carrier's.
        let own = json!({"startedAt": time(1009)});
        let seen = with_carrier(fact(Source::Event, 1009, own));
        assert_eq!(seen, (1009, Some(1005), Some(61_000), 0));
    }

    #[test]
    fn an_agent_may_join_late_and_leave_early_and_a_clock_may_be_wrong() {
        let twilio = |second, fields| fact(Source::Twilio, second, fields);
        let carried = [
            twilio(0, json!({"status": "active", "answeredAt": time(0)})),
            twilio(3600, json!({"status": "completed", "endedAt": time(3600)})),
        ];
        let with = |from, to| {
            let fields = json!({"startedAt": time(from), "endedAt": time(to)});
            let agent = fact(Source::Trace, to, fields);
            let facts: Vec<Fact> = carried.iter().cloned().chain([agent]).collect();
            let session = derived(&facts);
            (session.started_at.timestamp(), session.duration_ms())
        };
        // Behind a queue of half an hour, and before somebody else took over.
        assert_eq!(with(1800, 2400), (0, Some(3_600_000)));
        let hours = 5 * 3600;
        assert_eq!(with(hours, hours + 60), (hours, Some(60_000)));
        assert_eq!(with(-hours, 60 - hours), (-hours, Some(60_000)));
    }

    #[test]
    fn tokens_are_stated_or_summed_part_by_part() {
        let session = derived(&[fact(
            Source::Event,
            1,
            json!({"usage": {"promptTokens": 100}}),
        )]);
        let turns = Counters {
            turn_tokens: 50,
            turn_prompt_tokens: 30,
            ..Counters::default()
        };
        assert_eq!(session.total_tokens(&turns), 120);
    }
}
