//! What a batch must know before it can be assembled: locked session rows, the facts its submissions
//! may meet, the turns around those it touches. Each function is one statement for the whole batch.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Result;
use crate::domain::assemble::{Counters, KnownTurn, Neighbour};
use crate::domain::digest::Digest;
use crate::domain::event::{Kind, Source};
use crate::domain::fact::{Entity, Fact, Identity};
use crate::domain::ids::ClaimKind;
use crate::domain::price::Prices;
use crate::domain::session::{Activity, Status};
use crate::domain::turn::{self, Position, Predecessor, Speaker};
use crate::domain::vocabulary::Gist;
use crate::store::columns::column;
use crate::store::columns::object;
use crate::store::columns::unreadable;
use crate::store::facts::Stored;
use crate::store::prices;

/// (tenant, session): what rows and locks are sorted by.
pub type Key = (Uuid, Uuid);

/// A session's row as it is before the batch.
pub struct SessionBefore {
    pub status: Status,
    pub external_id: String,
    pub name_kind: ClaimKind,
    /// Which families of sources tell its turns (`domain::precedence`).
    pub turn_families: i16,
    pub started_at: DateTime<Utc>,
    pub tags: Vec<String>,
    /// Written by a person: then these are its tags, whatever the facts say.
    pub edited_tags: Option<Vec<String>>,
    pub counters: Counters,
    pub digest: Digest,
    pub activity: Activity,
    /// Its content was deleted: it takes no more facts.
    pub is_closed: bool,
    /// How often a trace in it turned out to tell of several conversations.
    pub divisions: i32,
}

impl SessionBefore {
    /// The tags that readers see, over those that the facts amount to.
    pub fn effective_tags<'a>(&'a self, derived: &'a [String]) -> &'a [String] {
        self.edited_tags.as_deref().unwrap_or(derived)
    }
}

/// Locks the rows of those sessions that exist, in the order of their keys.
pub async fn lock_sessions(
    connection: &mut PgConnection,
    keys: &[Key],
) -> Result<BTreeMap<Key, SessionBefore>> {
    let rows = sqlx::query!(
        r#"select s.tenant_id, s.id, s.status, s.external_id, s.started_at, s.tags, s.digest, s.first_at, s.last_at,
                s.turn_count, s.tool_call_count, s.interruption_count, s.error_count,
                s.evaluation_count, s.fact_count, s.fact_bytes, s.span_bytes, s.turn_tokens,
                s.turn_prompt_tokens, s.has_edits, s.name_kind, s.turn_families, s.divisions,
                s.closed_at is not null as "is_closed!"
           from unnest($1::uuid[], $2::uuid[]) as k (tenant_id, id)
           join sessions s on s.tenant_id = k.tenant_id and s.id = k.id
          order by s.tenant_id, s.id
            for no key update of s"#,
        &column(keys, |k| k.0),
        &column(keys, |k| k.1),
    )
    .fetch_all(&mut *connection)
    .await?;
    let edited: Vec<Key> = rows
        .iter()
        .filter(|row| row.has_edits)
        .map(|row| (row.tenant_id, row.id))
        .collect();
    let mut edited_tags = edited_tags(connection, &edited).await?;
    let mut sessions = BTreeMap::new();
    for row in rows {
        let before = SessionBefore {
            status: Status::parse(&row.status)
                .ok_or_else(|| unreadable("sessions.status", &row.status))?,
            external_id: row.external_id,
            name_kind: ClaimKind::from_stored(row.name_kind)
                .ok_or_else(|| unreadable("sessions.name_kind", row.id))?,
            turn_families: row.turn_families,
            divisions: row.divisions,
            started_at: row.started_at,
            tags: row.tags,
            edited_tags: edited_tags.remove(&(row.tenant_id, row.id)),
            counters: Counters {
                turns: row.turn_count,
                tool_calls: row.tool_call_count,
                interruptions: row.interruption_count,
                errors: row.error_count,
                evaluations: row.evaluation_count,
                facts: row.fact_count,
                fact_bytes: row.fact_bytes,
                span_bytes: row.span_bytes,
                turn_tokens: row.turn_tokens,
                turn_prompt_tokens: row.turn_prompt_tokens,
            },
            digest: Digest::from_bytes(&row.digest)
                .ok_or_else(|| unreadable("sessions.digest", row.id))?,
            activity: Activity {
                first_at: row.first_at,
                last_at: row.last_at,
            },
            is_closed: row.is_closed,
        };
        sessions.insert((row.tenant_id, row.id), before);
    }
    Ok(sessions)
}

