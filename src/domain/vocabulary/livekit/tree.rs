//! A session's LiveKit spans as they hang together, and what each answer of the agent consists of.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::domain::vocabulary::{Gist, Part};

use super::super::calls::{DEPTH_MAX, end};
use super::failures::has_failed;
use super::read::{BESIDE, NODE, TOP};

pub type Key<'a> = (&'a str, &'a str);

pub struct Tree<'a> {
    spans: BTreeMap<Key<'a>, &'a Gist>,
    children: BTreeMap<Key<'a>, Vec<&'a Gist>>,
    /// Spans that sessions are made of, also those that have not come yet.
    sessions: BTreeSet<Key<'a>>,
    /// Syntheses that had another one do the work, which is told below them.
    adapters: BTreeSet<Key<'a>>,
    /// When the last call of a model below a span began that brought something.
    brought: BTreeMap<Key<'a>, DateTime<Utc>>,
}

/// What was made to be said.
pub struct Speeches<'a> {
    pub kept: Vec<Speech<'a>>,
    /// Spans of answers that nobody heard anything of.
    pub thrown_away: Vec<&'a Gist>,
    /// Generations that belong to no answer.
    pub outside: Vec<&'a Gist>,
}

/// One answer of the agent: a speech, in the SDK's words.
#[derive(Debug)]
pub struct Speech<'a> {
    pub id: String,
    /// Its own spans; 1.3 makes one for each step, and none has come while the agent still speaks.
    pub turns: Vec<&'a Gist>,
    /// What is below them, in the order of time.
    pub parts: Vec<&'a Gist>,
    /// Generations for answers that were thrown away before anything was heard.
    pub discarded: Vec<&'a Gist>,
    /// The application had it said, in a version that makes no span of that.
    pub is_say: bool,
    /// It is one of several parts of an answer, with others' words between them.
    pub piece: Option<Piece<'a>>,
}

/// A part of an answer, as a turn of its own.
#[derive(Debug)]
pub struct Piece<'a> {
    pub started_at: DateTime<Utc>,
    pub is_last: bool,
    /// The answer's spans, where what they tell of the wait is the wait for this part.
    pub waited: Vec<&'a Gist>,
}

pub fn key(gist: &Gist) -> Key<'_> {
    (&gist.trace_id, &gist.span_id)
}

pub fn node(gist: &Gist) -> Option<&str> {
    gist.fields.get(NODE)?.as_str()
}

