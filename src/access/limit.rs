//! How often one address may do something, such as fetching a token or failing to log in: a token bucket
//! each, in a map that does not grow beyond
//! [`MOST`]. Pure: the time is passed in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Addresses that are remembered.
const MOST: usize = 4096;

#[derive(Debug, Default)]
pub struct Limiter {
    buckets: HashMap<IpAddr, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// How many may be taken now, with fractions.
    left: f64,
    at: Duration,
}

impl Bucket {
    fn now(self, per_minute: f64, now: Duration) -> f64 {
        let gained = now.saturating_sub(self.at).as_secs_f64() * per_minute / 60.0;
        (self.left + gained).min(per_minute)
    }
}

impl Limiter {
    /// Takes one for `who`, at `now` since any fixed moment.
    ///
    /// # Errors
    /// How long until there is one again.
    pub fn take(&mut self, who: Option<IpAddr>, per_minute: u32, now: Duration) -> Result<(), Duration> {
        let who = household(who);
        let per_minute = f64::from(per_minute.max(1));
        let left = self.buckets.get(&who).map_or(per_minute, |bucket| bucket.now(per_minute, now));
        if left < 1.0 {
            return Err(until_one(left, per_minute));
        }
        if self.buckets.len() >= MOST && !self.buckets.contains_key(&who) {
            self.forget(per_minute, now);
        }
        self.buckets.insert(who, Bucket { left: left - 1.0, at: now });
        Ok(())
    }

    /// Whether there is one for `who` now; takes nothing.
    ///
    /// # Errors
    /// How long until there is one again.
    pub fn look(&self, who: Option<IpAddr>, per_minute: u32, now: Duration) -> Result<(), Duration> {
        let per_minute = f64::from(per_minute.max(1));
        let left = self.buckets.get(&household(who)).map_or(per_minute, |bucket| bucket.now(per_minute, now));
        match left < 1.0 {
            true => Err(until_one(left, per_minute)),
            false => Ok(()),
        }
    }

    /// Makes room: those whose bucket is full are as good as unknown; should there be none, the fullest
    /// goes, which frees the one who has the least to gain.
    fn forget(&mut self, per_minute: f64, now: Duration) {
        self.buckets.retain(|_, bucket| bucket.now(per_minute, now) < per_minute);
        let left = |bucket: &Bucket| bucket.now(per_minute, now);
        if self.buckets.len() >= MOST
            && let Some(fullest) = self.buckets.iter().max_by(|(_, a), (_, b)| left(a).total_cmp(&left(b)))
        {
            let fullest = *fullest.0;
            self.buckets.remove(&fullest);
        }
    }
}

/// How long until there is a whole one: never nothing, however little is missing.
fn until_one(left: f64, per_minute: f64) -> Duration {
    Duration::from_secs_f64((1.0 - left) * 60.0 / per_minute).max(Duration::from_nanos(1))
}

/// One customer of an IPv6 network has a whole /64 of addresses. Who is unknown shares one bucket.
fn household(who: Option<IpAddr>) -> IpAddr {
    match who {
        Some(IpAddr::V6(address)) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
        Some(address) => address,
        None => Ipv4Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANNA: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    const BERT: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn one_address_has_its_tokens_a_minute_and_then_is_told_when_to_come_again() {
        let mut limiter = Limiter::default();
        for _ in 0..6 {
            assert_eq!(limiter.take(ANNA, 6, seconds(100.0)), Ok(()));
        }
        assert!(
            limiter.look(ANNA, 6, seconds(100.0)).is_err() && limiter.look(BERT, 6, seconds(100.0)).is_ok()
        );
        let wait = limiter.take(ANNA, 6, seconds(100.0)).unwrap_err();
        assert_eq!(wait, seconds(10.0));
        assert_eq!(limiter.take(BERT, 6, seconds(100.0)), Ok(()), "another address has its own");
        assert!(limiter.take(ANNA, 6, seconds(109.0)).is_err());
        assert_eq!(limiter.take(ANNA, 6, seconds(110.1)), Ok(()));
        assert!(
            limiter.take(ANNA, 6, seconds(110.1)).is_err(),
            "being refused costs nothing and gains nothing"
        );
        for _ in 0..6 {
            assert_eq!(limiter.take(ANNA, 6, seconds(1000.0)), Ok(()), "it fills up to a minute's worth");
        }
        assert!(limiter.take(ANNA, 6, seconds(1000.0)).is_err());
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let mut limiter = Limiter::default();
        let address = |last: u16| Some(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last)));
        assert_eq!(limiter.take(address(1), 1, seconds(0.0)), Ok(()));
        assert!(limiter.take(address(2), 1, seconds(0.0)).is_err());
        let other = Some(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 1)));
        assert_eq!(limiter.take(other, 1, seconds(0.0)), Ok(()));
    }

    #[test]
    fn many_addresses_do_not_fill_the_memory_and_do_not_free_a_busy_one() {
        let mut limiter = Limiter::default();
        let now = |n: u32| Duration::from_micros(n.into());
        for _ in 0..60 {
            assert_eq!(limiter.take(ANNA, 60, now(0)), Ok(()));
        }
        for n in 0..20_000_u32 {
            assert_eq!(limiter.take(Some(Ipv4Addr::from_bits(n).into()), 60, now(n)), Ok(()));
            assert!(limiter.buckets.len() <= MOST);
        }
        assert!(limiter.take(ANNA, 60, now(20_000)).is_err(), "who took all of it is not forgotten");
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_a_minutes_worth_and_the_rate(
            steps in prop::collection::vec(0u64..3000, 1..200), per_minute in 1u32..120,
        ) {
            let mut limiter = Limiter::default();
            let mut now = Duration::ZERO;
            let mut taken = 0_u32;
            for step in steps {
                now += Duration::from_millis(step);
                match limiter.take(ANNA, per_minute, now) {
                    Ok(()) => taken += 1,
                    Err(wait) => prop_assert!(wait <= Duration::from_secs(60) && !wait.is_zero()),
                }
            }
            let most = f64::from(per_minute) * (1.0 + now.as_secs_f64() / 60.0);
            prop_assert!(f64::from(taken) <= most + 1e-6, "{} of {}", taken, most);
        }
    }
}
