//! What the slowest answers would have been, had one stage taken another time.

use super::issue::Stage;
use super::latency::TurnLatency;

/// The p95 as it was and as it would have been.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WhatIf {
    pub before_ms: f64,
    pub after_ms: f64,
    /// Turns with a gap, and those of them whose stage was replaced.
    pub turns: usize,
    pub replaced: usize,
}

/// Takes a stage's time on each turn's path for the given one, where it was longer: a stage cannot take
/// away more of a gap than it had in it. None where nothing is measured or replaced.
pub fn p95(
    turns: &[TurnLatency],
    stage: Stage,
    instead_ms: impl Fn(&TurnLatency) -> Option<f64>,
) -> Option<WhatIf> {
    let (mut before, mut after, mut replaced) = (Vec::new(), Vec::new(), 0);
    for turn in turns {
        let Some(gap_ms) = turn.gap_ms else { continue };
        before.push(gap_ms);
        let saved = turn.stage_ms(stage).zip(instead_ms(turn));
        replaced += usize::from(saved.is_some());
        after.push(gap_ms - saved.map_or(0.0, |(was, instead)| (was - instead).max(0.0)));
    }
    (replaced > 0).then_some(())?;
    Some(WhatIf {
        before_ms: percentile(&mut before, 0.95)?,
        after_ms: percentile(&mut after, 0.95)?,
        turns: before.len(),
        replaced,
    })
}

/// By nearest rank, `rank` in (0, 1]; none over nothing.
pub fn percentile(values: &mut [f64], rank: f64) -> Option<f64> {
    let at = ((rank * values.len() as f64).ceil() as usize).clamp(1, values.len().max(1)) - 1;
    if values.is_empty() {
        return None;
    }
    let (_, value, _) = values.select_nth_unstable_by(at, f64::total_cmp);
    Some(*value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_rank_is_taken() {
        assert_eq!(percentile(&mut [], 0.95), None);
        assert_eq!(percentile(&mut [3.0], 0.95), Some(3.0));
        let mut many: Vec<f64> = (1..=100).map(f64::from).rev().collect();
        assert_eq!(percentile(&mut many, 0.95), Some(95.0));
        assert_eq!(percentile(&mut many, 0.5), Some(50.0));
    }
}
