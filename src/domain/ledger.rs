//! The facts of one session, as far as a batch touches them: takes submissions, says what became of
//! each, and tells which entities speak differently now.

mod reach;
mod room;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Map;

use crate::domain::event::{Event, Kind, Outcome, Report, Source, Submission};
use crate::domain::fact;
use crate::domain::fact::{Entity, Fact, Identity, Standing};
use crate::domain::hearing;
use crate::domain::items;
use crate::domain::items::OCCURRED_AT;
use crate::domain::partial;
use crate::domain::precedence;
use crate::domain::session;
use crate::domain::session::Activity;
use crate::domain::turn::Speaker;

pub use reach::Reach;
pub use room::{
    ENTITY_FACTS_MAX, FACT_BYTES_MAX, FACTS_MAX, Held, Room, SPAN_BYTES_MAX, TURNS_MAX,
};

/// Where a session's one report of a source is kept.
const REPORT_ID: &str = "call";
const TIMEOUT_ID: &str = "timeout";

#[derive(Debug, Default)]
pub struct Ledger {
    entities: BTreeMap<Entity, Spoken>,
    whereabouts: BTreeMap<Identity, Entity>,
    /// What the store has under its identity already.
    stored: BTreeSet<Identity>,
    /// What was known of an entity before it was first touched.
    before: BTreeMap<Entity, Vec<Fact>>,
    changed: BTreeSet<Identity>,
    activity: Option<Activity>,
    /// What is held more (or less) than before.
    more: Held,
    room: Room,
    /// Turns are those of this family of sources only; none where there is one family at most.
    family: Option<u8>,
    /// And so are the errors that these tell in their own ways.
    error_family: Option<u8>,
}

/// The facts that speak of one entity, in the order of their identities. Most often there is one.
#[derive(Debug, Default)]
struct Spoken(Vec<Fact>);

impl Spoken {
    fn place(&self, of: &Identity) -> Result<usize, usize> {
        let of = (of.source, of.kind, of.id.as_str());
        self.0
            .binary_search_by(|fact| (fact.source, fact.kind, fact.id.as_str()).cmp(&of))
    }

    fn get(&self, identity: &Identity) -> Option<&Fact> {
        self.0.get(self.place(identity).ok()?)
    }

    fn insert(&mut self, identity: &Identity, fact: Fact) {
        match self.place(identity) {
            Ok(place) => self.0[place] = fact,
            Err(place) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(place, fact);
            }
        }
    }

    fn remove(&mut self, identity: &Identity) -> Option<Fact> {
        let place = self.place(identity).ok()?;
        Some(self.0.remove(place))
    }
}

impl Ledger {
    /// `known` must hold every fact of every entity that a submission may touch.
    pub fn new(known: Vec<Fact>, activity: Option<Activity>, room: Room) -> Self {
        let mut ledger = Self {
            activity,
            room,
            ..Self::default()
        };
        for fact in known {
            ledger.stored.insert(fact.identity());
            ledger.insert(fact);
        }
        ledger.more = Held::default();
        ledger
    }

    /// A session that is put together again from all its facts, which may come from several sessions that
    /// have become one. The store keeps none of them meanwhile.
    pub fn rebuilt(facts: Vec<Fact>, activity: Option<Activity>) -> Self {
        let mut ledger = Self {
            activity,
            ..Self::default()
        };
        for fact in facts {
            let identity = fact.identity();
            let (standing, fact) = ledger.meet(&fact);
            let is_better = match standing {
                Standing::Newer => true,
                Standing::Same | Standing::Older => false,
                // Which session it was said in must not matter.
                Standing::Conflict => ledger
                    .known(&identity)
                    .is_none_or(|known| fact.hash > known.hash),
            };
            if is_better {
                ledger.remove(&identity);
                ledger.put(fact);
            }
        }
        ledger.choose_family();
        ledger
    }

