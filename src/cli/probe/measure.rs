//! What some seconds of pictures tell: rate, size, GOP, profile, B-frames. Pure.

use std::time::Duration;

use serde::Serialize;

use crate::frames::AccessUnit;
use crate::h264::{self, Sps};

/// Collects.
#[derive(Debug, Default)]
pub struct Measure {
    epoch: Option<u64>,
    first: Option<Duration>,
    last: Option<Duration>,
    pictures: u32,
    bytes: u64,
    keyframe: Option<Duration>,
    since_keyframe: u32,
    gop: Option<(Duration, u32)>,
    b_frames: bool,
    sps: Option<Sps>,
}

/// The result.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    pub pictures: u32,
    /// Pictures a second, by their timestamps.
    pub fps: Option<f64>,
    pub kbit_per_second: Option<f64>,
    /// Size in pixels as the stream itself says (H.264).
    pub size: Option<(u32, u32)>,
    /// `High 4.0`.
    pub profile: Option<String>,
    /// `avc1.640028` (RFC 6381).
    pub codec: Option<String>,
    /// Whether any picture had B slices; `null` for other codecs.
    pub b_frames: Option<bool>,
    /// From one IDR picture to the next.
    pub gop_seconds: Option<f64>,
    pub gop_pictures: Option<u32>,
}

impl Measure {
    /// Takes one H.264 access unit.
    pub fn h264(&mut self, unit: &AccessUnit) {
        self.picture(unit);
        if unit.keyframe {
            if let Some(keyframe) = self.keyframe {
                let length = unit.pts.saturating_sub(keyframe);
                // The longest counts: cameras add keyframes when the scene changes.
                if self.gop.is_none_or(|(longest, _)| length > longest) {
                    self.gop = Some((length, self.since_keyframe));
                }
            }
            (self.keyframe, self.since_keyframe) = (Some(unit.pts), 0);
            let sps = h264::nals(&unit.data).find(|nal| h264::kind(nal) == h264::nal_type::SPS);
            self.sps = sps.and_then(Sps::parse).or(self.sps);
        }
        self.since_keyframe += 1;
        self.b_frames |= h264::access_unit_has_b_slice(&unit.data);
    }

    /// Takes one picture of any codec.
    pub fn picture(&mut self, unit: &AccessUnit) {
        if self.epoch != Some(unit.epoch) {
            // A new run of the camera: timestamps begin anew.
            *self = Self { epoch: Some(unit.epoch), ..Self::default() };
        }
        self.first = Some(self.first.map_or(unit.pts, |first| first.min(unit.pts)));
        self.last = Some(self.last.map_or(unit.pts, |last| last.max(unit.pts)));
        self.pictures += 1;
        self.bytes += unit.data.len() as u64;
    }

    /// How much time the pictures span.
    pub fn span(&self) -> Duration {
        self.last.unwrap_or_default().saturating_sub(self.first.unwrap_or_default())
    }

    /// Whether a whole GOP was seen.
    pub fn has_gop(&self) -> bool {
        self.gop.is_some()
    }

    pub fn result(&self) -> Measured {
        let span = self.span().as_secs_f64();
        let steps = f64::from(self.pictures.saturating_sub(1));
        let fps = (span > 0.0).then(|| steps / span);
        let whole = f64::from(self.pictures.max(1));
        Measured {
            pictures: self.pictures,
            fps,
            kbit_per_second: fps.map(|fps| self.bytes as f64 * 8.0 / 1000.0 / whole * fps),
            size: self.sps.map(|sps| (sps.width, sps.height)),
            profile: self.sps.map(|sps| profile(&sps)),
            codec: self.sps.map(|sps| sps.codec_string()),
            b_frames: self.sps.map(|_| self.b_frames),
            gop_seconds: self.gop.map(|(length, _)| length.as_secs_f64()),
            gop_pictures: self.gop.map(|(_, pictures)| pictures),
        }
    }
}

/// H.264 annex A.2: the profile's name, and the level.
fn profile(sps: &Sps) -> String {
    let constrained = sps.constraints & 0x40 != 0;
    let name = match sps.profile_idc {
        66 if constrained => "Constrained Baseline",
        66 => "Baseline",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        110 => "High 10",
        122 => "High 4:2:2",
        244 => "High 4:4:4",
        _ => "unknown profile",
    };
    format!("{name} {}.{}", sps.level_idc / 10, sps.level_idc % 10)
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use bytes::Bytes;

    use super::*;

    fn unit(ms: u64, keyframe: bool, epoch: u64, data: &'static [u8]) -> AccessUnit {
        AccessUnit {
            data: Bytes::from_static(data),
            pts: Duration::from_millis(ms),
            keyframe,
            epoch,
            captured_at: SystemTime::now(),
            captured: Instant::now(),
        }
    }

    /// SPS (constrained baseline 3.1, 1280x720) and an I slice.
    const IDR: &[u8] =
        &[0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8, 0, 0, 1, 0x65, 0b1011_0000, 0x80];
    const P: &[u8] = &[0, 0, 1, 0x41, 0b1100_0000, 0x80];
    const B: &[u8] = &[0, 0, 1, 0x01, 0b1010_0000, 0x80];

    #[test]
    fn rate_gop_and_profile_come_from_the_pictures() {
        let mut measure = Measure::default();
        for n in 0..51 {
            measure.h264(&unit(n * 40, n % 25 == 0, 1, if n % 25 == 0 { IDR } else { P }));
        }
        let got = measure.result();
        assert_eq!((got.fps, got.gop_seconds, got.gop_pictures), (Some(25.0), Some(1.0), Some(25)));
        assert_eq!(
            (got.profile.as_deref(), got.codec.as_deref()),
            (Some("Constrained Baseline 3.1"), Some("avc1.42c01f"))
        );
        assert_eq!((got.size, got.b_frames), (Some((1280, 720)), Some(false)));
        assert!(measure.has_gop());
    }

    #[test]
    fn b_frames_in_decoding_order_are_seen_and_do_not_spoil_the_rate() {
        let mut measure = Measure::default();
        for (ms, data) in [(0, IDR), (120, P), (40, B), (80, B), (160, P)] {
            measure.h264(&unit(ms, data == IDR, 1, data));
        }
        let got = measure.result();
        assert_eq!((got.fps, got.b_frames, got.gop_seconds), (Some(25.0), Some(true), None));
    }

    #[test]
    fn a_new_run_of_the_camera_begins_the_count_anew_and_nothing_gives_nothing() {
        let mut measure = Measure::default();
        assert_eq!(measure.result(), Measured::default());
        measure.picture(&unit(90_000, true, 1, P));
        measure.picture(&unit(0, true, 2, P));
        measure.picture(&unit(500, true, 2, P));
        let got = measure.result();
        assert_eq!((got.pictures, got.fps, got.b_frames), (2, Some(2.0), None));
    }
}
