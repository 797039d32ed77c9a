//! What a caller waited for an answer: the gap before it, but for the time in which the agent was heard
//! meanwhile. The gap itself stays as it was measured; rules judge by the wait.

use super::issue::Stage;
use super::latency::TurnLatency;
use super::view::View;

/// The wait for one answer.
pub struct Wait<'a> {
    pub latency: &'a TurnLatency,
    /// None where there is no gap, or where nobody heard the answer.
    pub ms: Option<f64>,
    /// What no stage explains of it, at the least: a stage may have run while the agent was heard.
    pub unexplained_ms: Option<f64>,
}

impl<'a> Wait<'a> {
    fn of(view: &View, latency: &'a TurnLatency) -> Self {
        let place = view.place_of(latency.turn);
        let answer = place.map(|place| &view.turns[place]);
        let gap_ms = latency
            .gap_ms
            .filter(|_| answer.is_none_or(|answer| !answer.is_unheard()));
        let ms = gap_ms.map(|gap| match place {
            Some(place) => view.waited_ms(place, gap),
            None => gap,
        });
        let heard_meanwhile_ms = gap_ms.zip(ms).map(|(gap, ms)| gap - ms);
        Self {
            latency,
            ms,
            unexplained_ms: latency
                .unexplained_ms
                .zip(heard_meanwhile_ms)
                .map(|(unexplained, heard)| (unexplained - heard).max(0.0)),
        }
    }

    /// What a stage took of the wait, at most; without a wait, what it was measured at.
    pub fn stage_ms(&self, stage: Stage) -> Option<f64> {
        match stage {
            Stage::Unexplained => self.unexplained_ms,
            _ => self.latency.stage_ms(stage).map(|ms| self.at_most(ms)),
        }
    }

    /// Of a time within the gap, what may have been waited for.
    pub fn at_most(&self, ms: f64) -> f64 {
        self.ms.map_or(ms, |wait| ms.min(wait))
    }

    /// The stage that took most, the rest included; of equals the later one on the way.
    pub fn dominant(&self) -> Option<(Stage, f64)> {
        let taken = |stage| match stage {
            Stage::Unexplained => self.unexplained_ms,
            _ => self.latency.stage_ms(stage),
        };
        let times = Stage::ALL
            .into_iter()
            .filter_map(|stage| Some((stage, taken(stage)?)));
        let (stage, ms) = times.max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some((stage, self.at_most(ms)))
    }

    /// The wait, where it is not the gap.
    pub fn shorter_ms(&self) -> Option<f64> {
        self.ms.filter(|ms| Some(*ms) != self.latency.gap_ms)
    }
}

impl View<'_> {
    pub fn wait_of<'v>(&self, latency: &'v TurnLatency) -> Wait<'v> {
        Wait::of(self, latency)
    }

    /// The waits for answers. What follows a mere sign of listening is none: nobody asked for it.
    pub fn waits(&self) -> impl Iterator<Item = Wait<'_>> {
        let is_asked = |latency: &&TurnLatency| {
            let user = self
                .place_of(latency.turn)
                .and_then(|place| self.answered_by(place));
            user.is_none_or(|user| !user.asks_nothing())
        };
        let asked = self.latencies.iter().filter(is_asked);
        asked.map(|latency| self.wait_of(latency))
    }

    /// Of the gap before an answer, what the agent was not heard in.
    pub fn waited_ms(&self, place: usize, gap_ms: f64) -> f64 {
        let asked_ms = self.answered_by(place).and_then(|user| user.end_ms);
        let heard_ms = self.turns[place].start_ms;
        let Some(until) = heard_ms.or(asked_ms.map(|asked| asked + gap_ms)) else {
            return gap_ms;
        };
        // A source may have measured more than lies between the two: then it tells nothing of where.
        let from = asked_ms.map_or(until - gap_ms, |asked| asked.max(until - gap_ms));
        (gap_ms - self.agent_heard_ms(from, until)).max(0.0)
    }

    /// For how much of a while the agent was heard.
    pub fn agent_heard_ms(&self, from_ms: f64, to_ms: f64) -> f64 {
        let after = self.agent_heard.partition_point(|(_, to)| *to <= from_ms);
        let within = self.agent_heard[after..]
            .iter()
            .take_while(|(from, _)| *from < to_ms);
        within
            .map(|(from, to)| to.min(to_ms) - from.max(from_ms))
            .sum()
    }
}

#[cfg(test)]
mod tests;
