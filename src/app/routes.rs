//! Every route of the server, one line each: the only place where routes are registered. Tests read the
//! table: the contract's against `openapi.yaml`, the tenancy's for who may call what.

use axum::routing::{MethodFilter, MethodRouter, on};

use super::App;
use crate::api::analytics;
use crate::api::audit;
use crate::api::conversations;
use crate::api::gates;
use crate::api::live;
use crate::api::livekit_keys;
use crate::api::observability;
use crate::api::operations;
use crate::api::recordings;
use crate::api::sessions;
use crate::api::settings;
use crate::api::traces;
use crate::api::usage;
use crate::api::voice_sessions;
use crate::api::webhooks;
use crate::console;
use crate::ingest;
use crate::ingest::langfuse;
use crate::ingest::livekit;
use crate::ingest::native;
use crate::ingest::otlp;

/// One operation.
pub struct Route {
    pub verb: Verb,
    /// As axum and OpenAPI spell it: `/v1/things/{thingId}`.
    pub path: &'static str,
    pub access: Access,
    pub(super) handler: fn(MethodFilter) -> MethodRouter<App>,
}

/// `Get` serves `HEAD` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// Which extractor guards the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    Public,
    Reader,
    Transcripts,
    Ingestor,
    Reviewer,
    Admin,
}

use Access::{Admin, Ingestor, Public, Reader, Reviewer, Transcripts};
use Verb::{Delete, Get, Patch, Post, Put};