/// A statement of its own, after the lock: one that waited for it would still see the edits from before.
async fn edited_tags(
    connection: &mut PgConnection,
    keys: &[Key],
) -> Result<BTreeMap<Key, Vec<String>>> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query!(
        r#"select e.tenant_id, e.session_id, e.tags as "tags!"
             from unnest($1::uuid[], $2::uuid[]) as k (tenant_id, session_id)
             join session_edits e on e.tenant_id = k.tenant_id and e.session_id = k.session_id
            where e.tags is not null"#,
        &column(keys, |k| k.0),
        &column(keys, |k| k.1),
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ((row.tenant_id, row.session_id), row.tags))
        .collect())
}

/// The facts under these identities.
pub async fn facts_by_identity(
    connection: &mut PgConnection,
    identities: &[(Key, Identity)],
) -> Result<Vec<(Key, Fact)>> {
    if identities.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        FactRow,
        "select f.tenant_id, f.session_id, f.source, f.kind, f.id, f.at, f.hash, f.body
           from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::smallint[], $5::text[])
                as k (tenant_id, session_id, source, kind, id)
           join facts f
             on f.tenant_id = k.tenant_id and f.session_id = k.session_id
            and f.source = k.source and f.kind = k.kind and f.id = k.id",
        &column(identities, |(key, _)| key.0),
        &column(identities, |(key, _)| key.1),
        &column(identities, |(_, identity)| identity.source as i16),
        &column(identities, |(_, identity)| identity.kind as i16),
        &column(identities, |(_, identity)| identity.id.clone()),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(FactRow::into_fact).collect()
}

/// The facts that speak of these (shared) entities.
pub async fn facts_by_entity(
    connection: &mut PgConnection,
    entities: &[(Key, Entity)],
) -> Result<Vec<(Key, Fact)>> {
    if entities.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        FactRow,
        "select f.tenant_id, f.session_id, f.source, f.kind, f.id, f.at, f.hash, f.body
           from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::text[])
                as k (tenant_id, session_id, kind, entity)
           join facts f
             on f.tenant_id = k.tenant_id and f.session_id = k.session_id
            and f.kind = k.kind and f.entity = k.entity",
        &column(entities, |(key, _)| key.0),
        &column(entities, |(key, _)| key.1),
        &column(entities, |(_, entity)| entity.kind as i16),
        &column(entities, |(_, entity)| entity.key.clone()),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(FactRow::into_fact).collect()
}

/// All facts that came in these sessions' reports of a source. A tracer's report is what its spans amount
/// to, not the spans.
pub async fn facts_of_reports(
    connection: &mut PgConnection,
    reports: &[(Key, Source)],
) -> Result<Vec<(Key, Fact)>> {
    if reports.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        FactRow,
        "select f.tenant_id, f.session_id, f.source, f.kind, f.id, f.at, f.hash, f.body
           from unnest($1::uuid[], $2::uuid[], $3::smallint[]) as k (tenant_id, session_id, source)
           join facts f
             on f.tenant_id = k.tenant_id and f.session_id = k.session_id and f.source = k.source
            and (f.source <> $4 or f.kind <> $5)",
        &column(reports, |(key, _)| key.0),
        &column(reports, |(key, _)| key.1),
        &column(reports, |(_, source)| *source as i16),
        Source::Trace as i16,
        Kind::Span as i16,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(FactRow::into_fact).collect()
}

/// All facts of sessions, under the sessions that they are to belong to.
pub async fn all_facts(
    connection: &mut PgConnection,
    members: &[(Key, Key)],
) -> Result<BTreeMap<Key, Vec<Fact>>> {
    if members.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query_as!(
        FactRow,
        r#"select k.tenant_id as "tenant_id!", k.into_id as "session_id!", f.source, f.kind, f.id, f.at, f.hash, f.body
             from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as k (tenant_id, into_id, session_id)
             join facts f on f.tenant_id = k.tenant_id and f.session_id = k.session_id"#,
        &column(members, |(into, _)| into.0),
        &column(members, |(into, _)| into.1),
        &column(members, |(_, of)| of.1),
    )
    .fetch_all(connection)
    .await?;
    let mut facts: BTreeMap<Key, Vec<Fact>> = BTreeMap::new();
    for row in rows {
        let (key, fact) = row.into_fact()?;
        facts.entry(key).or_default().push(fact);
    }
    Ok(facts)
}

