//! Problems as OTLP's clients read them: a `google.rpc.Status`, written as their request was.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
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
const SIGNALS: [&str; 6] = [
    "/v1/traces",
    "/v1/logs",
    "/v1/metrics",
    "/observability/traces/otlp/v0",
    "/observability/logs/otlp/v0",
    "/observability/metrics/otlp/v0",
];
/// LiveKit's agents upload again only where a status of this kind says when.
const RECORDINGS: &str = "/observability/recordings/v0";

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
        if route == RECORDINGS {
            return Some(Self::Protobuf);
        }
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
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`
#[derive(Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`
#[derive(Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

impl RetryInfo {
    const TYPE_URL: &str = "type.googleapis.com/google.rpc.RetryInfo";

    fn detail(seconds: i64) -> Detail {
        let retry_delay = Some(Delay { seconds });
        Detail {
            type_url: Self::TYPE_URL.to_owned(),
            value: Self { retry_delay }.encode_to_vec(),
        }
    }
}

impl Problem {
    /// The body that an OTLP client reads.
    pub fn as_status(&self, encoding: Encoding) -> Vec<u8> {
        let (code, message) = (code(self.status), self.detail.clone());
        match encoding {
            Encoding::Protobuf => {
                let details = self.retry_after().map(RetryInfo::detail);
                Status {
                    code,
                    message,
                    details: details.into_iter().collect(),
                }
                .encode_to_vec()
            }
            Encoding::Json => json!({"code": code, "message": message})
                .to_string()
                .into_bytes(),
        }
    }

    /// After how many seconds it is worth asking again.
    fn retry_after(&self) -> Option<i64> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(name, _)| name == RETRY_AFTER)?;
        value.to_str().ok()?.parse().ok()
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
