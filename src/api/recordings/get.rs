//! `GET /v1/recordings/{callId}`: what is known of the audio; or the audio, for who accepts only that.

use axum::extract::State;
use axum::http::header::{ACCEPT, VARY};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};

use super::audio::{self, Wanted};
use super::body::RecordingBody;
use crate::app::App;
use crate::auth::Transcripts;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::recordings;

pub async fn handle(
    State(app): State<App>,
    reader: Transcripts,
    Path(call_id): Path<String>,
    query: Query,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wanted = Wanted::from_query(query)?;
    let (scope, content) = (&reader.scope, &reader.content);
    let mut response = if prefers_audio(&headers) {
        let shown = recordings::show(scope, content, &call_id).await?;
        audio::respond(&app, shown, &method, &headers, wanted).await?
    } else {
        let state = recordings::state(scope, content, &call_id).await?;
        Json(RecordingBody::from(state)).into_response()
    };
    let varies = HeaderValue::from_static("Accept");
    response.headers_mut().append(VARY, varies);
    Ok(response)
}

/// Whether audio is named in `Accept`, and JSON is not named as being just as welcome.
fn prefers_audio(headers: &HeaderMap) -> bool {
    let accepted: Vec<(String, f32)> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(media_range)
        .collect();
    let best = |is_it: fn(&str) -> bool| {
        let fitting = accepted.iter().filter(|(name, _)| is_it(name));
        fitting.map(|(_, weight)| *weight).fold(0.0, f32::max)
    };
    best(|name| name.starts_with("audio/"))
        > best(|name| name == "application/json" || name == "application/*")
}

/// `audio/*;q=0.5` as its name and weight.
fn media_range(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q="));
    let weight = weight.map_or(Some(1.0), |weight| weight.parse().ok());
    (name, weight.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_for_who_asks_for_it() {
        let prefers = |accept: &'static str| {
            let accept = HeaderValue::from_static(accept);
            prefers_audio(&HeaderMap::from_iter([(ACCEPT, accept)]))
        };
        assert!(!prefers_audio(&HeaderMap::new()));
        for accept in [
            "audio/*",
            "audio/webm,audio/ogg,audio/wav,audio/*;q=0.9,*/*;q=0.5",
            "application/json;q=0.2, Audio/MPEG;q=0.3",
        ] {
            assert!(prefers(accept), "{accept}");
        }
        for accept in [
            "*/*",
            "application/json",
            "audio/*, application/json",
            "audio/*;q=0",
            "",
        ] {
            assert!(!prefers(accept), "{accept}");
        }
    }
}
