//! Logs of an agent. The SDK's own records carry its report of a session, tags, and what judges found; chat
//! items are left to the chat history, which has them in order. Of all others those that tell of a failure are errors of
//! the session, and the rest is counted.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::app::Now;
use crate::auth::LivekitAgent;
use crate::domain::event::{Event, Kind, Source};
use crate::domain::ids::TenantId;
use crate::ingest::beside;
use crate::ingest::otlp;
use crate::ingest::otlp::logs::{DETAILS_BYTES, failure, is_error};
use crate::ingest::otlp::value::{ATTRIBUTES_BYTES, Notes, attributes, json as plain};
use crate::ingest::otlp::wire;
use crate::ingest::receive;
use crate::problem::Encoding;
use crate::problem::Problem;
use crate::problem::Query;
use crate::problem::Upload;
use crate::services::ingest;
use crate::services::ingest::Item;

use super::{event, item, moment, number, parts, put, text, written};

/// Who writes judgements where no judge is named.
const OUTCOME: &str = "outcome";

/// `POST /observability/logs/otlp/v0`
pub async fn logs(
    State(app): State<App>,
    agent: LivekitAgent,
    Now(now): Now,
    query: Query,
    headers: HeaderMap,
    upload: Upload,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let encoding = wire::encoding(&headers)?;
    let (admission, bytes) = receive(&app, &agent.scope, upload).await?;
    let tenant = agent.scope.tenant();
    let (items, unused) = beside(bytes, move |bytes| items(tenant, bytes, encoding, now)).await?;
    otlp::count_unused("livekit_logs", unused);
    let receipt = ingest::take(&app.writer, &agent.scope, items, admission, now).await?;
    Ok(otlp::taken(
        encoding,
        "rejectedLogRecords",
        receipt,
        "log records",
    ))
}

/// What of a body says something of a session, and how many records do not.
fn items(
    tenant: TenantId,
    bytes: &Bytes,
    encoding: Encoding,
    now: DateTime<Utc>,
) -> Result<(Vec<Item>, usize), Problem> {
    let groups = wire::split::<LogRecord>(bytes.clone(), encoding, &wire::LOGS)?;
    otlp::refuse_more_than(groups.iter().map(|group| group.items.len()).sum())?;
    let (mut items, mut unused) = (Vec::new(), 0);
    for group in groups {
        let scope = attributes(
            group.scope.attributes,
            ATTRIBUTES_BYTES,
            &mut Notes::default(),
        );
        for record in group.items {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    items.push(otlp::unreadable_item(error));
                    continue;
                }
            };
            let told = told(record, &group.scope.name, &scope, now);
            let told = told.and_then(|(room, told)| Some((parts::session(tenant, &room)?, told)));
            let Some((session, told)) = told else {
                unused += 1;
                continue;
            };
            let told = told.into_iter();
            items.extend(told.map(|told| item(&session, Source::LivekitReport, told)));
        }
    }
    Ok((items, unused))
}

/// What a record says of the session in a room, and which room that is.
fn told(
    record: LogRecord,
    logger: &str,
    scope: &Map<String, Value>,
    now: DateTime<Utc>,
) -> Option<(String, Vec<Event>)> {
    let own = attributes(
        record.attributes.clone(),
        ATTRIBUTES_BYTES,
        &mut Notes::default(),
    );
    let stated = own.get("logger.name").and_then(Value::as_str);
    let logger = stated.unwrap_or(logger).to_owned();
    let mut all = scope.clone();
    all.extend(own);
    if REPORTERS.contains(&logger.as_str()) {
        let record = Record::read(record, all, now)?;
        return Some((record.room()?.to_owned(), vec![record.event(now)?]));
    }
    let room = all.get("room_id").and_then(Value::as_str)?.to_owned();
    let is_of_call = logger != RUNTIME || all.contains_key("exception.type");
    if !is_error(&record) || !is_of_call {
        return None;
    }
    let details = attributes(
        record.attributes.clone(),
        DETAILS_BYTES,
        &mut Notes::default(),
    );
    let failure = failure(record, &logger, &details, now);
    // Of a job that never had a session nobody else says whose it was.
    let all = Value::Object(all);
    let id = format!("job:{}", text(&all, "job_id").unwrap_or_default());
    let mut fields = Map::new();
    put(&mut fields, "agentId", text(&all, "lk.agent_name"));
    let agent = event(Kind::Session, id, failure.at, fields, now);
    Some((room, agent.into_iter().chain([failure]).collect()))
}

/// Loggers of the SDK whose records are made to be read by machines.
const REPORTERS: [&str; 2] = ["chat_history", "evaluations"];
/// Where Python complains about what a program has not closed, which is nothing of a call.
const RUNTIME: &str = "asyncio";

