//! The audio of a call: what kind it is, how long, how loud, and where it begins.

use chrono::{DateTime, Utc};

use super::ids::SessionId;

/// Stretches that a waveform is made of.
pub const WAVEFORM_BUCKETS: usize = 400;

/// What the bytes are, by the bytes themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Wav,
    Mp3,
    Flac,
    Ogg,
    M4a,
    Aac,
    Webm,
}

impl Format {
    pub const ALL: [Self; 7] = [
        Self::Wav,
        Self::Mp3,
        Self::Flac,
        Self::Ogg,
        Self::M4a,
        Self::Aac,
        Self::Webm,
    ];

    /// Also the usual ending of a file's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
            Self::Flac => "flac",
            Self::Ogg => "ogg",
            Self::M4a => "m4a",
            Self::Aac => "aac",
            Self::Webm => "webm",
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Mp3 => "audio/mpeg",
            Self::Flac => "audio/flac",
            Self::Ogg => "audio/ogg",
            Self::M4a => "audio/mp4",
            Self::Aac => "audio/aac",
            Self::Webm => "audio/webm",
        }
    }

    /// What the first bytes say: 12 are enough.
    pub fn of(head: &[u8]) -> Option<Self> {
        let has = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
        let sync = |mask: u8, bits: u8| {
            has(0, &[0xff]) && head.get(1).is_some_and(|byte| byte & mask == bits)
        };
        // The sync word, then the layer: MPEG audio has one, ADTS has none.
        if (has(0, b"RIFF") || has(0, b"RIFX")) && has(8, b"WAVE") {
            Some(Self::Wav)
        } else if has(0, b"fLaC") {
            Some(Self::Flac)
        } else if has(0, b"OggS") {
            Some(Self::Ogg)
        } else if has(4, b"ftyp") {
            Some(Self::M4a)
        } else if has(0, &[0x1a, 0x45, 0xdf, 0xa3]) {
            Some(Self::Webm)
        } else if sync(0xf6, 0xf0) {
            Some(Self::Aac)
        } else if has(0, b"ID3") || sync(0xe0, 0xe0) {
            Some(Self::Mp3)
        } else {
            None
        }
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| format!("no such format: `{text}`"))
    }
}

/// What the audio itself says. What cannot be decoded here has no waveform.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    pub format: Format,
    pub duration_ms: Option<i64>,
    pub channels: Option<i32>,
    pub sample_rate_hz: Option<i32>,
    /// A list a channel: the loudest sample of each stretch, in hundredths of full scale.
    pub waveform: Option<Vec<Vec<u8>>>,
}

/// How much audio a tenant has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub recordings: i64,
    pub size_bytes: i64,
}

/// Where the audio lies on the call's clock, as far as somebody said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    pub started_at: Option<DateTime<Utc>>,
    pub start_offset_ms: Option<i64>,
}

/// One call's recording, as it is kept.
#[derive(Clone, Debug)]
pub struct Recording {
    pub id: SessionId,
    pub call_sid: Option<String>,
    pub is_deleted: bool,
    pub is_early: bool,
    pub object: String,
    pub audio: Audio,
    pub size_bytes: i64,
    pub sha256: [u8; 32],
    pub placement: Placement,
    pub created_at: DateTime<Utc>,
}

impl Recording {
    /// The bytes' hash in hex digits.
    pub fn sha256_hex(&self) -> String {
        hex::encode(self.sha256)
    }
}

/// Whether this is a telephone call's SID: `CA` and 32 hex digits.
pub fn is_call_sid(text: &str) -> bool {
    text.strip_prefix("CA")
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_say_what_they_are() {
        let cases: [(&[u8], Option<Format>); 11] = [
            (b"RIFF\x24\0\0\0WAVEfmt ", Some(Format::Wav)),
            (b"RIFF\x24\0\0\0AVI LIST", None),
            (b"fLaC\0\0\0\x22", Some(Format::Flac)),
            (b"OggS\0\x02", Some(Format::Ogg)),
            (b"\0\0\0\x20ftypM4A ", Some(Format::M4a)),
            (b"\x1a\x45\xdf\xa3\x9f", Some(Format::Webm)),
            (b"\xff\xf1\x50\x80", Some(Format::Aac)),
            (b"\xff\xfb\x90\x64", Some(Format::Mp3)),
            (b"ID3\x04\0", Some(Format::Mp3)),
            (b"<html><body>", None),
            (b"", None),
        ];
        for (head, expected) in cases {
            assert_eq!(Format::of(head), expected, "{head:?}");
        }
    }

    #[test]
    fn a_call_sid_is_told_from_other_ids() {
        assert!(is_call_sid("CA0123456789abcdef0123456789ABCDEF"));
        for other in [
            "CA0123",
            "RE0123456789abcdef0123456789abcdef",
            "",
            "CA0123456789abcdef0123456789abcdeg",
        ] {
            assert!(!is_call_sid(other), "{other}");
        }
    }

    #[test]
    fn formats_survive_a_round_trip() {
        for format in Format::ALL {
            assert_eq!(format.as_str().parse(), Ok(format));
        }
    }
}
