//! The port for what happens on Envoy's main thread, where no stream is: ticks and answers to batches.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::sync::Arc;

use filter::pairs::Pairs;
use filter::plugin::host::{Body, Call, Host, Level, Map, Refused};

use crate::abi::{self, Address, Bytes, Header};
use crate::place::Place;
use crate::received::Received;
use crate::sending::Leaving;
use crate::stream::{NOT_HERE, log, now_ns, token};

/// Envoy's side of a configuration.
#[derive(Debug)]
pub(crate) struct Envoy(Address);

// SAFETY: the address is handed to Envoy only: for calls on its main thread, for counters, which are atomic and in a list
// that does not change any more, on any thread while the configuration is there.
unsafe impl Send for Envoy {}
// SAFETY: as above.
unsafe impl Sync for Envoy {}

thread_local! {
    /// Calls that were over within the call that began them.
    static AT_ONCE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Notes a call that nobody knows of yet.
pub(crate) fn note_at_once(call: u64) {
    AT_ONCE.with_borrow_mut(|calls| calls.push(call));
}

impl Envoy {
    pub(crate) const fn new(config: Address) -> Self {
        Self(config)
    }

    /// While Envoy makes the configuration.
    pub(crate) fn define(&self, name: &str) -> Option<u32> {
        let mut id = 0;
        // SAFETY: the name lives until the call returns, `id` is of the type that Envoy writes.
        let result = unsafe {
            abi::envoy_dynamic_module_callback_http_filter_config_define_counter(
                self.0,
                Bytes::of(name.as_bytes()),
                std::ptr::null(),
                0,
                &raw mut id,
            )
        };
        (result == abi::SUCCESS).then(|| u32::try_from(id).ok()).flatten()
    }

    pub(crate) fn increment(&self, counter: u32, by: u64) -> bool {
        let Ok(counter) = usize::try_from(counter) else { return false };
        // SAFETY: no labels; the configuration is there while its hooks run.
        let result = unsafe {
            abi::envoy_dynamic_module_callback_http_filter_config_increment_counter(
                self.0,
                counter,
                std::ptr::null(),
                0,
                by,
            )
        };
        result == abi::SUCCESS
    }

    /// Begins a call; Envoy's number for it, where there is one to wait for.
    pub(crate) fn call(&self, call: &Call<'_>) -> Option<u64> {
        let headers: Vec<Header> = Pairs::new(call.headers).iter().map(Header::of).collect();
        let mut number = 0;
        AT_ONCE.with_borrow_mut(Vec::clear);
        // SAFETY: everything is `call`'s or a local, and lives until the call returns.
        let result = unsafe {
            abi::envoy_dynamic_module_callback_http_filter_config_http_callout(
                self.0,
                &raw mut number,
                Bytes::of(call.cluster.as_bytes()),
                headers.as_ptr(),
                headers.len(),
                Bytes::of(call.body.bytes()),
                u64::from(call.timeout_ms),
            )
        };
        let over = AT_ONCE.with_borrow(|calls| calls.contains(&number));
        (result == abi::SUCCESS && !over).then_some(number)
    }

    /// Begins to send a batch with its first piece; Envoy's number for it, unless it is over already.
    pub(crate) fn begin(&self, batch: &Leaving, piece: &[u8], last: bool) -> Option<u64> {
        let headers: Vec<Header> = Pairs::new(&batch.headers).iter().map(Header::of).collect();
        let mut number = 0;
        // SAFETY: everything is `batch`'s or a local, and lives until the call returns.
        let result = unsafe {
            abi::envoy_dynamic_module_callback_http_filter_config_start_http_stream(
                self.0,
                &raw mut number,
                Bytes::of(batch.cluster.as_bytes()),
                headers.as_ptr(),
                headers.len(),
                Bytes::of(piece),
                last,
                u64::from(batch.timeout_ms),
            )
        };
        (result == abi::SUCCESS).then_some(number)
    }

    /// Sends another piece. `false` where nobody waits for it any more.
    pub(crate) fn go_on(&self, call: u64, piece: &[u8], last: bool) -> bool {
        // SAFETY: the piece lives until the call returns.
        unsafe {
            abi::envoy_dynamic_module_callback_http_filter_config_stream_send_data(self.0, call, Bytes::of(piece), last)
        }
    }
}

/// See the module.
pub(crate) struct OnMain<'a> {
    place: &'a Arc<Place>,
    received: Option<Received<'a>>,
}

impl<'a> OnMain<'a> {
    /// For the filter on one worker; `received` is what a call was answered with.
    pub(crate) const fn new(place: &'a Arc<Place>, received: Option<Received<'a>>) -> Self {
        Self { place, received }
    }
}

impl Host for OnMain<'_> {
    const SHARES_BY_CALL: bool = false;
    const CALLS_END_WITH_STREAM: bool = true;

    fn now_ns(&self) -> u64 {
        now_ns()
    }

    fn log(&self, level: Level, line: &str) {
        log(level, line);
    }

    fn headers<T>(&self, map: Map, _: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused> {
        match (map, self.received) {
            (Map::Call, Some(received)) => Ok(received.headers(read)),
            _ => Err(NOT_HERE),
        }
    }

    fn set_header(&self, _: Map, _: &str, _: &[u8]) -> Result<(), Refused> {
        Err(NOT_HERE)
    }

    fn add_header(&self, _: Map, _: &str, _: &[u8]) -> Result<(), Refused> {
        Err(NOT_HERE)
    }

    fn remove_header(&self, _: Map, _: &[u8]) -> Result<(), Refused> {
        Err(NOT_HERE)
    }

    fn body(&self, body: Body, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        match (body, &self.received) {
            (Body::Call, Some(received)) => {
                received.write_body(length, out);
                Ok(())
            }
            _ => Err(NOT_HERE),
        }
    }

    fn property(&self, _: &[u8], _: &mut Vec<u8>) -> Result<(), Refused> {
        Err(NOT_HERE)
    }

    fn replace_response(&self, _: &[u8]) -> Result<(), Refused> {
        Err(NOT_HERE)
    }

    fn call(&self, call: &Call<'_>) -> Result<u32, Refused> {
        // Made when the worker is free again: whoever holds this calls `Plugin::send` next.
        Ok(token(self.place, call, false))
    }

    fn act_for(&self, _: u32) -> Result<(), Refused> {
        Err(NOT_HERE)
    }

    fn tick_every(&self, ms: u32) -> Result<(), Refused> {
        self.place.tick_every(ms)
    }

    fn define(&self, name: &str) -> Result<u32, Refused> {
        self.place.plugin.counters.get(name).copied().ok_or(NOT_HERE)
    }

    fn increment(&self, counter: u32, by: u64) -> Result<(), Refused> {
        if self.place.plugin.increment(counter, by) { Ok(()) } else { Err(NOT_HERE) }
    }
}