/// What the spans of these sessions say.
pub async fn gists(
    connection: &mut PgConnection,
    keys: &[Key],
) -> Result<Vec<(Key, Identity, Gist)>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"select f.tenant_id, f.session_id, f.id, f.gist as "gist!"
             from unnest($1::uuid[], $2::uuid[]) as k (tenant_id, session_id)
             join facts f
               on f.tenant_id = k.tenant_id and f.session_id = k.session_id
              and f.source = $3 and f.kind = $4
            where f.gist is not null"#,
        &column(keys, |k| k.0),
        &column(keys, |k| k.1),
        Source::Trace as i16,
        Kind::Span as i16,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let gist =
                serde_json::from_str(&row.gist).map_err(|_| unreadable("facts.gist", &row.id))?;
            let identity = Identity {
                source: Source::Trace,
                kind: Kind::Span,
                id: row.id,
            };
            Ok(((row.tenant_id, row.session_id), identity, gist))
        })
        .collect()
}

struct FactRow {
    tenant_id: Uuid,
    session_id: Uuid,
    source: i16,
    kind: i16,
    id: String,
    at: DateTime<Utc>,
    hash: i64,
    body: String,
}

impl FactRow {
    fn into_fact(self) -> Result<(Key, Fact)> {
        let stored = Stored {
            source: self.source,
            kind: self.kind,
            id: self.id,
            at: self.at,
            hash: self.hash,
            body: self.body,
        };
        Ok(((self.tenant_id, self.session_id), stored.into_fact()?))
    }
}

/// A place in a session's order of turns, and the turns that do not count as its neighbours.
pub struct Place {
    pub key: Key,
    pub position: Position,
    pub touched: Vec<i32>,
}

/// The untouched turns right before and right behind each place.
pub async fn neighbours(
    connection: &mut PgConnection,
    places: &[Place],
) -> Result<Vec<(Key, Neighbour)>> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        NeighbourRow,
        r#"select n.tenant_id as "tenant_id!", n.session_id as "session_id!", n.index as "index!",
                  n.speaker as "speaker!", n.start_ms, n.end_ms, n.stt_ms, n.endpointing_ms, n.extra as "extra!"
             from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::integer[], $5::integer[], $6::text[])
                  as p (tenant_id, session_id, start_ms, end_ms, index, touched)
            cross join lateral (
                  (select t.tenant_id, t.session_id, t.index, t.speaker, t.start_ms, t.end_ms, t.stt_ms, t.endpointing_ms, t.extra
                     from turns t
                    where t.tenant_id = p.tenant_id and t.session_id = p.session_id
                      and (coalesce(t.start_ms, 2147483647), coalesce(t.end_ms, 2147483647), t.index) < (p.start_ms, p.end_ms, p.index)
                      and t.index <> all (p.touched::integer[])
                      and not (t.cancelled and t.speaker = 'agent')
                    order by coalesce(t.start_ms, 2147483647) desc, coalesce(t.end_ms, 2147483647) desc, t.index desc
                    limit 1)
                  union all
                  (select t.tenant_id, t.session_id, t.index, t.speaker, t.start_ms, t.end_ms, t.stt_ms, t.endpointing_ms, t.extra
                     from turns t
                    where t.tenant_id = p.tenant_id and t.session_id = p.session_id
                      and (coalesce(t.start_ms, 2147483647), coalesce(t.end_ms, 2147483647), t.index) > (p.start_ms, p.end_ms, p.index)
                      and t.index <> all (p.touched::integer[])
                      and not (t.cancelled and t.speaker = 'agent')
                    order by coalesce(t.start_ms, 2147483647), coalesce(t.end_ms, 2147483647), t.index
                    limit 1)
                  ) n"#,
        &column(places, |p| p.key.0),
        &column(places, |p| p.key.1),
        &column(places, |p| p.position.0),
        &column(places, |p| p.position.1),
        &column(places, |p| p.position.2),
        &column(places, |p| array_literal(&p.touched)),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(NeighbourRow::into_neighbour).collect()
}

/// What each of these tenants pays.
pub async fn prices(
    connection: &mut PgConnection,
    tenants: &[Uuid],
) -> Result<BTreeMap<Uuid, Prices>> {
    let rows = sqlx::query!(
        "select o.tenant_id, o.version, o.prices
           from unnest($1::uuid[]) with ordinality as k (tenant_id, place)
           join price_overrides o on o.tenant_id = k.tenant_id",
        tenants,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.tenant_id, prices::parsed(row.version, &row.prices)?)))
        .collect()
}