    /// Takes what the session's spans amount to in place of what they amounted to before. Too much of it is
    /// not taken: the spans themselves are kept.
    pub fn interpret(&mut self, mut events: Vec<Event>) {
        hearing::lend(&mut events, |speaker| {
            let mut words: Vec<_> = self.words(Source::LivekitReport, speaker).collect();
            words.sort_unstable();
            let words = words.into_iter();
            words.map(|(_, words)| words.to_owned()).collect()
        });
        let mut facts = BTreeMap::new();
        for event in events {
            let fact = into_fact(event, Source::Trace);
            facts.insert(fact.identity(), fact);
        }
        let replaced = self.report(Source::Trace);
        if self
            .bound_of_all(Source::Trace, &replaced, &facts)
            .is_none()
        {
            for identity in replaced
                .iter()
                .filter(|identity| !facts.contains_key(identity))
            {
                self.remove(identity);
            }
            for (identity, fact) in facts {
                if self.known(&identity) != Some(&fact) {
                    self.remove(&identity);
                    self.put(fact);
                }
            }
        }
        self.choose_family();
    }

    /// Which families of sources tell turns, or what counts by who does, a bit each.
    pub fn families(&self) -> i16 {
        self.turn_sources()
            .fold(0, |all, source| all | precedence::family_bit(source))
    }

    fn turn_sources(&self) -> impl Iterator<Item = Source> {
        let told = self.whereabouts.keys();
        told.filter(|identity| precedence::depends_on_family(identity.kind, identity.source))
            .map(|identity| identity.source)
    }

    /// Of several families that count turns differently, the best that tells of turns at all.
    fn choose_family(&mut self) {
        let of = |identity: &Identity| precedence::turn_family(identity.source);
        let told = || {
            let all = self.whereabouts.keys();
            all.filter(|identity| precedence::is_of_turns(identity.kind))
        };
        let turns = told().filter(|identity| identity.kind == Kind::Turn);
        let best = turns.map(of).max().or_else(|| told().map(of).max());
        let shown = |best| precedence::shown_family(best, |source| self.tells_user(source));
        self.family = best.map(shown);
        self.error_family = self.choose_error_family();
    }

    fn tells_user(&self, source: Source) -> bool {
        self.words(source, Speaker::User).next().is_some()
    }

    /// What somebody said by the turns of a source, as far as it was written down, each with its turn's place.
    fn words(&self, source: Source, speaker: Speaker) -> impl Iterator<Item = (i32, &str)> {
        let all = self.entities.values().flat_map(|spoken| &spoken.0);
        let told = all.filter(move |fact| fact.source == source);
        told.filter_map(move |fact| {
            let words = hearing::words(fact.kind, &fact.fields, speaker)?;
            (!words.is_empty()).then(|| (fact.turn_index(), words))
        })
    }

    /// An error that the sources of turns tell in their own ways counts where their turns do. Native ingest makes none: beside its turns count
    /// those of the next best.
    fn choose_error_family(&self) -> Option<u8> {
        let native = precedence::turn_family(Source::Event);
        let all = self.entities.values().flat_map(|spoken| &spoken.0);
        let told = all.filter(|fact| items::is_error_of_turns(fact));
        let best = || told.map(|fact| precedence::turn_family(fact.source)).max();
        self.family.filter(|family| *family != native).or_else(best)
    }

    /// How much more the session holds than before.
    pub fn more(&self) -> Held {
        self.more
    }

    pub fn submit(&mut self, submission: Submission, now: DateTime<Utc>) -> Outcome {
        match submission {
            Submission::Event(source, event) => self.take(into_fact(event, source)),
            Submission::Undated(source, event) => self.take_first(into_fact(event, source)),
            Submission::Report(source, report) => self.replace_report(source, report, now),
            Submission::Silence(since) => self.time_out(since),
        }
    }

    pub fn activity(&self) -> Option<Activity> {
        self.activity
    }

    pub fn facts_of(&self, entity: &Entity) -> Vec<&Fact> {
        self.counting(entity).collect()
    }

