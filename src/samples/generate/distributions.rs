//! How long things take in a generated call: distributions with their parameters, each with where
//! it comes from. What says "assumed" is our guess at what is usual.

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

/// A lognormal time with some values far out: most services are quick and sometimes very slow.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    pub median_ms: f64,
    /// Of the logarithm: `ln(p95 / p50) / 1.645`.
    pub sigma: f64,
    /// The share of values that are `SPIKE_FACTOR` times as long.
    pub spikes: f64,
}

/// modelstats.ai, "LLM API Latency Spikes", 24 h of pings: p99 is 2.1 to 21.5 times p50.
const SPIKE_FACTOR: f64 = 5.0;

const fn time(median_ms: f64, sigma: f64, spikes: f64) -> Time {
    Time {
        median_ms,
        sigma,
        spikes,
    }
}

/// End of speech to final transcript. callingscout.ai, "below 400ms": 80–150 ms for nova-3; spread assumed.
pub const NOVA_3: Time = time(110.0, 0.35, 0.005);
/// First token. modelstats.ai, 24 h of pings: p50 536 ms, p95 844 ms, p99 4,461 ms.
pub const GPT_4O_MINI: Time = time(536.0, 0.276, 0.012);
/// First token. modelstats.ai, 24 h of pings: p50 726 ms, p95 1,220 ms, p99 1,946 ms.
pub const GPT_4_1: Time = time(726.0, 0.315, 0.004);
/// First audio. ServiceNow EVA's sample run (an earlier sonic): p50 152 ms, p95 182 ms over ten
/// turns; the spread is assumed to be wider over a day.
pub const SONIC_2: Time = time(152.0, 0.25, 0.008);
/// First audio. callingscout.ai: 150–250 ms, as heard by an agent; spread assumed.
pub const FLASH: Time = time(200.0, 0.30, 0.008);

/// Final transcript to turn decided. LiveKit Agents waits at least 500 ms after speech by default,
/// of which the transcript takes some; spread assumed.
pub const ENDPOINTING_DEFAULT: Time = time(620.0, 0.35, 0.0);
/// The same with a turn detector that may decide earlier; assumed.
pub const ENDPOINTING_TUNED: Time = time(320.0, 0.35, 0.0);

/// Onset of the user's speech to the decision. LiveKit Agents asks for 500 ms of speech by default;
/// spread assumed.
pub const DETECTION_DEFAULT: Time = time(520.0, 0.18, 0.0);
/// The same with shorter speech asked for; assumed.
pub const DETECTION_TUNED: Time = time(260.0, 0.25, 0.0);
/// The decision to silence: what is buffered still plays. Assumed.
pub const SILENCING: Time = time(110.0, 0.40, 0.02);

/// A look-up in another system; assumed.
pub const TOOL: Time = time(380.0, 0.55, 0.02);
/// From one stage to the next and over the network. callingscout.ai: 30–60 ms; spread assumed.
pub const HANDOVER: Time = time(45.0, 0.30, 0.0);
/// The user's pause before answering. Between people, PriMock57's pauses have a median of 0.4 s;
/// spread assumed.
pub const PAUSE: Time = time(410.0, 0.60, 0.0);
/// Ringing until someone answers; assumed.
pub const RINGING: Time = time(7_000.0, 0.45, 0.0);
/// Until a call in a browser is connected; assumed.
pub const CONNECTING: Time = time(450.0, 0.35, 0.0);
/// What a factor on a median is where a service has a bad day; assumed.
pub const BAD_DAY_FACTOR: f64 = 4.5;

/// Speaking rates in ms a word: some 150 words a minute for a person, 165 for a voice; assumed.
pub const USER_WORD_MS: f64 = 400.0;
pub const AGENT_WORD_MS: f64 = 364.0;
/// Time a generated token takes once they flow: some 80 a second; assumed.
pub const TOKEN_MS: f64 = 12.5;
/// Tokens of a word of English; assumed, as often given.
pub const WORD_TOKENS: f64 = 1.33;

impl Time {
    pub fn scaled(self, factor: f64) -> Self {
        Self {
            median_ms: self.median_ms * factor,
            ..self
        }
    }

    /// Whole ms, at least one: zero would say that the stage was absent.
    pub fn draw(&self, rng: &mut impl Rng) -> i64 {
        let z: f64 = rng.sample(StandardNormal);
        let spike = if rng.random_bool(self.spikes) {
            SPIKE_FACTOR
        } else {
            1.0
        };
        let ms = self.median_ms * (self.sigma * z).exp() * spike;
        (ms.round() as i64).max(1)
    }
}

/// How long so many words take to say.
pub fn speech_ms(rng: &mut impl Rng, words: usize, word_ms: f64) -> i64 {
    let z: f64 = rng.sample(StandardNormal);
    let pace = (0.12 * z).exp();
    ((250.0 + words as f64 * word_ms) * pace).round() as i64
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn medians_and_tails_are_as_stated() {
        let mut rng = StdRng::seed_from_u64(7);
        for (stage, p95_ms) in [(GPT_4O_MINI, 844.0), (GPT_4_1, 1_220.0)] {
            let mut drawn: Vec<i64> = (0..20_000).map(|_| stage.draw(&mut rng)).collect();
            drawn.sort_unstable();
            let median_ms = drawn[10_000] as f64;
            assert!(
                (median_ms / stage.median_ms - 1.0).abs() < 0.03,
                "{median_ms}"
            );
            assert!((drawn[19_000] as f64 / p95_ms - 1.0).abs() < 0.08);
            assert!(drawn[0] >= 1);
        }
    }
}
