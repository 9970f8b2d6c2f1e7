//! The port over the proxy-wasm ABI, version 0.2.1, as Envoy implements it. Every status is handed on as a number: the
//! set that a host may return is open, and a value outside a Rust enum would be undefined behaviour.
#![allow(unsafe_code)]

use crate::envoy::memory::receive;
use crate::pairs::Pairs;
use crate::plugin::host::{
    BatchCall, Batches, Body, Call, CallResponse, Callouts, Clock, Level, Log, Map, Messages, Refused, Stats, Timers,
};
use crate::plugin::worker::Configuration;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, data: *const u8, size: usize) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(kind: u32, start: usize, size: usize, data: *const u8, data_size: usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
}

// Envoy links this part of WASI into every module; the ABI's own clock is the wall's, which may be set back.
#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
}

const MONOTONIC: u32 = 1;
const COUNTER: u32 = 0;
const RESPONSE_STREAM: u32 = 1;
const RESPONSE_BODY: u32 = 1;
/// More bytes than any body has.
const EVERYTHING: usize = 0x7fff_ffff;
/// Room offered for a header map, in bytes; few are larger.
const HEADERS_ROOM: usize = 2_048;
/// The header map and the body of the response to a call, and the configuration, as the ABI numbers maps and buffers.
const CALL_MAP: u32 = 6;
const CALL_BODY: u32 = 4;
const CONFIGURATION: u32 = 7;
/// Room offered for a property.
const PROPERTY_ROOM: usize = 64;

// SAFETY, for every call below: a pointer and its length come from one slice, which lives until the call returns; an out
// pointer is to a local variable of the type that the ABI says; the host reads and writes only during the call.

/// Envoy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envoy {
    /// How many bytes of the response wait already: the host shows them before those that pass in this callback.
    pub(super) held: usize,
}

impl Envoy {
    /// For a callback in which nothing of a response waits.
    pub(super) const fn new() -> Self {
        Self { held: 0 }
    }

    /// Lets the response of the effective context go on.
    pub(super) fn resume(self) {
        // SAFETY: takes no pointer. The status only says whether there was one.
        let _ = unsafe { proxy_continue_stream(RESPONSE_STREAM) };
    }
}

const fn done(status: u32) -> Result<(), Refused> {
    if status == 0 { Ok(()) } else { Err(Refused(status)) }
}

const fn map(map: Map) -> u32 {
    match map {
        Map::Request => 0,
        Map::Response => 2,
        Map::ResponseTrailers => 3,
    }
}

const fn buffer(body: Body) -> u32 {
    match body {
        Body::Request => 0,
        Body::Response | Body::Held => RESPONSE_BODY,
    }
}

fn header_map(map: u32, scratch: &mut Vec<u8>) -> Result<Pairs<'_>, Refused> {
    scratch.clear();
    // SAFETY: see above; the out pointers are those that `receive` made for this call.
    receive(scratch, HEADERS_ROOM, |data, size| unsafe { proxy_get_header_map_pairs(map, data, size) })
        .map_err(Refused)?;
    Ok(Pairs::new(scratch))
}

fn append_buffer(kind: u32, start: usize, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
    // SAFETY: see above; the out pointers are those that `receive` made for this call.
    receive(out, length, |data, size| unsafe { proxy_get_buffer_bytes(kind, start, length, data, size) })
        .map_err(Refused)
}

fn http_call(cluster: &str, headers: &[u8], body: &[u8], timeout_ms: u32) -> Result<u32, Refused> {
    let mut token = 0;
    // No trailers: a null pointer with length 0 is an empty map to the host.
    // SAFETY: see above.
    done(unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            std::ptr::null(),
            0,
            timeout_ms,
            &raw mut token,
        )
    })?;
    Ok(token)
}

/// The response to a call, in the callback that brings it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Response {
    length: usize,
}

impl Response {
    /// For a call that brought so many headers and bytes; `None` where it failed, and there are no headers.
    pub(super) fn new(headers: usize, length: usize) -> Option<Self> {
        (headers > 0).then_some(Self { length })
    }
}

