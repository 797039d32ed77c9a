//! The doors of Langfuse's SDKs besides their OpenTelemetry one: `POST /api/public/ingestion`, in whose
//! batches traces, observations and scores are told event by event, and `POST /api/public/scores`; and
//! what an SDK asks before it sends.

mod envelope;
mod observation;
mod score;
mod usage;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::{App, Now};
use crate::auth::Ingestor;
use crate::domain::Fault;
use crate::domain::event;
use crate::domain::event::{SessionRef, Submission};
use crate::domain::ids::TenantId;
use crate::domain::json;
use crate::ingest::beside;
use crate::ingest::document::refuse_heavier;
use crate::ingest::native::{HEAVY_BYTES, ITEMS_MAX, refuse_more_than};
use crate::ingest::receive;
use crate::problem::{Kind, Problem, Query, Upload, is_json};
use crate::services::ingest;
use crate::services::ingest::{Item, Rejection};

use envelope::{Envelope, Relations, malformed};

/// What the server is to an SDK that asks: a Langfuse of this API.
const API_VERSION: &str = "3.0.0";

/// `POST /api/public/ingestion`
pub async fn events(
    State(app): State<App>,
    ingestor: Ingestor,
    Now(now): Now,
    query: Query,
    headers: HeaderMap,
    upload: Upload,
) -> Result<Response, Problem> {
    query.params().finish()?;
    refuse_other_than_json(&headers)?;
    let (admission, bytes) = receive(&app, &ingestor.scope, upload).await?;
    let tenant = ingestor.scope.tenant();
    let (items, logged) = beside(bytes, move |bytes| read(tenant, bytes, now)).await?;
    let ids: Vec<String> = items.iter().filter_map(|item| item.id.clone()).collect();
    let receipt = ingest::take(&app.writer, &ingestor.scope, items, admission, now).await?;
    Ok((
        StatusCode::MULTI_STATUS,
        axum::Json(Answer::of(ids, logged, receipt.rejected)),
    )
        .into_response())
}

/// The items of a batch, and the ids of events that only log something.
fn read(
    tenant: TenantId,
    bytes: &[u8],
    now: DateTime<Utc>,
) -> Result<(Vec<Item>, Vec<String>), Problem> {
    let mended: Vec<u8>;
    let raw = match envelope::split(bytes) {
        Ok(raw) => raw,
        // What one event holds that is no JSON costs its neighbours nothing.
        Err(problem) => {
            mended = json::mended(bytes).ok_or(problem)?;
            envelope::split(&mended)?
        }
    };
    refuse_more_than(raw.len(), ITEMS_MAX)?;
    let events: Vec<_> = raw
        .into_iter()
        .enumerate()
        .map(|(place, raw)| Envelope::read(raw, place, now))
        .collect();
    let mut relations = Relations::default();
    events
        .iter()
        .flatten()
        .for_each(|event| relations.add(event));
    let (mut items, mut logged) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Err(broken) => items.push(refused(&broken.id, vec![broken.fault])),
            Ok(event) if event.r#type == "sdk-log" => logged.push(event.id),
            Ok(event) if event.is_score() => items.push(score::read(
                tenant,
                &event.id,
                event.said_at,
                &event.body,
                &relations,
                now,
            )),
            Ok(event) => items.push(observation::read(tenant, &event, &relations, now)),
        }
    }
    Ok((items, logged))
}

/// `POST /api/public/scores`: one score, or a list of them.
pub async fn scores(
    State(app): State<App>,
    ingestor: Ingestor,
    Now(now): Now,
    query: Query,
    headers: HeaderMap,
    upload: Upload,
) -> Result<Response, Problem> {
    query.params().finish()?;
    refuse_other_than_json(&headers)?;
    let (admission, bytes) = receive(&app, &ingestor.scope, upload).await?;
    let tenant = ingestor.scope.tenant();
    let (items, is_list) = beside(bytes, move |bytes| read_scores(tenant, bytes, now)).await?;
    let ids: Vec<String> = items.iter().filter_map(|item| item.id.clone()).collect();
    let receipt = ingest::take(&app.writer, &ingestor.scope, items, admission, now).await?;
    if !is_list {
        return match receipt.rejected.into_iter().next() {
            Some(rejection) => Err(crate::domain::Error::Invalid(rejection.faults).into()),
            None => Ok(axum::Json(json!({"id": ids.first()})).into_response()),
        };
    }
    if receipt.rejected.is_empty() {
        let accepted = axum::Json(json!({"message": "Accepted"}));
        return Ok((StatusCode::ACCEPTED, accepted).into_response());
    }
    let answer = json!({
        "accepted": ids.len() - receipt.rejected.len(),
        "rejected": receipt.rejected.len(),
        "errors": receipt.rejected.iter().map(complaint).collect::<Vec<_>>(),
    });
    Ok((StatusCode::MULTI_STATUS, axum::Json(answer)).into_response())
}

