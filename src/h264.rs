//! H.264 as it travels here: Annex B byte streams, split into NAL units and read just far enough to
//! package them (SPS: codec string, size, reordering) and to notice B-frames (slice headers).
//!
//! Used by `capture` (can this stream go to WebRTC?) and `serve` (HLS). Input comes from cameras, so
//! nothing here trusts it: what does not parse is `None`. Sources: ITU-T H.264 (08/2021), 7.3.1 NAL
//! units, 7.3.2.1 SPS, 7.3.3 slice header, Annex B byte stream, Annex E VUI; codec strings: RFC 6381.

/// `nal_unit_type` values that matter here (table 7-1).
pub mod nal_type {
    pub const SLICE: u8 = 1;
    pub const PARTITION_A: u8 = 2;
    pub const IDR: u8 = 5;
    pub const SEI: u8 = 6;
    pub const SPS: u8 = 7;
    pub const PPS: u8 = 8;
    pub const AUD: u8 = 9;
    pub const FILLER: u8 = 12;
}

/// The type of a NAL unit without its start code; 0 (unspecified) for an empty one.
pub fn kind(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |header| header & 0x1f)
}

/// The type of the first NAL unit of an Annex B byte stream, found without looking for its end.
pub fn first_kind(stream: &[u8]) -> Option<u8> {
    start_code(stream, 0).and_then(|at| stream.get(at + 3)).map(|header| header & 0x1f)
}

/// The NAL units of an Annex B byte stream, without start codes and trailing zero bytes.
pub fn nals(stream: &[u8]) -> Nals<'_> {
    let start = start_code(stream, 0).map_or(stream.len(), |at| at + 3);
    Nals { stream, start }
}

/// See [`nals`].
#[derive(Clone, Debug)]
pub struct Nals<'a> {
    stream: &'a [u8],
    /// First byte after the start code of the next NAL unit.
    start: usize,
}

impl<'a> Iterator for Nals<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while self.start < self.stream.len() {
            let begin = self.start;
            let end = match start_code(self.stream, begin) {
                Some(at) => {
                    self.start = at + 3;
                    at
                }
                None => {
                    self.start = self.stream.len();
                    self.stream.len()
                }
            };
            // Zero bytes at the end belong to the next start code (four-byte form) or are padding.
            let nal = &self.stream[begin..end];
            let length = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if length > 0 {
                return Some(&nal[..length]);
            }
        }
        None
    }
}

/// Where the next `00 00 01` begins, at or after `from`.
fn start_code(stream: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(window) = stream.get(at..at + 3) {
        match window {
            [0, 0, 1] => return Some(at),
            // A third byte above 1 is in no start code: skip the whole window.
            [_, _, last] if *last > 1 => at += 3,
            _ => at += 1,
        }
    }
    None
}

/// Whether this NAL unit is a slice of a B picture.
pub fn slice_is_b(nal: &[u8]) -> bool {
    if !matches!(kind(nal), nal_type::SLICE | nal_type::PARTITION_A | nal_type::IDR) {
        return false;
    }
    // first_mb_in_slice and slice_type need at most a few dozen bits.
    let mut bits = Bits::new(&nal[1..nal.len().min(32)]);
    let slice_type = bits.ue().and_then(|_first_mb| bits.ue());
    // 1 is B; 6 is "every slice of the picture is B" (table 7-6).
    matches!(slice_type, Some(1 | 6))
}

/// Whether any slice of this access unit (Annex B) is a B slice.
pub fn access_unit_has_b_slice(access_unit: &[u8]) -> bool {
    nals(access_unit).any(slice_is_b)
}

/// What a sequence parameter set says, as far as packaging needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    pub profile_idc: u8,
    /// The byte of `constraint_set` flags.
    pub constraints: u8,
    pub level_idc: u8,
    /// Cropped size in pixels.
    pub width: u32,
    pub height: u32,
    pub chroma_format_idc: u32,
    pub bit_depth_luma: u32,
    pub bit_depth_chroma: u32,
    /// `max_num_reorder_frames` where the VUI gives it.
    pub max_num_reorder_frames: Option<u32>,
}

