//! What the live feed tells: how events come out of a change, and which of them somebody wants.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::ids::SessionId;
use crate::domain::items::{is_code, shown_code};
use crate::domain::session::Status;

/// What an event tells. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Kind {
    Started = 1,
    Updated = 2,
    Ended = 3,
    Failed = 4,
    Transcript = 5,
    Error = 6,
    Deleted = 7,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Started,
        Self::Updated,
        Self::Ended,
        Self::Failed,
        Self::Transcript,
        Self::Error,
        Self::Deleted,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "call.started",
            Self::Updated => "call.updated",
            Self::Ended => "call.ended",
            Self::Failed => "call.failed",
            Self::Transcript => "call.transcript",
            Self::Error => "call.error",
            Self::Deleted => "call.deleted",
        }
    }

    pub fn from_stored(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i16 == number)
    }
}

/// What one batch did to one session, without what was said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// Nobody had heard of it before.
    #[serde(rename = "n", default, skip_serializing_if = "is_false")]
    pub is_new: bool,
    /// It came into a final state, or from one into another.
    #[serde(rename = "f", default, skip_serializing_if = "is_false")]
    pub is_over: bool,
    /// Turns with text that were written.
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<i32>,
    /// Errors that were written.
    #[serde(rename = "e", default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// Sessions that have become part of it.
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<Uuid>,
    /// It is no more.
    #[serde(rename = "d", default, skip_serializing_if = "is_false")]
    pub is_deleted: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// One event of a change, to be numbered.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub kind: Kind,
    pub turn: Option<i32>,
    pub error_id: Option<String>,
    pub merged_from: Vec<Uuid>,
}

impl Changes {
    pub fn between(before: Option<Status>, after: Status) -> Self {
        Self {
            is_new: before.is_none(),
            is_over: after.is_final() && before != Some(after),
            ..Self::default()
        }
    }

    /// The events in the order in which they are told: the start, what was said, what went wrong, and the
    /// end or else, once, that something else changed.
    pub fn into_steps(mut self, status: Status) -> Vec<Step> {
        self.turns.sort_unstable();
        let plain = |kind| Step {
            kind,
            turn: None,
            error_id: None,
            merged_from: Vec::new(),
        };
        if self.is_deleted {
            return vec![plain(Kind::Deleted)];
        }
        let mut steps = Vec::with_capacity(self.turns.len() + self.errors.len() + 2);
        if self.is_new {
            steps.push(plain(Kind::Started));
        }
        steps.extend(self.turns.into_iter().map(|turn| Step {
            turn: Some(turn),
            ..plain(Kind::Transcript)
        }));
        steps.extend(self.errors.into_iter().map(|id| Step {
            error_id: Some(id),
            ..plain(Kind::Error)
        }));
        if !self.merged.is_empty() {
            steps.push(Step {
                merged_from: self.merged,
                ..plain(Kind::Updated)
            });
            self.is_new = true;
        }
        match (self.is_over, status) {
            (true, Status::Failed) => steps.push(plain(Kind::Failed)),
            (true, _) => steps.push(plain(Kind::Ended)),
            (false, _) if !self.is_new => steps.push(plain(Kind::Updated)),
            (false, _) => {}
        }
        steps
    }
}

/// An event as it is delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub seq: i64,
    /// When the server learned of it.
    pub at: DateTime<Utc>,
    pub session: SessionId,
    pub kind: Kind,
    pub detail: Detail,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    /// The session, in the state that the event speaks of and otherwise as it is at delivery.
    Call(Call),
    Transcript(Utterance),
    Error(Failure),
    /// That a call was deleted is all there is to tell of it.
    Deleted,
    /// What it speaks of is no more, or may not be shown.
    Gone,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub status: Status,
    pub agent_key: Option<String>,
    pub channel: Option<String>,
    pub campaign: Option<String>,
    pub workflow: Option<String>,
    pub call_sid: Option<String>,
    pub started_at: DateTime<Utc>,
    pub answered_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub duration_ms: Option<i64>,
    pub end_reason: Option<String>,
    pub turns: i32,
    pub tool_calls: i32,
    pub interruptions: i32,
    pub errors: i32,
    /// Sessions that became part of it with this event.
    pub merged_from: Vec<Uuid>,
}

