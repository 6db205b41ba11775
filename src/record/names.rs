//! How files are named, and which names are let in. Pure. Names hold no separator, so that no path can be
//! made of one.

use std::time::SystemTime;

/// Longer names are refused.
const LONGEST: usize = 120;

pub const RECORDING: &str = "mp4";
pub const SNAPSHOT: &str = "jpg";

/// Whether this may be a file's name: nothing that is special to a shell, a URL or a file system.
pub fn is_safe(name: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= LONGEST && !name.starts_with('.') && name.chars().all(safe)
}

/// Whether this may be the name of a file with this ending.
pub fn is_safe_with(name: &str, ending: &str) -> bool {
    let stem = name.strip_suffix(ending).and_then(|name| name.strip_suffix('.'));
    is_safe(name) && stem.is_some_and(|stem| !stem.is_empty())
}

/// Fills a template; without the ending.
pub fn fill(template: &str, camera: &str, at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    // RFC 3339 in UTC: 2026-11-28T23:40:04.123Z
    let text = format!("{at:.3}");
    let (date, rest) = text.split_once('T').unwrap_or((&text, ""));
    let time = rest.split('.').next().unwrap_or(rest).replace(':', "-");
    template.replace("{camera}", camera).replace("{date}", date).replace("{time}", &time)
}

/// The `attempt`-th name for a file, from 0: the second one of a second gets a number.
pub fn numbered(stem: &str, attempt: u32, ending: &str) -> String {
    match attempt {
        0 => format!("{stem}.{ending}"),
        _ => format!("{stem}-{}.{ending}", attempt + 1),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_tells_the_camera_and_when_it_began() {
        let at = UNIX_EPOCH + Duration::from_millis(1_795_909_204_999);
        let stem = fill("{camera}_{date}_{time}", "front", at);
        assert_eq!(stem, "front_2026-11-28_23-40-04");
        assert_eq!(numbered(&stem, 0, RECORDING), "front_2026-11-28_23-40-04.mp4");
        assert_eq!(numbered(&stem, 1, RECORDING), "front_2026-11-28_23-40-04-2.mp4");
    }

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        for name in
            ["", ".", "..", "../a.mp4", "a/b.mp4", "a\\b.mp4", ".a.mp4", "a\0.mp4", "ä.mp4", "a b.mp4"]
        {
            assert!(!is_safe(name), "{name:?}");
        }
        assert!(!is_safe(&"a".repeat(121)));
        assert!(is_safe_with("front_2026-11-28_23-40-04.mp4", RECORDING));
        for name in ["front.jpg", "mp4", ".mp4", "front", "frontmp4"] {
            assert!(!is_safe_with(name, RECORDING), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn a_safe_name_is_one_component_of_a_path(name in ".{0,140}") {
            if is_safe(&name) {
                let path = std::path::Path::new("/files").join(&name);
                prop_assert_eq!(path.parent(), Some(std::path::Path::new("/files")));
                prop_assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(&*name));
            }
        }
    }
}
