//! Rules between keys of the typed configuration. Pure.

use super::model::{Config, Source, TlsCheck};

/// A broken rule: the key to name, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub key: &'static str,
    /// The key that it does not fit to: either of the two may be a default.
    pub other: &'static str,
    pub message: String,
}

/// Everything that cannot work together.
pub(super) fn broken(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let hls = &config.hls;
    for (key, part) in
        [("hls.part_seconds", hls.part_seconds), ("hls.fmp4_part_seconds", hls.fmp4_part_seconds)]
    {
        if part >= hls.segment_seconds {
            let message = format!(
                "a part of {part} s does not fit into a segment of {} s; write less than hls.segment_seconds",
                hls.segment_seconds
            );
            findings.push(Finding { key, other: "hls.segment_seconds", message });
        }
    }
    let supervision = &config.supervision;
    if supervision.backoff_first_seconds > supervision.backoff_max_seconds {
        let message = format!(
            "the first wait of {} s is longer than the longest, supervision.backoff_max_seconds = {}",
            supervision.backoff_first_seconds, supervision.backoff_max_seconds
        );
        findings.push(Finding {
            key: "supervision.backoff_first_seconds",
            other: "supervision.backoff_max_seconds",
            message,
        });
    }
    findings
}

/// What works, but probably not as meant: key path and words.
pub(super) fn unwise(config: &Config) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let segment = config.hls.segment_seconds;
    for (index, camera) in config.cameras.iter().enumerate() {
        let gop = camera.h264.gop_seconds;
        if camera.outputs.hls && gop > segment {
            found.push((
                format!("camera.{index}.h264.gop_seconds"),
                format!(
                    "HLS of camera {:?} is cut at keyframes only: its segments will last {gop} s, not {segment} s",
                    camera.id
                ),
            ));
        }
        if let Source::Rtsp(rtsp) = &camera.source
            && rtsp.tls != TlsCheck::Any
            && !rtsp.url.to_ascii_lowercase().starts_with("rtsps:")
        {
            found.push((
                format!("camera.{index}.source.tls"),
                format!(
                    "the url of camera {:?} begins with rtsp://, which is not encrypted: nothing is checked; \
                     write rtsps:// if the camera offers it",
                    camera.id
                ),
            ));
        }
    }
    found
}