impl<'a> Tree<'a> {
    pub fn of(gists: &[&'a Gist]) -> Self {
        let mut children: BTreeMap<Key<'a>, Vec<&'a Gist>> = BTreeMap::new();
        for gist in gists {
            if let Some(parent) = &gist.parent {
                children
                    .entry((&gist.trace_id, parent))
                    .or_default()
                    .push(gist);
            }
        }
        let mut tree = Self {
            spans: gists.iter().map(|gist| (key(gist), *gist)).collect(),
            children,
            sessions: sessions(gists),
            adapters: BTreeSet::new(),
            brought: BTreeMap::new(),
        };
        for gist in gists.iter().copied().filter(|gist| has_brought(gist)) {
            let above: Vec<&'a Gist> = tree.ancestors(gist).collect();
            for above in above {
                let last = tree.brought.entry(key(above)).or_insert(gist.started_at);
                *last = gist.started_at.max(*last);
                if gist.part == Part::Tts && above.part == Part::Tts {
                    tree.adapters.insert(key(above));
                }
            }
        }
        tree
    }

    /// Whether a call of a model below a span began after a moment, and brought something.
    pub fn has_brought_after(&self, gist: &Gist, at: DateTime<Utc>) -> bool {
        self.brought.get(&key(gist)).is_some_and(|last| *last > at)
    }

    /// Whether another synthesis below it did the work.
    pub fn is_adapter(&self, gist: &Gist) -> bool {
        self.adapters.contains(&key(gist))
    }

    /// Whether nobody waited for it: neither it nor the call that it is an attempt of was made for the answer.
    pub fn is_beside(&self, gist: &'a Gist) -> bool {
        let mut line = std::iter::once(gist).chain(self.ancestors(gist));
        line.any(|gist| gist.fields.contains_key(BESIDE))
    }

    /// In the order of time.
    pub fn children(&self, gist: &'a Gist) -> &[&'a Gist] {
        self.below((&gist.trace_id, &gist.span_id))
    }

    /// Those that have the same parent, itself among them.
    pub fn siblings(&self, gist: &'a Gist) -> &[&'a Gist] {
        let parent = gist.parent.as_deref();
        parent.map_or(&[], |parent| self.below((&gist.trace_id, parent)))
    }

    fn below(&self, key: Key<'a>) -> &[&'a Gist] {
        self.children.get(&key).map_or(&[], Vec::as_slice)
    }

    pub fn parent(&self, gist: &'a Gist) -> Option<&'a Gist> {
        self.spans
            .get(&(gist.trace_id.as_str(), gist.parent.as_deref()?))
            .copied()
    }

    /// From the parent upwards.
    pub fn ancestors(&self, gist: &'a Gist) -> impl Iterator<Item = &'a Gist> {
        std::iter::successors(self.parent(gist), |gist| self.parent(gist)).take(DEPTH_MAX)
    }

    /// The answers of a session, in the order of time.
    pub fn speeches(&self, gists: &[&'a Gist]) -> Speeches<'a> {
        let mut speeches: BTreeMap<String, Speech<'a>> = BTreeMap::new();
        for turn in gists.iter().filter(|gist| gist.part == Part::AgentTurn) {
            let speech = Speech::called(&mut speeches, speech_id(turn).to_owned());
            speech.turns.push(turn);
        }
        let known: Vec<(String, DateTime<Utc>, DateTime<Utc>)> = speeches
            .values()
            .map(|speech| (speech.id.clone(), speech.started_at(), speech.ended_at()))
            .collect();
        let says: Vec<&'a Gist> = gists
            .iter()
            .copied()
            .filter(|gist| is_voice_node(gist) && self.is_below_session(gist))
            .collect();
        let mut outside = Vec::new();
        for part in gists.iter().filter(|gist| is_part(gist)) {
            if let Some(say) = self.say(part, &says) {
                let speech = Speech::called(&mut speeches, say.span_id.clone());
                speech.is_say = true;
                speech.parts.push(part);
                continue;
            }
            match self.home(part, &known) {
                Some(id) => Speech::called(&mut speeches, id).parts.push(part),
                None => outside.push(*part),
            }
        }
        let mut speeches: Vec<_> = speeches.into_values().collect();
        speeches.sort_by(|a, b| (a.started_at(), &a.id).cmp(&(b.started_at(), &b.id)));
        let (kept, thrown_away) = parted(speeches);
        Speeches {
            kept,
            thrown_away,
            outside,
        }
    }

    fn is_below_session(&self, gist: &Gist) -> bool {
        let parent = gist.parent.as_deref();
        parent.is_some_and(|parent| self.sessions.contains(&(&gist.trace_id, parent)))
    }

    /// The session within which another one is held, by a step of it, as with a colleague to whom a caller is to be
    /// transferred.
    pub fn around(&self, root: &'a Gist) -> Option<Key<'a>> {
        let mut line = self.ancestors(root);
        let step = line.find(|gist| self.is_below_session(gist))?;
        Some((&step.trace_id, step.parent.as_deref()?))
    }

    /// Whether the session around another one goes on: its span comes when it is over.
    pub fn goes_on_around(&self, root: &'a Gist) -> bool {
        let around = self.around(root);
        around.is_some_and(|session| !self.spans.contains_key(&session))
    }

    /// What the application had said, of which a span is a part: 1.2 and Node.js make no turn of it, and its synthesis and
    /// its sound stand right below the session. `says` are all the syntheses that do, in the order of time.
    fn say(&self, part: &'a Gist, says: &[&'a Gist]) -> Option<&'a Gist> {
        let mut line = std::iter::once(part).chain(self.ancestors(part));
        let top = line.find(|gist| self.is_below_session(gist))?;
        if is_voice_node(top) {
            return Some(top);
        }
        let is_sound = top.part == Part::AgentSpeech;
        let made = |say: &&&Gist| say.trace_id == top.trace_id && say.started_at <= top.started_at;
        says.iter().filter(|_| is_sound).rfind(made).copied()
    }

    /// The answer that a span belongs to: the one above it, also if that has not come yet; else the one
    /// that it lies within.
    fn home(
        &self,
        part: &'a Gist,
        known: &[(String, DateTime<Utc>, DateTime<Utc>)],
    ) -> Option<String> {
        if let Some(turn) = self
            .ancestors(part)
            .find(|gist| gist.part == Part::AgentTurn)
        {
            return Some(speech_id(turn).to_owned());
        }
        let top = self.ancestors(part).last().unwrap_or(part);
        let is_cut_off = top.parent.is_some();
        if is_cut_off && is_below_turn(top) {
            return top.parent.clone();
        }
        if !is_cut_off && !matches!(part.part, Part::AgentSpeech | Part::Tool) {
            return None;
        }
        let within = known
            .iter()
            .filter(|(_, start, end)| (start..=end).contains(&&part.started_at));
        within
            .max_by_key(|(_, start, _)| *start)
            .map(|(id, ..)| id.clone())
    }
}

impl<'a> Speech<'a> {
    fn called(speeches: &mut BTreeMap<String, Self>, id: String) -> &mut Self {
        speeches.entry(id.clone()).or_insert_with(|| Self {
            id,
            turns: Vec::new(),
            parts: Vec::new(),
            discarded: Vec::new(),
            is_say: false,
            piece: None,
        })
    }

    pub fn started_at(&self) -> DateTime<Utc> {
        if let Some(piece) = &self.piece {
            return piece.started_at;
        }
        let own = self.turns.iter().map(|turn| turn.started_at).min();
        let parts = self.parts.iter().map(|part| part.started_at).min();
        own.or(parts).unwrap_or(DateTime::UNIX_EPOCH)
    }

    pub fn ended_at(&self) -> DateTime<Utc> {
        let own = self.turns.iter().map(|turn| end(turn)).max();
        let parts = self.parts.iter().map(|part| end(part)).max();
        own.or(parts).unwrap_or(DateTime::UNIX_EPOCH)
    }

    pub fn of(&self, part: Part) -> impl Iterator<Item = &'a Gist> {
        self.parts
            .iter()
            .copied()
            .filter(move |gist| gist.part == part)
    }

    /// Its generations, as steps on the way to what is said.
    pub fn steps(&self) -> impl Iterator<Item = &'a Gist> {
        self.parts.iter().copied().filter(|part| is_step(part))
    }

    pub fn all(&self) -> impl Iterator<Item = &'a Gist> {
        let all = self.turns.iter().chain(&self.parts).chain(&self.discarded);
        all.copied()
    }

    pub fn flag(&self, name: &str) -> bool {
        self.turns
            .iter()
            .any(|turn| turn.fields.get(name).and_then(|flag| flag.as_bool()) == Some(true))
    }

    /// The first of its spans that says this.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.turns
            .iter()
            .find_map(|turn| turn.fields.get(name)?.as_str())
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        number_in(&self.turns, name)
    }

