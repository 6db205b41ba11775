//! `application/trickle-ice-sdpfrag` (RFC 8840, 9): the body of a PATCH, taken apart. Pure.
//!
//! Mainsail and Fluidd write what MediaMTX's page wrote: credentials first, then for each section its
//! `m=` line, `a=mid` and candidates; browsers' end of candidates may come as an `a=` without a name.
//! Candidates of all sections go into one list: media is bundled.

use crate::serve::whep::Fragment;

/// # Errors
/// What is wrong, when a line is none of SDP's or when there is none at all.
pub fn parse(text: &str) -> Result<Fragment, String> {
    let mut fragment = Fragment::default();
    let mut lines = 0;
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        lines += 1;
        let value = match line.as_bytes() {
            [b'a'..=b'z', b'=', ..] => line.get(2..).unwrap_or_default(),
            _ => return Err(format!("{:?} is no line of the form a=value", shortened(line))),
        };
        if !line.starts_with("a=") {
            continue;
        }
        if let Some(ufrag) = value.strip_prefix("ice-ufrag:") {
            fragment.ufrag.get_or_insert_with(|| ufrag.to_owned());
        } else if let Some(pwd) = value.strip_prefix("ice-pwd:") {
            fragment.pwd.get_or_insert_with(|| pwd.to_owned());
        } else if value.starts_with("candidate:") {
            fragment.candidates.push(value.to_owned());
        }
    }
    if lines == 0 {
        return Err("it is empty".to_owned());
    }
    Ok(fragment)
}

fn shortened(line: &str) -> String {
    line.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CANDIDATE: &str =
        "candidate:1 1 udp 2113937151 3b41-4.local 54400 typ host generation 0 ufrag x network-cost 999";

    #[test]
    fn what_mainsail_sends_is_understood() {
        let text = format!(
            "a=ice-ufrag:Ab+/\r\na=ice-pwd:0123456789012345678901\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n\
             a={CANDIDATE}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na={CANDIDATE}\r\na=\r\n"
        );
        let fragment = parse(&text).unwrap();
        assert_eq!(fragment.ufrag.as_deref(), Some("Ab+/"));
        assert_eq!(fragment.pwd.as_deref(), Some("0123456789012345678901"));
        assert_eq!(fragment.candidates, [CANDIDATE, CANDIDATE]);
    }

    #[test]
    fn credentials_alone_and_the_end_of_candidates_are_fragments_too() {
        let fragment = parse("a=ice-ufrag:A\na=ice-pwd:B\n").unwrap();
        assert_eq!((fragment.ufrag.as_deref(), fragment.pwd.as_deref()), (Some("A"), Some("B")));
        assert!(parse("a=end-of-candidates\r\n").unwrap().candidates.is_empty());
    }

    #[test]
    fn what_is_no_fragment_is_said() {
        assert!(parse("").is_err());
        assert!(parse("\r\n\r\n").is_err());
        assert!(parse("{\"candidate\":\"x\"}").unwrap_err().contains("candidate"));
        assert!(parse("a=ice-ufrag:x\r\nhello").is_err());
        assert!(parse("é=x").is_err());
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in ".{0,200}") {
            let _ = parse(&text);
        }
    }
}
