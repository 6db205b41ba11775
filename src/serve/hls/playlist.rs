//! Playlists as text, from one moment of a ring. Pure; used by `routes` and `disk`.
//!
//! Rules: RFC 8216 for the standard playlist, draft-pantos-hls-rfc8216bis for the low-latency ones.
//! There is no multivariant playlist, so there are no rendition reports (4.4.5.4 asks for them between
//! its entries). CAN-SKIP-UNTIL is left out: the lists are short.

use std::fmt::Write;
use std::time::SystemTime;

use super::ring::{Segment, View};
use super::timing::{TIMESCALE, seconds};

/// PART-HOLD-BACK in part targets: how far a player stays behind the end of the list. The draft asks
/// for at least 2 and suggests 3 (4.4.3.8). 2.5 is what MediaMTX uses; with parts of 0.333 s, hls.js
/// 1.7 over loopback shows pictures 1.01 s after the encoder, without a stall.
pub const TS_HOLD_BACK: f64 = 2.5;
/// The least that is allowed, for the least delay: 0.58 s in the same setting with parts of 0.2 s.
pub const FMP4_HOLD_BACK: f64 = 2.0;

/// Whole segments whose parts are still listed; older parts are only in their segments.
const SEGMENTS_WITH_PARTS: usize = 2;

/// How a playlist names its segments and parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Parts are byte ranges of their segment.
    Ts,
    /// Parts have names of their own, and segments need an initialization section.
    Fmp4,
}

impl Container {
    pub fn segment_name(self, msn: u64) -> String {
        match self {
            Container::Ts => format!("seg{msn:06}.ts"),
            Container::Fmp4 => format!("seg{msn:06}.m4s"),
        }
    }
}

pub fn part_name(number: u64) -> String {
    format!("part{number:06}.m4s")
}

pub fn init_name(map: u64) -> String {
    format!("init_{map}.mp4")
}

/// The standard playlist: whole segments of TS.
pub fn standard(view: &View) -> String {
    let mut out = String::with_capacity(1024);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:3\n");
    line(&mut out, format_args!("#EXT-X-TARGETDURATION:{}", view.target_duration));
    sequences(&mut out, view);
    for segment in &view.segments {
        head(&mut out, segment, None);
        line(&mut out, format_args!("#EXTINF:{:.5},", seconds(segment.duration())));
        line(&mut out, format_args!("{}", Container::Ts.segment_name(segment.msn)));
    }
    out
}

/// A low-latency playlist: the same, with the newest parts and a hint at the next one.
pub fn low_latency(view: &View, container: Container) -> String {
    let mut out = String::with_capacity(4096);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:9\n");
    line(&mut out, format_args!("#EXT-X-TARGETDURATION:{}", view.target_duration));
    let hold_back = match container {
        Container::Ts => TS_HOLD_BACK,
        Container::Fmp4 => FMP4_HOLD_BACK,
    };
    let part_target = up(view.part_target);
    line(
        &mut out,
        format_args!(
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={:.5}",
            part_target * hold_back
        ),
    );
    line(&mut out, format_args!("#EXT-X-PART-INF:PART-TARGET={part_target:.5}"));
    sequences(&mut out, view);
    out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    let with_parts = view.segments.len().saturating_sub(SEGMENTS_WITH_PARTS);
    let mut map = None;
    for (index, segment) in view.segments.iter().enumerate() {
        head(&mut out, segment, Some((&mut map, container)));
        if index >= with_parts {
            parts(&mut out, segment, view.part_target, container);
        }
        line(&mut out, format_args!("#EXTINF:{:.5},", seconds(segment.duration())));
        line(&mut out, format_args!("{}", container.segment_name(segment.msn)));
    }
    if let Some(open) = &view.open {
        head(&mut out, open, Some((&mut map, container)));
        parts(&mut out, open, view.part_target, container);
    }
    match container {
        Container::Ts => {
            let (msn, start) = view.open.as_ref().map_or((view.next_msn, 0), |open| (open.msn, open.len()));
            let name = container.segment_name(msn);
            line(
                &mut out,
                format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{name}\",BYTERANGE-START={start}"),
            );
        }
        Container::Fmp4 => {
            let name = part_name(view.next_part);
            line(&mut out, format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{name}\""));
        }
    }
    out
}

