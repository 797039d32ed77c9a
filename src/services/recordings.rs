//! Recordings: taking audio in, showing it, deleting it; and what becomes of audio whose call never came.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{Stream, StreamExt};
use uuid::Uuid;

use crate::domain::Error;
use crate::domain::Fault;
use crate::domain::Result;
use crate::domain::ids::{SessionId, is_session_id};
use crate::domain::recording::{Placement, Recording, Usage, is_call_sid};
use crate::domain::webhook::Fetch;
use crate::objects::{Fetcher, Objects};
use crate::services::patience::within;
use crate::store::recordings::{self, Call, Saved, fetches};
use crate::store::retention;
use crate::store::sessions;
use crate::store::{ContentScope, Scope, Store};

pub use crate::objects::Spooled;

/// For how long audio may wait for its call.
const EARLY_KEPT: TimeDelta = TimeDelta::hours(24);

/// A recording, and the call that it belongs to once that is known.
#[derive(Debug)]
pub struct Shown {
    pub recording: Recording,
    pub call: Option<Call>,
}

impl Shown {
    /// The call's SID where there is one, else what its source calls it.
    pub fn call_id(&self) -> String {
        let known = match &self.call {
            Some(call) => call.call_sid.clone().or(Some(call.external_id.clone())),
            None => self.recording.call_sid.clone(),
        };
        known.unwrap_or_else(|| self.recording.id.to_string())
    }

    /// A spelling of the call's id that needs no escaping in a path.
    pub fn path_id(&self) -> String {
        match (&self.call, &self.recording.call_sid) {
            (Some(call), _) => call.id.prefixed(),
            (None, Some(call_sid)) => call_sid.clone(),
            (None, None) => self.recording.id.prefixed(),
        }
    }
}

/// A recording that is there, or one that is not yet or never will be.
#[derive(Debug)]
pub enum State {
    Kept(Box<Shown>),
    Wanted(Box<(Option<Call>, Fetch)>),
}

/// Where a recording may be put, and what is there.
pub struct Place {
    call: Option<Call>,
    id: SessionId,
    call_sid: Option<String>,
    existing: Option<Recording>,
    patience: Option<Duration>,
}

impl Place {
    /// The store is waited for no longer than this, each time that it is asked for something. For those whose request
    /// may take longer, since audio does to arrive.
    pub fn within(self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }

    /// How much there is.
    pub fn size_bytes(&self) -> i64 {
        self.existing
            .as_ref()
            .map_or(0, |existing| existing.size_bytes)
    }

    /// Whether these bytes are there already.
    pub fn holds(&self, spooled: &Spooled) -> bool {
        let existing = self.existing.as_ref();
        existing.is_some_and(|existing| existing.sha256 == spooled.sha256)
    }
}

/// Where audio goes that is sent for this call. A call that nobody knows yet is waited for if its id is a
/// call SID or a UUID, which no other call will have.
pub async fn place(scope: &Scope, reference: &str, now: DateTime<Utc>) -> Result<Place> {
    let call = known(scope, None, reference).await?;
    refuse_over(scope, call.as_ref(), reference, now).await?;
    if call.is_none() && !is_call_sid(reference) && !is_session_id(reference) {
        return Err(Error::NotFound("call"));
    }
    let ids = ids(scope, call.as_ref(), reference);
    let existing = recordings::find(scope, None, &ids).await?;
    if existing
        .as_ref()
        .is_some_and(|existing| existing.is_deleted)
    {
        return Err(Error::Gone("recording"));
    }
    let call_sid = match &call {
        Some(call) => call.call_sid.clone(),
        None => is_call_sid(reference).then(|| reference.to_owned()),
    };
    Ok(Place {
        id: existing.as_ref().map_or(ids[0], |existing| existing.id),
        call,
        call_sid,
        existing,
        patience: None,
    })
}

/// Refuses audio of a call that was deleted, or whose content was. Answers which call it is, if it is known.
pub async fn check_open(
    scope: &Scope,
    reference: &str,
    now: DateTime<Utc>,
) -> Result<Option<SessionId>> {
    let call = known(scope, None, reference).await?;
    refuse_over(scope, call.as_ref(), reference, now).await?;
    Ok(call.map(|call| call.id))
}

async fn refuse_over(
    scope: &Scope,
    call: Option<&Call>,
    reference: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let is_over = match call {
        Some(call) => call.is_closed,
        None => {
            let id = SessionId::from_reference(scope.tenant(), reference);
            retention::is_buried(scope, id, reference, now).await?
        }
    };
    match is_over {
        true => Err(Error::Gone("call")),
        false => Ok(()),
    }
}

