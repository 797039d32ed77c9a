//! What bytes are, by the bytes: their kind from the first few, the rest by decoding all of them once.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::peaks::Peaks;
use crate::domain;
use crate::domain::recording::{Audio, Format};
use crate::domain::{Error, Result};

const HEAD_BYTES: usize = 12;
/// A few bytes of silence may decode to hours: past this it is no call, and not worth the time.
const DURATION_MAX_SECONDS: u64 = 24 * 3600;
/// More than any call has; bounds what a header may ask for.
const CHANNELS_MAX: usize = 16;

pub(super) fn inspect(mut file: File) -> Result<Audio> {
    let format = format_of(&mut file)?;
    let mut hint = Hint::new();
    hint.with_extension(format.as_str());
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let mut reader = symphonia::default::get_probe()
        .probe(
            &hint,
            stream,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(broken)?;
    let track = reader.default_track(TrackType::Audio).cloned();
    let track = track.ok_or_else(|| broken("it has no audio in it"))?;
    let stated = stated(&track, format);
    match decoded(reader.as_mut(), &track)? {
        Some((rate, peaks)) if peaks.frames() > 0 => {
            let duration_ms = ms(peaks.frames(), rate);
            let waveform = peaks.finish();
            Ok(Audio {
                format,
                duration_ms,
                channels: i32::try_from(waveform.len()).ok(),
                sample_rate_hz: i32::try_from(rate).ok(),
                waveform: Some(waveform),
            })
        }
        Some(_) => Err(broken("there is no sound in it")),
        None => Ok(stated),
    }
}

fn format_of(file: &mut File) -> Result<Format> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let unreadable = |error: std::io::Error| Error::Internal(format!("a spool: {error}"));
    file.by_ref()
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(unreadable)?;
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    Format::of(&head).ok_or_else(|| {
        let known = Format::ALL.map(Format::as_str).join(", ");
        Error::Unsupported(format!(
            "the content is no audio that is known here: by its first bytes it is none of {known}"
        ))
    })
}

/// What the container says without decoding.
fn stated(track: &Track, format: Format) -> Audio {
    let params = track
        .codec_params
        .as_ref()
        .and_then(|params| params.audio());
    let rate = params.and_then(|params| params.sample_rate);
    let by_frames = || ms(track.num_frames?, rate?);
    // An Ogg's last position counts what is skipped at the beginning.
    let skipped = match format {
        Format::Ogg => u64::from(track.delay.unwrap_or_default()),
        _ => 0,
    };
    let by_ticks = || {
        let ticks = track.duration?.get().saturating_sub(skipped);
        let time = track.time_base?.calc_duration(ticks.into())?;
        i64::try_from(time.as_millis()).ok()
    };
    let is_sound = |ms: &i64| (0..=DURATION_MAX_SECONDS as i64 * 1000).contains(ms);
    Audio {
        format,
        duration_ms: by_ticks().or_else(by_frames).filter(is_sound),
        channels: params
            .and_then(|params| params.channels.as_ref())
            .and_then(|channels| i32::try_from(channels.count()).ok()),
        sample_rate_hz: rate.and_then(|rate| i32::try_from(rate).ok()),
        waveform: None,
    }
}

/// Longest time that one file is decoded.
const DECODING_MAX: Duration = Duration::from_secs(120);
/// From the slowest telephone to the finest studio.
const RATES_HZ: RangeInclusive<u32> = 1_000..=768_000;

/// The sample rate and the waveform; none where there is no decoder.
fn decoded(reader: &mut dyn FormatReader, track: &Track) -> Result<Option<(u32, Peaks)>> {
    let Some(params) = track
        .codec_params
        .as_ref()
        .and_then(|params| params.audio())
    else {
        return Ok(None);
    };
    let options = AudioDecoderOptions::default();
    let Ok(mut decoder) = symphonia::default::get_codecs().make_audio_decoder(params, &options)
    else {
        return Ok(None);
    };
    let mut planes: Vec<Vec<f32>> = Vec::new();
    let mut so_far: Option<(u32, Peaks)> = None;
    let begun = Instant::now();
    // What breaks off is as long as what can be heard of it.
    while let Ok(Some(packet)) = reader.next_packet() {
        // Made to be decoded for ever, or very long: known by what its container says.
        if begun.elapsed() > DECODING_MAX {
            return Ok(None);
        }
        if packet.track_id != track.id {
            continue;
        }
        let buffer = match decoder.decode(&packet) {
            Ok(buffer) => buffer,
            Err(Fault::DecodeError(_)) => continue,
            Err(_) => break,
        };
        if buffer.num_planes() > CHANNELS_MAX {
            return Err(broken(format!("it has more than {CHANNELS_MAX} channels")));
        }
        if buffer.frames() == 0 {
            continue;
        }
        let rate = buffer.spec().rate();
        if !RATES_HZ.contains(&rate) {
            return Err(broken(format!("nothing has a sample rate of {rate} Hz")));
        }
        buffer.copy_to_vecs_planar(&mut planes);
        let (rate, peaks) = so_far.get_or_insert_with(|| (rate, Peaks::new(planes.len())));
        peaks.push(&planes);
        if peaks.frames() / u64::from((*rate).max(1)) > DURATION_MAX_SECONDS {
            return Err(broken("it is longer than 24 hours"));
        }
    }
    Ok(Some(so_far.unwrap_or_else(|| (1, Peaks::new(0)))))
}

