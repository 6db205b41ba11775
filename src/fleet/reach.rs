//! Where nodes may be: what [`crate::reach`] lets through, private networks if the configuration says so, and loopback
//! while this service itself listens nowhere else.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::client::Resolve;
use crate::config::Network;
use crate::config::model::Management;
use crate::reach::{Reach, ReachError};

/// The rule for connections to nodes. `bind`: where this service listens.
pub fn rule(config: &Management, bind: IpAddr) -> Resolve {
    let mut allow = config.allow_networks.clone();
    if bind.is_loopback() {
        allow.extend(["127.0.0.0/8", "::1"].iter().filter_map(|network| network.parse::<Network>().ok()));
    }
    let (reach, private, named) = (Reach::new(allow), config.private_networks, config.allow_networks.clone());
    Arc::new(move |host, port| {
        let (reach, named) = (reach.clone(), named.clone());
        Box::pin(async move {
            // The system's resolver blocks; the caller's limit does not end it, but nobody waits for it any longer.
            let found = tokio::task::spawn_blocking(move || reach.resolve(&host, port));
            let found = found.await.map_err(|panic| panic.to_string())?.map_err(words)?;
            let open = |address: &SocketAddr| {
                private
                    || !is_private(address.ip())
                    || named.iter().any(|network| network.contains(address.ip()))
            };
            let good: Vec<SocketAddr> = found.iter().filter(|address| open(address)).copied().collect();
            match (good.is_empty(), found.first()) {
                (true, Some(address)) => Err(format!(
                    "{} is in a private network; set management.private_networks = true",
                    address.ip()
                )),
                _ => Ok(good),
            }
        })
    })
}

fn words(error: ReachError) -> String {
    match error {
        ReachError::Refused(ip, what) => {
            format!("{ip} is {what}; name it in management.allow_networks if that is meant")
        }
        error => error.to_string(),
    }
}

/// RFC 1918, shared space (RFC 6598), unique local (RFC 4193).
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || (ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1])),
        IpAddr::V6(ip) => is_unique_local(ip),
    }
}

fn is_unique_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xfe00 == 0xfc00
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nodes_are_reached_at_home_and_never_where_only_this_machine_may_go() {
        let (anywhere, here) = (IpAddr::from([0, 0, 0, 0]), IpAddr::from([127, 0, 0, 1]));
        // Where it listens, private networks, the host, whether it may be gone to.
        let table = [
            (here, true, "127.0.0.1", true),
            (anywhere, true, "127.0.0.1", false),
            (anywhere, true, "::ffff:127.0.0.1", false),
            (anywhere, true, "169.254.169.254", false),
            (here, true, "169.254.169.254", false),
            (here, true, "fe80::1", false),
            (anywhere, true, "10.9.8.7", true),
            (anywhere, false, "10.9.8.7", false),
            (anywhere, false, "::ffff:10.9.8.7", false),
            (anywhere, false, "fd12::1", false),
            (anywhere, false, "93.184.216.34", true),
        ];
        for (bind, private_networks, host, good) in table {
            let config = Management { private_networks, ..Management::default() };
            let found = rule(&config, bind)(host.to_owned(), 80).await;
            assert_eq!(found.is_ok(), good, "{bind} {private_networks} {host}: {found:?}");
        }
        let config = Management {
            private_networks: false,
            allow_networks: vec!["10.9.0.0/16".parse().unwrap()],
            ..Management::default()
        };
        assert!(rule(&config, anywhere)("10.9.8.7".into(), 80).await.is_ok());
    }
}
