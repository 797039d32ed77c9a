//! One generated call as the document that `POST /v1/ingest/calls` takes.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer;
use super::cast::{AGENTS, Agent, ROLLED_OUT, Version};
use super::dialogue::Dialogue;
use super::distributions::{CONNECTING, RINGING};
use super::script::{ASIDES, Blanks, CLOSING, VOICEMAIL_GREETING, by_share, one_of};
use super::{Detail, GENERATOR, Plan, TAG};
use super::{outcome, rhythm, traced};
use outcome::Outcome;

/// Calls are brought to an end after so long.
const TALK_MAX_MS: i64 = 12 * 60_000;
const RINGING_MAX_MS: i64 = 45_000;
/// Of a hundred detailed calls, how many have the times of their words; assumed.
const WITH_WORDS: u32 = 20;
/// Of a hundred exchanges, how many leave the script; assumed.
const ASIDE: u32 = 12;

/// A call with the parts that are the same for every one of its outcomes.
pub struct Call<'a> {
    pub agent: &'static Agent,
    pub channel: &'static str,
    pub started_at: DateTime<Utc>,
    /// When it was answered, in ms from the start.
    pub answered_ms: i64,
    pub session: Value,
    pub talk: Dialogue<'a>,
}

/// A call that is over.
pub fn finished(plan: &Plan, id: Uuid, started_at: DateTime<Utc>) -> Value {
    let mut call = begin(plan, id, started_at);
    let outcome = Outcome::draw(&mut call.talk.rng, call.channel);
    outcome.play(&mut call);
    let end_ms = call.talk.at_ms;
    call.session["endedAt"] = time(started_at, end_ms);
    let mut document = call.document();
    if plan.detail == Detail::Full {
        outcome::review(&mut document, id);
        traced::add_spans(&mut document, id, started_at);
    }
    document
}

/// A call of which so much has happened as by `now`. It grows when asked for again later.
pub fn ongoing(plan: &Plan, id: Uuid, started_at: DateTime<Utc>, now: DateTime<Utc>) -> Value {
    let elapsed_ms = (now - started_at).num_milliseconds();
    let mut call = begin(plan, id, started_at);
    if elapsed_ms < call.answered_ms {
        call.session["status"] = "ringing".into();
        return call.document();
    }
    call.session["status"] = "active".into();
    call.answer();
    while call.talk.at_ms < elapsed_ms {
        call.converse(call.agent.script.steps.len());
    }
    let mut document = call.document();
    forget_after(&mut document, elapsed_ms);
    if plan.detail == Detail::Full {
        traced::add_spans(&mut document, id, started_at);
    }
    document
}

/// A call that nobody has answered yet.
pub fn waiting(plan: &Plan, id: Uuid, started_at: DateTime<Utc>, status: &str) -> Value {
    let mut call = begin(plan, id, started_at);
    call.session["status"] = status.into();
    call.document()
}

fn begin(plan: &Plan, id: Uuid, started_at: DateTime<Utc>) -> Call<'static> {
    let mut rng = StdRng::seed_from_u64(id.as_u64_pair().0);
    let agent = by_share(&mut rng, &AGENTS, |agent| agent.share);
    let (channel, _) = *by_share(&mut rng, agent.channels, |(_, share)| *share);
    let is_rolled_out = rng.random_ratio(ROLLED_OUT, 100);
    let version = &agent.versions[usize::from(is_rolled_out)];
    let blanks = Blanks::draw(&mut rng);
    let answered_ms = match channel {
        "web" => CONNECTING.draw(&mut rng),
        _ => RINGING.draw(&mut rng).min(RINGING_MAX_MS),
    };
    let session = session(&mut rng, (agent, version, channel), id, started_at);
    let is_full = plan.detail == Detail::Full;
    let talk = Dialogue {
        has_words: is_full && rng.random_ratio(WITH_WORDS, 100),
        context_tokens: rng.random_range(700..1_500),
        is_bad_day: rhythm::is_bad_day(plan.seed, started_at.date_naive()),
        detail: plan.detail,
        version,
        blanks,
        at_ms: 0,
        cut_in_ms: None,
        turns: Vec::new(),
        tool_calls: Vec::new(),
        interruptions: Vec::new(),
        errors: Vec::new(),
        rng,
    };
    Call {
        agent,
        channel,
        started_at,
        answered_ms,
        session,
        talk,
    }
}