fn ms(frames: u64, rate: u32) -> Option<i64> {
    let ms = u128::from(frames) * 1000 / u128::from(rate.max(1));
    i64::try_from(ms).ok()
}

pub(super) fn broken(why: impl std::fmt::Display) -> Error {
    let message = format!("must be audio that can be played: {why}");
    Error::Unprocessable(vec![domain::Fault::body("body", message)])
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn inspected(bytes: &[u8]) -> Result<Audio> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("bytes");
        file.seek(SeekFrom::Start(0)).expect("a beginning");
        inspect(file)
    }

    /// A WAV of 16-bit samples.
    fn wav(rate: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
        let data: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let size = u32::try_from(data.len()).expect("small");
        let mut bytes = b"RIFF".to_vec();
        bytes.extend((36 + size).to_le_bytes());
        bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0");
        bytes.extend(channels.to_le_bytes());
        bytes.extend(rate.to_le_bytes());
        bytes.extend((rate * u32::from(channels) * 2).to_le_bytes());
        bytes.extend((channels * 2).to_le_bytes());
        bytes.extend(b"\x10\0data");
        bytes.extend(size.to_le_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn a_wav_is_measured() {
        // Left: silence, then half of full scale. Right: full scale throughout.
        let samples: Vec<i16> = (0..8000)
            .flat_map(|n| [if n < 4000 { 0 } else { 16384 }, i16::MIN])
            .collect();
        let audio = inspected(&wav(8000, 2, &samples)).expect("audio");
        assert_eq!(audio.format, Format::Wav);
        assert_eq!(audio.duration_ms, Some(1000));
        assert_eq!(
            (audio.channels, audio.sample_rate_hz),
            (Some(2), Some(8000))
        );
        let waveform = audio.waveform.expect("a waveform");
        let (left, right) = (&waveform[0], &waveform[1]);
        assert_eq!((left[0], left[left.len() - 1]), (0, 50));
        assert!(right.iter().all(|peak| *peak == 100));
    }

    #[test]
    fn what_is_no_audio_is_told_from_what_is_broken() {
        for bytes in [b"".as_slice(), b"hello, this is text", b"%PDF-1.7 and more"] {
            assert!(matches!(inspected(bytes), Err(Error::Unsupported(_))));
        }
        let empty = wav(8000, 1, &[]);
        let samples = [1; 8000];
        let headless = &wav(8000, 1, &samples)[..20];
        for bytes in [
            empty.as_slice(),
            headless,
            b"fLaC but nothing else at all",
            b"OggS\0\x02zzzzzzzzzzzz",
        ] {
            let verdict = inspected(bytes);
            assert!(
                matches!(verdict, Err(Error::Unprocessable(_))),
                "{verdict:?}"
            );
        }
    }

    #[test]
    fn what_breaks_off_is_as_long_as_what_is_there() {
        let whole = wav(8000, 1, &[100; 8000]);
        let audio = inspected(&whole[..whole.len() / 2]).expect("audio");
        let duration_ms = audio.duration_ms.expect("a duration");
        assert!((400..=500).contains(&duration_ms), "{duration_ms}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever stands in a file that begins like audio, it is audio or refused.
        #[test]
        fn damaged_audio_is_measured_or_refused(
            which in 0..3_usize,
            damage in proptest::collection::vec((0..4000_usize, any::<u8>()), 1..40),
        ) {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/recordings/");
            let name = ["auto-repairs-49-first20s.flac", "synth-hvb-010d38f5ada54e0d.mp3", "silence-2s.opus"];
            let mut bytes = std::fs::read(format!("{folder}{}", name[which])).expect("a fixture");
            bytes.truncate(8000);
            let length = bytes.len();
            for (at, byte) in damage {
                bytes[at % length] = byte;
            }
            match inspected(&bytes) {
                Ok(audio) => {
                    let duration_ms = audio.duration_ms.unwrap_or_default();
                    prop_assert!((0..=86_400_000).contains(&duration_ms), "{}", duration_ms);
                }
                Err(Error::Unsupported(_) | Error::Unprocessable(_)) => {}
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}
