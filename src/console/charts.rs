//! Numbers drawn: places along an axis, round steps. Along the width everything is in percent, so that a chart is as
//! wide as its place.

use super::format;

/// The plot's height in pixels.
pub const HEIGHT: f64 = 200.0;

/// A mark of an axis.
pub struct Tick {
    pub at: String,
    pub anchor: &'static str,
    pub label: String,
}

/// The least of 1, 2, 5, 10, 20 and so on that is not less.
pub fn round_up(number: f64) -> f64 {
    if !number.is_finite() || number <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(number.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].into_iter();
    let mut steps = steps.map(|step| step * power);
    steps.find(|step| *step >= number).unwrap_or(number)
}

/// Steps of an axis from 0 that reaches to what is to be drawn, in about so many steps; whole ones if need be.
pub fn steps(most: f64, count: f64, are_whole: bool) -> Vec<f64> {
    let step = round_up(most / count);
    let step = if are_whole { step.max(1.0) } else { step };
    let last = (most / step).ceil().max(1.0) as usize;
    (0..=last).map(|n| n as f64 * step).collect()
}

pub fn percent(share: f64) -> String {
    format!("{:.3}%", (share * 100.0).clamp(0.0, 100.0))
}

/// Marks along the width, in ms.
pub fn ticks_ms(steps: &[f64]) -> Vec<Tick> {
    let last = steps.last().copied().unwrap_or(1.0);
    let tick = |(n, ms): (usize, &f64)| Tick {
        at: percent(ms / last),
        anchor: match n {
            0 => "start",
            n if n + 1 == steps.len() => "end",
            _ => "middle",
        },
        label: format::span_of_time(*ms),
    };
    steps.iter().enumerate().map(tick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_reach_far_enough() {
        assert_eq!(steps(0.0, 4.0, true), [0.0, 1.0]);
        assert_eq!(steps(3.0, 4.0, true), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(steps(1_234.0, 4.0, false), [0.0, 500.0, 1_000.0, 1_500.0]);
        for most in [0.1, 7.0, 99.0, 1e12] {
            let steps = steps(most, 4.0, false);
            assert!(steps.len() <= 6 && steps[steps.len() - 1] >= most, "{most}");
        }
    }
}
