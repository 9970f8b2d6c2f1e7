//! A fake of Envoy's side of the dynamic-module ABI, for unit tests: Envoy's state ([`state`]), its callbacks ([`callbacks`]),
//! and a driver that calls the module's hooks as Envoy does ([`driver`]). Header and body memory is Envoy's and moves when
//! it changes, so that address sanitizer finds what is kept too long.
#![allow(unsafe_code)]

mod callbacks;
mod driver;
mod state;

use std::cell::Cell;

pub(crate) use driver::NativeModule;
use state::NOW_NS;

use crate::fault_injection::Place;

thread_local! {
    static FAILURE: Cell<Option<(Place, u32)>> = const { Cell::new(None) };
}

/// The module's clock.
pub(crate) fn now_ns() -> u64 {
    NOW_NS.get()
}

/// Fails where the test has said so.
pub(crate) fn fail_here(place: Place) {
    if let Some((due, before)) = FAILURE.get()
        && due == place
    {
        FAILURE.set((before > 0).then(|| (due, before - 1)));
        assert!(before > 0, "an injected failure");
    }
}

/// On this thread the module fails at that place, after so many times at which it does not.
pub(crate) fn fail_at(place: Place, after: u32) {
    FAILURE.set(Some((place, after)));
}

/// No failure is due any more. Returns `true` if one was.
pub(crate) fn no_failure() -> bool {
    FAILURE.take().is_some()
}
