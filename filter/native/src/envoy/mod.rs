//! Envoy, safely: handles over the callbacks of the ABI, each good for as long as its type says.
//!
//! | module | what it is |
//! |---|---|
//! | `response` | the response to a call, and bodies in pieces |
//! | `stream` | the stream whose hook is running |
//! | `configuration` | a filter configuration: counters, and calls that belong to no stream |
//! | `scheduler` | the way to the main thread from any other |
#![allow(unsafe_code)]

pub(crate) mod configuration;
pub(crate) mod response;
pub(crate) mod scheduler;
pub(crate) mod stream;

use filter::plugin::host::{Level, Refused};

use crate::abi::{self, Address, Bytes};

/// Envoy did not do it, or it is not to be had here: a status, as any of a proxy-wasm host's.
pub(crate) const NOT_DONE: Refused = Refused(1);

/// Nanoseconds since the first that anybody asked.
#[cfg(not(test))]
pub(crate) fn now_ns() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;

    static FIRST: OnceLock<Instant> = OnceLock::new();
    u64::try_from(FIRST.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) use crate::tests::fake_envoy::now_ns;

/// Writes to Envoy's log.
pub(crate) fn log(level: Level, line: &str) {
    let level = match level {
        Level::Warn => abi::WARN,
        Level::Error => abi::ERROR,
    };
    // SAFETY: the line lives until the call returns.
    unsafe { abi::envoy_dynamic_module_callback_log(level, Bytes::of(line.as_bytes())) };
}

/// Main thread: a value of Envoy's runtime, where it is a whole number.
pub(crate) fn runtime_integer(key: &str) -> Option<u64> {
    /// What Envoy is asked for a value by where there is none, or one that is not a whole number: no value that anybody
    /// sets.
    const NONE: u64 = u64::MAX;
    // SAFETY: the key lives until the call returns.
    let value = unsafe { abi::envoy_dynamic_module_callback_get_runtime_int(Bytes::of(key.as_bytes()), NONE) };
    (value != NONE).then_some(value)
}

/// Returns `true` if the path of a request that an access log is about begins with `prefix`.
///
/// # Safety
/// `logged` was handed to the hook that is running on this thread.
pub(crate) unsafe fn is_logged_path(logged: Address, prefix: &[u8]) -> bool {
    let mut path = Bytes::NONE;
    // SAFETY: the request's address is good in this hook; the name lives until the call returns; a null count is
    // allowed, and says that it is not wanted.
    let found = unsafe {
        abi::envoy_dynamic_module_callback_access_logger_get_header_value(
            logged,
            abi::REQUEST_HEADERS,
            Bytes::of(b":path"),
            &raw mut path,
            0,
            std::ptr::null_mut(),
        )
    };
    // SAFETY: Envoy keeps the value until the hook ends.
    found && unsafe { path.read() }.starts_with(prefix)
}
