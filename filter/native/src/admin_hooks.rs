//! Envoy's word that somebody has changed its runtime: the access log of its admin interface. Envoy writes it on the
//! main thread, when a request has been carried out and before its response is sent.
#![allow(unsafe_code)]

use crate::abi::{Address, Bytes};
use crate::catch_panic::catch_panic;
use crate::envoy;
use crate::main_thread;

/// The path by which the runtime is changed.
const CHANGED: &[u8] = b"/runtime_modify";

/// Envoy wants something to hold for a logger and its configuration; there is nothing to keep in either.
static NOTHING: u8 = 0;

// SAFETY, for every hook: the name is the ABI's, and nothing else in the process has it; the addresses are those that
// the ABI says, good for the time of the hook. Those that only return cannot panic.

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_access_logger_config_new(
    _config: Address,
    _name: Bytes,
    _document: Bytes,
) -> *const u8 {
    &raw const NOTHING
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_access_logger_config_destroy(_config: Address) {}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_access_logger_new(_config: Address, _logger: Address) -> *const u8 {
    &raw const NOTHING
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_access_logger_destroy(_logger: Address) {}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_access_logger_flush(_logger: Address) {}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_access_logger_log(logged: Address, _logger: Address, _kind: u32) {
    catch_panic(None, || {
        // SAFETY: handed to this hook.
        if unsafe { envoy::is_logged_path(logged, CHANGED) } {
            main_thread::runtime_changed();
        }
    });
}
