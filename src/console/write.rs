//! Forms by which people write about a call: `POST /console/conversations/{id}/evaluations` and `.../edit`. Both lead
//! back to where the form was.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::format;
use super::sign_in;
use crate::app::App;
use crate::app::Now;
use crate::auth::Reviewer;
use crate::domain::Error;
use crate::domain::Fault;
use crate::problem::Form;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::reviews;

/// A new evaluation.
pub async fn evaluate(
    State(_): State<App>,
    reviewer: Reviewer,
    Now(now): Now,
    Path(id): Path<String>,
    query: Query,
    form: Form,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let mut body = Map::new();
    for name in ["reviewer", "verdict", "notes"] {
        if let Some(text) = form.text(name) {
            body.insert(name.to_owned(), Value::from(text));
        }
    }
    let labels = form.list("labels");
    if !labels.is_empty() {
        body.insert("labels".to_owned(), Value::from(labels));
    }
    for name in ["score", "turn"] {
        let Some(text) = form.text(name) else {
            continue;
        };
        let number = text
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite());
        let fault = || Error::Unprocessable(vec![Fault::body(name, "must be a number")]);
        let number = number.ok_or_else(fault)?;
        // A whole number, as JSON would have it.
        let whole = (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64);
        body.insert(name.to_owned(), whole.map_or(json!(number), Value::from));
    }
    service(&reviewer, now).evaluate(&id, body).await?;
    back(&form, &id)
}

/// Another summary, other tags: of these, those that the form has.
pub async fn edit(
    State(_): State<App>,
    reviewer: Reviewer,
    Now(now): Now,
    Path(id): Path<String>,
    query: Query,
    form: Form,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let mut body = Map::new();
    let has = |name| {
        form.text("fields")
            .unwrap_or_default()
            .split(' ')
            .any(|field| field == name)
    };
    if has("summary") {
        // Null would bring back what sources say.
        let summary = form.text("summary").unwrap_or_default();
        body.insert("summary".to_owned(), Value::from(summary));
    }
    if has("tags") {
        body.insert("tags".to_owned(), Value::from(form.list("tags")));
    }
    service(&reviewer, now).edit(&id, body).await?;
    back(&form, &id)
}

fn service(reviewer: &Reviewer, now: DateTime<Utc>) -> reviews::Reviewer<'_> {
    reviews::Reviewer {
        scope: &reviewer.scope,
        content: reviewer.content.as_ref(),
        key_id: &reviewer.key_id,
        now,
    }
}

fn back(form: &Form, id: &str) -> Result<Response, Problem> {
    let here = format!("/console/conversations/{}", format::path_segment(id));
    let next = sign_in::own(Some(form.text("next").unwrap_or(&here)));
    let location =
        HeaderValue::from_str(&next).map_err(|error| Error::Internal(error.to_string()))?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response())
}
