//! For whoever runs the server or reads about it: alive, ready, the contract, the API reference.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa_swagger_ui::{Config, serve};

use crate::app::App;
use crate::domain::Error;
use crate::problem::{Json, Path, Problem, Query};
use crate::services::patience::within;

const OPENAPI_YAML: &str = include_str!("../../openapi.yaml");

/// Everything comes from this server. Styles may be inline, since the reference sets them on elements.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                           frame-ancestors 'none'";

#[derive(Serialize)]
pub struct Status {
    status: &'static str,
}

/// The process answers.
pub async fn healthz(query: Query) -> Result<Json<Status>, Problem> {
    query.params().finish()?;
    Ok(Json(Status { status: "ok" }))
}

/// A store that takes longer to say that it is there is of no use to anybody.
const READY_WITHIN: Duration = Duration::from_secs(3);

/// The store answers and has its whole schema.
pub async fn readyz(State(app): State<App>, query: Query) -> Result<Json<Status>, Problem> {
    query.params().finish()?;
    if !app.store.is_migrated() {
        return Err(Error::Unavailable("migrations are not applied yet".to_owned()).into());
    }
    within(READY_WITHIN, app.store.ping()).await?;
    Ok(Json(Status { status: "ready" }))
}

/// The contract as it is written.
pub async fn openapi_yaml(query: Query) -> Result<Response, Problem> {
    query.params().finish()?;
    Ok(([(CONTENT_TYPE, "application/yaml")], OPENAPI_YAML).into_response())
}

/// The contract for programs.
pub async fn openapi_json(query: Query) -> Result<Response, Problem> {
    query.params().finish()?;
    let json =
        contract_json().map_err(|error| Error::Internal(format!("openapi.yaml: {error}")))?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

/// Converted once.
fn contract_json() -> Result<&'static str, String> {
    static JSON: OnceLock<Result<String, String>> = OnceLock::new();
    let convert = || {
        let document: serde_json::Value =
            serde_saphyr::from_str(OPENAPI_YAML).map_err(|error| error.to_string())?;
        Ok(document.to_string())
    };
    JSON.get_or_init(convert).as_deref().map_err(Clone::clone)
}

/// The API reference.
pub async fn docs(query: Query) -> Result<Response, Problem> {
    query.params().finish()?;
    Ok(docs_response("text/html; charset=utf-8", DOCS_PAGE))
}

/// What the reference's page asks for.
pub async fn docs_file(Path(name): Path<String>, query: Query) -> Result<Response, Problem> {
    query.params().finish()?;
    // Without this, the page would ask a validator elsewhere about the contract.
    let config = Config::new(["/openapi.json"])
        .validator_url("none")
        .use_base_layout()
        .deep_linking(true);
    match serve(&name, Arc::new(config)) {
        Ok(Some(file)) => Ok(docs_response(&file.content_type, file.bytes.into_owned())),
        Ok(None) => Err(Error::NotFound("file of the API reference").into()),
        Err(error) => Err(Error::Internal(format!("the API reference: {error}")).into()),
    }
}

fn docs_response(content_type: &str, body: impl IntoResponse) -> Response {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, DOCS_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, body).into_response()
}

const DOCS_PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Voxray API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="stylesheet" href="/docs/index.css">
<link rel="icon" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/swagger-ui-standalone-preset.js"></script>
<script src="/docs/swagger-initializer.js"></script>
</body>
</html>
"#;
