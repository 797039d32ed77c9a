//! Routes that exist only in tests: each shows one extractor, limit or failure of the house.

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use voxray::app::App;
use voxray::auth::{Admin, Ingestor, Reader, Reviewer, Transcripts};
use voxray::domain::Error;
use voxray::problem::{Json, Path, Payload, Problem, Query};

type Shown = Result<Json<Value>, Problem>;

#[expect(clippy::disallowed_methods, reason = "routes of the tests' own")]
pub fn routes() -> Router<App> {
    Router::new()
        .route("/probe/reader", get(reader))
        .route(
            "/probe/transcripts",
            get(async |one: Transcripts| one.scope.tenant().to_string()),
        )
        .route(
            "/probe/ingestor",
            get(async |one: Ingestor| one.scope.tenant().to_string()),
        )
        .route("/probe/reviewer", get(async |one: Reviewer| one.key_id))
        .route("/probe/admin", get(async |one: Admin| one.key_id))
        .route("/probe/params", get(params))
        .route("/probe/path/{id}", get(async |Path(id): Path<String>| id))
        .route(
            "/probe/number/{n}",
            get(async |Path(n): Path<u32>| n.to_string()),
        )
        .route("/probe/json", post(thing))
        .route(
            "/probe/payload",
            post(async |Payload(bytes): Payload| bytes.len().to_string()),
        )
        .route("/probe/fail/{how}", get(fail))
        .route("/probe/panic", get(panics))
        .route(
            "/probe/slow",
            get(async || tokio::time::sleep(Duration::from_secs(60)).await),
        )
        .route(
            "/probe/large",
            get(async || Json(json!({ "text": "voxray ".repeat(2000) }))),
        )
}

async fn reader(reader: Reader) -> Json<Value> {
    Json(json!({ "tenant": reader.scope.tenant().0, "content": reader.content.is_some() }))
}

async fn params(query: Query) -> Shown {
    let mut params = query.params();
    let limit = params.int("limit", 20, 1..=100);
    let ratio = params.float_opt("ratio", 0.0..=1.0);
    let period = params.one_of("period", &["1h", "24h"]);
    let after = params.time("startedAfter");
    let before = params.time("startedBefore");
    let text = params.text("q");
    let flag = params.flag("hasIssues");
    if after
        .zip(before)
        .is_some_and(|(after, before)| after >= before)
    {
        params.fault("startedAfter", "must be before `startedBefore`");
    }
    params.finish()?;
    Ok(Json(
        json!({ "limit": limit, "ratio": ratio, "period": period, "after": after, "q": text, "flag": flag }),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Thing {
    name: String,
    count: u8,
}

async fn thing(Json(thing): Json<Thing>) -> Json<Value> {
    Json(json!({ "name": thing.name, "count": thing.count }))
}

async fn fail(Path(how): Path<String>) -> Shown {
    Err(match how.as_str() {
        "throttled" => Error::Throttled {
            limit: 16,
            retry_after: Duration::from_secs(7),
        },
        "conflict" => Error::Conflict("the name is taken".to_owned()),
        "unavailable" => Error::Unavailable("secret host".to_owned()),
        _ => Error::Internal("relation \"secret\" does not exist".to_owned()),
    }
    .into())
}

async fn panics() -> Json<Value> {
    panic!("secret")
}
