//! The router: the table of routes inside its layers.

use std::any::Any;

use axum::Router;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::edge::{X_REQUEST_ID, edge};
use super::limits::{Limits, limit};
use super::{App, ROUTES};
use crate::config::Settings;
use crate::domain::Error;
use crate::problem::Problem;

/// Smaller bodies cost more to compress than to send.
const COMPRESS_ABOVE_BYTES: u64 = 8 * 1024;

/// Everything that the server answers.
pub fn router(app: App) -> Router {
    layered(routes(), app)
}

/// Routes inside the layers. Tests put routes of their own there.
pub fn layered(routes: Router<App>, app: App) -> Router {
    // Outermost first. Panics are caught inside the edge, so that they become problems with an id.
    let layers = ServiceBuilder::new()
        .layer(from_fn(edge))
        .layer(compression())
        .option_layer(cors(&app.settings))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Limits::new(&app), limit));
    routes
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(layers)
        .with_state(app)
}

/// The table's routes.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where routes are registered"
)]
pub fn routes() -> Router<App> {
    ROUTES.iter().fold(Router::new(), |router, route| {
        router.route(route.path, (route.handler)(route.verb.filter()))
    })
}

fn compression() -> CompressionLayer<impl Predicate> {
    let worth_it = SizeAbove::new(COMPRESS_ABOVE_BYTES)
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("audio/"));
    CompressionLayer::new().compress_when(worth_it)
}

/// None without origins: the layer would answer every `OPTIONS`.
fn cors(settings: &Settings) -> Option<CorsLayer> {
    if settings.cors_origins.is_empty() {
        return None;
    }
    let header = HeaderName::from_static;
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(settings.cors_origins.clone()))
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::CACHE_CONTROL,
            header::IF_NONE_MATCH,
            header::IF_RANGE,
            header::RANGE,
            header("last-event-id"),
            header("x-api-key"),
            X_REQUEST_ID,
        ])
        .expose_headers([
            header::ACCEPT_RANGES,
            header::CONTENT_DISPOSITION,
            header::CONTENT_RANGE,
            header::ETAG,
            header::LINK,
            header::RETRY_AFTER,
            X_REQUEST_ID,
            header("ratelimit-limit"),
            header("ratelimit-remaining"),
            header("ratelimit-reset"),
        ]);
    Some(layer)
}

/// A defect here, not the caller's: told without what it was.
fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    Problem::from(Error::Internal(format!("panic: {text}"))).into_response()
}