fn session(
    rng: &mut StdRng,
    (agent, version, channel): (&Agent, &Version, &str),
    id: Uuid,
    started_at: DateTime<Utc>,
) -> Value {
    let (slug, name) = agent.workflow;
    let caller = format!("+1555010{:04}", rng.random_range(1_000..10_000));
    let mut session = json!({
        "sessionId": id, "startedAt": time(started_at, 0), "channel": channel,
        "agentId": agent.id, "agentVersion": version.id, "language": "en-US",
        "workflow": {"id": Uuid::new_v5(&Uuid::NAMESPACE_URL, slug.as_bytes()), "slug": slug, "name": name},
        "providers": {"stt": version.stt.provider, "llm": version.llm.provider, "tts": version.tts.provider},
        "models": {"stt": version.stt.name, "llm": version.llm.name, "tts": version.tts.name},
        "voice": version.voice, "configuredEndpointingMs": version.configured_endpointing_ms,
        "tags": [TAG], "metadata": {"generated": true, "generator": GENERATOR},
    });
    if channel == "web" {
        session["transport"] = "webrtc".into();
        return session;
    }
    let (from, to) = match channel {
        "outbound" => (agent.number, caller.as_str()),
        _ => (caller.as_str(), agent.number),
    };
    session["from"] = from.into();
    session["to"] = to.into();
    session["transport"] = "sip".into();
    session["callSid"] = format!("CA{}", id.simple()).into();
    if channel == "outbound" {
        session["campaign"] = (*one_of(rng, agent.campaigns)).into();
    }
    session
}

impl Call<'_> {
    /// Someone answers, and the agent greets.
    pub fn answer(&mut self) {
        self.pick_up();
        let greeting = one_of(&mut self.talk.rng, self.agent.script.greetings);
        self.talk.greet(greeting);
    }

    /// A machine answers, and is given a message.
    pub fn leave_message(&mut self) {
        self.pick_up();
        self.talk.user_says(VOICEMAIL_GREETING);
        answer::give(&mut self.talk, self.agent.script.voicemail, None);
    }

    fn pick_up(&mut self) {
        self.session["connectedAt"] = time(self.started_at, self.answered_ms);
        self.session["answeredAt"] = time(self.started_at, self.answered_ms);
        self.talk.at_ms = self.answered_ms;
    }

    /// So many steps of the script, with something else in between.
    pub fn converse(&mut self, steps: usize) {
        for step in self.agent.script.steps.iter().take(steps) {
            if self.talk.rng.random_ratio(ASIDE, 100) {
                let aside = one_of(&mut self.talk.rng, ASIDES);
                self.talk.exchange(aside);
            }
            self.talk.exchange(step);
            if self.talk.at_ms > TALK_MAX_MS {
                return;
            }
        }
    }

    pub fn say_goodbye(&mut self) {
        self.talk.exchange(&CLOSING);
    }

    fn document(self) -> Value {
        let mut document = json!({"session": self.session});
        for (name, list) in [
            ("turns", self.talk.turns),
            ("toolCalls", self.talk.tool_calls),
            ("interruptions", self.talk.interruptions),
            ("errors", self.talk.errors),
        ] {
            if !list.is_empty() {
                document[name] = list.into();
            }
        }
        document
    }
}

/// Takes out what had not happened by then.
fn forget_after(document: &mut Value, elapsed_ms: i64) {
    for list in ["turns", "toolCalls", "interruptions", "errors"] {
        let Some(items) = document.get_mut(list).and_then(Value::as_array_mut) else {
            continue;
        };
        items.retain(|item| {
            ["endMs", "resumedAtMs", "audioStoppedMs", "atMs"]
                .iter()
                .filter_map(|name| item.get(*name)?.as_i64())
                .all(|ms| ms <= elapsed_ms)
        });
    }
}

/// A time as documents have it, so many ms after the start.
pub fn time(start: DateTime<Utc>, ms: i64) -> Value {
    (start + TimeDelta::milliseconds(ms))
        .to_rfc3339_opts(SecondsFormat::Millis, true)
        .into()
}

#[cfg(test)]
mod tests {
    use crate::domain::ids::TenantId;
    use crate::ingest::native;
    use crate::samples::generate::{Detail, Plan, calls, live};

    use super::*;

    #[test]
    fn the_door_takes_every_call_and_knows_every_field() {
        let now: DateTime<Utc> = "2026-01-19T00:00:00Z".parse().unwrap();
        let tenant = TenantId(Uuid::from_u128(1));
        for detail in [Detail::Full, Detail::Lean] {
            let plan = Plan {
                seed: 5,
                calls_per_day: 150.0,
                detail,
            };
            let finished = calls(&plan, now - TimeDelta::days(10), now);
            for document in finished.chain(live(&plan, now)) {
                let (item, _) = native::call_item(tenant, document.to_string().as_bytes(), now);
                assert!(item.unknown.is_empty(), "{:?}", item.unknown);
                assert!(
                    item.content.is_ok(),
                    "{:?}\n{document:#}",
                    item.content.err()
                );
                assert_eq!(document["session"]["tags"][0], TAG);
                assert_eq!(document["session"]["metadata"]["generated"], true);
            }
        }
    }
}
