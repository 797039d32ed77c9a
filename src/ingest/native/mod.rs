//! The native doors: `POST /v1/ingest/events` and `POST /v1/ingest/calls`, JSON or NDJSON.

mod body;
mod call;
mod event;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::app::App;
use crate::app::Now;
use crate::auth::Ingestor;
use crate::domain::Fault;
use crate::domain::fields::Unknown;
use crate::ingest::beside;
use crate::ingest::receive;
use crate::problem::Problem;
use crate::problem::Query;
use crate::problem::Upload;
use crate::services::fetches;
use crate::services::ingest;
use crate::services::ingest::Admission;
use crate::services::ingest::Item;
use crate::services::ingest::Receipt;

pub use body::{HEAVY_BYTES, ITEMS_MAX, refuse_more_than};
pub use call::item as call_item;

/// `POST /v1/ingest/events`
pub async fn events(
    State(app): State<App>,
    ingestor: Ingestor,
    Now(now): Now,
    query: Query,
    headers: HeaderMap,
    upload: Upload,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let (admission, bytes) = receive(&app, &ingestor.scope, upload).await?;
    let tenant = ingestor.scope.tenant();
    let items = beside(bytes, move |bytes| {
        let raw = body::split(&headers, bytes, "events")?;
        refuse_more_than(raw.len(), ITEMS_MAX)?;
        let items = raw.into_iter().map(|raw| event::item(tenant, raw, now));
        Ok(items.collect())
    });
    let items = items.await?;
    take(&app, &ingestor, items, admission, now).await
}

/// `POST /v1/ingest/calls`
pub async fn calls(
    State(app): State<App>,
    ingestor: Ingestor,
    Now(now): Now,
    query: Query,
    headers: HeaderMap,
    upload: Upload,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let (admission, bytes) = receive(&app, &ingestor.scope, upload).await?;
    let tenant = ingestor.scope.tenant();
    let items = beside(bytes, move |bytes| {
        let raw = body::split(&headers, bytes, "calls")?;
        refuse_more_than(raw.len(), ITEMS_MAX)?;
        let items: Vec<(Item, usize)> = raw
            .into_iter()
            .map(|raw| call_item(tenant, raw, now))
            .collect();
        // One call may be as large as a call may be; several share a request's bound.
        if items.len() > 1 {
            refuse_more_than(items.iter().map(|(_, held)| held).sum(), ITEMS_MAX)?;
        }
        Ok(items.into_iter().map(|(item, _)| item).collect())
    });
    let items = items.await?;
    take(&app, &ingestor, items, admission, now).await
}

/// Writes the items, then wants the recordings that those speak of which were not rejected.
async fn take(
    app: &App,
    ingestor: &Ingestor,
    items: Vec<Item>,
    admission: Admission,
    now: DateTime<Utc>,
) -> Result<Response, Problem> {
    let announced = fetches::announced(&app.fetcher, &items, now);
    let receipt = ingest::take(&app.writer, &ingestor.scope, items, admission, now).await?;
    for (index, fetch) in announced {
        if !receipt
            .rejected
            .iter()
            .any(|rejection| rejection.index == index)
        {
            fetches::want(&ingestor.scope, &fetch).await?;
        }
    }
    answer(receipt)
}

#[derive(Serialize)]
struct Answer {
    accepted: usize,
    duplicates: usize,
    rejected: Vec<Rejected>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warned>,
}

#[derive(Serialize)]
struct Rejected {
    index: usize,
    id: Option<String>,
    errors: Vec<Complaint>,
}

#[derive(Serialize)]
struct Complaint {
    r#in: &'static str,
    name: String,
    message: String,
}

#[derive(Serialize)]
struct Warned {
    index: usize,
    id: Option<String>,
    name: String,
    message: String,
}

fn answer(receipt: Receipt) -> Result<Response, Problem> {
    let status = if receipt.rejected.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::MULTI_STATUS
    };
    let body = Answer {
        accepted: receipt.accepted,
        duplicates: receipt.duplicates,
        rejected: receipt
            .rejected
            .into_iter()
            .map(|r| Rejected {
                index: r.index,
                id: r.id,
                errors: r.faults.into_iter().map(complaint).collect(),
            })
            .collect(),
        warnings: receipt
            .warnings
            .into_iter()
            .map(|w| Warned {
                index: w.index,
                id: w.id,
                message: unknown(&w.unknown),
                name: w.unknown.name,
            })
            .collect(),
    };
    Ok((status, axum::Json(body)).into_response())
}

/// What became of a part that nobody understands.
pub fn unknown(unknown: &Unknown) -> String {
    let fate = if unknown.is_kept {
        "is not known and kept as it is"
    } else {
        "is not known and left out"
    };
    match unknown.nearest() {
        Some(nearest) => format!("{fate}; did you mean `{nearest}`?"),
        None => fate.to_owned(),
    }
}

fn complaint(fault: Fault) -> Complaint {
    Complaint {
        r#in: fault.place.as_str(),
        name: fault.name,
        message: fault.message,
    }
}