    /// What its spans say of how long the user waited for it.
    pub fn wait(&self, name: &str) -> Option<f64> {
        let told = self.piece.as_ref().map(|piece| &piece.waited);
        number_in(told.unwrap_or(&self.turns), name)
    }

    /// Whether it has come to its end, or at least this part of it.
    pub fn is_over(&self) -> bool {
        let is_followed = self.piece.as_ref().is_some_and(|piece| !piece.is_last);
        is_followed || !self.turns.is_empty() || self.is_say && self.has_audio()
    }

    /// Its syntheses, each told once.
    pub fn syntheses(&self, tree: &Tree<'a>) -> impl Iterator<Item = &'a Gist> {
        self.of(Part::Tts).filter(|gist| !tree.is_adapter(gist))
    }

    /// Whether something that was made for the answer stands in it, and not in another part of that.
    pub fn has(&self, part: &Gist) -> bool {
        self.piece.is_none() || self.parts.iter().any(|own| std::ptr::eq(*own, part))
    }

    pub fn has_audio(&self) -> bool {
        self.of(Part::AgentSpeech).next().is_some()
    }

    /// Whether something of it began to be heard between two moments.
    pub fn is_heard(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
        let mut audio = self.of(Part::AgentSpeech);
        audio.any(|gist| (from..to).contains(&gist.started_at))
    }

    /// When it was heard, from the first audio to the last.
    pub fn audio(&self) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let start = self
            .of(Part::AgentSpeech)
            .map(|gist| gist.started_at)
            .min()?;
        Some((start, self.of(Part::AgentSpeech).map(end).max()?))
    }

