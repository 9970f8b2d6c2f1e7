//! Envoy's way from any thread to the one that a stream or a configuration belongs to.
#![allow(unsafe_code)]

use crate::abi::{self, Address};

/// To a stream's own worker thread. What is committed for a stream that is gone by then is dropped.
#[derive(Debug)]
pub(crate) struct ToStream(Address);

/// To the main thread, for a configuration.
#[derive(Debug)]
pub(crate) struct ToMain(Address);

// SAFETY: Envoy's schedulers may be used from any thread, and by several at once: they hold a dispatcher, whose `post` is
// made for that, and a weak reference to the object that they are for.
unsafe impl Send for ToStream {}
// SAFETY: as above.
unsafe impl Sync for ToStream {}
// SAFETY: as above.
unsafe impl Send for ToMain {}
// SAFETY: as above.
unsafe impl Sync for ToMain {}

impl ToStream {
    /// For the stream at `stream`, in one of its callbacks.
    pub(crate) fn new(stream: Address) -> Option<Self> {
        // SAFETY: the stream's address is good during its callbacks, and null is never handed on.
        let scheduler = (!stream.is_null())
            .then(|| unsafe { abi::envoy_dynamic_module_callback_http_filter_scheduler_new(stream) });
        scheduler.filter(|scheduler| !scheduler.is_null()).map(Self)
    }

    /// Its `scheduled` hook will be called.
    pub(crate) fn wake(&self) {
        // SAFETY: the scheduler is Envoy's until it is deleted, which only `drop` does.
        unsafe { abi::envoy_dynamic_module_callback_http_filter_scheduler_commit(self.0, 0) };
    }
}

impl Drop for ToStream {
    fn drop(&mut self) {
        // SAFETY: deleted once, here.
        unsafe { abi::envoy_dynamic_module_callback_http_filter_scheduler_delete(self.0) };
    }
}

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
