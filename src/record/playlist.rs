//! An HLS playlist over the byte ranges of one recording, by which browsers play and seek it while it is
//! still being written (RFC 8216). Pure.

use std::fmt::Write;

use super::mp4::Contents;

/// `file` is where the recording is, as seen from the playlist; `grows`: it is still being written.
pub fn playlist(contents: &Contents, file: &str, grows: bool) -> String {
    // Segments begin with a keyframe: what stands before the next one belongs to it.
    let mut segments: Vec<(u64, u64, f64)> = Vec::new();
    let mut begins = 0.0;
    for piece in &contents.fragments {
        let ends = piece.ends.as_secs_f64();
        match segments.last_mut() {
            Some((_, bytes, seconds)) if !piece.keyframe => {
                *bytes += piece.bytes;
                *seconds = ends - begins;
            }
            _ => {
                begins = piece.begins.as_secs_f64();
                segments.push((piece.offset, piece.bytes, ends - begins));
            }
        }
    }
    if grows {
        // The last one may still become longer.
        segments.pop();
    }
    let longest = segments.iter().map(|(_, _, seconds)| seconds.round() as u64).max().unwrap_or(1).max(1);
    let kind = if grows { "EVENT" } else { "VOD" };
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{longest}\n#EXT-X-PLAYLIST-TYPE:{kind}\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"{file}\",BYTERANGE=\"{}@0\"\n",
        contents.init
    );
    for (offset, bytes, seconds) in segments {
        // Writing into a String cannot fail.
        let _ = write!(text, "#EXTINF:{seconds:.3},\n#EXT-X-BYTERANGE:{bytes}@{offset}\n{file}\n");
    }
    if !grows {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::mp4::Piece;
    use super::*;

    fn contents() -> Contents {
        let piece = |second: u64| Piece {
            offset: 1000 + second * 100,
            bytes: 100,
            begins: Duration::from_secs(second),
            ends: Duration::from_secs(second + 1),
            keyframe: second.is_multiple_of(2),
        };
        Contents { init: 1000, fragments: (0..4).map(piece).collect(), ..Contents::default() }
    }

    #[test]
    fn segments_begin_with_keyframes_and_a_finished_recording_has_an_end() {
        let text = playlist(&contents(), "../a.mp4", false);
        assert!(text.contains("#EXT-X-MAP:URI=\"../a.mp4\",BYTERANGE=\"1000@0\"\n"), "{text}");
        let segments = "#EXTINF:2.000,\n#EXT-X-BYTERANGE:200@1000\n../a.mp4\n\
                        #EXTINF:2.000,\n#EXT-X-BYTERANGE:200@1200\n../a.mp4\n#EXT-X-ENDLIST\n";
        assert!(text.ends_with(segments), "{text}");
        assert!(text.contains("TYPE:VOD\n") && text.contains("TARGETDURATION:2\n"));
    }

    #[test]
    fn of_one_that_grows_only_whole_segments_are_listed_and_no_end() {
        let text = playlist(&contents(), "../a.mp4", true);
        assert!(text.ends_with("#EXTINF:2.000,\n#EXT-X-BYTERANGE:200@1000\n../a.mp4\n"), "{text}");
        assert!(text.contains("TYPE:EVENT\n"));
    }
}
