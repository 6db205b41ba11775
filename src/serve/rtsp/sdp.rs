//! What DESCRIBE answers: the stream in SDP (RFC 4566, RFC 6184), from the parameter sets of its last
//! keyframe.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::packets::PAYLOAD_TYPE;
use crate::h264::{self, Sps, nal_type};

/// The media's `control` attribute: what SETUP is asked for, after the camera.
pub const TRACK: &str = "trackID=0";
/// Sets longer than this together are not put into a description: they come before every keyframe anyway.
const LARGEST: usize = 4096;

/// The parameter sets that a decoder starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    sps: Vec<u8>,
    pps: Vec<Vec<u8>>,
}

impl Parameters {
    /// Those in a keyframe.
    pub fn of(access_unit: &[u8]) -> Option<Self> {
        let mut found = Self { sps: Vec::new(), pps: Vec::new() };
        for nal in h264::nals(access_unit) {
            match h264::kind(nal) {
                nal_type::SPS if found.sps.is_empty() && nal.len() >= 4 => found.sps = nal.to_vec(),
                nal_type::PPS if !found.pps.iter().any(|pps| pps == nal) => found.pps.push(nal.to_vec()),
                // The picture itself: what is needed came before it.
                nal_type::IDR => break,
                _ => {}
            }
        }
        (!found.sps.is_empty() && !found.pps.is_empty()).then_some(found)
    }

    /// How many pictures may come before another that is shown earlier, where the stream says so.
    pub fn reorder(&self) -> usize {
        Sps::parse(&self.sps).and_then(|sps| sps.reorder_depth()).unwrap_or(0)
    }

    fn fmtp(&self) -> String {
        let profile: String = self.sps[1..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let mut words = format!("packetization-mode=1;profile-level-id={profile}");
        let sets = || [&self.sps].into_iter().chain(&self.pps);
        if sets().map(Vec::len).sum::<usize>() <= LARGEST {
            let sets: Vec<String> = sets().map(|set| STANDARD.encode(set)).collect();
            words.push_str(&format!(";sprop-parameter-sets={}", sets.join(",")));
        }
        words
    }
}

/// The description of one camera; `name` is for people, `address` is where it was asked.
pub fn describe(name: &str, address: IpAddr, parameters: &Parameters) -> String {
    // A name is one line.
    let name: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let name = if name.trim().is_empty() { "-" } else { name.trim() };
    let (kind, any) = if address.is_ipv4() { ("IP4", "0.0.0.0") } else { ("IP6", "::") };
    [
        "v=0".to_owned(),
        format!("o=- 0 0 IN {kind} {address}"),
        format!("s={name}"),
        format!("c=IN {kind} {any}"),
        "t=0 0".to_owned(),
        "a=control:*".to_owned(),
        format!("m=video 0 RTP/AVP {PAYLOAD_TYPE}"),
        format!("a=rtpmap:{PAYLOAD_TYPE} H264/90000"),
        format!("a=fmtp:{PAYLOAD_TYPE} {}", parameters.fmtp()),
        format!("a=control:{TRACK}"),
        String::new(),
    ]
    .join("\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = &[
        0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8, 0, 0, 0, 1,
        0x68, 0xce, 0x3c, 0x80, 0, 0, 1, 0x65, 0x88, 0x84,
    ];

    #[test]
    fn a_description_names_the_codec_its_profile_and_its_parameter_sets() {
        let parameters = Parameters::of(KEY).unwrap();
        let sdp = describe("Front\r\na=evil", IpAddr::from([127, 0, 0, 1]), &parameters);
        let expected = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=Front  a=evil\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
            a=control:*\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
            a=fmtp:96 packetization-mode=1;profile-level-id=42c01f;\
            sprop-parameter-sets=Z0LAH9oBQBbo,aM48gA==\r\na=control:trackID=0\r\n";
        assert_eq!(sdp, expected);
        assert!(describe("", IpAddr::from([0; 16]), &parameters).contains("IN IP6 ::\r\ns=-\r\nc=IN IP6 ::"));
    }

    #[test]
    fn without_both_sets_there_is_nothing_to_describe() {
        assert_eq!(Parameters::of(&KEY[..19]), None);
        assert_eq!(Parameters::of(&[0, 0, 1, 0x67, 0x42, 0, 0, 1, 0x68, 1]), None, "an SPS of two bytes");
        assert_eq!(Parameters::of(&[]), None);
    }

    #[test]
    fn parameter_sets_that_are_too_large_stay_in_the_stream() {
        let key = [&KEY[..27], &[0, 0, 1, 0x68], &[7; LARGEST], &KEY[27..]].concat();
        let sdp = describe("a", IpAddr::from([0; 4]), &Parameters::of(&key).unwrap());
        assert!(!sdp.contains("sprop") && sdp.contains("profile-level-id=42c01f"), "{sdp}");
    }
}
