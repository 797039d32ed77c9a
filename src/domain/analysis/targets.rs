//! What a tenant holds its calls against. The defaults follow published practice; each can be changed
//! within bounds.

use serde::{Deserialize, Serialize};

use crate::domain::error::Fault;

/// A missing member is its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Targets {
    pub stages: StageTargets,
    pub turn: TurnTargets,
    pub interruption: InterruptionTargets,
    pub thresholds: Thresholds,
    pub backchannels: Backchannels,
}

macro_rules! bounded {
    ($(#[$doc:meta])* $group:literal $name:ident {
        $($(#[$field_doc:meta])* $field:ident / $wire:literal : $type:ty = $default:literal in $min:literal..=$max:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* #[serde(rename = $wire)] pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            /// Name, default, least and most of each.
            pub const BOUNDS: &'static [Bound] = &[$(Bound {
                name: concat!($group, ".", $wire),
                default: $default as f64,
                min: $min as f64,
                max: $max as f64,
            },)*];

            fn faults(&self, faults: &mut Vec<Fault>) {
                let values = [$(self.$field as f64,)*];
                for (bound, value) in Self::BOUNDS.iter().zip(values) {
                    if !(bound.min..=bound.max).contains(&value) {
                        let Bound { name, min, max, .. } = bound;
                        faults.push(Fault::body(
                            *name,
                            format!("must be between {min} and {max}, got `{value}`"),
                        ));
                    }
                }
            }
        }
    };
}

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    pub name: &'static str,
    pub default: f64,
    pub min: f64,
    pub max: f64,
}

bounded! {
    /// The longest that each stage should take.
    "stages" StageTargets {
        stt_ms / "sttMs": u32 = 500 in 1..=60_000,
        endpointing_ms / "endpointingMs": u32 = 1000 in 1..=60_000,
        /// To the first token.
        llm_ms / "llmMs": u32 = 1000 in 1..=60_000,
        /// To the first byte.
        tts_ms / "ttsMs": u32 = 900 in 1..=60_000,
        /// On the critical path.
        tool_ms / "toolMs": u32 = 1000 in 1..=600_000,
    }
}

bounded! {
    /// From the caller's last word to the agent's first sound.
    "turn" TurnTargets {
        target_ms / "targetMs": u32 = 1500 in 1..=60_000,
        critical_ms / "criticalMs": u32 = 3000 in 1..=600_000,
        /// From connecting to the agent's first sound.
        first_audio_ms / "firstAudioMs": u32 = 800 in 1..=60_000,
    }
}

bounded! {
    /// The gate of interruption quality.
    "interruption" InterruptionTargets {
        detection_p95_ms / "detectionP95Ms": u32 = 600 in 1..=60_000,
        stop_p95_ms / "stopP95Ms": u32 = 800 in 1..=60_000,
        bleed_through_p95_words / "bleedThroughP95Words": f64 = 3.0 in 0.0..=1000.0,
        false_rate / "falseRate": f64 = 0.1 in 0.0..=1.0,
        /// With fewer there is no verdict.
        min_interruptions / "minInterruptions": u32 = 30 in 1..=100_000,
    }
}

bounded! {
    /// From where on something is wrong.
    "thresholds" Thresholds {
        unexplained_ms / "unexplainedMs": u32 = 300 in 1..=60_000,
        dead_air_after_user_ms / "deadAirAfterUserMs": u32 = 3000 in 100..=600_000,
        dead_air_ms / "deadAirMs": u32 = 5000 in 100..=600_000,
        dead_air_critical_ms / "deadAirCriticalMs": u32 = 15_000 in 100..=600_000,
        monologue_ms / "monologueMs": u32 = 20_000 in 1000..=600_000,
        low_confidence / "lowConfidence": f64 = 0.7 in 0.0..=1.0,
        very_low_confidence / "veryLowConfidence": f64 = 0.5 in 0.0..=1.0,
        loss_percent / "lossPercent": f64 = 3.0 in 0.0..=100.0,
        jitter_ms / "jitterMs": u32 = 30 in 1..=10_000,
        rtt_ms / "rttMs": u32 = 400 in 1..=60_000,
        mos / "mos": f64 = 3.5 in 1.0..=5.0,
    }
}

/// At most so many backchannels, each so long.
const BACKCHANNELS_MAX: usize = 200;
const BACKCHANNEL_MAX_CHARS: usize = 50;

/// What callers say to show that they listen, which is no wish to speak. Lower case, without punctuation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Backchannels(pub Vec<String>);

impl Default for Backchannels {
    fn default() -> Self {
        const USUAL: [&str; 34] = [
            "uh huh",
            "uhhuh",
            "mm hmm",
            "mmhmm",
            "mhm",
            "mm",
            "mmm",
            "hmm",
            "hm",
            "um",
            "uh",
            "ah",
            "oh",
            "yeah",
            "yep",
            "yup",
            "yes",
            "ok",
            "okay",
            "right",
            "sure",
            "i see",
            "got it",
            "alright",
            "all right",
            "oh okay",
            "oh ok",
            "ja",
            "aha",
            "genau",
            "sí",
            "claro",
            "oui",
            "d'accord",
        ];
        Self(USUAL.map(str::to_owned).to_vec())
    }
}

impl Targets {
    /// Every setting that is a number.
    pub fn bounds() -> impl Iterator<Item = &'static Bound> {
        [
            StageTargets::BOUNDS,
            TurnTargets::BOUNDS,
            InterruptionTargets::BOUNDS,
            Thresholds::BOUNDS,
        ]
        .into_iter()
        .flatten()
    }

    /// What is wrong with them, all at once.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.stages.faults(&mut faults);
        self.turn.faults(&mut faults);
        self.interruption.faults(&mut faults);
        self.thresholds.faults(&mut faults);
        let ordered = [
            (
                "turn.criticalMs",
                self.turn.critical_ms >= self.turn.target_ms,
                "must not be less than `turn.targetMs`",
            ),
            (
                "thresholds.veryLowConfidence",
                self.thresholds.very_low_confidence <= self.thresholds.low_confidence,
                "must not be more than `thresholds.lowConfidence`",
            ),
            (
                "thresholds.deadAirCriticalMs",
                self.thresholds.dead_air_critical_ms >= self.thresholds.dead_air_ms,
                "must not be less than `thresholds.deadAirMs`",
            ),
        ];
        for (name, holds, message) in ordered {
            if !holds {
                faults.push(Fault::body(name, message));
            }
        }
        let words = &self.backchannels.0;
        if words.len() > BACKCHANNELS_MAX {
            let message = format!(
                "must have at most {BACKCHANNELS_MAX} items, got {}",
                words.len()
            );
            faults.push(Fault::body("backchannels", message));
        }
        let is_wrong =
            |text: &String| text.trim().is_empty() || text.chars().count() > BACKCHANNEL_MAX_CHARS;
        if words.iter().any(is_wrong) {
            let message = format!("must hold texts of 1 to {BACKCHANNEL_MAX_CHARS} characters");
            faults.push(Fault::body("backchannels", message));
        }
        faults
    }
}
