//! `GET /v1/admin/webhooks/{endpointId}/deliveries`

use axum::extract::State;
use serde::Serialize;

use crate::api::format;
use crate::app::App;
use crate::auth::Admin;
use crate::domain::webhook::Delivery;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::webhooks;

#[derive(Serialize)]
pub struct List {
    data: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    received_at: String,
    status: i16,
    result: String,
    reason: Option<String>,
    event: Option<String>,
    session_id: Option<String>,
}

impl From<Delivery> for Item {
    fn from(delivery: Delivery) -> Self {
        Self {
            received_at: format::time(delivery.received_at),
            status: delivery.status,
            result: delivery.result,
            reason: delivery.reason,
            event: delivery.event,
            session_id: delivery.session.map(|session| session.to_string()),
        }
    }
}

pub async fn handle(
    State(_): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<List>, Problem> {
    query.params().finish()?;
    let deliveries = webhooks::deliveries(&admin.scope, &id).await?;
    Ok(Json(List {
        data: deliveries.into_iter().map(Item::from).collect(),
    }))
}
