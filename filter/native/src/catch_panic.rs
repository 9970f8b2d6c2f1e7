//! Where a panic ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use filter::plugin::host::Level;

use crate::envoy;
use crate::fault_injection::{Place, fail_here};
use crate::shared::Shared;

/// What `hook` comes to; `None` where it panics, which is logged and, where there is a configuration, counted.
pub(crate) fn catch_panic<T>(shared: Option<&Shared>, hook: impl FnOnce() -> T) -> Option<T> {
    let hook = || {
        fail_here(Place::Hook);
        hook()
    };
    catch_unwind(AssertUnwindSafe(hook))
        .inspect_err(|panic| {
            let text = panic.downcast_ref::<&str>().copied();
            let why = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            envoy::log(Level::Error, &format!("perch: the filter failed: {}", why.unwrap_or("no reason given")));
            if let Some(shared) = shared {
                shared.count_failure();
            }
        })
        .ok()
}
