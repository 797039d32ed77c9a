//! The door for OpenTelemetry: OTLP over HTTP, in protobuf and JSON. Traces are what sessions are made of; of
//! logs the errors are kept, and what generations were given and wrote; metrics are taken and counted, since spans say
//! the same of single calls.

mod json;
pub(super) mod logs;
mod messages;
mod sessions;
mod span;
mod texts;
pub(super) mod value;
pub(super) mod wire;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;

use crate::app::App;
use crate::app::Now;
use crate::auth::Ingestor;
use crate::domain::Fault;
use crate::domain::event::{Source, Submission};
use crate::domain::ids::TenantId;
use crate::problem::Encoding;
use crate::problem::Kind;
use crate::problem::Problem;
use crate::problem::Query;
use crate::problem::Upload;
use crate::services::ingest;
use crate::services::ingest::{Item, Receipt};

use super::beside;
use super::receive;
use span::Origin;

pub(super) use span::time;

/// Items that one request may hold. An exporter's batch is 512 spans unless it is told otherwise.
pub const ITEMS_MAX: usize = 20_000;
/// So many reasons are told one by one.
const REASONS_TOLD: usize = 5;

/// `POST /v1/traces`
pub async fn traces(
    State(app): State<App>,
    ingestor: Ingestor,
    Now(now): Now,
    query: Query,
    headers: HeaderMap,
    upload: Upload,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let encoding = wire::encoding(&headers)?;
    let (admission, bytes) = receive(&app, &ingestor.scope, upload).await?;
    let tenant = ingestor.scope.tenant();
    let items = beside(bytes, move |bytes| span_items(tenant, bytes, encoding, now)).await?;
    let receipt = ingest::take(&app.writer, &ingestor.scope, items, admission, now).await?;
    Ok(answer(encoding, "rejectedSpans", &told(receipt, "spans")))
}

/// `POST /v1/logs`
pub async fn logs(
    State(app): State<App>,
    ingestor: Ingestor,
    Now(now): Now,
    query: Query,
    headers: HeaderMap,
    upload: Upload,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let encoding = wire::encoding(&headers)?;
    let (admission, bytes) = receive(&app, &ingestor.scope, upload).await?;
    let tenant = ingestor.scope.tenant();
    let read = beside(bytes, move |bytes| {
        logs::items(tenant, bytes, encoding, now)
    })
    .await?;
    let receipt = ingest::take(&app.writer, &ingestor.scope, read.items, admission, now).await?;
    let mut partial = told(receipt, "log records");
    count_unused("logs", read.unused);
    if read.unused > 0 {
        partial.say(format!(
            "{} log records were not kept: of logs, errors that belong to a trace are, and messages of generations",
            read.unused
        ));
    }
    Ok(answer(encoding, "rejectedLogRecords", &partial))
}

/// `POST /v1/metrics`
pub async fn metrics(
    State(app): State<App>,
    ingestor: Ingestor,
    query: Query,
    headers: HeaderMap,
    upload: Upload,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let encoding = wire::encoding(&headers)?;
    let (admission, bytes) = receive(&app, &ingestor.scope, upload).await?;
    let (points, broken) = beside(bytes, move |bytes| points(bytes, encoding)).await?;
    drop(admission);
    count_unused("metrics", points);
    let mut partial = Partial {
        rejected: broken.len(),
        message: String::new(),
    };
    broken
        .into_iter()
        .take(REASONS_TOLD)
        .for_each(|reason| partial.say(reason));
    if points > 0 {
        partial.say(format!(
            "{points} data points were not kept: what calls took and used is read from their spans"
        ));
    }
    Ok(answer(encoding, "rejectedDataPoints", &partial))
}

/// What was taken and is of no use here must at least be seen.
pub(super) fn count_unused(signal: &'static str, count: usize) {
    metrics::counter!("voxray_otlp_unused_total", "signal" => signal).increment(count as u64);
}

/// Every span of a body as an item, those that cannot be read too.
pub fn span_items(
    tenant: TenantId,
    bytes: &Bytes,
    encoding: Encoding,
    now: DateTime<Utc>,
) -> Result<Vec<Item>, Problem> {
    let groups = wire::split::<Span>(bytes.clone(), encoding, &wire::SPANS)?;
    refuse_more_than(groups.iter().map(|group| group.items.len()).sum())?;
    let mut read = Vec::new();
    for group in groups {
        let origin = Origin::new(group.resource, group.scope);
        for item in group.items {
            let item = item.map_err(|error| (None, vec![unreadable(error)]));
            read.push(item.and_then(|span| {
                let id = Some(hex::encode(&span.span_id)).filter(|id| !id.is_empty());
                let event = span::event(span, &origin, now);
                event.map_err(|faults| (id, faults))
            }));
        }
    }
    let spans: Vec<_> = read
        .iter()
        .flatten()
        .map(|event| event.fields.fields())
        .collect();
    let mut sessions = sessions::of(tenant, &spans).into_iter();
    let items = read.into_iter().map(|read| match read {
        Ok(event) => {
            let id = event.fields.get("spanId").and_then(|id| id.as_str());
            let id = id.map(str::to_owned);
            let session = sessions.next().flatten();
            let missing = || vec![Fault::body("traceId", "is required")];
            let session = session.ok_or_else(missing);
            let content = session.map(|s| (s, Submission::Event(Source::Trace, event)));
            item(id, content)
        }
        Err((id, faults)) => item(id, Err(faults)),
    });
    Ok(items.collect())
}

