//! The shares that Envoy's runtime holds, which modules are shown on the main thread only, and only where they are
//! whole numbers: of the others its admin interface is asked (see [`crate::main_thread`]). Each worker has a copy of
//! its own ([`filter::decision::shares`]), which the main thread renews: before a change by the admin interface is
//! answered (see [`crate::admin_hooks`]), so that such a change holds from the next request on, and every second while
//! a share is above 0 or traffic flows, for layers that change by themselves.

use contract::share::{BETA_KEY, OBSERVE_KEY, RUNTIME_KEY, Share};
use filter::decision::shares::Shares;
use filter::plugin::filter::Filter;

use crate::envoy::{now_ns, runtime_integer};

/// What is known of the runtime.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownShares {
    shares: Shares,
    /// When all of it was known last; `None` for never.
    at_ns: Option<u64>,
}

impl KnownShares {
    /// Nothing yet.
    pub(crate) const UNKNOWN: Self = Self { shares: Shares::DEFAULT, at_ns: None };

    /// Returns `true` if a share of a canary is above 0.
    pub(crate) fn any_canary(&self) -> bool {
        self.shares.any_canary()
    }

    /// Main thread: reads what is a whole number, and what is not from `listing`, which is what the admin interface
    /// says under `/runtime`. Returns `true` if all is known now.
    pub(crate) fn renew(&mut self, listing: Option<Shares>) -> bool {
        let at_ns = now_ns();
        let mut all = true;
        let mut read = |key: &str, before: Share, listed: Option<Share>| {
            let percent = |value| Share::percent(u32::try_from(value).unwrap_or(u32::MAX));
            runtime_integer(key).map(percent).or(listed).unwrap_or_else(|| {
                all = false;
                before
            })
        };
        let before = self.shares;
        self.shares = Shares {
            canary: read(RUNTIME_KEY, before.canary, listing.map(|shares| shares.canary)),
            beta: read(BETA_KEY, before.beta, listing.map(|shares| shares.beta)),
            observe: read(OBSERVE_KEY, before.observe, listing.map(|shares| shares.observe)),
        };
        if all {
            self.at_ns = Some(at_ns);
        }
        all
    }

    /// Renews a worker's copy.
    pub(crate) fn copy_to(&self, filter: &mut Filter) {
        match self.at_ns {
            Some(at_ns) => filter.renew_shares(self.shares, at_ns),
            // A canary that is off is off, whatever else is not known.
            None if !self.any_canary() => filter.renew_shares(self.shares, 0),
            None => {}
        }
    }
}
