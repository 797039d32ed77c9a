//! Whose word counts where several sources speak of one session.
//!
//! | | rank for the session's fields | rank for turns, tool calls, interruptions |
//! | --- | --- | --- |
//! | native events and calls | 6 | 6 |
//! | spans of a tracer | 5 | 5 |
//! | LiveKit's uploads (chat history) | 5 | 3 |
//! | Vapi, Retell, ElevenLabs | 4 | 4 |
//! | Twilio | 3; before all but native ones for what a carrier knows best | - |
//! | LiveKit webhooks | 2 | - |
//! | Langfuse events | 1 | 2 |
//!
//! When a session starts a carrier may know earlier than the best source, since it sees the attempt to connect:
//! then it starts there, unless native ingest says when it does.
//!
//! A session's field is the best source's; the others fill what it leaves out and never take back what it
//! says. Turns are of one source only, since two sources count them differently, and with them are the errors that
//! were made of their tool calls, or that LiveKit's SDK logged beside its uploads. Spans that tell no word of the user's, as those of a model that hears sound, have those
//! of LiveKit's chat history (`domain::hearing`), or leave the turns to it where it counts the user's otherwise.

use crate::domain::event::{Kind, Source};

/// What a carrier knows better than an agent.
pub const CARRIER_FIELDS: [&str; 8] = [
    "from",
    "to",
    "callSid",
    "answeredAt",
    "endedAt",
    "answeredBy",
    "carrierStatus",
    "sipCode",
];

/// The higher, the better for what is said of the session as a whole.
pub fn session_rank(source: Source) -> u8 {
    match source {
        Source::Event | Source::Call => 6,
        Source::Trace | Source::LivekitReport => 5,
        Source::Vapi | Source::Retell | Source::Elevenlabs => 4,
        Source::Twilio => 3,
        Source::LivekitWebhook => 2,
        Source::Langfuse => 1,
        Source::Timeout => 0,
    }
}

/// Sources that count turns in one way, and how good they are: the higher, the better.
pub fn turn_family(source: Source) -> u8 {
    match source {
        Source::Event | Source::Call => 6,
        Source::Trace => 5,
        Source::Vapi | Source::Retell | Source::Elevenlabs => 4,
        Source::LivekitReport => 3,
        Source::Langfuse => 2,
        Source::Twilio | Source::LivekitWebhook => 1,
        Source::Timeout => 0,
    }
}

/// Which family's turns are shown where this one is the best that there is. `tells_user` says whether a source tells what
/// the user said.
pub fn shown_family(best: u8, tells_user: impl Fn(Source) -> bool) -> u8 {
    let (spans, history) = (Source::Trace, Source::LivekitReport);
    if best == turn_family(spans) && !tells_user(spans) && tells_user(history) {
        return turn_family(history);
    }
    best
}

/// The family as a bit among others.
pub fn family_bit(source: Source) -> i16 {
    1 << turn_family(source)
}

/// Whether facts of this kind are taken from one family only.
pub fn is_of_turns(kind: Kind) -> bool {
    matches!(kind, Kind::Turn | Kind::ToolCall | Kind::Interruption)
}

/// Whether facts of this kind and source may count by whether another family tells turns: also the errors that LiveKit's SDK
/// logs, which its spans tell too.
pub fn depends_on_family(kind: Kind, source: Source) -> bool {
    is_of_turns(kind) || kind == Kind::Error && source == Source::LivekitReport
}

pub fn is_carrier(source: Source) -> bool {
    matches!(source, Source::Twilio)
}

/// Whether whoever runs the calls says it himself.
pub fn is_first_hand(source: Source) -> bool {
    session_rank(source) == session_rank(Source::Event)
}