impl CallResponse for Response {
    fn length(&self) -> usize {
        self.length
    }

    fn headers<T>(&self, scratch: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused> {
        header_map(CALL_MAP, scratch).map(read)
    }

    fn body(&self, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        append_buffer(CALL_BODY, 0, length, out)
    }
}

impl Clock for Envoy {
    fn now_ns(&self) -> u64 {
        let mut time = 0;
        // SAFETY: see above.
        let status = unsafe { clock_time_get(MONOTONIC, 0, &raw mut time) };
        if status == 0 { time } else { 0 }
    }
}

impl Log for Envoy {
    fn log(&self, level: Level, line: &str) {
        let level = match level {
            Level::Warn => 3,
            Level::Error => 4,
        };
        // SAFETY: see above.
        unsafe { proxy_log(level, line.as_ptr(), line.len()) };
    }
}

impl Batches for Envoy {
    fn send_batch(&self, call: &BatchCall<'_>) -> Result<u32, Refused> {
        http_call(call.cluster, call.headers, call.body, call.timeout_ms)
    }
}

impl Callouts for Envoy {
    fn call(&self, call: &Call<'_>) -> Result<u32, Refused> {
        http_call(call.cluster, call.headers, call.body, call.timeout_ms)
    }
}

impl Configuration for Envoy {
    fn configuration(&self, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        append_buffer(CONFIGURATION, 0, length, out)
    }
}

impl Timers for Envoy {
    fn tick_every(&self, ms: u32) -> Result<(), Refused> {
        // SAFETY: takes no pointer.
        done(unsafe { proxy_set_tick_period_milliseconds(ms) })
    }
}

impl Messages for Envoy {
    fn headers<T>(&self, which: Map, scratch: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused> {
        header_map(map(which), scratch).map(read)
    }

    fn set_header(&self, which: Map, name: &str, value: &[u8]) -> Result<(), Refused> {
        // SAFETY: see above.
        done(unsafe {
            proxy_replace_header_map_value(map(which), name.as_ptr(), name.len(), value.as_ptr(), value.len())
        })
    }

    fn add_header(&self, which: Map, name: &str, value: &[u8]) -> Result<(), Refused> {
        // SAFETY: see above.
        done(unsafe { proxy_add_header_map_value(map(which), name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
    }

    fn remove_header(&self, which: Map, name: &[u8]) -> Result<(), Refused> {
        // SAFETY: see above.
        done(unsafe { proxy_remove_header_map_value(map(which), name.as_ptr(), name.len()) })
    }

    fn body(&self, body: Body, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        let start = if body == Body::Response { self.held } else { 0 };
        append_buffer(buffer(body), start, length, out)
    }

    fn property(&self, path: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        out.clear();
        // SAFETY: see above; the out pointers are those that `receive` made for this call.
        receive(out, PROPERTY_ROOM, |data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
            .map_err(Refused)
    }

    fn replace_response(&self, body: &[u8]) -> Result<(), Refused> {
        // SAFETY: see above.
        done(unsafe { proxy_set_buffer_bytes(RESPONSE_BODY, 0, EVERYTHING, body.as_ptr(), body.len()) })
    }

    fn act_for(&self, context: u32) -> Result<(), Refused> {
        // SAFETY: takes no pointer.
        done(unsafe { proxy_set_effective_context(context) })
    }
}

impl Stats for Envoy {
    fn define(&self, name: &str) -> Result<u32, Refused> {
        let mut id = 0;
        // SAFETY: see above.
        done(unsafe { proxy_define_metric(COUNTER, name.as_ptr(), name.len(), &raw mut id) })?;
        Ok(id)
    }

    fn increment(&self, counter: u32, by: u64) -> Result<(), Refused> {
        // SAFETY: takes no pointer.
        done(unsafe { proxy_increment_metric(counter, i64::try_from(by).unwrap_or(i64::MAX)) })
    }
}
