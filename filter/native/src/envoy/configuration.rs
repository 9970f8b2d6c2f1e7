//! Envoy's side of a filter configuration: counters, and calls that belong to no stream.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

use filter::pairs::Pairs;
use filter::plugin::host::Call;

use crate::abi::{self, Address, Bytes, Header};

/// See the module. Once it is closed nothing is done any more.
#[derive(Debug)]
pub(crate) struct Configuration {
    address: Address,
    closed: AtomicBool,
}

// SAFETY: the address is handed to Envoy only, while it is not closed: for calls on its main thread, for counters,
// which are atomic and in a list that does not change any more, on any thread.
unsafe impl Send for Configuration {}
// SAFETY: as above.
unsafe impl Sync for Configuration {}

impl Configuration {
    /// # Safety
    /// `address` was handed to the hook that makes a configuration, and [`Configuration::close`] is called in the hook
    /// that ends it. Until then Envoy keeps the object that it leads to.
    pub(crate) const unsafe fn new(address: Address) -> Self {
        Self { address, closed: AtomicBool::new(false) }
    }

    /// Envoy's object ends with the hook that is running.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn address(&self) -> Option<Address> {
        (!self.closed.load(Ordering::Acquire)).then_some(self.address)
    }

    /// Defines a counter, while Envoy makes the configuration.
    pub(crate) fn define(&self, name: &str) -> Option<u32> {
        let address = self.address()?;
        let mut id = 0;
        // SAFETY: the address is good, as `new` was promised; the name lives until the call returns; there are no
        // labels; `id` is of the type that Envoy writes.
        let result = unsafe {
            abi::envoy_dynamic_module_callback_http_filter_config_define_counter(
                address,
                Bytes::of(name.as_bytes()),
                std::ptr::null(),
                0,
                &raw mut id,
            )
        };
        (result == abi::SUCCESS).then(|| u32::try_from(id).ok()).flatten()
    }

    /// Any thread: adds to a counter. Returns `false` where there is no such counter.
    pub(crate) fn increment(&self, counter: u32, by: u64) -> bool {
        let (Some(address), Ok(counter)) = (self.address(), usize::try_from(counter)) else { return false };
        // SAFETY: the address is good, as `new` was promised; there are no labels.
        let result = unsafe {
            abi::envoy_dynamic_module_callback_http_filter_config_increment_counter(
                address,
                counter,
                std::ptr::null(),
                0,
                by,
            )
        };
        result == abi::SUCCESS
    }

    /// Main thread: begins a call; Envoy's number for it. It may be over within.
    pub(crate) fn call(&self, call: &Call<'_>) -> Option<u64> {
        let address = self.address()?;
        let headers: Vec<Header> = Pairs::new(call.headers).iter().map(Header::of).collect();
        let mut number = 0;
        // SAFETY: the address is good, as `new` was promised; everything else is `call`'s or a local, and lives until
        // the call returns; `number` is of the type that Envoy writes.
        let result = unsafe {
            abi::envoy_dynamic_module_callback_http_filter_config_http_callout(
                address,
                &raw mut number,
                Bytes::of(call.cluster.as_bytes()),
                headers.as_ptr(),
                headers.len(),
                Bytes::of(call.body),
                u64::from(call.timeout_ms),
            )
        };
        (result == abi::SUCCESS).then_some(number)
    }

    /// Main thread: begins a call whose body is `call.body`, and what [`Configuration::send_data`] sends after it
    /// unless that is the `last`; Envoy's number for it. It may be over within.
    pub(crate) fn start_call(&self, call: &Call<'_>, last: bool) -> Option<u64> {
        let address = self.address()?;
        let headers: Vec<Header> = Pairs::new(call.headers).iter().map(Header::of).collect();
        let mut number = 0;
        // SAFETY: as in `call`.
        let result = unsafe {
            abi::envoy_dynamic_module_callback_http_filter_config_start_http_stream(
                address,
                &raw mut number,
                Bytes::of(call.cluster.as_bytes()),
                headers.as_ptr(),
                headers.len(),
                Bytes::of(call.body),
                last,
                u64::from(call.timeout_ms),
            )
        };
        (result == abi::SUCCESS).then_some(number)
    }

    /// Main thread: sends another piece of a call's body. Returns `false` where nobody waits for it any more.
    pub(crate) fn send_data(&self, call: u64, piece: &[u8], last: bool) -> bool {
        let Some(address) = self.address() else { return false };
        // SAFETY: the address is good, as `new` was promised; the piece lives until the call returns.
        unsafe {
            abi::envoy_dynamic_module_callback_http_filter_config_stream_send_data(
                address,
                call,
                Bytes::of(piece),
                last,
            )
        }
    }
}
