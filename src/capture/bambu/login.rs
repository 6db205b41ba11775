//! What is said first on port 6000: one packet of 80 bytes with the user and the access code.

use crate::config::Secret;

/// Every printer has this one user.
const USER: &[u8] = b"bblp";
/// The room that the packet has for a user, and for a code.
const ROOM: usize = 32;

/// The packet for this access code. One that does not fit cannot be right; the printer refuses what fits.
pub fn packet(code: &Secret) -> [u8; 80] {
    let mut packet = [0; 80];
    // Two little-endian words and eight bytes of nothing.
    packet[0] = 0x40;
    packet[5] = 0x30;
    packet[16..16 + USER.len()].copy_from_slice(USER);
    for (byte, given) in packet[16 + ROOM..].iter_mut().zip(code.expose().bytes()) {
        *byte = given;
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_is_as_the_printers_take_it() {
        let packet = packet(&Secret::new("12345678"));
        assert_eq!(packet[..4], 0x40_u32.to_le_bytes());
        assert_eq!(packet[4..8], 0x3000_u32.to_le_bytes());
        assert_eq!(packet[8..16], [0; 8]);
        assert_eq!(&packet[16..48], &[&b"bblp"[..], &[0; 28]].concat()[..]);
        assert_eq!(&packet[48..], &[&b"12345678"[..], &[0; 24]].concat()[..]);
    }
}
