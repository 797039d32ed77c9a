//! How rules put together what they tell.

use serde_json::Value;

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::usual::number;
use super::super::view::Spoken;

/// A time as people read it: `900ms`, `2.3s`.
pub fn time(ms: f64) -> String {
    if ms.round() < 1000.0 {
        return format!("{ms:.0}ms");
    }
    let tenths = format!("{:.1}", ms / 1000.0);
    format!("{}s", tenths.strip_suffix(".0").unwrap_or(&tenths))
}

/// A time beside its limit, told so that the two differ: `1001ms` beside `1s`.
pub fn time_beside(ms: f64, limit: f64) -> String {
    let told = time(ms);
    if told == time(limit) && ms != limit {
        return format!("{:.0}ms", if ms > limit { ms.ceil() } else { ms.floor() });
    }
    told
}

/// `1 time`, `2 times`.
pub fn count(n: usize, one: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {one}{plural}")
}

/// The start of a text, to be quoted.
pub fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 160;
    let text = text.trim();
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Issue {
    pub(super) fn new(kind: IssueType, severity: Severity, description: String) -> Self {
        Self {
            kind,
            severity,
            stage: None,
            turn: None,
            at_ms: None,
            impact_ms: None,
            lost: Vec::new(),
            description,
            quoted: None,
            recommendation: String::new(),
            evidence: serde_json::Map::new(),
            quoted_evidence: serde_json::Map::new(),
            provider: None,
            model: None,
        }
    }

    pub(super) fn of_turn(mut self, turn: &Spoken) -> Self {
        self.turn = Some(turn.turn.index);
        self.at(turn.start_ms)
    }

    pub(super) fn at(mut self, ms: Option<f64>) -> Self {
        self.at_ms = ms.map(|ms| ms.round() as i64);
        self
    }

    pub(super) fn in_stage(mut self, stage: Option<Stage>) -> Self {
        self.stage = stage;
        self
    }

    pub(super) fn costs(mut self, ms: Option<f64>) -> Self {
        self.impact_ms = ms
            .filter(|ms| ms.is_finite())
            .map(|ms| ms.max(0.0).round() as i64);
        self
    }

    /// When what it costs was over.
    pub(super) fn until(mut self, ms: Option<f64>) -> Self {
        let cost = self.impact_ms.filter(|cost| *cost > 0);
        let lost = ms.map(|ms| ms.round() as i64).zip(cost);
        self.lost = lost.map(|(to, cost)| (to - cost, to)).into_iter().collect();
        self
    }

    pub(super) fn advise(mut self, recommendation: impl Into<String>) -> Self {
        self.recommendation = recommendation.into();
        self
    }

    pub(super) fn by(mut self, (provider, model): (Option<&str>, Option<&str>)) -> Self {
        self.provider = provider.map(str::to_owned);
        self.model = model.map(str::to_owned);
        self
    }

    pub(super) fn shows(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.evidence.insert(name.to_owned(), value.into());
        self
    }

    /// A measured number, to the tenth; nothing where it was not measured.
    pub(super) fn measures(self, name: &str, value: Option<f64>) -> Self {
        match value.filter(|value| value.is_finite()) {
            Some(value) => self.shows(name, number(value)),
            None => self,
        }
    }

    /// What only readers of content see: a sentence, and the words by themselves.
    pub(super) fn quotes(mut self, sentence: String, name: &str, value: impl Into<Value>) -> Self {
        self.quoted = Some(sentence);
        self.quoted_evidence.insert(name.to_owned(), value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_by_people() {
        let told: Vec<String> = [0.4, 900.0, 999.4, 999.6, 1000.0, 2300.0, 15_000.0]
            .map(time)
            .to_vec();
        assert_eq!(told, ["0ms", "900ms", "999ms", "1s", "1s", "2.3s", "15s"]);
        assert_eq!(time_beside(1000.4, 1000.0), "1001ms");
        assert_eq!(time_beside(1100.0, 1000.0), "1.1s");
    }

    #[test]
    fn an_excerpt_never_splits_a_character() {
        let long = "ä".repeat(200);
        assert_eq!(excerpt(&long).chars().count(), 161);
        assert_eq!(excerpt(" short "), "short");
    }
}
