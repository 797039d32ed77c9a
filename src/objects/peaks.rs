//! The waveform of audio whose length is not known before its end, in bounded memory: stretches are
//! joined by twos whenever there are too many, and joined for good at the end.

use crate::domain::recording::WAVEFORM_BUCKETS;

/// Stretches kept while reading; joining starts above it.
const STRETCHES_MAX: usize = 8 * WAVEFORM_BUCKETS;
const FIRST_STRETCH_FRAMES: u64 = 32;

pub(super) struct Peaks {
    /// A list a channel.
    stretches: Vec<Vec<f32>>,
    stretch_frames: u64,
    frames: u64,
}

impl Peaks {
    pub fn new(channels: usize) -> Self {
        Self {
            stretches: vec![Vec::new(); channels],
            stretch_frames: FIRST_STRETCH_FRAMES,
            frames: 0,
        }
    }

    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Takes frames, a list of samples a channel, all equally long.
    pub fn push(&mut self, planes: &[Vec<f32>]) {
        let count = planes.first().map_or(0, Vec::len);
        for at in 0..count {
            let index = usize::try_from(self.frames / self.stretch_frames).unwrap_or(usize::MAX);
            if index >= STRETCHES_MAX {
                self.join();
                // The same frame, now in a stretch twice as long.
            }
            let index = usize::try_from(self.frames / self.stretch_frames).unwrap_or(usize::MAX);
            for (stretches, plane) in self.stretches.iter_mut().zip(planes) {
                let sample = plane.get(at).copied().unwrap_or_default().abs();
                match stretches.get_mut(index) {
                    Some(peak) => *peak = peak.max(sample),
                    None => stretches.push(sample),
                }
            }
            self.frames += 1;
        }
    }

    fn join(&mut self) {
        for stretches in &mut self.stretches {
            let joined = stretches
                .chunks(2)
                .map(|pair| pair.iter().copied().fold(0.0, f32::max));
            *stretches = joined.collect();
        }
        self.stretch_frames *= 2;
    }

    /// In hundredths, a list a channel, at most as many as a waveform has.
    pub fn finish(self) -> Vec<Vec<u8>> {
        let hundredths = |peak: f32| (peak.clamp(0.0, 1.0) * 100.0).round() as u8;
        let joined = self.stretches.iter().map(|stretches| {
            let buckets = stretches.len().min(WAVEFORM_BUCKETS);
            let bucket = |n: usize| {
                let (from, to) = (
                    n * stretches.len() / buckets,
                    (n + 1) * stretches.len() / buckets,
                );
                let peak = stretches[from..to].iter().copied().fold(0.0, f32::max);
                hundredths(peak)
            };
            (0..buckets).map(bucket).collect()
        });
        joined.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_stays_a_ramp_however_long_it_is() {
        for frames in [1_u32, 100, 12_799, 102_400, 1_000_000] {
            let mut peaks = Peaks::new(2);
            let ramp: Vec<f32> = (0..frames).map(|n| -(n as f32) / frames as f32).collect();
            let silence = vec![0.0; ramp.len()];
            for (a, b) in ramp.chunks(1000).zip(silence.chunks(1000)) {
                peaks.push(&[a.to_vec(), b.to_vec()]);
            }
            assert_eq!(peaks.frames(), u64::from(frames));
            let waveform = peaks.finish();
            assert_eq!(waveform.len(), 2);
            let length = waveform[0].len();
            assert!(
                length <= WAVEFORM_BUCKETS && length == waveform[1].len(),
                "{length}"
            );
            assert!(waveform[0].is_sorted(), "{frames}");
            assert!(waveform[1].iter().all(|peak| *peak == 0));
            if frames >= 12_799 {
                assert_eq!(length, WAVEFORM_BUCKETS, "{frames}");
                let middle = waveform[0][WAVEFORM_BUCKETS / 2];
                assert!((49..=51).contains(&middle), "{middle}");
                assert!(waveform[0][WAVEFORM_BUCKETS - 1] >= 99);
            }
        }
    }

    #[test]
    fn no_sample_leaves_the_scale() {
        let mut peaks = Peaks::new(1);
        peaks.push(&[vec![f32::NAN, f32::INFINITY, -7.0, 0.505]]);
        assert_eq!(peaks.finish(), [vec![100]]);
        assert_eq!(Peaks::new(1).finish(), [Vec::<u8>::new()]);
    }
}