impl Call {
    /// Without what may be somebody's words.
    pub fn withheld(self) -> Self {
        Self {
            end_reason: self.end_reason.filter(|reason| is_code(reason)),
            ..self
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Utterance {
    pub index: i32,
    pub speaker: String,
    pub text: String,
    pub start_ms: Option<i32>,
    pub end_ms: Option<i32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub id: String,
    pub service: Option<String>,
    pub level: String,
    pub code: Option<String>,
    pub message: Option<String>,
    pub turn: Option<i32>,
    pub content_withheld: bool,
}

impl Failure {
    /// Without what was said: the code takes the message's place.
    pub fn withheld(self) -> Self {
        let code = shown_code(self.code, self.service.as_deref());
        Self {
            message: code.clone(),
            code,
            content_withheld: true,
            ..self
        }
    }
}

impl Event {
    /// As somebody is told who may not see what was said.
    pub fn withheld(&self) -> Self {
        let detail = match &self.detail {
            Detail::Call(call) => Detail::Call(call.clone().withheld()),
            Detail::Error(failure) => Detail::Error(failure.clone().withheld()),
            Detail::Deleted => Detail::Deleted,
            Detail::Transcript(_) | Detail::Gone => Detail::Gone,
        };
        Self {
            detail,
            ..Self::bare(self)
        }
    }

    fn bare(event: &Self) -> Self {
        Self {
            seq: event.seq,
            at: event.at,
            session: event.session,
            kind: event.kind,
            detail: Detail::Gone,
        }
    }
}

/// More names than this one connection may not list.
pub const WANTED_MAX: usize = 1_000;

/// Some of all values of one sort.
#[derive(Clone, Debug, PartialEq)]
enum Choice<T> {
    AllBut(BTreeSet<T>),
    Only(BTreeSet<T>),
}

impl<T: Ord + Copy> Choice<T> {
    fn has(&self, value: &T) -> bool {
        match self {
            Self::AllBut(except) => !except.contains(value),
            Self::Only(these) => these.contains(value),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::AllBut(names) | Self::Only(names) => names.len(),
        }
    }

    fn add(&mut self, names: &[T]) {
        match self {
            Self::AllBut(except) if names.iter().all(|name| except.contains(name)) => {
                except.retain(|name| !names.contains(name));
            }
            Self::AllBut(_) => *self = Self::Only(names.iter().copied().collect()),
            Self::Only(these) => these.extend(names),
        }
    }

    fn remove(&mut self, names: &[T]) {
        match self {
            Self::AllBut(except) => except.extend(names),
            Self::Only(these) => these.retain(|name| !names.contains(name)),
        }
    }
}

/// What one connection wants to hear of: everything, until it says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    calls: Choice<SessionId>,
    /// Of these, other ids that a named call may have: they do not count as further names.
    others: BTreeSet<SessionId>,
    kinds: Choice<Kind>,
    counts: bool,
}

/// What a message of the client names. Empty lists name everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Named {
    pub calls: Vec<SessionId>,
    /// Other ids that these calls may have: a name means another session for each kind of name.
    pub others: Vec<SessionId>,
    /// Names that are no ids: the store may know further sessions by them.
    pub names: Vec<String>,
    pub kinds: Vec<Kind>,
    /// `active_count` is among the types.
    pub counts: bool,
}

impl Named {
    fn is_everything(&self) -> bool {
        self.calls.is_empty() && !self.names_types()
    }

    fn all_ids(&self) -> Vec<SessionId> {
        self.calls.iter().chain(&self.others).copied().collect()
    }

    fn names_types(&self) -> bool {
        self.counts || !self.kinds.is_empty()
    }
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            calls: Choice::AllBut(BTreeSet::new()),
            others: BTreeSet::new(),
            kinds: Choice::AllBut(BTreeSet::new()),
            counts: true,
        }
    }
}

impl Wanted {
    pub fn has(&self, event: &Event) -> bool {
        self.kinds.has(&event.kind) && self.calls.has(&event.session)
    }

    /// A call that others became part of is meant where one of these is.
    pub fn follow(&mut self, event: &Event) {
        let Detail::Call(call) = &event.detail else {
            return;
        };
        let is_named = |id: &Uuid| match &self.calls {
            Choice::AllBut(_) => false,
            Choice::Only(these) => these.contains(&SessionId(*id)),
        };
        if call.merged_from.iter().any(is_named) && !self.calls.has(&event.session) {
            self.calls.add(&[event.session]);
            self.others.insert(event.session);
        }
    }

    pub fn has_counts(&self) -> bool {
        self.counts
    }

    /// The first names narrow everything down to them; further ones add to them. False, and unchanged, where
    /// that would be too many.
    pub fn subscribe(&mut self, named: &Named) -> bool {
        let mut next = self.clone();
        if named.is_everything() {
            next = Self::default();
        }
        if !named.calls.is_empty() {
            next.name_others(named);
            next.calls.add(&named.all_ids());
        }
        if named.names_types() {
            let had_all = matches!(&next.kinds, Choice::AllBut(except) if except.is_empty());
            match (had_all && next.counts, named.kinds.is_empty()) {
                (true, _) => {
                    next.kinds = Choice::Only(named.kinds.iter().copied().collect());
                    next.counts = named.counts;
                }
                (false, is_empty) => {
                    if !is_empty {
                        next.kinds.add(&named.kinds);
                    }
                    next.counts |= named.counts;
                }
            }
        }
        self.take(next)
    }

