//! What a printer says of itself in one packet. Pure and bounded: anybody on the network can send one.
//!
//! ```text
//! NOTIFY * HTTP/1.1
//! HOST: 239.255.255.250:1990
//! Location: 192.168.1.10
//! NT: urn:bambulab-com:device:3dprinter:1
//! USN: 00M09A123456789
//! DevModel.bambu.com: BL-P001
//! DevName.bambu.com: Studio
//! DevConnect.bambu.com: lan
//! DevVersion.bambu.com: 01.08.02.00
//! ```
//! The same headers come as `HTTP/1.1 200 OK` with `ST` in place of `NT` when somebody on this machine has
//! searched.

use std::net::IpAddr;

/// Larger packets are none of a printer's.
pub const MOST_BYTES: usize = 2048;
const MOST_LINES: usize = 64;
const LONGEST_VALUE: usize = 64;
const KIND: &str = "urn:bambulab-com:device:3dprinter:1";

/// A printer that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub serial: String,
    /// Where it says that it is; else where the packet came from.
    pub host: IpAddr,
    /// What people call it; may be empty.
    pub name: String,
    /// The maker's code: `BL-P001`, `N2S`.
    pub model: String,
    pub firmware: String,
    /// Whether it is in LAN mode; `None` when it does not say.
    pub lan: Option<bool>,
}

impl Announcement {
    /// Reads a packet that came from `sender`; `None` for anything but a printer's announcement.
    pub fn parse(packet: &[u8], sender: IpAddr) -> Option<Self> {
        if packet.len() > MOST_BYTES {
            return None;
        }
        let text = std::str::from_utf8(packet).ok()?;
        let mut lines = text.lines().take(MOST_LINES);
        let first = lines.next()?;
        if !first.starts_with("NOTIFY ") && !first.starts_with("HTTP/1.1 200") {
            return None;
        }
        let headers: Vec<(&str, &str)> = lines
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect();
        let header = |wanted: &str| {
            let mut of = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            of.next().map(|(_, value)| *value).unwrap_or_default()
        };
        if ![header("NT"), header("ST")].iter().any(|kind| kind.eq_ignore_ascii_case(KIND)) {
            return None;
        }
        // A printer that says good-bye is not to be added.
        if header("NTS").eq_ignore_ascii_case("ssdp:byebye") {
            return None;
        }
        let lan = match header("DevConnect.bambu.com") {
            "" => None,
            mode => Some(mode.eq_ignore_ascii_case("lan")),
        };
        Some(Self {
            serial: serial(header("USN"))?,
            host: address(header("Location")).or_else(|| usable(sender.to_canonical()))?,
            name: shown(header("DevName.bambu.com")),
            model: shown(header("DevModel.bambu.com")),
            firmware: shown(header("DevVersion.bambu.com")),
            lan,
        })
    }
}

fn serial(text: &str) -> Option<String> {
    let fits = (6..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| text.to_ascii_uppercase())
}

/// An address alone, or in a URL.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.split('/').next()?;
    let address = text.parse().ok().or_else(|| {
        let port: Option<std::net::SocketAddr> = text.parse().ok();
        port.map(|address| address.ip())
    })?;
    usable(address)
}

fn usable(address: IpAddr) -> Option<IpAddr> {
    let not = address.is_unspecified() || address.is_multicast() || address == IpAddr::from([255; 4]);
    (!not).then_some(address)
}