    /// An answer that the SDK made ahead of time and threw away: nobody heard it, and it did nothing. One that failed,
    /// or whose voice did, may have ended the session, which then stopped it.
    fn is_discarded(&self) -> bool {
        let mut own = self.turns.iter().copied().chain(self.of(Part::Tts));
        let has_failed = own.any(has_failed);
        let by_user = self.text("stoppedBy").is_some_and(|by| by != PROGRAMMATIC);
        let is_idle = !self.has_audio() && self.of(Part::Tool).next().is_none();
        self.flag("interrupted") && !by_user && is_idle && !has_failed
    }
}

fn number_in(turns: &[&Gist], name: &str) -> Option<f64> {
    let mut turns = turns.iter();
    turns.find_map(|turn| turn.fields.get(name)?.as_f64())
}

/// What stops an answer other than the user.
pub const PROGRAMMATIC: &str = "programmatic";

/// Those that were answers, with what discarded ones before them have cost, and the spans of the latter.
fn parted<'a>(speeches: Vec<Speech<'a>>) -> (Vec<Speech<'a>>, Vec<&'a Gist>) {
    let mut kept: Vec<Speech<'a>> = Vec::with_capacity(speeches.len());
    let (mut discarded, mut thrown_away) = (Vec::new(), Vec::new());
    for mut speech in speeches {
        if speech.is_discarded() {
            discarded.append(&mut speech.parts);
            thrown_away.append(&mut speech.turns);
        } else {
            speech.discarded.append(&mut discarded);
            kept.push(speech);
        }
    }
    if let Some(last) = kept.last_mut() {
        last.discarded.append(&mut discarded);
    }
    (kept, thrown_away)
}

/// Sessions, and what turns stand in. An answer's next step may stand in the one before it.
fn sessions<'a>(gists: &[&'a Gist]) -> BTreeSet<Key<'a>> {
    let session = |gist: &&'a Gist| match gist.part {
        Part::Root => Some(key(gist)),
        Part::AgentTurn | Part::UserTurn => Some((gist.trace_id.as_str(), gist.parent.as_deref()?)),
        _ => None,
    };
    let mut sessions: BTreeSet<Key<'a>> = gists.iter().filter_map(session).collect();
    for turn in gists.iter().filter(|gist| gist.part == Part::AgentTurn) {
        sessions.remove(&key(turn));
    }
    sessions
}

fn is_voice_node(gist: &Gist) -> bool {
    node(gist) == Some("tts") && gist.fields.contains_key(TOP)
}

/// Whether a call of a model had a result.
pub fn has_brought(gist: &Gist) -> bool {
    let told: &[&str] = match gist.part {
        Part::Llm => &["llmMs"],
        Part::Tts => &["ttsMs", "audioMs"],
        _ => &[],
    };
    told.iter().any(|name| gist.fields.contains_key(*name))
}

/// The answer that an agent's turn is a span of.
pub fn speech_id(turn: &Gist) -> &str {
    let stated = turn.fields.get("speech").and_then(|id| id.as_str());
    stated.unwrap_or(&turn.span_id)
}

/// Whether it is a step of an answer: a generation right below the agent's turn.
pub fn is_step(gist: &Gist) -> bool {
    gist.part == Part::Other && node(gist) == Some("llm") && gist.fields.contains_key(TOP)
}

fn is_part(gist: &Gist) -> bool {
    let is_node = gist.part == Part::Other && node(gist).is_some();
    is_node
        || matches!(
            gist.part,
            Part::AgentSpeech
                | Part::Llm
                | Part::LlmAttempt
                | Part::Tts
                | Part::TtsAttempt
                | Part::Tool
        )
}

/// Whether a span stands right below the agent's turn.
fn is_below_turn(gist: &Gist) -> bool {
    matches!(gist.part, Part::AgentSpeech | Part::Tool) || gist.fields.contains_key(TOP)
}