pub const ROUTES: &[Route] = &[
    route(Get, "/v1/observability/sessions", Reader, |m| {
        on(m, observability::list_sessions::handle)
    }),
    route(Get, "/v1/observability/sessions/{sessionId}", Reader, |m| {
        on(m, observability::get_session::handle)
    }),
    route(Get, "/v1/traces/session/{sessionId}", Reader, |m| {
        on(m, traces::list::handle)
    }),
    route(
        Get,
        "/v1/traces/session/{sessionId}/{traceId}",
        Reader,
        |m| on(m, traces::get::handle),
    ),
    route(Get, "/traces/view/{traceId}", Reader, |m| {
        on(m, console::trace::handle)
    }),
    route(Get, "/v1/observability/calls/{callId}", Reader, |m| {
        on(m, observability::get_call::handle)
    }),
    route(
        Get,
        "/v1/observability/sessions/interruption-quality",
        Reader,
        |m| on(m, observability::interruption_quality::handle),
    ),
    route(
        Get,
        "/v1/observability/sessions/{sessionId}/root-cause",
        Reader,
        |m| on(m, observability::root_cause::handle_session),
    ),
    route(
        Get,
        "/v1/observability/calls/{callId}/root-cause",
        Reader,
        |m| on(m, observability::root_cause::handle_call),
    ),
    route(Get, "/api/v1/conversations", Reader, |m| {
        on(m, conversations::list::handle)
    }),
    route(Get, "/api/v1/conversations/{id}", Reader, |m| {
        on(m, conversations::get::handle)
    }),
    route(Get, "/api/v1/voice-sessions", Reader, |m| {
        on(m, voice_sessions::list::handle)
    }),
    route(Get, "/api/v1/voice-sessions/{id}", Reader, |m| {
        on(m, voice_sessions::get::handle)
    }),
    route(Patch, "/api/v1/voice-sessions/{id}", Reviewer, |m| {
        on(m, voice_sessions::edit::handle)
    }),
    route(Get, "/api/v1/voice-sessions/export", Reader, |m| {
        on(m, voice_sessions::export::handle)
    }),
    route(
        Get,
        "/api/v1/voice-sessions/{id}/evaluations",
        Reader,
        |m| on(m, voice_sessions::evaluations::list::handle),
    ),
    route(
        Post,
        "/api/v1/voice-sessions/{id}/evaluations",
        Reviewer,
        |m| on(m, voice_sessions::evaluations::create::handle),
    ),
    route(
        Get,
        "/api/v1/voice-sessions/{id}/evaluations/{evaluationId}",
        Reader,
        |m| on(m, voice_sessions::evaluations::get::handle),
    ),
    route(
        Patch,
        "/api/v1/voice-sessions/{id}/evaluations/{evaluationId}",
        Reviewer,
        |m| on(m, voice_sessions::evaluations::update::handle),
    ),
    route(
        Delete,
        "/api/v1/voice-sessions/{id}/evaluations/{evaluationId}",
        Reviewer,
        |m| on(m, voice_sessions::evaluations::delete::handle),
    ),
    route(Get, "/api/v1/settings/targets", Admin, |m| {
        on(m, settings::targets::get)
    }),
    route(Put, "/api/v1/settings/targets", Admin, |m| {
        on(m, settings::targets::put)
    }),
    route(Get, "/api/v1/audit-log", Admin, |m| {
        on(m, audit::list::handle)
    }),
    route(Get, "/api/v1/audit-log/verify", Admin, |m| {
        on(m, audit::verify::handle)
    }),
    route(Get, "/api/v1/settings/prices", Admin, |m| {
        on(m, settings::prices::get)
    }),
    route(Put, "/api/v1/settings/prices", Admin, |m| {
        on(m, settings::prices::put)
    }),
    route(Get, "/api/v1/settings/retention", Admin, |m| {
        on(m, settings::retention::get)
    }),
    route(Put, "/api/v1/settings/retention", Admin, |m| {
        on(m, settings::retention::put)
    }),
    route(Get, "/api/v1/usage/recordings", Admin, |m| {
        on(m, usage::recordings::get)
    }),
    route(Delete, "/api/v1/sessions/{id}", Admin, |m| {
        on(m, sessions::delete::handle)
    }),
    route(Get, "/api/v1/analytics/summary", Reader, |m| {
        on(m, analytics::summary::handle)
    }),
    route(Get, "/api/v1/analytics/call-volume", Reader, |m| {
        on(m, analytics::call_volume::handle)
    }),
    route(Get, "/api/v1/analytics/workflow-stats", Reader, |m| {
        on(m, analytics::workflow_stats::handle)
    }),
    route(Get, "/api/v1/analytics/provider-latency", Reader, |m| {
        on(m, analytics::provider_latency::handle)
    }),
    route(Get, "/api/v1/analytics/errors", Reader, |m| {
        on(m, analytics::errors::handle)
    }),
    route(Get, "/api/v1/analytics/active-calls", Reader, |m| {
        on(m, analytics::active_calls::handle)
    }),
    route(Get, "/api/v1/analytics/root-causes", Reader, |m| {
        on(m, analytics::root_causes::handle)
    }),
    route(Get, "/api/v1/analytics/what-if", Reader, |m| {
        on(m, analytics::what_if::handle)
    }),
    route(Post, "/v1/gates/evaluate", Reader, |m| {
        on(m, gates::evaluate::handle)
    }),
    route(Get, "/v1/gates/{id}", Reader, |m| on(m, gates::get::handle)),
    route(Get, "/ws/calls", Reader, |m| on(m, live::socket::handle)),
    route(Get, "/api/v1/sse/calls/stream", Reader, |m| {
        on(m, live::stream::handle)
    }),
    route(Post, "/api/v1/live/tickets", Reader, |m| {
        on(m, live::tickets::handle)
    }),
    route(Get, "/v1/recordings/{callId}", Transcripts, |m| {
        on(m, recordings::get::handle)
    }),
    route(Get, "/v1/recordings/{callId}/audio", Transcripts, |m| {
        on(m, recordings::audio::handle)
    }),
    route(Put, "/v1/recordings/{callId}", Ingestor, |m| {
        on(m, ingest::recordings::put)
    }),
    route(Delete, "/v1/recordings/{callId}", Admin, |m| {
        on(m, recordings::delete::handle)
    }),
    route(Post, "/v1/traces", Ingestor, |m| on(m, otlp::traces)),
    route(Post, "/otlp/v1/traces", Ingestor, |m| on(m, otlp::traces)),
    route(Post, "/api/public/otel/v1/traces", Ingestor, |m| {
        on(m, otlp::traces)
    }),
    route(Post, "/v1/logs", Ingestor, |m| on(m, otlp::logs)),
    route(Post, "/otlp/v1/logs", Ingestor, |m| on(m, otlp::logs)),
    route(Post, "/v1/metrics", Ingestor, |m| on(m, otlp::metrics)),
    route(Post, "/otlp/v1/metrics", Ingestor, |m| on(m, otlp::metrics)),
    route(Post, "/v1/ingest/events", Ingestor, |m| {
        on(m, native::events)
    }),
    route(Post, "/v1/ingest/calls", Ingestor, |m| on(m, native::calls)),
    route(Post, "/api/public/ingestion", Ingestor, |m| {
        on(m, langfuse::events)
    }),
    route(Post, "/api/public/scores", Ingestor, |m| {
        on(m, langfuse::scores)
    }),
    route(Get, "/api/public/health", Public, |m| {
        on(m, langfuse::health)
    }),
    route(Get, "/api/public/projects", Ingestor, |m| {
        on(m, langfuse::projects)
    }),
    // A LiveKit token is what guards these.
    route(Post, "/observability/traces/otlp/v0", Public, |m| {
        on(m, livekit::traces)
    }),
    route(Post, "/observability/logs/otlp/v0", Public, |m| {
        on(m, livekit::logs)
    }),
    route(Post, "/observability/metrics/otlp/v0", Public, |m| {
        on(m, livekit::metrics)
    }),
    route(Post, "/observability/recordings/v0", Public, |m| {
        on(m, livekit::recordings)
    }),
    route(Post, "/v1/webhooks/livekit", Public, |m| {
        on(m, livekit::webhook)
    }),
    route(Post, "/v1/ingest/livekit", Public, |m| {
        on(m, livekit::webhook)
    }),
    route(Get, "/v1/admin/livekit-keys", Admin, |m| {
        on(m, livekit_keys::list::handle)
    }),
    route(Post, "/v1/admin/livekit-keys", Admin, |m| {
        on(m, livekit_keys::add::handle)
    }),
    route(Delete, "/v1/admin/livekit-keys/{id}", Admin, |m| {
        on(m, livekit_keys::remove::handle)
    }),
    // A vendor's signature is what guards these.
    route(Post, "/v1/ingest/livekit/{endpointId}", Public, |m| {
        on(m, ingest::webhooks::livekit)
    }),
    route(Post, "/v1/ingest/twilio/{endpointId}", Public, |m| {
        on(m, ingest::webhooks::twilio)
    }),
    route(Post, "/v1/ingest/vapi/{endpointId}", Public, |m| {
        on(m, ingest::webhooks::vapi)
    }),
    route(Post, "/v1/ingest/retell/{endpointId}", Public, |m| {
        on(m, ingest::webhooks::retell)
    }),
    route(Post, "/v1/ingest/elevenlabs/{endpointId}", Public, |m| {
        on(m, ingest::webhooks::elevenlabs)
    }),
    route(Get, "/v1/admin/webhooks", Admin, |m| {
        on(m, webhooks::list::handle)
    }),
    route(Post, "/v1/admin/webhooks", Admin, |m| {
        on(m, webhooks::create::handle)
    }),
    route(Delete, "/v1/admin/webhooks/{endpointId}", Admin, |m| {
        on(m, webhooks::remove::handle)
    }),
    route(
        Get,
        "/v1/admin/webhooks/{endpointId}/deliveries",
        Admin,
        |m| on(m, webhooks::deliveries::handle),
    ),
    route(Get, "/", Public, |m| on(m, console::home::handle)),
    route(Get, "/console/", Public, |m| on(m, console::home::handle)),
    route(Get, "/console", Reader, |m| on(m, console::list::handle)),
    route(Get, "/console/conversations/{id}", Reader, |m| {
        on(m, console::call::handle)
    }),
    route(
        Post,
        "/console/conversations/{id}/evaluations",
        Reviewer,
        |m| on(m, console::write::evaluate),
    ),
    route(Post, "/console/conversations/{id}/edit", Reviewer, |m| {
        on(m, console::write::edit)
    }),
    route(Get, "/console/dashboard", Reader, |m| {
        on(m, console::dashboard::handle)
    }),
    route(Get, "/console/review", Reader, |m| {
        on(m, console::review::handle)
    }),
    route(Get, "/console/sign-in", Public, |m| {
        on(m, console::sign_in::show)
    }),
    route(Post, "/console/sign-in", Public, |m| {
        on(m, console::sign_in::enter)
    }),
    route(Post, "/console/sign-out", Reader, |m| {
        on(m, console::sign_in::leave)
    }),
    route(Get, "/console/assets/{file}", Public, |m| {
        on(m, console::assets::handle)
    }),
    route(Get, "/healthz", Public, |m| on(m, operations::healthz)),
    route(Get, "/readyz", Public, |m| on(m, operations::readyz)),
    route(Get, "/openapi.yaml", Public, |m| {
        on(m, operations::openapi_yaml)
    }),
    route(Get, "/openapi.json", Public, |m| {
        on(m, operations::openapi_json)
    }),
    route(Get, "/docs", Public, |m| on(m, operations::docs)),
    route(Get, "/docs/{*rest}", Public, |m| {
        on(m, operations::docs_file)
    }),
];

const fn route(
    verb: Verb,
    path: &'static str,
    access: Access,
    handler: fn(MethodFilter) -> MethodRouter<App>,
) -> Route {
    Route {
        verb,
        path,
        access,
        handler,
    }
}

impl Verb {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    pub(super) fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}
