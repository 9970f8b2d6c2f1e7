//! Failures on purpose, to see that no client pays for one: in the real Envoy in a build with the feature
//! `fault-injection`, in a unit test where it says so. Any other build has none.

/// Where a failure can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the beginning of a hook.
    Hook,
    /// In a callback that holds what its worker's streams share.
    Filter,
}

/// Fails where a failure is due.
#[cfg(all(feature = "fault-injection", not(test)))]
#[allow(clippy::panic)]
pub(crate) fn fail_here(place: Place) {
    use std::sync::atomic::{AtomicU32, Ordering};
    /// One callback in so many. A prime, so that none of a request's callbacks is spared for long.
    const EVERY: u32 = 53;
    static CALLBACKS: AtomicU32 = AtomicU32::new(1);
    if place == Place::Filter && CALLBACKS.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY) {
        panic!("an injected failure");
    }
}

/// No failure is ever due.
#[cfg(not(any(feature = "fault-injection", test)))]
pub(crate) const fn fail_here(_: Place) {}

#[cfg(test)]
pub(crate) use crate::tests::fake_envoy::fail_here;