/// A record of one of the SDK's own loggers.
struct Record {
    body: String,
    at: DateTime<Utc>,
    /// Its own attributes, then those of its logger.
    attributes: Value,
}

impl Record {
    fn read(record: LogRecord, attributes: Map<String, Value>, now: DateTime<Utc>) -> Option<Self> {
        let Some(Value::String(body)) = record.body.and_then(|body| plain(body, 0)) else {
            return None;
        };
        let times = [record.time_unix_nano, record.observed_time_unix_nano];
        let stated = times
            .into_iter()
            .find_map(|nanos| otlp::time(nanos, now).ok()?);
        Some(Self {
            body,
            at: stated.unwrap_or(now),
            attributes: Value::Object(attributes),
        })
    }

    fn room(&self) -> Option<&str> {
        text(&self.attributes, "room_id")
    }

    fn event(&self, now: DateTime<Utc>) -> Option<Event> {
        match self.body.as_str() {
            "session report" => self.report(now),
            "evaluation" => self.evaluation(now),
            "tag" => self.tag(now),
            "outcome" => self.outcome(now),
            _ => None,
        }
    }

    /// Tells this job's word from another's in the same room.
    fn id(&self, name: &str) -> String {
        format!(
            "{name}:{}",
            text(&self.attributes, "job_id").unwrap_or_default()
        )
    }

    fn report(&self, now: DateTime<Utc>) -> Option<Event> {
        let said = &self.attributes;
        let mut fields = Map::new();
        // The SDK writes it when the session is over.
        let ended_at = number(said, "session.report_timestamp").and_then(moment);
        put(&mut fields, "endedAt", ended_at.map(written));
        put(&mut fields, "agentId", text(said, "agent_name"));
        put(&mut fields, "tags", said.get("session.tags").cloned());
        let (room, name, job) = (self.room()?, text(said, "room"), text(said, "job_id"));
        put(
            &mut fields,
            "externalIds",
            Some(parts::external_ids(room, name, job)),
        );
        parts::usage(&said["usage"], &mut fields);
        let mut metadata = Map::new();
        put(&mut metadata, "livekitAgents", text(said, "sdk_version"));
        put(
            &mut metadata,
            "sessionOptions",
            said.get("session.options").cloned(),
        );
        put(&mut fields, "metadata", Some(metadata));
        event(Kind::Session, self.id("report"), self.at, fields, now)
    }

    /// What one judge found.
    fn evaluation(&self, now: DateTime<Utc>) -> Option<Event> {
        let found = &self.attributes["evaluation"];
        let judge = text(found, "name")?;
        let (score, verdict) = match text(found, "verdict")? {
            "pass" => (Some(1.0), Some("pass")),
            "fail" => (Some(0.0), Some("fail")),
            // Neither: a judge that is not sure.
            "maybe" => (Some(0.5), None),
            _ => (None, None),
        };
        let mut fields = Map::new();
        put(&mut fields, "reviewer", Some(format!("livekit:{judge}")));
        put(&mut fields, "score", score);
        put(&mut fields, "verdict", verdict);
        put(&mut fields, "notes", text(found, "reasoning"));
        put(
            &mut fields,
            "labels",
            text(found, "tag").map(|tag| json!([tag])),
        );
        event(
            Kind::Evaluation,
            self.id(&format!("judge:{judge}")),
            self.at,
            fields,
            now,
        )
    }

    /// What a tag carries besides its name; the names are in the report.
    fn tag(&self, now: DateTime<Utc>) -> Option<Event> {
        let tag = &self.attributes["tag"];
        let name = text(tag, "name")?;
        let mut fields = Map::new();
        put(
            &mut fields,
            "metadata",
            Some(json!({ format!("tag:{name}"): tag["metadata"] })),
        );
        event(
            Kind::Session,
            self.id(&format!("tag:{name}")),
            self.at,
            fields,
            now,
        )
    }

    /// What the application itself thinks of how it went.
    fn outcome(&self, now: DateTime<Utc>) -> Option<Event> {
        let outcome = &self.attributes["outcome"];
        let (score, verdict) = match text(outcome, "outcome")? {
            "success" => (1.0, "pass"),
            "fail" => (0.0, "fail"),
            _ => return None,
        };
        let mut fields = Map::new();
        put(&mut fields, "reviewer", Some(format!("livekit:{OUTCOME}")));
        put(&mut fields, "score", Some(score));
        put(&mut fields, "verdict", Some(verdict));
        put(&mut fields, "notes", text(outcome, "reason"));
        event(Kind::Evaluation, self.id(OUTCOME), self.at, fields, now)
    }
}
