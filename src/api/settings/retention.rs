//! `GET` and `PUT /api/v1/settings/retention`

use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::format;
use crate::app::{App, Now};
use crate::auth::Admin;
use crate::domain::retention::Period;
use crate::problem::Json;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::retention;

/// What a tenant has set, null for the default, and what holds.
#[derive(Serialize)]
pub struct Body {
    content_days: Option<Value>,
    metrics_days: Option<Value>,
    effective: Effective,
    updated_at: Option<String>,
    updated_by: Option<String>,
}

#[derive(Serialize)]
struct Effective {
    content_days: Value,
    metrics_days: Value,
}

pub async fn get(State(_): State<App>, admin: Admin, query: Query) -> Result<Json<Body>, Problem> {
    query.params().finish()?;
    Ok(Json(Body::from(retention::settings(&admin.scope).await?)))
}

pub async fn put(
    State(_): State<App>,
    admin: Admin,
    Now(now): Now,
    query: Query,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<Body>, Problem> {
    query.params().finish()?;
    let set = retention::set(&admin.scope, &body, &admin.key_id, now).await?;
    Ok(Json(Body::from(set)))
}

impl From<retention::Settings> for Body {
    fn from(settings: retention::Settings) -> Self {
        let set = settings.retention;
        let (updated_at, updated_by) = settings.updated.unzip();
        Self {
            content_days: set.content.map(Period::to_json),
            metrics_days: set.metrics.map(Period::to_json),
            effective: Effective {
                content_days: set.content().to_json(),
                metrics_days: set.metrics().to_json(),
            },
            updated_at: updated_at.map(format::time),
            updated_by,
        }
    }
}
