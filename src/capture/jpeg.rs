//! The edges of a JPEG. Cameras pad theirs and sometimes cut one short; clients drop what does not
//! start FF D8 and end FF D9.

use std::ops::Range;

/// The part of `data` that is one JPEG: from SOI to the last EOI. `None` when it is not a whole one.
pub fn whole(data: &[u8]) -> Option<Range<usize>> {
    if !data.starts_with(&[0xff, 0xd8, 0xff]) {
        return None;
    }
    let end = data.windows(2).rposition(|pair| pair == [0xff, 0xd9])? + 2;
    Some(0..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_after_the_end_is_cut_and_a_torn_picture_refused() {
        assert_eq!(whole(b"\xff\xd8\xff\xe0abc\xff\xd9"), Some(0..9));
        assert_eq!(whole(b"\xff\xd8\xff\xe0abc\xff\xd9\0\0\0"), Some(0..9));
        assert_eq!(whole(b"\xff\xd8\xff\xe0 cut short"), None);
        assert_eq!(whole(b"garbage\xff\xd9"), None);
        assert_eq!(whole(b""), None);
    }
}
