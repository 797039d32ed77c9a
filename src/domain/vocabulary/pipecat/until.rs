//! Until when an answer was heard, which no span tells: exchanges and the call's pace do between them.

use chrono::{DateTime, Utc};

use crate::domain::turn::Speaker;

use super::super::Gist;
use super::super::calls::{after, end, is_set};
use super::runs::TURN_END_MS;
use super::turns::Context;

impl Context<'_, '_> {
    /// When the answer had been spoken, which no span tells: synthesis is faster than speech, and many a service
    /// says only seconds after the last sound that it is done.
    pub fn ended(&self, interrupted: Option<DateTime<Utc>>) -> DateTime<Utc> {
        if let Some(at) = interrupted {
            return at;
        }
        if let Some(silence) = self.silent_since() {
            return silence;
        }
        let ends = self.run.gists.iter().map(|gist| end(gist));
        let made = ends.max().unwrap_or_default();
        // What nobody heard has no other end.
        let Some(heard) = self.heard_last() else {
            return made;
        };
        let paced = self.known.pace.over(self, made);
        match self.exchange_over().filter(|over| heard <= *over) {
            Some(over) => self.fell_silent(over, heard, made, paced),
            None => {
                let until = self.disturbed_after(heard);
                paced.map_or(made, |paced| until.map_or(paced, |at| paced.min(at)))
            }
        }
    }

    /// When the last of it began to be heard.
    fn heard_last(&self) -> Option<DateTime<Utc>> {
        let heard = self.run.heard_last(!self.known.measures_speech);
        heard.or_else(|| self.is_heard_untold().then(|| self.started()))
    }

    fn exchange_over(&self) -> Option<DateTime<Utc>> {
        self.exchange().and_then(|exchange| exchange.ended_at)
    }

    /// Since when nobody spoke behind the last answer of an exchange that was over by that: only a silence, a user who
    /// speaks or the end of the call ends one.
    pub fn silent_since(&self) -> Option<DateTime<Utc>> {
        let silence = after(self.exchange_over()?, -TURN_END_MS);
        let is_silence = self.was_waited_for() && !self.is_followed();
        let heard = self.heard_last().filter(|_| is_silence)?;
        (heard <= silence).then_some(silence)
    }

    /// When the user spoke who had heard an answer out: they would have ended the exchange by cutting it off.
    pub fn was_heard_out_by(&self) -> Option<DateTime<Utc>> {
        let heard = self.heard_last()?;
        let is_heard_out = self.was_waited_for() && self.is_followed();
        let next = self.after().filter(|_| is_heard_out)?.began();
        (next > heard).then_some(next)
    }

    /// Whether it is the last of an exchange that neither a user who cut it off nor the end of the call ended. Who ends a
    /// call is told like who cuts an answer off.
    fn was_waited_for(&self) -> bool {
        let is_whole = |exchange: &Gist| !is_set(exchange, "cutOff") && !is_set(exchange, "atEnd");
        self.exchange().is_some_and(is_whole) && self.spoken_on().is_none()
    }

    fn is_followed(&self) -> bool {
        let follows = |exchange| self.known.starts.follow(exchange);
        self.exchange().is_some_and(follows)
    }

    /// When the agent fell silent, in an exchange that was `over` then, having begun to say the last of this answer
    /// at `heard`, which was `made` by then, and by the call's pace said by `paced`.
    fn fell_silent(
        &self,
        over: DateTime<Utc>,
        heard: DateTime<Utc>,
        made: DateTime<Utc>,
        paced: Option<DateTime<Utc>>,
    ) -> DateTime<Utc> {
        // Where the user waited, the agent had ended when they spoke, whenever its last was made.
        let since = self.was_heard_out_by().map_or(made, |_| heard);
        let is_near = |at: &DateTime<Utc>| *at > since && (self.is_followed() || *at <= over);
        let next = self.after().map(|next| next.began()).filter(is_near);
        let least = if self.spoken_on().is_some() {
            made
        } else {
            made.max(after(over, -TURN_END_MS))
        };
        let ended = match (next, paced) {
            (Some(next), Some(paced)) => next.min(paced),
            (Some(next), None) => next,
            (None, Some(paced)) => least.max(paced),
            (None, None) => least,
        };
        let spoken_on = self.spoken_on().map(|later| later.started());
        let until = spoken_on.filter(|at| *at > heard).unwrap_or(over);
        ended.min(until).min(over)
    }

    /// The first that may have stopped what is spoken outside of exchanges since it was heard: a user, the next answer, or
    /// the end of the call.
    fn disturbed_after(&self, heard: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.after().map(|next| match next.run.speaker {
            Speaker::User => next.began(),
            Speaker::Agent => next.started(),
        });
        let calls = self.known.calls.iter().filter_map(|call| call.ended_at);
        let times = next
            .into_iter()
            .chain(self.known.starts.after(heard))
            .chain(calls);
        times.filter(|at| *at > heard).min()
    }

    /// What is heard of the agent next in the same exchange.
    fn spoken_on(&self) -> Option<Self> {
        let mut later = self.of_exchange_after();
        later.find(|later| later.run.speaker == Speaker::Agent && later.is_heard())
    }
}
