//! How many requests a user and an address may send.
//!
//! Each may send a number of requests at once, and gets as many back over a window of time: a
//! token bucket. An address counts before it is known who calls, so that tokens cannot be guessed
//! at will; a user counts wherever the calls come from. `/health`, `/ready` and preflights do not
//! count.

mod buckets;

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use tracing::warn;

use crate::model::UserId;

use super::auth::is_loopback;
use super::{ApiError, Connection};

use buckets::Buckets;

/// Where Cloudflare tells the caller's address. It replaces what a caller sends there.
const CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");

/// What supervisors and balancers ask, at their own pace.
const UNCOUNTED: [&str; 2] = ["/health", "/ready"];

/// How often the same one may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many requests...
    pub requests: NonZeroU32,
    /// ...in this time.
    pub per: Duration,
}

/// Who stands before this server and tells whom it calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// A Cloudflare tunnel, whose connector runs on this machine.
    Cloudflare,
}

/// Everybody's requests of late, in memory that does not grow.
#[derive(Debug)]
pub(super) struct Rates {
    /// None where nobody is limited.
    limited: Option<Limited>,
    proxy: Option<Proxy>,
    /// Whether it was told that a proxy is there which is not trusted.
    warned: AtomicBool,
}

#[derive(Debug)]
struct Limited {
    rate: Rate,
    /// Not the wall clock, whose jumps would let everybody or nobody pass.
    start: Instant,
    users: Buckets,
    addresses: Buckets,
}

impl Rates {
    pub(super) fn new(rate: Option<Rate>, proxy: Option<Proxy>) -> Self {
        let limited = rate.map(|rate| Limited {
            rate,
            start: Instant::now(),
            users: Buckets::new(rate),
            addresses: Buckets::new(rate),
        });
        Self { limited, proxy, warned: AtomicBool::new(false) }
    }

    /// Counts a request for the address that it comes from.
    ///
    /// # Errors
    /// 429 `rate_limited`.
    pub(super) fn count_address(&self, request: &Request) -> Result<(), ApiError> {
        let Some(limited) = &self.limited else { return Ok(()) };
        if UNCOUNTED.contains(&request.uri().path()) {
            return Ok(());
        }
        let peer = request.extensions().get::<Arc<Connection>>().map(|place| place.peer.ip());
        match peer.and_then(|peer| self.address(peer, request.headers())) {
            Some(address) => limited.count(&limited.addresses, "address", &network(address)),
            None => Ok(()),
        }
    }

    /// Counts a request of `user`.
    ///
    /// # Errors
    /// 429 `rate_limited`.
    pub(super) fn count_user(&self, user: &UserId) -> Result<(), ApiError> {
        let Some(limited) = &self.limited else { return Ok(()) };
        limited.count(&limited.users, "user", user)
    }

    /// Whose requests those of `peer` are; none if they may be anybody's on this machine, or
    /// anybody's behind a proxy on it.
    fn address(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        if !is_loopback(peer) {
            return Some(peer);
        }
        let mut told = headers.get_all(CONNECTING_IP).iter();
        let (Some(told), None) = (told.next(), told.next()) else { return None };
        match self.proxy {
            Some(Proxy::Cloudflare) => told.to_str().ok()?.trim().parse().ok(),
            None => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    warn!(
                        "calls come by a Cloudflare tunnel and are limited by user alone; \
                         --trust-proxy cloudflare limits their addresses too"
                    );
                }
                None
            }
        }
    }
}

impl Limited {
    fn count(
        &self,
        buckets: &Buckets,
        policy: &'static str,
        key: &impl std::hash::Hash,
    ) -> Result<(), ApiError> {
        let counted = buckets.count(key, self.start.elapsed());
        counted.map_err(|wait| ApiError::rate_limited(policy, self.rate, wait))
    }
}

/// What counts as one address: of IPv6 a network of 64 bits, all of which one host may use.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn headers(told: &[&str]) -> HeaderMap {
        told.iter().map(|told| (CONNECTING_IP, told.parse().unwrap())).collect()
    }

    #[test]
    fn hosts_of_one_network_count_as_one() {
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), network(ip("2001:db8:1:2:ffff::1")));
        assert_ne!(network(ip("2001:db8:1:2::1")), network(ip("2001:db8:1:3::1")));
        assert_eq!(network(ip("::ffff:192.0.2.7")), network(ip("192.0.2.7")));
        assert_ne!(network(ip("192.0.2.6")), network(ip("192.0.2.7")));
    }

    #[test]
    fn only_a_trusted_proxy_on_this_machine_tells_the_address() {
        let (trusting, plain) = (Rates::new(None, Some(Proxy::Cloudflare)), Rates::new(None, None));
        let (here, away) = (ip("127.0.0.1"), ip("198.51.100.1"));
        let told = headers(&["192.0.2.7"]);

        assert_eq!(trusting.address(here, &told), Some(ip("192.0.2.7")));
        assert_eq!(trusting.address(ip("::1"), &told), Some(ip("192.0.2.7")));
        assert_eq!(trusting.address(away, &told), Some(away));
        assert_eq!(plain.address(away, &told), Some(away));
        assert_eq!(plain.address(here, &told), None);
        for told in [&[][..], &["192.0.2.7", "192.0.2.8"], &["192.0.2.7, 192.0.2.8"], &["x"]] {
            assert_eq!(trusting.address(here, &headers(told)), None, "{told:?}");
        }
    }
}
