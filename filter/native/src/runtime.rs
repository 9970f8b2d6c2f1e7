//! The shares that Envoy's runtime holds, which modules are shown on the main thread only, and only where they are whole
//! numbers: of the others its admin interface is asked (see [`crate::plugin`]). Each worker has a copy of its own
//! ([`filter::decision::shares`]), which the main thread renews: before a change by the admin interface is answered (see
//! [`crate::admin`]), so that such a change holds from the next request on, and every second while a share is above 0 or
//! traffic flows, for layers that change by themselves.
#![allow(unsafe_code)]

use std::sync::Mutex;

use contract::share::{BETA_KEY, OBSERVE_KEY, RUNTIME_KEY, Share};
use filter::decision::shares::Shares;

use crate::abi::{self, Bytes};
use crate::plugin::locked;
use crate::stream::now_ns;

/// What Envoy is asked for a value by where there is none, or one that is not a whole number: no share that anybody sets.
const NONE: u64 = u64::MAX;

/// What is known of the runtime.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) shares: Shares,
    /// When all of it was known last; `None` for never.
    pub(crate) at_ns: Option<u64>,
}

static KNOWN: Mutex<Known> = Mutex::new(Known { shares: Shares::DEFAULT, at_ns: None });

/// What is known of the runtime.
pub(crate) fn known() -> Known {
    *locked(&KNOWN)
}

/// Main thread: what the runtime holds, where it is a whole number.
fn percent(key: &str) -> Option<Share> {
    // SAFETY: the key lives until the call returns.
    let held = unsafe { abi::envoy_dynamic_module_callback_get_runtime_int(Bytes::of(key.as_bytes()), NONE) };
    (held != NONE).then(|| Share::percent(u32::try_from(held).unwrap_or(u32::MAX)))
}

/// Main thread: reads what is a whole number, and what is not from `listing`, which is what the admin interface says under
/// `/runtime`. Returns `true` if all is known now.
pub(crate) fn renew(listing: Option<Shares>) -> bool {
    let at_ns = now_ns();
    let mut all = true;
    let mut read = |key: &str, before: Share, listed: Option<Share>| {
        percent(key).or(listed).unwrap_or_else(|| {
            all = false;
            before
        })
    };
    let mut known = locked(&KNOWN);
    let before = known.shares;
    known.shares = Shares {
        canary: read(RUNTIME_KEY, before.canary, listing.map(|shares| shares.canary)),
        beta: read(BETA_KEY, before.beta, listing.map(|shares| shares.beta)),
        observe: read(OBSERVE_KEY, before.observe, listing.map(|shares| shares.observe)),
    };
    if all {
        known.at_ns = Some(at_ns);
    }
    all
}
