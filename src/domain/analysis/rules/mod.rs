//! One file a rule: a pure function from a session to what is wrong with it.

mod abandoned_after_silence;
mod agent_repetition;
mod cold_start;
mod context_growth;
mod dead_air;
mod echo_interruption;
mod failed_turn;
mod false_interruption;
mod high_latency;
mod low_stt_confidence;
mod missed_barge_in;
mod monologue;
mod network_degraded;
mod no_transcript;
mod premature_response;
mod provider_error;
mod provider_fallback;
mod slow_barge_in_stop;
mod slow_endpointing;
mod slow_tool;
mod telemetry_gap;
mod tell;
mod tool_error;
mod tool_loop;
mod truncated_response;
mod tts_stall;
mod user_repetition;
mod voicemail;

use super::issue::Issue;
use super::view::View;

/// Looks at a session for one kind of issue.
type Rule = fn(&View) -> Vec<Issue>;

const RULES: [Rule; 27] = [
    high_latency::find,
    cold_start::find,
    context_growth::find,
    failed_turn::find,
    provider_error::find,
    provider_fallback::find,
    tool_error::find,
    slow_tool::find,
    tool_loop::find,
    truncated_response::find,
    no_transcript::find,
    low_stt_confidence::find,
    tts_stall::find,
    premature_response::find,
    slow_endpointing::find,
    missed_barge_in::find,
    slow_barge_in_stop::find,
    false_interruption::find,
    echo_interruption::find,
    dead_air::find,
    user_repetition::find,
    agent_repetition::find,
    monologue::find,
    abandoned_after_silence::find,
    voicemail::find,
    network_degraded::find,
    telemetry_gap::find,
];

/// Everything that is wrong, in the order of the rules.
pub fn issues(view: &View) -> Vec<Issue> {
    RULES.iter().flat_map(|find| find(view)).collect()
}