    fn counting(&self, entity: &Entity) -> impl Iterator<Item = &Fact> {
        let facts = self
            .entities
            .get(entity)
            .into_iter()
            .flat_map(|spoken| &spoken.0);
        facts.filter(|fact| self.counts(fact))
    }

    /// Whether no better family of sources speaks in its place.
    fn counts(&self, fact: &Fact) -> bool {
        let family = match fact.kind {
            kind if precedence::is_of_turns(kind) => self.family,
            Kind::Error => self.error_family.filter(|_| items::is_error_of_turns(fact)),
            _ => None,
        };
        family.is_none_or(|family| precedence::turn_family(fact.source) == family)
    }

    pub fn facts_before(&self, entity: &Entity) -> Vec<&Fact> {
        self.before
            .get(entity)
            .map(|facts| facts.iter().collect())
            .unwrap_or_default()
    }

    /// How much later than the session its sources' offsets begin.
    pub fn late_by(&self) -> TimeDelta {
        session::late_by(&self.facts_of(&Entity::session()))
    }

    /// Whether they began otherwise before the session was touched: then everything that has a place in it
    /// has another one, touched or not.
    pub fn is_shifted(&self) -> bool {
        let session = Entity::session();
        let before = self.before.get(&session);
        before.is_some_and(|before| {
            let before: Vec<&Fact> = before.iter().collect();
            session::late_by(&before) != self.late_by()
        })
    }

    /// The entities that may speak differently now.
    pub fn touched(&self) -> impl Iterator<Item = &Entity> {
        self.before.keys()
    }

    /// Whether anything is to be written at all.
    pub fn is_unchanged(&self, activity_before: Option<Activity>) -> bool {
        self.changed.is_empty() && self.activity == activity_before
    }

    /// What is to be written, in the order of identities.
    pub fn written(&self) -> impl Iterator<Item = (&Identity, &Entity, &Fact)> {
        self.changed.iter().filter_map(|identity| {
            let entity = self.whereabouts.get(identity)?;
            Some((identity, entity, self.entities.get(entity)?.get(identity)?))
        })
    }

    /// Whether the store has a fact under this identity that is to be written over.
    pub fn is_stored(&self, identity: &Identity) -> bool {
        self.stored.contains(identity)
    }

    pub fn removed(&self) -> impl Iterator<Item = &Identity> {
        self.changed
            .iter()
            .filter(|identity| !self.whereabouts.contains_key(identity))
    }

    fn take(&mut self, said: Fact) -> Outcome {
        let identity = said.identity();
        let (standing, fact) = self.meet(&said);
        if standing == Standing::Conflict {
            return Outcome::Conflict;
        }
        if standing != Standing::Newer {
            self.hear(&said);
            return match standing {
                Standing::Older => Outcome::Overtaken,
                _ => Outcome::Duplicate,
            };
        }
        let entity = fact.entity();
        if let Some(bound) = self.bound(&identity, &entity, &fact) {
            return Outcome::Full(bound);
        }
        self.hear(&said);
        self.remove(&identity);
        self.put_as(identity, entity, fact);
        Outcome::Accepted
    }

    /// Takes what says nothing of when it was said. Sent again it is no word of the moment it comes in.
    fn take_first(&mut self, said: Fact) -> Outcome {
        match self.known(&said.identity()) {
            Some(_) => Outcome::Duplicate,
            None => self.take(said),
        }
    }

    /// How a statement stands to what is known under its identity, and what is to be kept of both.
    fn meet(&self, said: &Fact) -> (Standing, Fact) {
        match self.known(&said.identity()) {
            None => (Standing::Newer, said.clone()),
            Some(known) if partial::is_piece(known) && partial::is_piece(said) => {
                let joined = partial::join(known, said);
                let is_same = joined == *known;
                let standing = if is_same {
                    Standing::Same
                } else {
                    Standing::Newer
                };
                (standing, joined)
            }
            Some(known) => (said.standing(known), said.clone()),
        }
    }

