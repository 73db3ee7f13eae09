//! How much callers may take.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use crate::cli::{LimitArgs, TrustedProxy};
use crate::http::{Limits, Proxy, Rate};
use crate::server::Retention;
use crate::store::Quota;

use super::ConfigError;
use super::env::Env;

/// Requests of a user or an address in [`RATE_PER`]: many tabs, and not a program gone wild.
const RATE_REQUESTS: u32 = 6000;
const RATE_PER: Duration = Duration::from_mins(15);

/// How often it is looked for sessions that are kept no longer.
const RETAIN_EVERY: Duration = Duration::from_hours(1);

impl Env<'_> {
    /// The most that a user may store.
    pub(super) fn quota(&self, args: &LimitArgs) -> Result<Quota, ConfigError> {
        let limit = |flag: Option<u64>, name| {
            let limit = flag.map_or_else(|| self.number(name), |limit| Ok(Some(limit)));
            limit.map(|limit| limit.and_then(NonZeroU64::new))
        };
        Ok(Quota {
            sessions: limit(args.max_sessions, "ORION_CHAT_MAX_SESSIONS")?,
            bytes: limit(args.max_bytes, "ORION_CHAT_MAX_BYTES")?,
        })
    }

    /// How long sessions are kept that nobody changes.
    pub(super) fn retention(&self, args: &LimitArgs) -> Result<Option<Retention>, ConfigError> {
        let days = match args.retain_days {
            Some(days) => days,
            None => self.number::<u32>("ORION_CHAT_RETAIN_DAYS")?.unwrap_or(0),
        };
        let keep = Duration::from_hours(24) * days;
        Ok((days > 0).then_some(Retention { keep, every: RETAIN_EVERY }))
    }

    /// How much of the disk to keep free, in bytes.
    pub(super) fn reserve_bytes(&self, args: &LimitArgs) -> Result<Option<u64>, ConfigError> {
        let mib = match args.reserve_mib {
            Some(mib) => Some(mib),
            None => self.number::<u32>("ORION_CHAT_RESERVE_MIB")?,
        };
        Ok(mib.map(|mib| u64::from(mib) << 20))
    }

    pub(super) fn limits(&self, args: &LimitArgs) -> Result<Limits, ConfigError> {
        let requests = match args.rate_limit {
            Some(requests) => Some(requests),
            None => self.number("RATE_LIMIT_MAX_REQUESTS")?,
        };
        let requests = NonZeroU32::new(requests.unwrap_or(RATE_REQUESTS));
        let proxy = match args.trust_proxy {
            Some(proxy) => Some(proxy),
            None => self.choice("ORION_CHAT_TRUST_PROXY", "cloudflare")?,
        };
        Ok(Limits {
            rate: requests.map(|requests| Rate { requests, per: RATE_PER }),
            proxy: proxy.map(|TrustedProxy::Cloudflare| Proxy::Cloudflare),
            ..Limits::default()
        })
    }
}
