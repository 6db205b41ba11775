//! Session descriptions as text: what an offer asks for, what to answer, and what browsers need changed in
//! an answer. Pure functions; the text comes from anybody and is trusted in nothing.
//!
//! Sources: RFC 8866 (SDP), 8829 (JSEP), 6184 section 8 (H.264 parameters), 8840 (SDP fragments).

use super::types::Refusal;

/// Longer descriptions are refused unread. Chromium's with audio and video is about 8 kB.
pub const MAX_SDP: usize = 64 * 1024;

/// The H.264 that is sent: payload types as the viewer numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub pt: u8,
    pub rtx: Option<u8>,
    /// As offered; 42001f when the offer gives none (RFC 6184 8.1 says Baseline).
    pub profile_level_id: u32,
    /// Whether packetization-mode=1 was offered, which is what is sent in any case: see [`choose`].
    pub mode_1: bool,
}

/// One media section: its `m=` line and what follows up to the next.
#[derive(Debug)]
struct Section<'a> {
    media: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Section<'a> {
    fn kind(&self) -> &'a str {
        self.media.split(' ').next().unwrap_or_default()
    }

    fn port(&self) -> &'a str {
        self.media.split(' ').nth(1).unwrap_or_default()
    }

    fn formats(&self) -> impl Iterator<Item = &'a str> {
        self.media.split(' ').skip(3).filter(|format| !format.is_empty())
    }

    /// The values of all `a=name:value`.
    fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter_map(move |line| attribute(line, name))
    }

    fn has(&self, attribute: &str) -> bool {
        self.lines.iter().any(|line| line.strip_prefix("a=") == Some(attribute))
    }

    fn wants_video(&self) -> bool {
        self.kind() == "video" && self.port() != "0" && !self.has("sendonly") && !self.has("inactive")
    }

    /// `H264/90000` of a payload type.
    fn codec(&self, format: &str) -> Option<&'a str> {
        let mut maps = self.values("rtpmap");
        maps.find_map(|map| map.strip_prefix(format)?.strip_prefix(' ')).map(str::trim)
    }

    /// A parameter from the `a=fmtp` line of a payload type.
    fn parameter(&self, format: &str, name: &str) -> Option<&'a str> {
        let mut lines = self.values("fmtp");
        let parameters = lines.find_map(|line| line.strip_prefix(format)?.strip_prefix(' '))?;
        parameters.split(';').find_map(|parameter| {
            let (key, value) = parameter.trim().split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':').map(str::trim)
}