fn read_scores(
    tenant: TenantId,
    bytes: &[u8],
    now: DateTime<Utc>,
) -> Result<(Vec<Item>, bool), Problem> {
    refuse_heavier(bytes, HEAVY_BYTES)?;
    let body = json::parse(bytes).map_err(|error| malformed(format!("must be JSON: {error}")))?;
    let (scores, is_list) = match json::without_nul(event::normalised(body)) {
        Value::Array(scores) => (scores, true),
        Value::Object(score) => (vec![Value::Object(score)], false),
        _ => return Err(malformed("must be a score or a list of scores")),
    };
    refuse_more_than(scores.len(), ITEMS_MAX)?;
    let relations = Relations::default();
    let item = |score: Value| match score {
        Value::Object(score) => {
            // Who gives no id is known by the whole.
            let own = envelope::text(&score, "id").map(str::to_owned);
            let id = own.unwrap_or_else(|| format!("{:016x}", event::fields_hash(&score)));
            score::read(tenant, &id, now, &score, &relations, now)
        }
        _ => refused("", vec![Fault::body("", "must be an object")]),
    };
    Ok((scores.into_iter().map(item).collect(), is_list))
}

/// `GET /api/public/health`
pub async fn health(query: Query) -> Result<axum::Json<Value>, Problem> {
    query.params().finish()?;
    Ok(axum::Json(json!({"status": "OK", "version": API_VERSION})))
}

/// `GET /api/public/projects`: what an SDK asks to see whether its keys are good for anything. A tenant is
/// one project.
pub async fn projects(
    State(_): State<App>,
    ingestor: Ingestor,
    query: Query,
) -> Result<axum::Json<Value>, Problem> {
    query.params().finish()?;
    let id = ingestor.scope.tenant().to_string();
    Ok(axum::Json(json!({
        "data": [{
            "id": id,
            "name": "voxray",
            "metadata": {},
            "organization": {"id": id, "name": "voxray"},
        }]
    })))
}

fn refuse_other_than_json(headers: &HeaderMap) -> Result<(), Problem> {
    if is_json(headers) {
        return Ok(());
    }
    let detail = "`Content-Type` must be `application/json`";
    Err(Problem::new(&Kind::UNSUPPORTED_MEDIA_TYPE, detail))
}

#[derive(Serialize)]
struct Answer {
    successes: Vec<Success>,
    errors: Vec<Complaint>,
}

#[derive(Serialize)]
struct Success {
    id: String,
    status: u16,
}

#[derive(Serialize)]
struct Complaint {
    id: String,
    status: u16,
    message: String,
    error: String,
}

impl Answer {
    /// What became of each event: ids in the order of the items, and the items that were refused.
    fn of(ids: Vec<String>, logged: Vec<String>, rejected: Vec<Rejection>) -> Self {
        let mut is_rejected = vec![false; ids.len()];
        for rejection in &rejected {
            if let Some(place) = is_rejected.get_mut(rejection.index) {
                *place = true;
            }
        }
        let taken = ids.into_iter().zip(is_rejected);
        let taken = taken.filter(|(_, is_rejected)| !is_rejected);
        Self {
            successes: taken
                .map(|(id, _)| id)
                .chain(logged)
                .map(|id| Success { id, status: 201 })
                .collect(),
            errors: rejected.iter().map(complaint).collect(),
        }
    }
}

fn complaint(rejection: &Rejection) -> Complaint {
    let faults = rejection.faults.iter();
    let told: Vec<String> = faults
        .map(|f| format!("{} {}", f.name, f.message))
        .collect();
    Complaint {
        id: rejection.id.clone().unwrap_or_default(),
        status: 400,
        message: format!("Invalid request data: {}", told.join("; ")),
        error: "InvalidRequestError".to_owned(),
    }
}

fn item(id: &str, session: SessionRef, submission: Submission) -> Item {
    Item {
        id: Some(id.to_owned()),
        content: Ok((session, submission)),
        unknown: Vec::new(),
    }
}

fn refused(id: &str, faults: Vec<Fault>) -> Item {
    Item {
        id: Some(id.to_owned()),
        content: Err(faults),
        unknown: Vec::new(),
    }
}
