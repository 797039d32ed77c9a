//! What is known of a recording, as JSON.

use serde::Serialize;

use crate::api::format;
use crate::domain::recording::is_call_sid;
use crate::domain::webhook::Fetch;
use crate::services::recordings::{Shown, State};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordingBody {
    call_id: String,
    session_id: Option<String>,
    status: &'static str,
    format: Option<&'static str>,
    duration_ms: Option<i64>,
    channels: Option<i32>,
    sample_rate_hz: Option<i32>,
    size_bytes: Option<i64>,
    sha256: Option<String>,
    created_at: String,
    audio_url: Option<String>,
    /// A list a channel.
    waveform: Option<Vec<Vec<f64>>>,
    started_at: Option<String>,
    start_offset_ms: Option<i64>,
    failure_reason: Option<String>,
}

impl From<State> for RecordingBody {
    fn from(state: State) -> Self {
        match state {
            State::Kept(shown) => Self::from(*shown),
            State::Wanted(wanted) => {
                let (call, fetch) = *wanted;
                let known = call.as_ref();
                let call_id =
                    known.map(|call| call.call_sid.clone().unwrap_or(call.external_id.clone()));
                Self::wanted(call_id, known.map(|call| call.id.prefixed()), fetch)
            }
        }
    }
}

impl RecordingBody {
    /// Nothing is known of audio that is not here but when it begins.
    fn wanted(call_id: Option<String>, session_id: Option<String>, fetch: Fetch) -> Self {
        let own = match is_call_sid(&fetch.reference) {
            true => fetch.reference,
            false => fetch.id.to_string(),
        };
        Self {
            call_id: call_id.unwrap_or(own),
            session_id,
            status: if fetch.failure.is_none() {
                "processing"
            } else {
                "failed"
            },
            format: None,
            duration_ms: None,
            channels: None,
            sample_rate_hz: None,
            size_bytes: None,
            sha256: None,
            created_at: format::time(fetch.created_at),
            audio_url: None,
            waveform: None,
            started_at: fetch.started_at.map(format::time),
            start_offset_ms: None,
            failure_reason: fetch.failure,
        }
    }
}

impl From<Shown> for RecordingBody {
    fn from(shown: Shown) -> Self {
        let (call_id, path_id) = (shown.call_id(), shown.path_id());
        let recording = shown.recording;
        let sha256 = recording.sha256_hex();
        let peaks = |channels: Vec<Vec<u8>>| {
            let of_one = |peaks: Vec<u8>| peaks.into_iter().map(|p| f64::from(p) / 100.0).collect();
            channels.into_iter().map(of_one).collect()
        };
        Self {
            call_id,
            session_id: shown.call.map(|call| call.id.prefixed()),
            // What was deleted is a problem of its own.
            status: "available",
            format: Some(recording.audio.format.as_str()),
            duration_ms: recording.audio.duration_ms,
            channels: recording.audio.channels,
            sample_rate_hz: recording.audio.sample_rate_hz,
            size_bytes: Some(recording.size_bytes),
            sha256: Some(sha256),
            created_at: format::time(recording.created_at),
            audio_url: Some(format!("/v1/recordings/{path_id}/audio")),
            waveform: recording.audio.waveform.map(peaks),
            started_at: recording.placement.started_at.map(format::time),
            start_offset_ms: recording.placement.start_offset_ms,
            failure_reason: None,
        }
    }
}