    pub fn unsubscribe(&mut self, named: &Named) -> bool {
        let mut next = self.clone();
        if named.is_everything() {
            next.kinds = Choice::Only(BTreeSet::new());
            next.counts = false;
        }
        next.name_others(named);
        next.calls.remove(&named.all_ids());
        next.kinds.remove(&named.kinds);
        next.counts &= !named.counts;
        self.take(next)
    }

    fn name_others(&mut self, named: &Named) {
        let others = named.others.iter();
        self.others
            .extend(others.filter(|id| !named.calls.contains(id)));
    }

    fn take(&mut self, next: Self) -> bool {
        let fits = next.calls.len() <= WANTED_MAX + next.others.len();
        if fits {
            *self = next;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn kinds(changes: Changes, status: Status) -> Vec<&'static str> {
        let steps = changes.into_steps(status);
        steps.iter().map(|step| step.kind.as_str()).collect()
    }

    fn event(kind: Kind, call: u128) -> Event {
        Event {
            seq: 1,
            at: DateTime::UNIX_EPOCH,
            session: SessionId(Uuid::from_u128(call)),
            kind,
            detail: Detail::Gone,
        }
    }

    #[test]
    fn a_change_is_told_from_start_to_end() {
        let mut whole = Changes::between(None, Status::Completed);
        (whole.turns, whole.errors) = (vec![2, 0], vec!["e".to_owned()]);
        let steps = whole.clone().into_steps(Status::Completed);
        assert_eq!((steps[1].turn, steps[2].turn), (Some(0), Some(2)));
        assert_eq!(
            kinds(whole, Status::Completed),
            [
                "call.started",
                "call.transcript",
                "call.transcript",
                "call.error",
                "call.ended"
            ]
        );
    }

    #[test]
    fn an_end_is_told_once_and_a_worse_one_again() {
        use Status::{Active, Completed, Failed};
        let told = |before, after| kinds(Changes::between(before, after), after);
        assert_eq!(told(None, Active), ["call.started"]);
        assert_eq!(told(Some(Active), Active), ["call.updated"]);
        assert_eq!(told(Some(Active), Failed), ["call.failed"]);
        assert_eq!(told(Some(Completed), Completed), ["call.updated"]);
        assert_eq!(told(Some(Completed), Failed), ["call.failed"]);
        assert_eq!(told(Some(Completed), Active), ["call.updated"]);
    }

    #[test]
    fn changes_survive_being_stored() {
        let changes = Changes {
            turns: vec![1],
            ..Changes::between(None, Status::Active)
        };
        let text = serde_json::to_string(&changes).expect("text");
        assert_eq!(text, r#"{"n":true,"t":[1]}"#);
        assert_eq!(
            serde_json::from_str::<Changes>(&text).expect("changes"),
            changes
        );
    }

    #[test]
    fn names_narrow_add_and_take_away() {
        let (one, two) = (SessionId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)));
        let calls = |calls: &[SessionId]| Named {
            calls: calls.to_vec(),
            ..Named::default()
        };
        let mut wanted = Wanted::default();
        assert!(wanted.subscribe(&calls(&[one])));
        assert!(wanted.has(&event(Kind::Started, 1)) && !wanted.has(&event(Kind::Started, 2)));
        wanted.subscribe(&calls(&[two]));
        assert!(wanted.has(&event(Kind::Started, 2)) && wanted.has_counts());
        wanted.unsubscribe(&calls(&[one]));
        assert!(!wanted.has(&event(Kind::Started, 1)));
        wanted.subscribe(&Named::default());
        assert_eq!(wanted, Wanted::default());
    }

    #[test]
    fn types_narrow_too() {
        let types = |kinds: &[Kind], counts| Named {
            kinds: kinds.to_vec(),
            counts,
            ..Named::default()
        };
        let mut wanted = Wanted::default();
        wanted.unsubscribe(&types(&[Kind::Transcript], false));
        assert!(!wanted.has(&event(Kind::Transcript, 1)) && wanted.has(&event(Kind::Error, 1)));
        wanted.subscribe(&types(&[Kind::Transcript], false));
        assert_eq!(wanted, Wanted::default());
        wanted.subscribe(&types(&[], true));
        assert!(wanted.has_counts() && !wanted.has(&event(Kind::Started, 1)));
        wanted.subscribe(&types(&[Kind::Ended], false));
        assert!(wanted.has_counts() && wanted.has(&event(Kind::Ended, 1)));
        wanted.unsubscribe(&Named::default());
        assert!(!wanted.has_counts() && !wanted.has(&event(Kind::Ended, 1)));
    }

    #[test]
    fn names_are_bounded() {
        let many: Vec<_> = (1..=WANTED_MAX as u128 + 1)
            .map(|n| SessionId(Uuid::from_u128(n)))
            .collect();
        let mut wanted = Wanted::default();
        let named = Named {
            calls: many,
            ..Named::default()
        };
        assert!(!wanted.subscribe(&named));
        assert_eq!(wanted, Wanted::default());
    }
}
