//! What may be wrong with a session, and how it is told.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::digest;

/// Where time is spent between the caller's last word and the agent's first sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Stt,
    Endpointing,
    Llm,
    Tts,
    Tool,
    Transport,
    Telephony,
    Unexplained,
}

impl Stage {
    pub const ALL: [Self; 8] = [
        Self::Stt,
        Self::Endpointing,
        Self::Llm,
        Self::Tts,
        Self::Tool,
        Self::Transport,
        Self::Telephony,
        Self::Unexplained,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stt => "stt",
            Self::Endpointing => "endpointing",
            Self::Llm => "llm",
            Self::Tts => "tts",
            Self::Tool => "tool",
            Self::Transport => "transport",
            Self::Telephony => "telephony",
            Self::Unexplained => "unexplained",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text)
    }

    /// What sums of many calls measure it as; none where they do not.
    pub fn measured_as(self) -> Option<digest::Stage> {
        match self {
            Self::Stt => Some(digest::Stage::Stt),
            Self::Endpointing => Some(digest::Stage::Endpointing),
            Self::Llm => Some(digest::Stage::Llm),
            Self::Tts => Some(digest::Stage::Tts),
            _ => None,
        }
    }

    /// Whether a service does it, which somebody provides.
    pub fn is_service(self) -> bool {
        matches!(self, Self::Stt | Self::Llm | Self::Tts)
    }

    /// As a person calls it, at the start of a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Self::Stt => "STT",
            Self::Endpointing => "Endpointing",
            Self::Llm => "LLM",
            Self::Tts => "TTS",
            Self::Tool => "Tool",
            Self::Transport => "Transport",
            Self::Telephony => "Telephony",
            Self::Unexplained => "Unexplained",
        }
    }
}

/// Worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Critical,
    Major,
    Minor,
}

impl Severity {
    pub const ALL: [Self; 3] = [Self::Critical, Self::Major, Self::Minor];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Major => "major",
            Self::Minor => "minor",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }
}

macro_rules! issue_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The closed list of what the rules look for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum IssueType {
            $($(#[$doc])* $name,)*
        }

        impl IssueType {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

issue_types! {
    HighLatency = "high_latency",
    ColdStart = "cold_start",
    ContextGrowth = "context_growth",
    FailedTurn = "failed_turn",
    ProviderError = "provider_error",
    ProviderFallback = "provider_fallback",
    ToolError = "tool_error",
    SlowTool = "slow_tool",
    ToolLoop = "tool_loop",
    TruncatedResponse = "truncated_response",
    NoTranscript = "no_transcript",
    LowSttConfidence = "low_stt_confidence",
    TtsStall = "tts_stall",
    PrematureResponse = "premature_response",
    SlowEndpointing = "slow_endpointing",
    MissedBargeIn = "missed_barge_in",
    SlowBargeInStop = "slow_barge_in_stop",
    FalseInterruption = "false_interruption",
    EchoInterruption = "echo_interruption",
    DeadAir = "dead_air",
    UserRepetition = "user_repetition",
    AgentRepetition = "agent_repetition",
    Monologue = "monologue",
    AbandonedAfterSilence = "abandoned_after_silence",
    Voicemail = "voicemail",
    NetworkDegraded = "network_degraded",
    TelemetryGap = "telemetry_gap",
}

impl IssueType {
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }
}

/// One thing that is wrong. `description` and `evidence` never quote what was said or what a tool was
/// given; that is in `quoted` and `quoted_evidence`, for readers of content only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issue {
    pub kind: IssueType,
    pub severity: Severity,
    pub stage: Option<Stage>,
    /// Index of the turn concerned; none where it is the whole session.
    pub turn: Option<i32>,
    pub at_ms: Option<i64>,
    /// What the caller waited beyond the target because of it.
    pub impact_ms: Option<i64>,
    /// When that was, from and to; nothing where it has no place in time.
    pub lost: Vec<(i64, i64)>,
    pub description: String,
    /// More of the description: sentences that quote.
    pub quoted: Option<String>,
    pub recommendation: String,
    pub evidence: Map<String, Value>,
    pub quoted_evidence: Map<String, Value>,
    pub provider: Option<String>,
    pub model: Option<String>,
}

impl Issue {
    /// The description as this reader may see it.
    pub fn description_for(&self, with_content: bool) -> String {
        match &self.quoted {
            Some(quoted) if with_content => format!("{} {quoted}", self.description),
            _ => self.description.clone(),
        }
    }

    /// The evidence as this reader may see it.
    pub fn evidence_for(&self, with_content: bool) -> Map<String, Value> {
        let mut evidence = self.evidence.clone();
        if with_content {
            evidence.extend(self.quoted_evidence.clone());
        }
        evidence
    }

    /// Whether something is withheld from who may not read content.
    pub fn has_content(&self) -> bool {
        self.quoted.is_some() || !self.quoted_evidence.is_empty()
    }

    /// Worst first: a call given up in silence, then by severity, then by what it cost, then by time.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        (
            self.kind != IssueType::AbandonedAfterSilence,
            self.severity,
            std::cmp::Reverse(self.impact_ms),
            self.at_ms.unwrap_or(i64::MAX),
            self.turn.unwrap_or(i32::MAX),
            self.kind,
        )
    }
}