impl Sps {
    /// Reads an SPS NAL unit, its header byte included.
    pub fn parse(nal: &[u8]) -> Option<Self> {
        if kind(nal) != nal_type::SPS {
            return None;
        }
        let mut b = Bits::new(&nal[1..]);
        let profile_idc = b.bits(8)? as u8;
        let constraints = b.bits(8)? as u8;
        let level_idc = b.bits(8)? as u8;
        b.ue()?; // seq_parameter_set_id
        let (mut chroma_format_idc, mut separate_planes) = (1, false);
        let (mut bit_depth_luma, mut bit_depth_chroma) = (8, 8);
        if matches!(profile_idc, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
            chroma_format_idc = b.ue()?;
            if chroma_format_idc == 3 {
                separate_planes = b.flag()?;
            }
            bit_depth_luma = 8 + b.ue()?.min(6);
            bit_depth_chroma = 8 + b.ue()?.min(6);
            b.flag()?; // qpprime_y_zero_transform_bypass_flag
            if b.flag()? {
                for list in 0..if chroma_format_idc == 3 { 12 } else { 8 } {
                    if b.flag()? {
                        b.skip_scaling_list(if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        b.ue()?; // log2_max_frame_num_minus4
        match b.ue()? {
            0 => {
                b.ue()?; // log2_max_pic_order_cnt_lsb_minus4
            }
            1 => {
                b.flag()?; // delta_pic_order_always_zero_flag
                b.se()?; // offset_for_non_ref_pic
                b.se()?; // offset_for_top_to_bottom_field
                let cycle = b.ue()?;
                if cycle > 255 {
                    return None;
                }
                for _ in 0..cycle {
                    b.se()?;
                }
            }
            _ => {}
        }
        b.ue()?; // max_num_ref_frames
        b.flag()?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = b.ue()?.checked_add(1)?;
        let height_units = b.ue()?.checked_add(1)?;
        let frame_mbs_only = b.flag()?;
        if !frame_mbs_only {
            b.flag()?; // mb_adaptive_frame_field_flag
        }
        b.flag()?; // direct_8x8_inference_flag
        let field_factor = if frame_mbs_only { 1 } else { 2 };
        let (mut crop_x, mut crop_y) = (0u32, 0u32);
        if b.flag()? {
            let (left, right, top, bottom) = (b.ue()?, b.ue()?, b.ue()?, b.ue()?);
            // Table 6-1 and (7-19) to (7-22): crop units depend on the chroma sampling.
            let (unit_x, unit_y) = match (separate_planes, chroma_format_idc) {
                (false, 1) => (2, 2),
                (false, 2) => (2, 1),
                _ => (1, 1),
            };
            crop_x = left.checked_add(right)?.checked_mul(unit_x)?;
            crop_y = top.checked_add(bottom)?.checked_mul(unit_y * field_factor)?;
        }
        let width = width_mbs.checked_mul(16)?.checked_sub(crop_x)?;
        let height = height_units.checked_mul(16 * field_factor)?.checked_sub(crop_y)?;
        // A VUI that does not parse costs only what it would have said.
        let max_num_reorder_frames = if b.flag()? { reorder_from_vui(&mut b) } else { None };
        Some(Self {
            profile_idc,
            constraints,
            level_idc,
            width,
            height,
            chroma_format_idc,
            bit_depth_luma,
            bit_depth_chroma,
            max_num_reorder_frames,
        })
    }

    /// The codec string of RFC 6381: `avc1.42c01f`.
    pub fn codec_string(&self) -> String {
        format!("avc1.{:02x}{:02x}{:02x}", self.profile_idc, self.constraints, self.level_idc)
    }

    /// How many pictures may come before another in decoding order and after it on the screen: from
    /// the VUI, or 0 where the profile has no B pictures. `None`: only the stream itself tells.
    pub fn reorder_depth(&self) -> Option<usize> {
        match (self.max_num_reorder_frames, self.profile_idc) {
            (Some(frames), _) => Some(frames.min(16) as usize),
            (None, 66) => Some(0),
            (None, _) => None,
        }
    }
}

/// Annex E.1.1, up to `max_num_reorder_frames`.
fn reorder_from_vui(b: &mut Bits<'_>) -> Option<u32> {
    const EXTENDED_SAR: u32 = 255;
    if b.flag()? && b.bits(8)? == EXTENDED_SAR {
        b.bits(32)?;
    }
    if b.flag()? {
        b.flag()?; // overscan_appropriate_flag
    }
    if b.flag()? {
        b.bits(4)?; // video_format, video_full_range_flag
        if b.flag()? {
            b.bits(24)?; // colour description
        }
    }
    if b.flag()? {
        b.ue()?; // chroma_sample_loc_type_top_field
        b.ue()?; // chroma_sample_loc_type_bottom_field
    }
    if b.flag()? {
        b.bits(32)?; // num_units_in_tick
        b.bits(32)?; // time_scale
        b.flag()?; // fixed_frame_rate_flag
    }
    let nal_hrd = b.flag()?;
    if nal_hrd {
        b.skip_hrd()?;
    }
    let vcl_hrd = b.flag()?;
    if vcl_hrd {
        b.skip_hrd()?;
    }
    if nal_hrd || vcl_hrd {
        b.flag()?; // low_delay_hrd_flag
    }
    b.flag()?; // pic_struct_present_flag
    if !b.flag()? {
        return None; // no bitstream_restriction
    }
    b.flag()?; // motion_vectors_over_pic_boundaries_flag
    b.ue()?; // max_bytes_per_pic_denom
    b.ue()?; // max_bits_per_mb_denom
    b.ue()?; // log2_max_mv_length_horizontal
    b.ue()?; // log2_max_mv_length_vertical
    b.ue()
}

/// Reads bits of a NAL unit's payload, stepping over emulation prevention bytes (7.4.1: the 3 in
/// `00 00 03`).
#[derive(Debug)]
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bits of `bytes[at]` already read.
    used: u32,
    zeros: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, used: 0, zeros: 0 }
    }

    fn bit(&mut self) -> Option<u32> {
        if self.used == 0 && self.zeros >= 2 && self.bytes.get(self.at) == Some(&3) {
            self.at += 1;
            self.zeros = 0;
        }
        let byte = *self.bytes.get(self.at)?;
        let bit = (byte >> (7 - self.used)) & 1;
        self.used += 1;
        if self.used == 8 {
            self.used = 0;
            self.at += 1;
            self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
        }
        Some(u32::from(bit))
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.bit()? == 1)
    }

    fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            value = (value << 1) | self.bit()?;
        }
        Some(value)
    }

    /// Unsigned exp-Golomb (9.1).
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.bits(zeros)?)
    }

    /// Signed exp-Golomb (9.1.1).
    fn se(&mut self) -> Option<i32> {
        let code = i64::from(self.ue()?);
        let magnitude = (code + 1) / 2;
        i32::try_from(if code % 2 == 1 { magnitude } else { -magnitude }).ok()
    }

    /// 7.3.2.1.1.1.
    fn skip_scaling_list(&mut self, size: usize) -> Option<()> {
        let (mut last, mut next) = (8i32, 8i32);
        for _ in 0..size {
            if next != 0 {
                next = last.checked_add(self.se()?)?.rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
        Some(())
    }

    /// E.1.2.
    fn skip_hrd(&mut self) -> Option<()> {
        let count = self.ue()?;
        if count > 31 {
            return None;
        }
        self.bits(8)?;
        for _ in 0..=count {
            self.ue()?;
            self.ue()?;
            self.flag()?;
        }
        self.bits(20)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nal_units_are_split_at_start_codes_of_either_length() {
        let stream = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 0, 1, 0x65, 0, 0, 3, 0, 9];
        let found: Vec<&[u8]> = nals(&stream).collect();
        assert_eq!(found, [&[0x67, 1, 2][..], &[0x68, 3], &[0x65, 0, 0, 3, 0, 9]]);
        assert_eq!((first_kind(&stream), first_kind(&[0, 0, 1]), first_kind(&[])), (Some(7), None, None));
        assert_eq!(nals(&[]).count(), 0);
        assert_eq!(nals(&[1, 2, 3, 4]).count(), 0);
        assert_eq!(nals(&[0, 0, 1]).count(), 0);
    }

    #[test]
    fn an_sps_gives_size_codec_string_and_reordering() {
        // From x264: High@2.1, 640x272, two reorder frames, VUI with bitstream_restriction.
        let bikes = [
            0x67, 0x64, 0x00, 0x15, 0xac, 0xd9, 0x40, 0xa0, 0x23, 0xb0, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01,
            0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
        ];
        let sps = Sps::parse(&bikes).unwrap();
        assert_eq!((sps.width, sps.height), (640, 272));
        assert_eq!(sps.codec_string(), "avc1.640015");
        assert_eq!(sps.max_num_reorder_frames, Some(2));
        assert_eq!(sps.reorder_depth(), Some(2));

        // Constrained baseline 3.1 without a VUI, 1280x720: nothing can be reordered.
        let baseline = [0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8];
        let sps = Sps::parse(&baseline).unwrap();
        assert_eq!((sps.width, sps.height), (1280, 720));
        assert_eq!(sps.codec_string(), "avc1.42c01f");
        assert_eq!((sps.max_num_reorder_frames, sps.reorder_depth()), (None, Some(0)));

        assert_eq!(Sps::parse(&[0x68, 0x42]), None);
        assert_eq!(Sps::parse(&[0x67, 0x42, 0xc0]), None);
    }

    #[test]
    fn b_slices_are_told_from_others() {
        // first_mb 0 is `1`; slice_type in ue(v): P 0 `1`, B 1 `010`, I 2 `011`, P 5 `00110`,
        // B 6 `00111`, I 7 `0001000`.
        let table: [(u8, u8, bool); 7] = [
            (0x01, 0b1100_0000, false),
            (0x01, 0b1010_0000, true),
            (0x01, 0b1011_0000, false),
            (0x01, 0b1001_1000, false),
            (0x01, 0b1001_1100, true),
            (0x65, 0b1000_1000, false),
            (0x06, 0b1010_0000, false), // the same bits in an SEI mean nothing
        ];
        for (header, payload, b) in table {
            assert_eq!(slice_is_b(&[header, payload, 0x80]), b, "{header:#x} {payload:#b}");
        }
        assert!(access_unit_has_b_slice(&[0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x01, 0b1010_0000, 0x80]));
        assert!(!access_unit_has_b_slice(&[0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65, 0b1000_1000, 0x80]));
    }

    #[test]
    fn emulation_prevention_is_stepped_over() {
        // 00 00 03 01: the 3 is not payload.
        let mut bits = Bits::new(&[0, 0, 3, 1]);
        assert_eq!(bits.bits(24), Some(1));
        // A first_mb_in_slice whose code starts with 23 zero bits needs one.
        let mut bits = Bits::new(&[0, 0, 3, 1, 0, 0, 3, 0]);
        assert_eq!(bits.ue(), Some((1 << 23) - 1));
    }

    proptest! {
        #[test]
        fn no_input_breaks_the_parsers(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut sps = vec![0x67];
            sps.extend_from_slice(&bytes);
            let _ = Sps::parse(&sps);
            let _ = access_unit_has_b_slice(&bytes);
        }

        #[test]
        fn what_is_joined_with_start_codes_is_split_again(
            units in proptest::collection::vec(proptest::collection::vec(1u8..=255, 1..40), 0..6)
        ) {
            let mut stream = Vec::new();
            for (index, unit) in units.iter().enumerate() {
                stream.extend_from_slice(if index % 2 == 0 { &[0, 0, 0, 1] } else { &[0, 0, 1] });
                stream.extend_from_slice(unit);
            }
            let found: Vec<Vec<u8>> = nals(&stream).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(found, units);
        }
    }
}
