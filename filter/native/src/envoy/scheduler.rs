//! Envoy's way from any thread to the main thread.
#![allow(unsafe_code)]

use crate::abi::{self, Address};

/// To the main thread, for a configuration.
#[derive(Debug)]
pub(crate) struct ToMain(Address);

// SAFETY: Envoy's schedulers may be used from any thread, and by several at once: they hold a dispatcher, whose `post` is
// made for that, and a weak reference to the object that they are for.
unsafe impl Send for ToMain {}
// SAFETY: as above.
unsafe impl Sync for ToMain {}

impl ToMain {
    /// For the configuration at `config`, while Envoy makes it.
    pub(crate) fn new(config: Address) -> Option<Self> {
        // SAFETY: the configuration's address is good while Envoy makes it.
        let scheduler = unsafe { abi::envoy_dynamic_module_callback_http_filter_config_scheduler_new(config) };
        (!scheduler.is_null()).then_some(Self(scheduler))
    }

    /// Its `config_scheduled` hook will be called with `event`.
    pub(crate) fn ask(&self, event: u64) {
        // SAFETY: the scheduler is Envoy's until it is deleted, which only `drop` does.
        unsafe { abi::envoy_dynamic_module_callback_http_filter_config_scheduler_commit(self.0, event) };
    }
}

impl Drop for ToMain {
    fn drop(&mut self) {
        // SAFETY: deleted once, here.
        unsafe { abi::envoy_dynamic_module_callback_http_filter_config_scheduler_delete(self.0) };
    }
}
