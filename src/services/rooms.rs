//! Records of a room that belong to a session which was there, and of which nothing but the room's name says so.

use chrono::{DateTime, Utc};
use serde_json::{Map, json};

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::event::{Event, Kind, SessionRef, Source, Submission};
use crate::domain::ids::LabelKind;
use crate::domain::rooms;
use crate::domain::rooms::Occupant;
use crate::store::Store;
use crate::store::ingest::Writer;
use crate::store::sessions;
use crate::store::sessions::Due;

/// Joins what belongs together in rooms of which nothing was written for a while. Answers how much.
pub async fn join_due(store: &Store, writer: &Writer, now: DateTime<Utc>) -> Result<usize> {
    let mut count = 0;
    loop {
        let due = sessions::take_due(store, now).await?;
        if due.is_empty() {
            return Ok(count);
        }
        let mut failure = None;
        for room in due {
            match join_in(&room, writer, now).await {
                Ok(joined) => count += joined,
                // A tenant that sends too much: the name is taken up again when its lease is over.
                Err(Error::Throttled { .. }) => {}
                // As it is here, but it must not keep the others waiting.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
    }
}

/// Joins what belongs together in one room. Answers how much.
async fn join_in(room: &Due, writer: &Writer, now: DateTime<Utc>) -> Result<usize> {
    let occupants = sessions::occupants(&room.scope, &room.name).await?;
    let joined = rooms::joined(&occupants);
    for (record, holder) in &joined {
        join(writer, room, (record, holder), now).await?;
    }
    // Only now: what is cut short here is taken up again.
    sessions::done(room).await?;
    Ok(joined.len())
}

/// Tells the writer both names of what is one, as a statement about the record.
async fn join(
    writer: &Writer,
    room: &Due,
    (record, holder): (&Occupant, &Occupant),
    now: DateTime<Utc>,
) -> Result<()> {
    let session = SessionRef {
        id: record.id,
        external_id: record.name.value.clone(),
        kind: Some(record.name.kind),
        claims: vec![record.name.clone(), holder.name.clone()],
    };
    let ids = json!([{"kind": LabelKind::RoomName.as_str(), "id": room.name}]);
    let event = Event {
        kind: Kind::Session,
        id: "room".to_owned(),
        at: record.started_at,
        fields: Map::from_iter([("externalIds".to_owned(), ids)]).into(),
    };
    let told = Submission::Event(Source::LivekitWebhook, event);
    let admission = writer.admit(&room.scope, 0)?;
    writer
        .submit(&room.scope, vec![(session, told)], admission, now)
        .await?;
    Ok(())
}
