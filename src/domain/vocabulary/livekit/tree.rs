//! A session's LiveKit spans as they hang together, and what each answer of the agent consists of.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::domain::vocabulary::{Gist, Part};

use super::super::calls::{DEPTH_MAX, end};
use super::failures::has_failed;
use super::read::{NODE, TOP};

pub type Key<'a> = (&'a str, &'a str);

pub struct Tree<'a> {
    spans: BTreeMap<Key<'a>, &'a Gist>,
    children: BTreeMap<Key<'a>, Vec<&'a Gist>>,
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
        Self {
            spans: gists.iter().map(|gist| (key(gist), *gist)).collect(),
            children,
        }
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

    /// The answers of a session, in the order of time, and the generations that belong to none.
    pub fn speeches(&self, gists: &[&'a Gist]) -> (Vec<Speech<'a>>, Vec<&'a Gist>) {
        let mut speeches: BTreeMap<String, Speech<'a>> = BTreeMap::new();
        for turn in gists.iter().filter(|gist| gist.part == Part::AgentTurn) {
            let speech = Speech::called(&mut speeches, speech_id(turn));
            speech.turns.push(turn);
        }
        let known: Vec<(String, DateTime<Utc>, DateTime<Utc>)> = speeches
            .values()
            .map(|speech| (speech.id.clone(), speech.started_at(), speech.ended_at()))
            .collect();
        let mut outside = Vec::new();
        for part in gists.iter().filter(|gist| is_part(gist)) {
            match self.home(part, &known) {
                Some(id) => Speech::called(&mut speeches, id).parts.push(part),
                None => outside.push(*part),
            }
        }
        let mut speeches: Vec<_> = speeches.into_values().collect();
        speeches.sort_by(|a, b| (a.started_at(), &a.id).cmp(&(b.started_at(), &b.id)));
        (kept(speeches), outside)
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
            return Some(speech_id(turn));
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
        })
    }

    pub fn started_at(&self) -> DateTime<Utc> {
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
        self.turns
            .iter()
            .find_map(|turn| turn.fields.get(name)?.as_f64())
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

    /// An answer that the SDK made ahead of time and threw away: nobody heard it, and it did nothing. One that failed
    /// may have ended the session, which then stopped it.
    fn is_discarded(&self) -> bool {
        let has_failed = self.turns.iter().any(|turn| has_failed(turn));
        let by_user = self.text("stoppedBy").is_some_and(|by| by != PROGRAMMATIC);
        let is_idle = !self.has_audio() && self.of(Part::Tool).next().is_none();
        self.flag("interrupted") && !by_user && is_idle && !has_failed
    }
}

/// What stops an answer other than the user.
pub const PROGRAMMATIC: &str = "programmatic";

/// Those that were answers; what discarded ones have cost is kept with the next.
fn kept(speeches: Vec<Speech<'_>>) -> Vec<Speech<'_>> {
    let mut kept: Vec<Speech<'_>> = Vec::with_capacity(speeches.len());
    let mut discarded = Vec::new();
    for mut speech in speeches {
        if speech.is_discarded() {
            discarded.append(&mut speech.parts);
        } else {
            speech.discarded.append(&mut discarded);
            kept.push(speech);
        }
    }
    if let Some(last) = kept.last_mut() {
        last.discarded.append(&mut discarded);
    }
    kept
}

fn speech_id(turn: &Gist) -> String {
    let stated = turn.fields.get("speech").and_then(|id| id.as_str());
    stated.unwrap_or(&turn.span_id).to_owned()
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
