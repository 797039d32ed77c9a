//! `GET` and `PUT /api/v1/settings/prices`

use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::format;
use crate::app::{App, Now};
use crate::auth::Admin;
use crate::domain::price;
use crate::domain::price::Price;
use crate::problem::Json;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::prices;

/// A tenant's own prices, and the table that they stand before.
#[derive(Serialize)]
pub struct Body {
    version: String,
    updated_at: Option<String>,
    prices: Vec<Price>,
    table: &'static [Price],
}

pub async fn get(State(_): State<App>, admin: Admin, query: Query) -> Result<Json<Body>, Problem> {
    query.params().finish()?;
    Ok(Json(Body::from(prices::own(&admin.scope).await?)))
}

pub async fn put(
    State(_): State<App>,
    admin: Admin,
    Now(now): Now,
    query: Query,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<Body>, Problem> {
    query.params().finish()?;
    let own = prices::replace(&admin.scope, &body, &admin.key_id, now).await?;
    Ok(Json(Body::from(own)))
}

impl From<prices::Overrides> for Body {
    fn from(own: prices::Overrides) -> Self {
        Self {
            version: own.prices.version(),
            updated_at: own.updated_at.map(format::time),
            prices: own.prices.overrides,
            table: price::shipped(),
        }
    }
}
