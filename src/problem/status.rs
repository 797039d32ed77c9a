//! Problems as OTLP's clients read them: a `google.rpc.Status`, written as their request was.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use prost::Message;
use serde_json::json;

use super::Problem;

/// How a request of OTLP is written, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Protobuf,
    Json,
}

/// Paths whose clients expect it.
const SIGNALS: [&str; 3] = ["/v1/traces", "/v1/logs", "/v1/metrics"];

impl Encoding {
    /// What a request declares; none where it is neither.
    pub fn declared(headers: &HeaderMap) -> Option<Self> {
        let declared = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = declared.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        if is("application/x-protobuf") || is("application/protobuf") {
            Some(Self::Protobuf)
        } else {
            is("application/json").then_some(Self::Json)
        }
    }

    /// How an error is told to a request for this route; none where it is told as everywhere, as it is too if
    /// nothing is declared that could be written.
    pub fn of_errors(route: &str, headers: &HeaderMap) -> Option<Self> {
        let is_signal = SIGNALS.iter().any(|signal| route.ends_with(signal));
        Self::declared(headers).filter(|_| is_signal)
    }

    pub fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }
}

#[derive(Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

impl Problem {
    /// The body that an OTLP client reads.
    pub fn as_status(&self, encoding: Encoding) -> Vec<u8> {
        let (code, message) = (code(self.status), self.detail.clone());
        match encoding {
            Encoding::Protobuf => Status { code, message }.encode_to_vec(),
            Encoding::Json => json!({"code": code, "message": message})
                .to_string()
                .into_bytes(),
        }
    }

    /// Writes itself for an OTLP client over a response whose other headers stay.
    pub fn render_status_over(self, response: Response, encoding: Encoding) -> Response {
        let body = self.as_status(encoding);
        let mut response = self.render_over(response, "");
        *response.body_mut() = body.into();
        let headers = response.headers_mut();
        headers.remove(axum::http::header::CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, encoding.media_type());
        response
    }
}

/// gRPC's code for what HTTP calls so.
fn code(status: StatusCode) -> i32 {
    match status {
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::NOT_FOUND => 5,
        StatusCode::METHOD_NOT_ALLOWED => 12,
        StatusCode::REQUEST_TIMEOUT => 4,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => 8,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        status if status.is_server_error() => 13,
        _ => 3,
    }
}