fn sections(sdp: &str) -> (Vec<&str>, Vec<Section<'_>>) {
    let (mut session, mut sections) = (Vec::new(), Vec::<Section<'_>>::new());
    for line in sdp.lines().filter(|line| !line.is_empty()) {
        match (line.strip_prefix("m="), sections.last_mut()) {
            (Some(media), _) => sections.push(Section { media, lines: Vec::new() }),
            (None, Some(section)) => section.lines.push(line),
            (None, None) => session.push(line),
        }
    }
    (session, sections)
}

/// The H.264 of an offer to take: constrained baseline, whatever the camera sends, else its own profile
/// `profile_idc`, else any; of these the first offered. Browsers decode what comes, but what is agreed on
/// decides how: told High, Chromium takes a decoder that may wait to put pictures in order and drops some
/// on a busy machine (350 ms and three pictures of four, where it has 100 ms and all of them told baseline).
/// MediaMTX and go2rtc say baseline too. One with packetization-mode=1, if there is any; else one
/// that names no mode: GStreamer's `whepclientsrc` writes none and takes fragments all the same. An explicit
/// 0 is not taken: it says that fragments are not understood.
pub fn choose(offer: &str, profile_idc: Option<u8>) -> Result<Choice, Refusal> {
    let (_, sections) = sections(offer);
    let video = sections.iter().find(|section| section.wants_video()).ok_or(Refusal::NoVideo)?;
    let is_h264 =
        |format: &&str| video.codec(format).is_some_and(|codec| codec.eq_ignore_ascii_case("H264/90000"));
    let h264: Vec<&str> = video.formats().filter(is_h264).collect();
    if h264.is_empty() {
        let mut names: Vec<&str> = video
            .formats()
            .filter_map(|f| video.codec(f)?.split('/').next())
            .filter(|n| *n != "rtx")
            .collect();
        names.dedup();
        names.truncate(8);
        let names = names.iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ");
        return Err(Refusal::NoH264(format!("it offers {names}")));
    }
    let choices = h264.iter().copied().filter_map(|format| {
        let mode_1 = match video.parameter(format, "packetization-mode") {
            Some("1") => true,
            None => false,
            Some(_) => return None,
        };
        let id = video.parameter(format, "profile-level-id");
        let profile_level_id = id.map_or(Some(0x42_001f), |id| u32::from_str_radix(id, 16).ok())?;
        let rtx = video.formats().find(|rtx| {
            video.codec(rtx).is_some_and(|codec| codec.eq_ignore_ascii_case("rtx/90000"))
                && video.parameter(rtx, "apt") == Some(format)
        });
        let number = |format: &str| format.parse::<u8>().ok().filter(|pt| *pt < 128);
        Some(Choice { pt: number(format)?, rtx: rtx.and_then(number), profile_level_id, mode_1 })
    });
    let rank = |choice: &Choice| {
        let [_, profile, constraints, _] = choice.profile_level_id.to_be_bytes();
        let profile = match (profile, constraints) {
            (0x42, constraints) if constraints & 0x40 != 0 => 0,
            (profile, _) if Some(profile) == profile_idc => 1,
            _ => 2,
        };
        (!choice.mode_1, profile)
    };
    choices.min_by_key(rank).ok_or_else(|| {
        Refusal::NoH264(
            "it offers H.264 only with packetization-mode=0 or without a usable profile".to_owned(),
        )
    })
}

/// The name in the answer of the section that [`choose`] chose from.
pub fn video_mid<'a>(offer: &str, answer: &'a str) -> Option<&'a str> {
    let index = sections(offer).1.iter().position(Section::wants_video)?;
    sections(answer).1.get(index)?.values("mid").next()
}

/// Text from a stranger for a message to them: short, and without control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(24).collect()
}

/// Without candidates: with ICE-lite the viewer checks us, and its addresses show then. Their lines may hold
/// names (mDNS), zones and kinds that a parser stumbles over.
pub fn without_candidates(sdp: &str) -> String {
    let keep = |line: &&str| !line.starts_with("a=candidate:") && *line != "a=end-of-candidates";
    joined(sdp.lines().filter(|line| !line.is_empty()).filter(keep))
}

/// The first ICE user fragment and password.
pub fn credentials(sdp: &str) -> Option<(&str, &str)> {
    let find = |name| sdp.lines().find_map(|line| attribute(line, name));
    Some((find("ice-ufrag")?, find("ice-pwd")?))
}

/// The same description with other ICE credentials.
pub fn with_credentials(sdp: &str, ufrag: &str, pwd: &str) -> String {
    let lines: Vec<String> = sdp
        .lines()
        .map(|line| match line {
            _ if attribute(line, "ice-ufrag").is_some() => format!("a=ice-ufrag:{ufrag}"),
            _ if attribute(line, "ice-pwd").is_some() => format!("a=ice-pwd:{pwd}"),
            _ => line.to_owned(),
        })
        .collect();
    joined(lines.iter().map(String::as_str))
}

/// Whether these can be ICE credentials (RFC 8839 5.4): anything else would end up in a description.
pub fn are_credentials(ufrag: &str, pwd: &str) -> bool {
    let chars = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    (4..=256).contains(&ufrag.len()) && (22..=256).contains(&pwd.len()) && chars(ufrag) && chars(pwd)
}