    fn put(&mut self, fact: Fact) {
        self.put_as(fact.identity(), fact.entity(), fact);
    }

    fn put_as(&mut self, identity: Identity, entity: Entity, fact: Fact) {
        self.more.count(fact.kind, 0, fact.bytes());
        self.touch(&entity);
        self.changed.insert(identity.clone());
        self.insert_as(identity, entity, fact);
    }

    /// Whatever was said was said at some time, also if it has been said better since.
    fn hear(&mut self, fact: &Fact) {
        if fact.source != Source::Timeout {
            let activity = Activity::of(fact);
            self.activity = Some(self.activity.map_or(activity, |known| known.and(activity)));
        }
    }

    fn time_out(&mut self, silent_since: DateTime<Utc>) -> Outcome {
        // Not a session that somebody else removed meanwhile.
        if self.activity.is_none() {
            return Outcome::Duplicate;
        }
        let event = Event {
            kind: Kind::Session,
            id: TIMEOUT_ID.to_owned(),
            at: silent_since,
            fields: Map::new().into(),
        };
        self.take(into_fact(event, Source::Timeout))
    }

    fn replace_report(&mut self, source: Source, report: Report, now: DateTime<Utc>) -> Outcome {
        let identity = report_identity(source);
        let known = self.known(&identity).map(|known| (known.at, known.hash));
        let now = fact::kept(now);
        let at = match (report.at.map(fact::kept), known) {
            (_, Some((_, hash))) if hash == report.hash => return Outcome::Duplicate,
            (Some(at), Some((known_at, _))) if at < known_at => {
                for event in report.events {
                    self.hear(&into_fact(Event { at, ..event }, source));
                }
                return Outcome::Overtaken;
            }
            (Some(at), Some((known_at, _))) if at == known_at && source.is_own() => {
                return Outcome::Conflict;
            }
            (Some(at), Some((known_at, hash))) if at == known_at && report.hash < hash => {
                return Outcome::Overtaken;
            }
            (Some(at), _) => at,
            (None, Some((known_at, _))) => now.max(known_at + TimeDelta::milliseconds(1)),
            (None, None) => now,
        };
        let Some(facts) = into_facts(source, report.events, at) else {
            return Outcome::Conflict;
        };
        let replaced = self.report(source);
        if let Some(bound) = self.bound_of_all(source, &replaced, &facts) {
            return Outcome::Full(bound);
        }
        for identity in &replaced {
            self.remove(identity);
        }
        let head = head(source, at, report.hash);
        if report.at.is_some() {
            facts.values().for_each(|fact| self.hear(fact));
        } else {
            self.hear_undated(&facts, now);
        }
        facts
            .into_values()
            .chain([head])
            .for_each(|fact| self.put(fact));
        Outcome::Accepted
    }

    /// A document that does not say when it was written speaks of the moments in it; that it arrives is
    /// nothing that happened in its session. But it is a word, and reopens what only silence had ended.
    fn hear_undated(&mut self, facts: &BTreeMap<Identity, Fact>, now: DateTime<Utc>) {
        let session = facts.values().find(|fact| fact.kind == Kind::Session);
        let start = session.and_then(|fact| fact::time(&fact.fields, "startedAt"));
        let ends = facts.values().filter_map(|fact| {
            let end_ms = fact.fields.get("endMs")?.as_f64()?;
            Some(now.min(start? + TimeDelta::milliseconds(end_ms as i64)))
        });
        let told = facts.values().filter(|fact| fact.kind != Kind::Evaluation);
        let own = told.filter_map(|fact| fact::time(&fact.fields, OCCURRED_AT));
        let times = facts.values().flat_map(Fact::times);
        let heard = times
            .chain(ends)
            .chain(own)
            .map(|at| Activity {
                first_at: at,
                last_at: at,
            })
            .reduce(Activity::and)
            .unwrap_or(Activity {
                first_at: now,
                last_at: now,
            });
        self.activity = Some(self.activity.map_or(heard, |known| known.and(heard)));
        self.remove(&Identity {
            source: Source::Timeout,
            kind: Kind::Session,
            id: TIMEOUT_ID.to_owned(),
        });
    }

