//! Envoy's way from any thread to the main thread.
#![allow(unsafe_code)]

use crate::abi::{self, Address};

/// To the main thread, for a configuration.
#[derive(Debug)]
pub(crate) struct Scheduler(Address);

// SAFETY: Envoy's schedulers may be used from any thread, and by several at once: they hold a dispatcher, whose `post`
// is made for that, and a weak reference to the object that they are for.
unsafe impl Send for Scheduler {}
// SAFETY: as above.
unsafe impl Sync for Scheduler {}

impl Scheduler {
    /// For a configuration that Envoy is making.
    ///
    /// # Safety
    /// `config` was handed to the hook that is running, which is the one that makes a configuration.
    pub(crate) unsafe fn new(config: Address) -> Option<Self> {
        // SAFETY: as the caller says.
        let scheduler = unsafe { abi::envoy_dynamic_module_callback_http_filter_config_scheduler_new(config) };
        (!scheduler.is_null()).then_some(Self(scheduler))
    }

    /// Its `config_scheduled` hook will be called with `event`, unless the configuration ends first.
    pub(crate) fn schedule(&self, event: u64) {
        // SAFETY: the scheduler is Envoy's until it is deleted, which only `drop` does.
        unsafe { abi::envoy_dynamic_module_callback_http_filter_config_scheduler_commit(self.0, event) };
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: deleted once, here.
        unsafe { abi::envoy_dynamic_module_callback_http_filter_config_scheduler_delete(self.0) };
    }
}