/// Makes an answer or offer of str0m what browsers take.
///
/// Sections without a codec are rejected properly (`formats` are those of the offer's sections); candidates
/// stand in the first section that is not rejected, because a browser discards those of a rejected one;
/// video is only sent.
pub fn polish(sdp: &str, offer: Option<&str>) -> String {
    let (session, parts) = sections(sdp);
    let offered = offer.map(|offer| sections(offer).1);
    let rejected = |section: &Section<'_>| {
        section.port() == "0" || (section.kind() != "application" && section.formats().next().is_none())
    };
    let gone: Vec<&str> =
        parts.iter().filter(|s| rejected(s)).flat_map(|section| section.values("mid").next()).collect();
    let candidates: Vec<&str> = parts
        .iter()
        .flat_map(|s| s.lines.iter().copied())
        .filter(|l| l.starts_with("a=candidate:"))
        .collect();
    let mut lines: Vec<String> = Vec::new();
    for line in session {
        lines.push(match line.strip_prefix("a=group:BUNDLE") {
            Some(mids) => {
                let kept = mids.split(' ').filter(|mid| !mid.is_empty() && !gone.contains(mid));
                kept.fold("a=group:BUNDLE".to_owned(), |line, mid| line + " " + mid)
            }
            None => line.to_owned(),
        });
    }
    let mut placed = false;
    for (index, section) in parts.iter().enumerate() {
        if rejected(section) {
            let format = offered.as_ref().and_then(|offered| offered.get(index)?.formats().next());
            let protocol = section.media.split(' ').nth(2).unwrap_or("UDP/TLS/RTP/SAVPF");
            lines.push(format!("m={} 0 {protocol} {}", section.kind(), format.unwrap_or("0")));
            lines.push("c=IN IP4 0.0.0.0".to_owned());
            lines.extend(section.lines.iter().filter(|line| is_transport(line)).map(ToString::to_string));
            lines.extend(section.values("mid").next().map(|mid| format!("a=mid:{mid}")));
            lines.push("a=inactive".to_owned());
            continue;
        }
        lines.push(format!("m={}", section.media));
        for line in &section.lines {
            match *line {
                line if line.starts_with("a=candidate:") => {}
                "a=sendrecv" if section.kind() == "video" => lines.push("a=sendonly".to_owned()),
                line => lines.push(line.to_owned()),
            }
        }
        if !placed {
            placed = true;
            lines.extend(candidates.iter().map(|line| (*line).to_owned()));
            lines.push("a=end-of-candidates".to_owned());
        }
    }
    joined(lines.iter().map(String::as_str))
}

/// What webrtcbin wants in every section, also in one that is rejected; others pass over it there.
fn is_transport(line: &str) -> bool {
    ["ice-ufrag", "ice-pwd", "fingerprint", "setup"].iter().any(|name| attribute(line, name).is_some())
}

/// The `application/trickle-ice-sdpfrag` that answers an ICE restart, from the new answer.
pub fn fragment(answer: &str) -> String {
    let (_, sections) = sections(answer);
    let mut lines = vec!["a=ice-lite".to_owned()];
    if let Some((ufrag, pwd)) = credentials(answer) {
        lines.push(format!("a=ice-ufrag:{ufrag}"));
        lines.push(format!("a=ice-pwd:{pwd}"));
    }
    if let Some(section) = sections.iter().find(|section| section.port() != "0") {
        lines.push(format!("m={}", section.media));
        lines.extend(section.values("mid").map(|mid| format!("a=mid:{mid}")));
        let candidates = |line: &&&str| line.starts_with("a=candidate:") || **line == "a=end-of-candidates";
        lines.extend(section.lines.iter().filter(candidates).map(|line| (*line).to_owned()));
    }
    joined(lines.iter().map(String::as_str))
}

fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.fold(String::new(), |sdp, line| sdp + line + "\r\n")
}

#[cfg(test)]
#[path = "sdp_tests.rs"]
mod tests;