fn sequences(out: &mut String, view: &View) {
    let first = view.segments.first().map_or(view.next_msn, |segment| segment.msn);
    line(out, format_args!("#EXT-X-MEDIA-SEQUENCE:{first}"));
    line(out, format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{}", view.discontinuity_sequence));
}

/// What stands before a segment, or before the first part of one that grows.
fn head(out: &mut String, segment: &Segment, map: Option<(&mut Option<u64>, Container)>) {
    if segment.discontinuity {
        out.push_str("#EXT-X-DISCONTINUITY\n");
    }
    if let Some((last, Container::Fmp4)) = map
        && let Some(id) = segment.map
        && *last != Some(id)
    {
        *last = Some(id);
        line(out, format_args!("#EXT-X-MAP:URI=\"{}\"", init_name(id)));
    }
    line(out, format_args!("#EXT-X-PROGRAM-DATE-TIME:{}", date_time(segment.began)));
}

fn parts(out: &mut String, segment: &Segment, part_target: u64, container: Container) {
    for part in &segment.parts {
        // One picture can stand longer than the target; the list may not say so.
        let duration = down(part.duration.min(part_target));
        let independent = if part.independent { ",INDEPENDENT=YES" } else { "" };
        match container {
            Container::Ts => line(
                out,
                format_args!(
                    "#EXT-X-PART:DURATION={duration:.5},URI=\"{}\",BYTERANGE=\"{}@{}\"{independent}",
                    container.segment_name(segment.msn),
                    part.data.len(),
                    part.offset
                ),
            ),
            Container::Fmp4 => line(
                out,
                format_args!(
                    "#EXT-X-PART:DURATION={duration:.5},URI=\"{}\"{independent}",
                    part_name(part.number)
                ),
            ),
        }
    }
}

/// Seconds with five decimals, rounded so that no part's duration is printed above the target's.
fn up(ticks: u64) -> f64 {
    (ticks * 100_000).div_ceil(TIMESCALE) as f64 / 100_000.0
}

fn down(ticks: u64) -> f64 {
    (ticks * 100_000 / TIMESCALE) as f64 / 100_000.0
}

/// ISO 8601 with milliseconds, UTC.
fn date_time(time: SystemTime) -> String {
    match jiff::Timestamp::try_from(time) {
        Ok(timestamp) => format!("{timestamp:.3}"),
        // A clock outside the years 0 to 9999.
        Err(_) => "1970-01-01T00:00:00.000Z".into(),
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::ring::Part;

    fn segment(msn: u64, parts: &[u64], discontinuity: bool, map: Option<u64>) -> Arc<Segment> {
        let parts = parts
            .iter()
            .enumerate()
            .map(|(index, ticks)| Part {
                data: Bytes::from(vec![0; 100]),
                duration: *ticks,
                independent: index == 0,
                offset: index as u64 * 100,
                number: msn * 10 + index as u64,
            })
            .collect();
        let began = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250 + msn * 1000);
        Arc::new(Segment { msn, discontinuity, map, began, parts })
    }

    fn view(map: Option<u64>) -> View {
        View {
            segments: vec![
                segment(7, &[30_000, 30_000], false, map),
                segment(8, &[30_000, 30_000], true, map.map(|m| m + 1)),
                segment(9, &[30_000, 15_000], false, map.map(|m| m + 1)),
            ],
            open: Some(segment(10, &[30_000], false, map.map(|m| m + 1))),
            next_msn: 11,
            next_part: 101,
            discontinuity_sequence: 3,
            target_duration: 2,
            part_target: 33_000,
        }
    }

    #[test]
    fn the_standard_playlist_lists_whole_segments_only() {
        assert_eq!(
            standard(&view(None)),
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:3\n\
             #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:27.250Z\n#EXTINF:0.66667,\nseg000007.ts\n\
             #EXT-X-DISCONTINUITY\n\
             #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:28.250Z\n#EXTINF:0.66667,\nseg000008.ts\n\
             #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:29.250Z\n#EXTINF:0.50000,\nseg000009.ts\n"
        );
    }

    #[test]
    fn the_ts_playlist_lists_parts_of_the_open_segment_and_the_last_two_as_byte_ranges() {
        assert_eq!(
            low_latency(&view(None), Container::Ts),
            "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
             #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.91668\n\
             #EXT-X-PART-INF:PART-TARGET=0.36667\n\
             #EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:27.250Z\n#EXTINF:0.66667,\nseg000007.ts\n\
             #EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:28.250Z\n\
             #EXT-X-PART:DURATION=0.33333,URI=\"seg000008.ts\",BYTERANGE=\"100@0\",INDEPENDENT=YES\n\
             #EXT-X-PART:DURATION=0.33333,URI=\"seg000008.ts\",BYTERANGE=\"100@100\"\n\
             #EXTINF:0.66667,\nseg000008.ts\n\
             #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:29.250Z\n\
             #EXT-X-PART:DURATION=0.33333,URI=\"seg000009.ts\",BYTERANGE=\"100@0\",INDEPENDENT=YES\n\
             #EXT-X-PART:DURATION=0.16666,URI=\"seg000009.ts\",BYTERANGE=\"100@100\"\n\
             #EXTINF:0.50000,\nseg000009.ts\n\
             #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:30.250Z\n\
             #EXT-X-PART:DURATION=0.33333,URI=\"seg000010.ts\",BYTERANGE=\"100@0\",INDEPENDENT=YES\n\
             #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"seg000010.ts\",BYTERANGE-START=100\n"
        );
    }

    #[test]
    fn the_fmp4_playlist_names_parts_by_number_and_maps_each_restart() {
        let text = low_latency(&view(Some(4)), Container::Fmp4);
        let lines: Vec<&str> = text.lines().collect();
        let at = |wanted: &str| {
            lines.iter().position(|line| *line == wanted).unwrap_or_else(|| panic!("{wanted}\n{text}"))
        };
        assert!(at("#EXT-X-MAP:URI=\"init_4.mp4\"") < at("seg000007.m4s"));
        let second = at("#EXT-X-MAP:URI=\"init_5.mp4\"");
        assert_eq!(lines[second - 1], "#EXT-X-DISCONTINUITY");
        assert_eq!(text.matches("#EXT-X-MAP").count(), 2);
        at("#EXT-X-PART:DURATION=0.33333,URI=\"part000080.m4s\",INDEPENDENT=YES");
        assert_eq!(lines.last(), Some(&"#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part000101.m4s\""));
    }

    #[test]
    fn the_hint_after_a_whole_segment_is_the_start_of_the_next() {
        let view = View { open: None, next_msn: 10, ..view(None) };
        let text = low_latency(&view, Container::Ts);
        assert!(text.ends_with("URI=\"seg000010.ts\",BYTERANGE-START=0\n"), "{text}");
    }

    #[test]
    fn no_part_is_printed_longer_than_the_target() {
        let mut view = view(None);
        view.open = Some(segment(10, &[33_000, 40_000, 1], false, None));
        view.part_target = 33_000;
        let text = low_latency(&view, Container::Ts);
        for part in text.lines().filter_map(|line| line.strip_prefix("#EXT-X-PART:DURATION=")) {
            let duration: f64 = part.split(',').next().unwrap().parse().unwrap();
            assert!(duration <= 0.36667, "{part}");
        }
    }
}