/// Takes bytes as they come, up to a limit.
pub async fn receive<E>(
    objects: &Objects,
    limit_bytes: u64,
    mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<Spooled> {
    let mut spool = objects.spool(limit_bytes).await?;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| {
            let message = "broke off or does not decompress";
            Error::Invalid(vec![Fault::body("body", message)])
        })?;
        spool.write(chunk).await?;
    }
    spool.finish().await
}

/// Takes the bytes behind a URL, up to a limit.
pub async fn fetch(
    objects: &Objects,
    fetcher: &Fetcher,
    limit_bytes: u64,
    url: &str,
) -> Result<Spooled> {
    let spool = objects.spool(limit_bytes).await?;
    fetcher.fetch(url, spool).await
}

/// Longer than any upload takes: an object that no recording names by then was left behind.
const LEFT_AFTER: TimeDelta = TimeDelta::hours(30);

/// Keeps the audio. The same bytes again change nothing; others take the place of what was there.
pub async fn keep(
    scope: &Scope,
    objects: &Objects,
    place: Place,
    spooled: &Spooled,
    placement: Placement,
    now: DateTime<Utc>,
) -> Result<Shown> {
    let Place {
        call,
        id,
        call_sid,
        existing,
        patience,
    } = place;
    let patience = patience.unwrap_or(Duration::MAX);
    let existing_bytes = existing.as_ref().map_or(0, |existing| existing.size_bytes);
    if let Some(recording) = existing.filter(|existing| is_same(existing, spooled, placement)) {
        return Ok(Shown { recording, call });
    }
    let audio = objects.inspect(spooled).await?;
    // A folder a month, so that none grows without end and none is left empty for each call.
    let object = format!(
        "{}/{}/{}.{}",
        scope.tenant(),
        now.format("%Y-%m"),
        Uuid::new_v4(),
        audio.format.as_str()
    );
    within(patience, async {
        check_room(scope, objects, spooled.size_bytes, existing_bytes).await?;
        recordings::expect(scope, &object, now + LEFT_AFTER).await
    })
    .await?;
    objects.put(&object, spooled).await?;
    let recording = Recording {
        id,
        call_sid,
        is_deleted: false,
        is_early: call.is_none(),
        object,
        audio,
        size_bytes: i64::try_from(spooled.size_bytes).unwrap_or(i64::MAX),
        sha256: spooled.sha256,
        placement,
        created_at: now,
    };
    // Of an error nobody knows whether it came before the commit or after: the object stays until it is due.
    let saved = recordings::save(scope, &recording, objects.quota_bytes());
    match within(patience, saved).await? {
        Saved::New => {}
        Saved::Replaced(old) => remove(scope, objects, &old).await,
        Saved::Refused => {
            remove(scope, objects, &recording.object).await;
            return Err(Error::Gone("recording"));
        }
        Saved::Full => {
            remove(scope, objects, &recording.object).await;
            return Err(full(objects));
        }
    }
    Ok(Shown { recording, call })
}

/// How much audio a tenant has.
pub async fn usage(scope: &Scope) -> Result<Usage> {
    recordings::usage(scope).await
}

/// Refuses audio that a tenant has no room for: so many bytes, in the place of others. What is there may grow
/// smaller whatever the quota.
pub async fn check_room(
    scope: &Scope,
    objects: &Objects,
    bytes: u64,
    existing_bytes: i64,
) -> Result<()> {
    let Some(quota) = objects.quota_bytes() else {
        return Ok(());
    };
    let more = i64::try_from(bytes)
        .unwrap_or(i64::MAX)
        .saturating_sub(existing_bytes);
    let used = usage(scope).await?.size_bytes.saturating_add(more);
    match more > 0 && used > quota.cast_signed() {
        true => Err(full(objects)),
        false => Ok(()),
    }
}

fn full(objects: &Objects) -> Error {
    let quota = objects.quota_bytes().unwrap_or_default();
    Error::StorageFull(format!(
        "a tenant may have {quota} bytes of audio here: delete recordings, or keep what was said for a shorter time"
    ))
}