    /// What came in the session's one report of this source.
    fn report(&self, source: Source) -> Vec<Identity> {
        let all = self.whereabouts.keys();
        let own = all.filter(|i| i.source == source);
        own.filter(|i| is_reported(source, i.kind, &i.id))
            .cloned()
            .collect()
    }

    fn known(&self, identity: &Identity) -> Option<&Fact> {
        self.entities
            .get(self.whereabouts.get(identity)?)?
            .get(identity)
    }

    fn insert(&mut self, fact: Fact) {
        self.insert_as(fact.identity(), fact.entity(), fact);
    }

    fn insert_as(&mut self, identity: Identity, entity: Entity, fact: Fact) {
        let is_turn = entity.kind == Kind::Turn;
        let known = self.whereabouts.insert(identity.clone(), entity.clone());
        let facts = self.entities.entry(entity).or_default();
        self.more.facts += i32::from(known.is_none());
        self.more.turns += i32::from(is_turn && facts.0.is_empty());
        facts.insert(&identity, fact);
    }

    fn remove(&mut self, identity: &Identity) {
        let Some(entity) = self.whereabouts.get(identity).cloned() else {
            return;
        };
        self.touch(&entity);
        self.whereabouts.remove(identity);
        self.changed.insert(identity.clone());
        if let Some(facts) = self.entities.get_mut(&entity) {
            if let Some(fact) = facts.remove(identity) {
                self.more.count(fact.kind, -1, -fact.bytes());
            }
            self.more.turns -= i32::from(entity.kind == Kind::Turn && facts.0.is_empty());
        }
    }

    fn touch(&mut self, entity: &Entity) {
        if !self.before.contains_key(entity) {
            let known = self.entities.get(entity).map(|spoken| spoken.0.clone());
            self.before
                .insert(entity.clone(), known.unwrap_or_default());
        }
    }
}

/// A report's facts by identity. None where it says two things under one identity; of two spans the
/// better one stays, as everywhere.
fn into_facts(
    source: Source,
    events: Vec<Event>,
    at: DateTime<Utc>,
) -> Option<BTreeMap<Identity, Fact>> {
    let mut facts: BTreeMap<Identity, Fact> = BTreeMap::new();
    for event in events {
        let fact = into_fact(Event { at, ..event }, source);
        let known = facts.get(&fact.identity());
        match known.map_or(Standing::Newer, |known| fact.standing(known)) {
            Standing::Newer => drop(facts.insert(fact.identity(), fact)),
            Standing::Conflict => return None,
            Standing::Same | Standing::Older => {}
        }
    }
    Some(facts)
}

/// Whether a statement came in its source's one report, and goes with it. A tracer's report is what its spans amount
/// to, without them; and how a call stood while it ran was said beside the report of the whole.
fn is_reported(source: Source, kind: Kind, id: &str) -> bool {
    match kind {
        Kind::Span => source != Source::Trace,
        Kind::Session if source.tells_events_and_reports() => id == Report::SESSION_ID,
        _ => true,
    }
}

fn report_identity(source: Source) -> Identity {
    Identity {
        source,
        kind: Kind::Report,
        id: REPORT_ID.to_owned(),
    }
}

/// That a whole document was received.
fn head(source: Source, at: DateTime<Utc>, hash: i64) -> Fact {
    let event = Event {
        kind: Kind::Report,
        id: REPORT_ID.to_owned(),
        at,
        fields: Map::new().into(),
    };
    Fact {
        hash,
        ..into_fact(event, source)
    }
}

fn into_fact(event: Event, source: Source) -> Fact {
    Fact {
        source,
        kind: event.kind,
        id: event.id,
        at: fact::kept(event.at),
        hash: event.fields.hash(),
        fields: event.fields,
    }
}

#[cfg(test)]
mod tests;
