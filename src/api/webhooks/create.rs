//! `POST /v1/admin/webhooks`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::body::EndpointBody;
use crate::app::{App, Now};
use crate::auth::Admin;
use crate::domain::webhook::{Settings, Vendor};
use crate::domain::{Error, Fault};
use crate::problem::Json;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::webhooks;
use crate::services::webhooks::Wish;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    vendor: String,
    name: String,
    secret: Option<String>,
    #[serde(default)]
    settings: Settings,
}

#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    endpoint: EndpointBody,
    /// Only where it was made up here.
    secret: Option<String>,
}

pub async fn handle(
    State(_): State<App>,
    admin: Admin,
    Now(now): Now,
    query: Query,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let vendor: Vendor = wanted
        .vendor
        .parse()
        .map_err(|message| Error::Unprocessable(vec![Fault::body("vendor", message)]))?;
    let wish = Wish {
        vendor,
        name: wanted.name,
        secret: wanted.secret,
        settings: wanted.settings,
    };
    let made = webhooks::create(&admin.scope, wish, &admin.key_id, now).await?;
    let secret = made.is_secret_new.then(|| made.endpoint.secret.clone());
    let body = Json(Made {
        endpoint: EndpointBody::from(made.endpoint),
        secret,
    });
    Ok((StatusCode::CREATED, body).into_response())
}
