//! How generated calls end, and what is said about them afterwards.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Detail;
use super::call::Call;
use super::script::{by_share, one_of};

#[derive(Clone, Copy, PartialEq)]
pub enum Outcome {
    /// Talked to the end.
    Done,
    /// The user hangs up halfway.
    HungUp,
    /// A machine answers and is given a message.
    Voicemail,
    /// A service is away, and the call ends of it.
    Failed,
    /// Nobody answers.
    Missed,
    /// The called person refuses, or talks to someone else.
    Declined,
}

use Outcome::{Declined, Done, Failed, HungUp, Missed, Voicemail};

/// Of a hundred calls; nine of ten are completed. Assumed.
const INBOUND: [(Outcome, u32); 4] = [(Done, 82), (HungUp, 11), (Failed, 3), (Missed, 4)];
const OUTBOUND: [(Outcome, u32); 6] = [
    (Done, 65),
    (HungUp, 10),
    (Voicemail, 7),
    (Failed, 3),
    (Missed, 11),
    (Declined, 4),
];
const WEB: [(Outcome, u32); 3] = [(Done, 78), (HungUp, 18), (Failed, 4)];

/// Of a hundred detailed calls that are completed; assumed.
const SUMMARISED: u32 = 60;
const REVIEWED: u32 = 4;

impl Outcome {
    pub fn draw(rng: &mut StdRng, channel: &str) -> Self {
        let outcomes: &[(Self, u32)] = match channel {
            "inbound" => &INBOUND,
            "outbound" => &OUTBOUND,
            _ => &WEB,
        };
        by_share(rng, outcomes, |(_, share)| *share).0
    }

    /// Plays the call to its end.
    pub fn play(self, call: &mut Call) {
        if call.channel == "outbound" && matches!(self, Done | HungUp | Voicemail | Failed) {
            let by = if self == Voicemail {
                "machine"
            } else {
                "human"
            };
            call.session["answeredBy"] = by.into();
        }
        let (status, ended_by, reason) = match self {
            Done => {
                talk(call, true);
                call.say_goodbye();
                conclude(call);
                call.talk.at_ms += 400;
                ("completed", "agent", "conversation_ended")
            }
            HungUp => {
                talk(call, false);
                call.talk.at_ms += 700;
                ("completed", "user", "user_hung_up")
            }
            Voicemail => {
                call.leave_message();
                call.talk.at_ms += 300;
                ("completed", "agent", "voicemail")
            }
            Failed => {
                talk(call, false);
                call.talk.user_says("Okay, and what comes next?");
                call.talk.break_down();
                ("failed", "system", "service_unavailable")
            }
            Missed => {
                call.talk.at_ms = call.talk.rng.random_range(18_000..45_000);
                ("missed", "system", "no_answer")
            }
            Declined => {
                call.talk.at_ms = call.talk.rng.random_range(3_000..12_000);
                call.session["sipCode"] = (*one_of(&mut call.talk.rng, &[486, 603])).into();
                ("declined", "user", "declined")
            }
        };
        call.session["status"] = status.into();
        call.session["endedBy"] = ended_by.into();
        call.session["endReason"] = reason.into();
    }
}

/// The whole script, or only its beginning.
fn talk(call: &mut Call, to_the_end: bool) {
    call.answer();
    let all = call.agent.script.steps.len();
    let steps = match (to_the_end, call.talk.detail) {
        (true, Detail::Full) => call.talk.rng.random_range(all - 1..=all),
        (false, Detail::Full) => call.talk.rng.random_range(1..all),
        (true, Detail::Lean) => 2,
        (false, Detail::Lean) => 1,
    };
    call.converse(steps);
}

/// What became of it, in a summary, a tag and extracted facts.
fn conclude(call: &mut Call) {
    let script = &call.agent.script;
    if call.talk.detail == Detail::Lean || !call.talk.rng.random_ratio(SUMMARISED, 100) {
        return;
    }
    call.session["summary"] = call.talk.blanks.fill(script.summary).into();
    call.session["extracted"] = json!({"outcome": script.outcome});
    if let Some(tags) = call.session["tags"].as_array_mut() {
        tags.push(script.outcome.into());
    }
}

/// Some calls have been listened to, and judged by what happened in them.
pub fn review(document: &mut Value, id: Uuid) {
    let mut rng = StdRng::seed_from_u64(id.as_u64_pair().1);
    let is_completed = document["session"]["status"] == "completed";
    if !is_completed || !rng.random_ratio(REVIEWED, 100) {
        return;
    }
    let is_troubled = document.get("errors").is_some() || document.get("interruptions").is_some();
    let (range, labels, notes) = if is_troubled {
        (
            45..80,
            ["recovered"],
            "Had some trouble on the way, yet got there.",
        )
    } else {
        (75..100, ["clear"], "Friendly, short, to the point.")
    };
    let score = f64::from(rng.random_range::<u32, _>(range)) / 100.0;
    document["evaluations"] = json!([{
        "reviewer": one_of(&mut rng, &["quality-1", "quality-2"]),
        "score": score, "verdict": if score >= 0.6 { "pass" } else { "fail" },
        "labels": labels, "notes": notes,
    }]);
}
