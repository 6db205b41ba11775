//! Who this machine has talked to in its networks of late: the kernel's table of neighbours (ARP). Pure but for
//! the reading.

use std::net::Ipv4Addr;

const TABLE: &str = "/proc/net/arp";
/// The flag of a neighbour that answered.
const COMPLETE: u32 = 0x2;

/// The neighbours now, at most so many.
pub async fn now(most: usize) -> Vec<Ipv4Addr> {
    let table = tokio::fs::read_to_string(TABLE).await.unwrap_or_default();
    parse(&table, most)
}

fn parse(table: &str, most: usize) -> Vec<Ipv4Addr> {
    let neighbour = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let address = fields.next()?.parse().ok()?;
        let flags = u32::from_str_radix(fields.nth(1)?.strip_prefix("0x")?, 16).ok()?;
        (flags & COMPLETE != 0).then_some(address)
    };
    table.lines().skip(1).filter_map(neighbour).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_those_who_answered() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     192.168.1.1      0x1         0x2         00:11:22:33:44:55     *        eth0\n\
                     192.168.1.9      0x1         0x0         00:00:00:00:00:00     *        eth0\n\
                     nonsense\n\
                     192.168.1.7      0x1         0x6         00:11:22:33:44:56     *        eth0\n";
        let expected: [Ipv4Addr; 2] = [[192, 168, 1, 1].into(), [192, 168, 1, 7].into()];
        assert_eq!(parse(table, 9), expected);
        assert_eq!(parse(table, 1), expected[..1]);
        assert!(parse("", 9).is_empty());
    }
}
