use proptest::prelude::*;

use super::*;

/// The video section of a Chromium offer, shortened, behind an audio section.
const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789012345678901\r\na=sendrecv\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 107 108 109 114 115 116\r\na=mid:1\r\na=recvonly\r\na=rtcp-mux\r\n\
    a=candidate:1 1 udp 2113937151 f0a1.local 50000 typ host\r\n\
    a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    a=rtpmap:103 H264/90000\r\na=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n\
    a=rtpmap:104 rtx/90000\r\na=fmtp:104 apt=103\r\n\
    a=rtpmap:107 H264/90000\r\na=fmtp:107 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f\r\n\
    a=rtpmap:108 rtx/90000\r\na=fmtp:108 apt=107\r\n\
    a=rtpmap:109 H264/90000\r\na=fmtp:109 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
    a=rtpmap:114 H264/90000\r\na=fmtp:114 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640032\r\n\
    a=rtpmap:115 rtx/90000\r\na=fmtp:115 apt=114\r\na=rtpmap:116 rtx/90000\r\na=fmtp:116 apt=109\r\n";

#[test]
fn the_answer_takes_constrained_baseline_else_the_cameras_profile_and_only_packetization_mode_1() {
    let choice = |pt, rtx, profile_level_id| Choice { pt, rtx: Some(rtx), profile_level_id, mode_1: true };
    for profile in [Some(100), Some(66), Some(77), None] {
        assert_eq!(choose(OFFER, profile).unwrap(), choice(109, 116, 0x42_e01f), "{profile:?}");
    }
    let other = OFFER.replace("42e01f", "4d001f");
    for (profile, expected) in [
        (Some(100), choice(114, 115, 0x64_0032)),
        (Some(66), choice(103, 104, 0x42_001f)),
        (Some(77), choice(109, 116, 0x4d_001f)),
        (None, choice(103, 104, 0x42_001f)),
    ] {
        assert_eq!(choose(&other, profile).unwrap(), expected, "{profile:?}");
    }
}

#[test]
fn gstreamers_h264_without_a_packetization_mode_is_taken_when_there_is_no_better() {
    let silent = OFFER.replace("packetization-mode=1;", "").replace("packetization-mode=0;", "");
    let choice = choose(&silent, Some(66)).unwrap();
    assert_eq!((choice.pt, choice.mode_1), (103, false));
    let one = OFFER.replacen("packetization-mode=1;", "", 1);
    assert_eq!((choose(&one, Some(66)).unwrap().pt, choose(&one, Some(66)).unwrap().mode_1), (109, true));
}

#[test]
fn an_offer_that_cannot_be_served_is_refused_in_words_that_say_what_to_offer() {
    for (offer, expected) in [
        ("", "no video section"),
        ("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", "no video section"),
        (&OFFER.replace("a=recvonly", "a=sendonly"), "no video section"),
        (&OFFER.replace("m=video 9", "m=video 0"), "no video section"),
        (&OFFER.replace("H264", "H265"), "it offers VP8, H265"),
        (&OFFER.replace("mode=1", "mode=0"), "only with packetization-mode=0"),
        (&OFFER.replace("profile-level-id=", "profile-level-id=x"), "without a usable profile"),
    ] {
        let refusal = choose(offer, None).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[test]
fn an_answer_rejects_audio_properly_and_carries_its_candidates_where_browsers_look() {
    let answer = "v=0\r\na=group:BUNDLE 0 1\r\na=ice-lite\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF \r\nc=IN IP4 0.0.0.0\r\na=candidate:1 1 udp 1 127.0.0.1 8189 typ host\r\n\
        a=ice-ufrag:zzzz\r\na=ice-pwd:1\r\na=mid:0\r\na=sendrecv\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 109 116\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:zzzz\r\na=ice-pwd:1\r\na=mid:1\r\na=sendrecv\r\n";
    let expected = "v=0\r\na=group:BUNDLE 1\r\na=ice-lite\r\n\
        m=audio 0 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:zzzz\r\na=ice-pwd:1\r\na=mid:0\r\na=inactive\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 109 116\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:zzzz\r\na=ice-pwd:1\r\na=mid:1\r\na=sendonly\r\n\
        a=candidate:1 1 udp 1 127.0.0.1 8189 typ host\r\na=end-of-candidates\r\n";
    assert_eq!(polish(answer, Some(OFFER)), expected);
    assert_eq!(
        fragment(expected),
        "a=ice-lite\r\na=ice-ufrag:zzzz\r\na=ice-pwd:1\r\nm=video 9 UDP/TLS/RTP/SAVPF 109 116\r\na=mid:1\r\n\
         a=candidate:1 1 udp 1 127.0.0.1 8189 typ host\r\na=end-of-candidates\r\n"
    );
}

#[test]
fn credentials_are_found_exchanged_and_checked() {
    assert_eq!(credentials(OFFER), Some(("abcd", "0123456789012345678901")));
    let other = with_credentials(OFFER, "wxyz", "9876543210987654321098");
    assert_eq!(credentials(&other), Some(("wxyz", "9876543210987654321098")));
    assert_eq!(other.lines().count(), OFFER.lines().count());
    assert!(are_credentials("ab+/", "0123456789012345678901"));
    for (ufrag, pwd) in
        [("abc", "0123456789012345678901"), ("abcd", "short"), ("ab\r\nc", "0123456789012345678901")]
    {
        assert!(!are_credentials(ufrag, pwd), "{ufrag:?}");
    }
}

#[test]
fn a_viewers_candidates_are_left_out_whatever_they_name() {
    assert!(!without_candidates(OFFER).contains("candidate"));
    assert_eq!(without_candidates(OFFER).lines().count(), OFFER.lines().count() - 1);
}

proptest! {
    #[test]
    fn no_text_breaks_it(text in "(m=|a=|v=|video|H264|rtpmap:|fmtp:| |;|=|[0-9]{1,3}|\r\n|\\PC){0,60}") {
        let _ = choose(&text, Some(66));
        let polished = polish(&text, Some(&text));
        fragment(&polished);
        without_candidates(&text);
        with_credentials(&text, "a", "b");
    }
}