fn item(
    id: Option<String>,
    content: Result<(crate::domain::event::SessionRef, Submission), Vec<Fault>>,
) -> Item {
    Item {
        id,
        content,
        unknown: Vec::new(),
    }
}

fn unreadable(error: String) -> Fault {
    Fault::body("", format!("cannot be read: {error}"))
}

pub(super) fn refuse_more_than(count: usize) -> Result<(), Problem> {
    if count <= ITEMS_MAX {
        return Ok(());
    }
    let detail = format!(
        "a request may hold at most {ITEMS_MAX} items, this one has {count}: export smaller batches"
    );
    Err(Problem::new(&Kind::TOO_LARGE, detail))
}

/// How many data points a body holds, and what of it cannot be read.
fn points(bytes: &Bytes, encoding: Encoding) -> Result<(usize, Vec<String>), Problem> {
    let groups = wire::split::<Metric>(bytes.clone(), encoding, &wire::METRICS)?;
    let (mut points, mut broken) = (0, Vec::new());
    for metric in groups.into_iter().flat_map(|group| group.items) {
        match metric {
            Ok(metric) => {
                points += metric.data.map_or(0, |data| match data {
                    Data::Gauge(data) => data.data_points.len(),
                    Data::Sum(data) => data.data_points.len(),
                    Data::Histogram(data) => data.data_points.len(),
                    Data::ExponentialHistogram(data) => data.data_points.len(),
                    Data::Summary(data) => data.data_points.len(),
                });
            }
            Err(error) => broken.push(format!("a metric cannot be read: {error}")),
        }
    }
    Ok((points, broken))
}

/// What of a request was not taken, or is worth a word.
struct Partial {
    rejected: usize,
    message: String,
}

impl Partial {
    fn say(&mut self, sentence: String) {
        if !self.message.is_empty() {
            self.message.push_str("; ");
        }
        self.message.push_str(&sentence);
    }
}

fn told(receipt: Receipt, what: &str) -> Partial {
    let rejected = receipt.rejected.len();
    let mut partial = Partial {
        rejected,
        message: String::new(),
    };
    for rejection in receipt.rejected.iter().take(REASONS_TOLD) {
        let faults =
            rejection
                .faults
                .iter()
                .take(REASONS_TOLD)
                .map(|fault| match fault.name.as_str() {
                    "" => fault.message.clone(),
                    name => format!("`{name}` {}", fault.message),
                });
        let reasons = faults.collect::<Vec<_>>().join(", ");
        let id = rejection.id.as_deref().unwrap_or("without an id");
        partial.say(format!("item {} ({id}): {reasons}", rejection.index));
    }
    if rejected > REASONS_TOLD {
        partial.say(format!("{rejected} {what} were rejected in all"));
    }
    partial
}

#[derive(Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// The answers of all signals have one shape.
#[derive(Message)]
struct Export {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// An item that cannot be read.
pub(super) fn unreadable_item(error: String) -> Item {
    item(None, Err(vec![unreadable(error)]))
}

/// The answer to a request of this signal.
pub(super) fn taken(encoding: Encoding, rejected: &str, receipt: Receipt, what: &str) -> Response {
    answer(encoding, rejected, &told(receipt, what))
}

fn answer(encoding: Encoding, rejected: &str, partial: &Partial) -> Response {
    let is_partial = partial.rejected > 0 || !partial.message.is_empty();
    let body = match encoding {
        Encoding::Protobuf => {
            let partial_success = is_partial.then(|| PartialSuccess {
                rejected: partial.rejected as i64,
                error_message: partial.message.clone(),
            });
            Export { partial_success }.encode_to_vec()
        }
        Encoding::Json if is_partial => {
            // A number of 64 bits is a text in JSON.
            let count = partial.rejected.to_string();
            json!({"partialSuccess": {rejected: count, "errorMessage": partial.message}})
                .to_string()
                .into_bytes()
        }
        Encoding::Json => b"{}".to_vec(),
    };
    (
        StatusCode::OK,
        [(CONTENT_TYPE, encoding.media_type())],
        body,
    )
        .into_response()
}

#[cfg(test)]
mod tests;
