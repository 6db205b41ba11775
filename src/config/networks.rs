//! Networks as they are written: `192.168.0.0/16`, `fd00::/8`, or one address. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write {}", Network::ALLOWED)]
pub struct NoNetwork;

impl Network {
    pub const ALLOWED: &'static str = "networks or addresses such as 192.168.7.0/24, fd00::/8 and 127.0.0.1";

    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                begin_alike(u128::from(own.to_bits()), u128::from(ip.to_bits()), 32, self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => begin_alike(own.to_bits(), ip.to_bits(), 128, self.bits),
            _ => false,
        }
    }
}

/// Whether two numbers of `length` bits have the same first ones.
fn begin_alike(a: u128, b: u128, length: u32, bits: u8) -> bool {
    (a ^ b).checked_shr(length - u32::from(bits)).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| NoNetwork)?.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or(NoNetwork)?,
            None => most,
        };
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        for (network, inside, outside) in [
            (
                "192.168.7.0/24",
                &["192.168.7.0", "192.168.7.255", "::ffff:192.168.7.9"][..],
                &["192.168.8.0"][..],
            ),
            ("10.1.2.3", &["10.1.2.3"], &["10.1.2.2", "::"]),
            ("0.0.0.0/0", &["127.0.0.1", "255.255.255.255"], &["::1"]),
            ("fd00::/8", &["fd00::1", "fdff::"], &["fe00::", "10.0.0.1"]),
            ("::/0", &["::1", "2001:db8::"], &["10.0.0.1"]),
            ("::1", &["::1"], &["::2"]),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.to_string().parse::<Network>(), Ok(parsed));
            for ip in inside {
                assert!(parsed.contains(ip.parse().unwrap()), "{network} {ip}");
            }
            for ip in outside {
                assert!(!parsed.contains(ip.parse().unwrap()), "{network} {ip}");
            }
        }
        for bad in
            ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "home", "10.0.0.0/8/8"]
        {
            assert_eq!(bad.parse::<Network>(), Err(NoNetwork), "{bad}");
        }
    }
}
