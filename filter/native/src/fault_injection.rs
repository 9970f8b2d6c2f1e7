//! Failures on purpose, to see in a real Envoy that no client pays for one. Only a build with the feature `drill` has them.

use std::sync::atomic::{AtomicU32, Ordering};

/// One callback in so many. A prime, so that none of a request's callbacks is spared for long.
const EVERY: u32 = 53;

/// Fails now and then in a build for drills, never in any other.
#[allow(clippy::panic)]
pub(crate) fn strike() {
    static CALLBACKS: AtomicU32 = AtomicU32::new(1);
    if cfg!(feature = "drill") && CALLBACKS.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY) {
        panic!("a drill");
    }
}