/// All turns of sessions of which a batch touches many turns at once.
pub async fn all_turns(
    connection: &mut PgConnection,
    keys: &[Key],
) -> Result<Vec<(Key, Neighbour)>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        NeighbourRow,
        "select t.tenant_id, t.session_id, t.index, t.speaker, t.start_ms, t.end_ms, t.stt_ms, t.endpointing_ms, t.extra
           from unnest($1::uuid[], $2::uuid[]) as k (tenant_id, session_id)
           join turns t on t.tenant_id = k.tenant_id and t.session_id = k.session_id
          where not (t.cancelled and t.speaker = 'agent')",
        &column(keys, |k| k.0),
        &column(keys, |k| k.1),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(NeighbourRow::into_neighbour).collect()
}

struct NeighbourRow {
    tenant_id: Uuid,
    session_id: Uuid,
    index: i32,
    speaker: String,
    start_ms: Option<i32>,
    end_ms: Option<i32>,
    stt_ms: Option<f64>,
    endpointing_ms: Option<f64>,
    extra: String,
}

impl NeighbourRow {
    fn into_neighbour(self) -> Result<(Key, Neighbour)> {
        let extra = object("turns.extra", &self.extra)?;
        let member = |name: &str| Some(extra.get(name)?.get("stt")?.as_str()?.to_owned());
        let before = Predecessor {
            speaker: Speaker::parse(&self.speaker)
                .ok_or_else(|| unreadable("turns.speaker", &self.speaker))?,
            end_ms: self.end_ms,
            stt_ms: self.stt_ms,
            endpointing_ms: self.endpointing_ms,
            eou_probability: extra
                .get("eouProbability")
                .and_then(serde_json::Value::as_f64),
            stt_provider: member("providers"),
            stt_model: member("models"),
            is_aside: turn::is_marked(&extra, turn::ASIDE),
        };
        let position = (
            self.start_ms.unwrap_or(i32::MAX),
            self.end_ms.unwrap_or(i32::MAX),
            self.index,
        );
        Ok((
            (self.tenant_id, self.session_id),
            Neighbour { position, before },
        ))
    }
}

/// What the rows of these turns have added to their sessions.
pub async fn known_turns(
    connection: &mut PgConnection,
    turns: &[(Key, i32)],
) -> Result<Vec<(Key, i32, KnownTurn)>> {
    if turns.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        "select t.tenant_id, t.session_id, t.index, t.tokens, t.prompt_tokens, t.measures
           from unnest($1::uuid[], $2::uuid[], $3::integer[]) as k (tenant_id, session_id, index)
           join turns t on t.tenant_id = k.tenant_id and t.session_id = k.session_id and t.index = k.index",
        &column(turns, |(key, _)| key.0),
        &column(turns, |(key, _)| key.1),
        &column(turns, |(_, index)| *index),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let measures = postcard::from_bytes(&row.measures)
                .map_err(|_| unreadable("turns.measures", row.session_id))?;
            Ok((
                (row.tenant_id, row.session_id),
                row.index,
                KnownTurn {
                    tokens: row.tokens,
                    prompt_tokens: row.prompt_tokens,
                    measures,
                },
            ))
        })
        .collect()
}

/// One tool call of a turn: its session, id, turn and when it ran.
pub type ToolInterval = (Key, String, i32, (i32, i32));

/// When the tools of these turns ran.
pub async fn tool_intervals(
    connection: &mut PgConnection,
    turns: &[(Key, i32)],
) -> Result<Vec<ToolInterval>> {
    if turns.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"select c.tenant_id, c.session_id, c.id, k.turn as "turn!", c.start_ms as "start_ms!", c.end_ms as "end_ms!"
             from unnest($1::uuid[], $2::uuid[], $3::integer[]) as k (tenant_id, session_id, turn)
             join tool_calls c on c.tenant_id = k.tenant_id and c.session_id = k.session_id and c.turn = k.turn
            where c.start_ms is not null and c.end_ms is not null"#,
        &column(turns, |(key, _)| key.0),
        &column(turns, |(key, _)| key.1),
        &column(turns, |(_, turn)| *turn),
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            (
                (r.tenant_id, r.session_id),
                r.id,
                r.turn,
                (r.start_ms, r.end_ms),
            )
        })
        .collect())
}

fn array_literal(numbers: &[i32]) -> String {
    let list: Vec<String> = numbers.iter().map(i32::to_string).collect();
    format!("{{{}}}", list.join(","))
}
