//! What is asked for, read from a path, a query and a `Range` header. Pure; used by `routes`.

use super::playlist::Container;

/// A file under `/hls/{camera}/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asset {
    /// `stream.m3u8`
    Standard,
    /// `stream_ll.m3u8`, `stream_ll_fmp4.m3u8`
    LowLatency(Container),
    /// `seg000123.ts`, `seg000123.m4s`
    Segment(Container, u64),
    /// `part000123.m4s`
    Part(u64),
    /// `init_123.mp4`
    Init(u64),
}

impl Asset {
    pub fn parse(file: &str) -> Option<Self> {
        match file {
            "stream.m3u8" => return Some(Self::Standard),
            "stream_ll.m3u8" => return Some(Self::LowLatency(Container::Ts)),
            "stream_ll_fmp4.m3u8" => return Some(Self::LowLatency(Container::Fmp4)),
            _ => {}
        }
        let number = |prefix: &str, suffix: &str| {
            let digits = file.strip_prefix(prefix)?.strip_suffix(suffix)?;
            if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse::<u64>().ok() } else { None }
        };
        if let Some(msn) = number("seg", ".ts") {
            Some(Self::Segment(Container::Ts, msn))
        } else if let Some(msn) = number("seg", ".m4s") {
            Some(Self::Segment(Container::Fmp4, msn))
        } else if let Some(part) = number("part", ".m4s") {
            Some(Self::Part(part))
        } else {
            number("init_", ".mp4").map(Self::Init)
        }
    }

    /// Which stream it belongs to.
    pub fn container(self) -> Container {
        match self {
            Self::Standard => Container::Ts,
            Self::LowLatency(container) | Self::Segment(container, _) => container,
            Self::Part(_) | Self::Init(_) => Container::Fmp4,
        }
    }
}

/// `_HLS_msn` and `_HLS_part` (RFC 8216bis, 6.2.5.2): answer when the list has this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub msn: u64,
    pub part: Option<usize>,
}

/// A delivery directive that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadDirective {
    pub key: &'static str,
    /// What is wrong with its value, or what it should be.
    pub problem: &'static str,
}

/// The delivery directives of a query; other keys are ignored.
pub fn wanted(query: &str) -> Result<Option<Wanted>, BadDirective> {
    let bad = |key, problem| BadDirective { key, problem };
    let value = |key: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')))
    };
    let part = match value("_HLS_part") {
        Some(text) => Some(text.parse().map_err(|_| bad("_HLS_part", "it is the index of a part: 0, 1, …"))?),
        None => None,
    };
    match value("_HLS_msn") {
        Some(text) => {
            let msn = text.parse().map_err(|_| bad("_HLS_msn", "it is a media sequence number: 0, 1, …"))?;
            Ok(Some(Wanted { msn, part }))
        }
        None if part.is_some() => Err(bad("_HLS_part", "it needs _HLS_msn beside it")),
        None => Ok(None),
    }
}

/// One range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From a byte to the end, wherever that will be.
    From(u64),
    /// First and last byte.
    Between(u64, u64),
    /// So many last bytes.
    Last(u64),
}

/// Positions from here on mean "until the end": 2^53-1, as RFC 8673 and preload hints use it.
pub const VERY_LARGE: u64 = 9_007_199_254_740_991;

/// Reads a `Range` header. What is no single range of bytes is ignored, as RFC 9110, 14.2 allows.
pub fn byte_range(header: &str) -> Option<ByteRange> {
    let (first, last) = header.trim().strip_prefix("bytes=")?.trim().split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", last) => last.parse().ok().map(ByteRange::Last),
        (first, "") => first.parse().ok().map(ByteRange::From),
        (first, last) => {
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            match last {
                VERY_LARGE.. => Some(ByteRange::From(first)),
                _ if last < first => None,
                _ => Some(ByteRange::Between(first, last)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_names() {
        let table = [
            ("stream.m3u8", Some(Asset::Standard)),
            ("stream_ll.m3u8", Some(Asset::LowLatency(Container::Ts))),
            ("stream_ll_fmp4.m3u8", Some(Asset::LowLatency(Container::Fmp4))),
            ("seg000123.ts", Some(Asset::Segment(Container::Ts, 123))),
            ("seg12345678.m4s", Some(Asset::Segment(Container::Fmp4, 12_345_678))),
            ("part000007.m4s", Some(Asset::Part(7))),
            ("init_3.mp4", Some(Asset::Init(3))),
            ("seg.ts", None),
            ("seg+12.ts", None),
            ("seg-1.ts", None),
            ("seg99999999999999999999999.ts", None),
            ("../secret", None),
            ("", None),
        ];
        for (file, asset) in table {
            assert_eq!(Asset::parse(file), asset, "{file}");
        }
    }

    #[test]
    fn delivery_directives_are_read_and_nonsense_is_refused() {
        let table = [
            ("", Ok(None)),
            ("t=1&&x", Ok(None)),
            ("_HLS_msn=5", Ok(Some(Wanted { msn: 5, part: None }))),
            ("a=b&_HLS_part=2&_HLS_msn=5", Ok(Some(Wanted { msn: 5, part: Some(2) }))),
            ("_HLS_skip=YES", Ok(None)),
        ];
        for (query, expected) in table {
            assert_eq!(wanted(query), expected, "{query}");
        }
        let table = [
            ("_HLS_part=1", "_HLS_part"),
            ("_HLS_msn=x", "_HLS_msn"),
            ("_HLS_msn=", "_HLS_msn"),
            ("_HLS_msn=1&_HLS_part=-1", "_HLS_part"),
            ("_HLS_msn=-1", "_HLS_msn"),
        ];
        for (query, key) in table {
            assert_eq!(wanted(query).unwrap_err().key, key, "{query}");
        }
    }

    #[test]
    fn ranges_are_read_and_odd_ones_ignored() {
        let table = [
            ("bytes=0-", Some(ByteRange::From(0))),
            ("bytes=188-375", Some(ByteRange::Between(188, 375))),
            ("bytes=5-9007199254740991", Some(ByteRange::From(5))),
            ("bytes=-188", Some(ByteRange::Last(188))),
            ("bytes=5-4", None),
            ("bytes=0-1,3-4", None),
            ("items=0-1", None),
            ("bytes=a-b", None),
            ("bytes=-", None),
        ];
        for (header, expected) in table {
            assert_eq!(byte_range(header), expected, "{header}");
        }
    }
}