/// The recording of a call that is over, or what is known of one that is still to be fetched.
pub async fn state(scope: &Scope, content: &ContentScope, reference: &str) -> Result<State> {
    let call = known(scope, Some(content), reference).await?;
    if call.as_ref().is_some_and(|call| !call.status.is_final()) {
        return Err(Error::CallInProgress);
    }
    match existing(scope, Some(content), call.as_ref(), reference).await {
        Ok(recording) => Ok(State::Kept(Box::new(Shown { recording, call }))),
        Err(error @ Error::NotFound(_)) => {
            let ids = ids(scope, call.as_ref(), reference);
            match fetches::wanted(scope, &ids).await? {
                Some(fetch) => Ok(State::Wanted(Box::new((call, fetch)))),
                None => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// The recording of a call that is over.
pub async fn show(scope: &Scope, content: &ContentScope, reference: &str) -> Result<Shown> {
    match state(scope, content, reference).await? {
        State::Kept(shown) => Ok(*shown),
        State::Wanted(wanted) if wanted.1.failure.is_none() => Err(Error::Conflict(
            "the recording is still being fetched, try again later".to_owned(),
        )),
        State::Wanted(_) => Err(Error::NotFound("recording")),
    }
}

/// Some of a recording's bytes, as they come.
pub async fn bytes(
    objects: &Objects,
    recording: &Recording,
    range: Range<u64>,
) -> Result<impl Stream<Item = std::io::Result<Bytes>> + Send + 'static> {
    objects.get(&recording.object, range).await
}

/// Deletes the audio for good. First the row: nobody must be promised audio that is gone. Where the bytes
/// cannot be removed now, a worker does it later.
pub async fn delete(
    scope: &Scope,
    objects: &Objects,
    reference: &str,
    key_id: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let call = known(scope, None, reference).await?;
    let recording = existing(scope, None, call.as_ref(), reference).await?;
    if let Some(object) = recordings::mark_deleted(scope, recording.id, key_id, now).await? {
        remove(scope, objects, &object).await;
    }
    Ok(())
}

/// Those of the sessions that can be listened to.
pub async fn has_recordings(scope: &Scope, sessions: &[SessionId]) -> Result<HashSet<SessionId>> {
    recordings::recorded(scope, sessions).await
}

/// Drops audio whose call has not come within a day. Answers how many.
pub async fn drop_early(store: &Store, objects: &Objects, now: DateTime<Utc>) -> Result<usize> {
    let mut dropped = 0;
    for one in recordings::early(store, now - EARLY_KEPT).await? {
        if one.has_call {
            recordings::settle(&one.scope, one.id).await?;
        } else if recordings::forget(&one.scope, one.id, &one.object, now).await? {
            remove(&one.scope, objects, &one.object).await;
            dropped += 1;
        }
    }
    Ok(dropped)
}

/// Removes objects that no recording names any more, or that were stored for one which was never saved.
pub async fn remove_leftovers(store: &Store, objects: &Objects, now: DateTime<Utc>) -> Result<()> {
    for one in recordings::due(store, now).await? {
        remove(&one.scope, objects, &one.object).await;
    }
    Ok(())
}

/// The call that is meant, by whatever name some source has for it.
async fn known(
    scope: &Scope,
    content: Option<&ContentScope>,
    reference: &str,
) -> Result<Option<Call>> {
    if let Some(call) = recordings::call(scope, reference).await? {
        return Ok(Some(call));
    }
    match sessions::named(scope, content, reference).await? {
        Some(id) => recordings::call(scope, &id.to_string()).await,
        None => Ok(None),
    }
}

async fn existing(
    scope: &Scope,
    content: Option<&ContentScope>,
    call: Option<&Call>,
    reference: &str,
) -> Result<Recording> {
    let ids = ids(scope, call, reference);
    let mut found = recordings::find(scope, content, &ids).await?;
    if found.is_none() && is_call_sid(reference) {
        // Of several legs of a call the newest is meant that was recorded.
        for leg in recordings::legs(scope, reference).await? {
            found = recordings::find(scope, content, &[leg]).await?;
            if found.as_ref().is_some_and(|leg| !leg.is_deleted) {
                break;
            }
        }
    }
    let recording = found.ok_or(Error::NotFound("recording"))?;
    if recording.is_deleted {
        return Err(Error::Gone("recording"));
    }
    Ok(recording)
}

/// Under which ids a call's recording may be: never none.
fn ids(scope: &Scope, call: Option<&Call>, reference: &str) -> Vec<SessionId> {
    match call {
        Some(call) => {
            let early = call.call_sid.as_deref();
            let early = early.map(|sid| recordings::early_id(scope, sid));
            [call.id].into_iter().chain(early).collect()
        }
        None if is_call_sid(reference) => vec![recordings::early_id(scope, reference)],
        None => vec![SessionId::from_reference(scope.tenant(), reference)],
    }
}

fn is_same(existing: &Recording, spooled: &Spooled, placement: Placement) -> bool {
    let is_placed = placement == Placement::default() || placement == existing.placement;
    existing.sha256 == spooled.sha256 && is_placed
}

/// Removes a noted object; what stands in the way is tried again later.
pub(super) async fn remove(scope: &Scope, objects: &Objects, object: &str) {
    let removed = async {
        objects.delete(object).await?;
        recordings::strike_off(scope, object).await
    };
    if let Err(error) = removed.await {
        tracing::warn!(%error, object, "audio that nobody needs is still in object storage");
    }
}
