//! What is known of a recording, as JSON.

use serde::Serialize;

use crate::api::format;
use crate::services::recordings::Shown;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordingBody {
    call_id: String,
    session_id: Option<String>,
    status: &'static str,
    format: &'static str,
    duration_ms: Option<i64>,
    channels: Option<i32>,
    sample_rate_hz: Option<i32>,
    size_bytes: i64,
    sha256: String,
    created_at: String,
    audio_url: String,
    /// A list a channel.
    waveform: Option<Vec<Vec<f64>>>,
    started_at: Option<String>,
    start_offset_ms: Option<i64>,
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
            // What is on its way is not shown before it is whole; what was deleted is a problem of its own.
            status: "available",
            format: recording.audio.format.as_str(),
            duration_ms: recording.audio.duration_ms,
            channels: recording.audio.channels,
            sample_rate_hz: recording.audio.sample_rate_hz,
            size_bytes: recording.size_bytes,
            sha256,
            created_at: format::time(recording.created_at),
            audio_url: format!("/v1/recordings/{path_id}/audio"),
            waveform: recording.audio.waveform.map(peaks),
            started_at: recording.placement.started_at.map(format::time),
            start_offset_ms: recording.placement.start_offset_ms,
        }
    }
}