/// Text of others for people: short and without what is not seen.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_VALUE).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SENDER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    const NOTIFY: &str = "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1990\r\nServer: UPnP/1.0\r\n\
        Location: 192.168.1.10\r\nNT: urn:bambulab-com:device:3dprinter:1\r\nUSN: 00M09A123456789\r\n\
        Cache-Control: max-age=1800\r\nDevModel.bambu.com: BL-P001\r\nDevName.bambu.com: Studio: left\r\n\
        DevSignal.bambu.com: -50\r\nDevConnect.bambu.com: lan\r\nDevBind.bambu.com: free\r\n\
        Devseclink.bambu.com: secure\r\nDevVersion.bambu.com: 01.08.02.00\r\nDevCap.bambu.com: 1\r\n\r\n";

    #[test]
    fn a_printer_is_heard_with_all_that_it_says() {
        let heard = Announcement::parse(NOTIFY.as_bytes(), SENDER).unwrap();
        let expected = Announcement {
            serial: "00M09A123456789".into(),
            host: [192, 168, 1, 10].into(),
            name: "Studio: left".into(),
            model: "BL-P001".into(),
            firmware: "01.08.02.00".into(),
            lan: Some(true),
        };
        assert_eq!(heard, expected);
        let answer = NOTIFY.replace("NOTIFY * HTTP/1.1", "HTTP/1.1 200 OK").replace("NT:", "ST:");
        assert_eq!(Announcement::parse(answer.as_bytes(), SENDER), Some(expected));
    }

    #[test]
    fn a_printer_is_where_it_says_and_where_it_sends_from_when_it_says_nothing_that_can_be() {
        let table = [
            ("192.168.1.10", "192.168.1.10"),
            ("http://192.168.1.42:80/upnp/desc.xml", "192.168.1.42"),
            ("fd00::7", "fd00::7"),
            ("0.0.0.0", "10.0.0.9"),
            ("printer", "10.0.0.9"),
            ("", "10.0.0.9"),
        ];
        for (location, host) in table {
            let packet = NOTIFY.replace("192.168.1.10", location);
            let heard = Announcement::parse(packet.as_bytes(), SENDER).unwrap();
            assert_eq!(heard.host.to_string(), host, "{location}");
        }
    }

    #[test]
    fn what_is_no_announcement_of_a_printer_is_nothing() {
        let table = [
            String::new(),
            "NOTIFY * HTTP/1.1\r\nNT: upnp:rootdevice\r\nUSN: 00M09A123456789\r\n\r\n".into(),
            NOTIFY.replace("NOTIFY", "M-SEARCH"),
            NOTIFY.replace("00M09A123456789", "uuid:1/2"),
            NOTIFY.replace("USN", "US"),
            NOTIFY.replace("Cache-Control: max-age=1800", "NTS: ssdp:byebye"),
            NOTIFY.replace("Studio", &"x".repeat(MOST_BYTES)),
        ];
        for packet in table {
            assert_eq!(Announcement::parse(packet.as_bytes(), SENDER), None, "{packet}");
        }
        assert_eq!(Announcement::parse(b"NOTIFY \xff", SENDER), None);
    }

    #[test]
    fn text_of_others_is_short_and_seen_whole() {
        let packet = NOTIFY.replace("Studio: left", &format!("a\u{7}b{}", "x".repeat(200)));
        let heard = Announcement::parse(packet.as_bytes(), SENDER).unwrap();
        assert!(heard.name.starts_with("abx") && heard.name.len() == LONGEST_VALUE, "{}", heard.name);
    }

    proptest! {
        #[test]
        fn no_packet_breaks_the_parser(packet in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Announcement::parse(&packet, SENDER);
        }

        #[test]
        fn no_change_to_a_packet_breaks_the_parser_or_what_comes_out(
            at in 0..NOTIFY.len(), text in "[ -~\r\n]{0,12}", length in 0_usize..40,
        ) {
            let mut packet = NOTIFY.to_owned();
            packet.replace_range(at..(at + length).min(NOTIFY.len()), &text);
            if let Some(heard) = Announcement::parse(packet.as_bytes(), SENDER) {
                prop_assert!(heard.serial.bytes().all(|byte| byte.is_ascii_alphanumeric()));
                prop_assert!(heard.name.chars().count() <= LONGEST_VALUE);
                prop_assert!(!heard.host.is_unspecified() && !heard.host.is_multicast());
            }
        }
    }
}
