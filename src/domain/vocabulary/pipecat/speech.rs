//! How long the agent may have been speaking. What a pipeline is given while it speaks, the result of a tool say, goes
//! through behind that speech, and no span tells when a speech was over.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::super::calls::first_at;
use super::super::{Gist, Part};

/// All that was spoken in a session.
pub struct Speech<'a> {
    /// In the order of time.
    syntheses: Vec<&'a Gist>,
    exchanges: &'a BTreeMap<&'a str, &'a Gist>,
}

impl<'a> Speech<'a> {
    /// Of gists in the order of time.
    pub fn of(gists: &[&'a Gist], exchanges: &'a BTreeMap<&'a str, &'a Gist>) -> Self {
        let syntheses = gists.iter().filter(|gist| gist.part == Part::Tts);
        Self {
            syntheses: syntheses.copied().collect(),
            exchanges,
        }
    }

    /// Whether what came through at a time may have been held up by what was spoken since another.
    pub fn holds_up(&self, since: DateTime<Utc>, at: DateTime<Utc>) -> bool {
        let first = self.syntheses.partition_point(|tts| tts.started_at < since);
        let mut begun = self.syntheses[first..]
            .iter()
            .take_while(|tts| tts.started_at < at);
        begun.any(|tts| self.may_last(tts, at))
    }

    /// Whether a synthesis may be heard until then: an exchange is over when the agent has been silent for a while, or the
    /// user has stopped it.
    fn may_last(&self, tts: &Gist, at: DateTime<Utc>) -> bool {
        let exchange = tts.parent.as_deref().and_then(|id| self.exchanges.get(id));
        let is_over =
            exchange.is_some_and(|exchange| exchange.ended_at.is_some_and(|over| over <= at));
        !is_over && first_at(tts, "ttsMs").is_none_or(|first| first <= at)
    }
}
