//! Envoy's word that somebody has changed its runtime: the access log of its admin interface. Envoy writes it on the main
//! thread, when a request has been carried out and before its answer is sent.
#![allow(unsafe_code)]

use crate::abi::{self, Address, Bytes};
use crate::plugin;
use crate::survived::survived;

/// The path by which the runtime is changed.
const CHANGED: &[u8] = b"/runtime_modify";

/// Envoy wants something to hold for a logger and its configuration; there is nothing to keep in either.
static NOTHING: u8 = 0;

// SAFETY, for every hook: the name is the ABI's, and nothing else in the process has it; the addresses are those that the
// ABI says, good for the time of the hook.

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_config_new(
    _config: Address,
    _name: Bytes,
    _document: Bytes,
) -> *const u8 {
    &raw const NOTHING
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_config_destroy(_config: Address) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_new(_config: Address, _logger: Address) -> *const u8 {
    &raw const NOTHING
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_destroy(_logger: Address) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_flush(_logger: Address) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_log(logged: Address, _logger: Address, _kind: u32) {
    let mut path = Bytes::NONE;
    // SAFETY: the request's address is good in this hook; the name lives until the call returns; nobody asks how many
    // there are.
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
    if found && unsafe { path.read() }.starts_with(CHANGED) {
        survived(None, (), plugin::runtime_changed);
    }
}
