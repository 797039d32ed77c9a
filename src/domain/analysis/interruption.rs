//! How well an agent lets itself be interrupted: what happened at each overlap of a session, and what
//! many sessions amount to.

use serde::{Deserialize, Serialize};

use super::distribution::Distribution;

/// What sessions amount to; a session has one, and many merge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterruptionCounts {
    pub sessions: u64,
    pub agent_turns: u64,
    /// Turns of the user that start strictly inside a turn of the agent, and the other way round.
    pub overlaps: u64,
    pub overlaps_by_agent: u64,
    /// The agent was stopped by the user's sound, with words or without.
    pub interruptions: u64,
    /// Those of them that follow from the times of turns, or whose stop does.
    pub derived: u64,
    /// Of those that can be told: no words came, or only a sign of listening.
    pub judged_stops: u64,
    pub false_interruptions: u64,
    /// Overlaps with real speech of the user, and those that the agent talked through.
    pub real_overlaps: u64,
    pub missed_barge_ins: u64,
    /// The agent was ending anyway.
    pub inconclusive: u64,
    /// Turns of the agent that began while the user spoke, or that the user spoke on into.
    pub agent_interrupts: u64,
    /// Interruptions after which the agent got to say a whole turn.
    pub recovered: u64,
    pub detection_ms: Distribution,
    pub stop_ms: Distribution,
    /// From the decision on.
    pub stop_after_decision_ms: Distribution,
    pub post_interruption_ms: Distribution,
    pub bleed_through_words: Distribution,
    /// Interruptions whose words were counted from the pace of speech.
    pub bleed_through_estimated: u64,
}

fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

impl InterruptionCounts {
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts_with(other) {
            *mine = mine.saturating_add(theirs);
        }
        for (mine, theirs) in self.measured_with(other) {
            mine.merge(theirs);
        }
    }

    /// Takes away what is part of this.
    pub fn take(&mut self, part: &Self) {
        for (mine, theirs) in self.counts_with(part) {
            *mine = mine.saturating_sub(theirs);
        }
        for (mine, theirs) in self.measured_with(part) {
            mine.take(theirs);
        }
    }

    fn counts_with(&mut self, other: &Self) -> [(&mut u64, u64); 14] {
        [
            (&mut self.sessions, other.sessions),
            (&mut self.agent_turns, other.agent_turns),
            (&mut self.overlaps, other.overlaps),
            (&mut self.overlaps_by_agent, other.overlaps_by_agent),
            (&mut self.interruptions, other.interruptions),
            (&mut self.derived, other.derived),
            (&mut self.judged_stops, other.judged_stops),
            (&mut self.false_interruptions, other.false_interruptions),
            (&mut self.real_overlaps, other.real_overlaps),
            (&mut self.missed_barge_ins, other.missed_barge_ins),
            (&mut self.inconclusive, other.inconclusive),
            (&mut self.agent_interrupts, other.agent_interrupts),
            (&mut self.recovered, other.recovered),
            (
                &mut self.bleed_through_estimated,
                other.bleed_through_estimated,
            ),
        ]
    }

    fn measured_with<'a>(
        &'a mut self,
        other: &'a Self,
    ) -> [(&'a mut Distribution, &'a Distribution); 5] {
        [
            (&mut self.detection_ms, &other.detection_ms),
            (&mut self.stop_ms, &other.stop_ms),
            (
                &mut self.stop_after_decision_ms,
                &other.stop_after_decision_ms,
            ),
            (&mut self.post_interruption_ms, &other.post_interruption_ms),
            (&mut self.bleed_through_words, &other.bleed_through_words),
        ]
    }

    /// Of the stops by the user's sound, those that nobody wanted.
    pub fn false_interruption_rate(&self) -> Option<f64> {
        share(self.false_interruptions, self.judged_stops)
    }

    pub fn missed_barge_in_rate(&self) -> Option<f64> {
        share(self.missed_barge_ins, self.real_overlaps)
    }

    pub fn agent_interrupts_rate(&self) -> Option<f64> {
        share(self.agent_interrupts, self.agent_turns)
    }

    pub fn recovery_rate(&self) -> Option<f64> {
        share(self.recovered, self.interruptions)
    }
}
