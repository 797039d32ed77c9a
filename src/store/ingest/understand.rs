//! What the spans of a session amount to, again whenever one more comes: from what is stored of each, never
//! from all of their attributes.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use crate::domain::event::{Kind, Source, Submission};
use crate::domain::fact::Identity;
use crate::domain::ledger::Ledger;
use crate::domain::vocabulary;
use crate::domain::vocabulary::Gist;
use crate::store::columns::to_text;

use super::Result;
use super::batch::SessionWork;
use super::load::{self, Key, SessionBefore};

/// What tracers' spans say of their conversations, as it is stored beside them.
pub type Gists = BTreeMap<Key, BTreeMap<Identity, String>>;

/// Whether any of it is a tracer's span: then what all spans amount to may change.
pub fn tells_spans(work: &SessionWork<'_>) -> bool {
    work.tells(|submission| {
        matches!(submission, Submission::Event(Source::Trace, event) if event.kind == Kind::Span)
    })
}

/// Reads a session's spans anew, those that are stored by their gists. Answers the gists of the others, as they
/// are to be stored.
pub fn spans(ledger: &mut Ledger, stored: Vec<(Identity, Gist)>) -> BTreeMap<Identity, String> {
    let told = ledger.written();
    let told = told.filter(|(id, ..)| id.source == Source::Trace && id.kind == Kind::Span);
    let told: Vec<_> = told
        .map(|(id, _, fact)| (id.clone(), vocabulary::gist(&fact.fields)))
        .collect();
    let texts = told
        .iter()
        .filter_map(|(id, gist)| Some((id.clone(), to_text(gist.as_ref()?))));
    let texts = texts.collect();
    let mut gists: BTreeMap<Identity, Option<Gist>> = stored
        .into_iter()
        .map(|(id, gist)| (id, Some(gist)))
        .collect();
    gists.append(&mut told.into_iter().collect());
    let gists: Vec<Gist> = gists.into_values().flatten().collect();
    ledger.interpret(vocabulary::interpret(&gists));
    texts
}

/// What is stored of the spans of sessions that are told further ones.
pub async fn load_gists(
    connection: &mut PgConnection,
    work: &BTreeMap<Key, SessionWork<'_>>,
    before: &BTreeMap<Key, SessionBefore>,
    whole: &BTreeSet<Key>,
) -> Result<BTreeMap<Key, Vec<(Identity, Gist)>>> {
    let asked: Vec<Key> = work
        .iter()
        .filter(|(key, work)| {
            before.contains_key(*key) && !whole.contains(*key) && tells_spans(work)
        })
        .map(|(key, _)| *key)
        .collect();
    let mut gists: BTreeMap<Key, Vec<(Identity, Gist)>> = BTreeMap::new();
    for (key, identity, gist) in load::gists(connection, &asked).await? {
        gists.entry(key).or_default().push((identity, gist));
    }
    Ok(gists)
}
