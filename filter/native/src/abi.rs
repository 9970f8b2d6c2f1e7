//! What Envoy's dynamic module ABI, version 0.2, says of HTTP filters, as far as Perch uses it: types, numbers, and
//! functions of Envoy that the module calls. [`crate::envoy`] makes safe calls of them.
#![allow(unsafe_code)]

use std::ffi::c_void;

/// The version that this module is written for, as Envoy 1.40 compares it.
pub(crate) const VERSION: &std::ffi::CStr = c"v0.2.0";

/// An address that belongs to Envoy, or a module object that Envoy keeps for us.
pub(crate) type Address = *mut c_void;

/// Bytes of Envoy's, or of ours that Envoy reads during a call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes {
    pub(crate) start: *const u8,
    pub(crate) length: usize,
}

/// A header, of Envoy's or of ours.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) name: *const u8,
    pub(crate) name_length: usize,
    pub(crate) value: *const u8,
    pub(crate) value_length: usize,
}

impl Bytes {
    /// Of ours, for the time of a call.
    pub(crate) const fn of(bytes: &[u8]) -> Self {
        Self { start: bytes.as_ptr(), length: bytes.len() }
    }

    /// None, where Envoy tells none from empty.
    pub(crate) const NONE: Self = Self { start: std::ptr::null(), length: 0 };

    /// # Safety
    /// They are readable for `'a`.
    pub(crate) const unsafe fn read<'a>(self) -> &'a [u8] {
        // SAFETY: as the caller says; nobody reads through a null pointer.
        unsafe { slice(self.start, self.length) }
    }
}

impl Header {
    /// Of ours, for the time of a call.
    pub(crate) const fn of((name, value): (&[u8], &[u8])) -> Self {
        Self { name: name.as_ptr(), name_length: name.len(), value: value.as_ptr(), value_length: value.len() }
    }

    /// # Safety
    /// Name and value are readable for `'a`.
    pub(crate) const unsafe fn read<'a>(self) -> (&'a [u8], &'a [u8]) {
        // SAFETY: as the caller says.
        unsafe { (slice(self.name, self.name_length), slice(self.value, self.value_length)) }
    }
}

/// `length` values from `start`; none where there is no start.
///
/// # Safety
/// They are readable and unchanged for `'a`, unless `start` is null.
pub(crate) const unsafe fn slice<'a, T>(start: *const T, length: usize) -> &'a [T] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: as the caller says.
    unsafe { std::slice::from_raw_parts(start, length) }
}

/// Header maps of a stream.
pub(crate) const REQUEST_HEADERS: u32 = 0;
pub(crate) const RESPONSE_HEADERS: u32 = 2;
pub(crate) const RESPONSE_TRAILERS: u32 = 3;
/// The part of a body that passes in this callback.
pub(crate) const REQUEST_BODY: u32 = 0;
pub(crate) const RESPONSE_BODY: u32 = 2;
/// What Envoy has kept of it so far, since the response waits.
pub(crate) const HELD_RESPONSE_BODY: u32 = 3;
/// The attributes `request.path`, query included, and `request.method`.
pub(crate) const REQUEST_PATH: u32 = 0;
pub(crate) const REQUEST_METHOD: u32 = 4;
/// What a hook returns to let the stream go on.
pub(crate) const CONTINUE: u32 = 0;
/// Headers and trailers: wait, while the body may come.
pub(crate) const STOP_ITERATION: u32 = 1;
/// Bodies: wait and keep what came, and when Envoy's buffer is full, read no further.
pub(crate) const STOP_AND_WATERMARK: u32 = 2;
/// Log levels.
pub(crate) const WARN: u32 = 3;
pub(crate) const ERROR: u32 = 4;
/// What a callout, or a metric's definition, begins with.
pub(crate) const SUCCESS: u32 = 0;
pub(crate) const CLUSTER_NOT_FOUND: u32 = 2;

unsafe extern "C" {
    pub(crate) fn envoy_dynamic_module_callback_log(level: u32, line: Bytes);
    // On the main thread only.
    pub(crate) fn envoy_dynamic_module_callback_get_runtime_int(key: Bytes, otherwise: u64) -> u64;
    pub(crate) fn envoy_dynamic_module_callback_access_logger_get_header_value(
        logged: Address,
        map: u32,
        name: Bytes,
        out: *mut Bytes,
        index: usize,
        count: *mut usize,
    ) -> bool;

    pub(crate) fn envoy_dynamic_module_callback_http_get_headers_size(stream: Address, map: u32) -> usize;
    pub(crate) fn envoy_dynamic_module_callback_http_get_headers(stream: Address, map: u32, out: *mut Header) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_add_header(
        stream: Address,
        map: u32,
        name: Bytes,
        value: Bytes,
    ) -> bool;
    // A value of no address removes the header.
    pub(crate) fn envoy_dynamic_module_callback_http_set_header(
        stream: Address,
        map: u32,
        name: Bytes,
        value: Bytes,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_get_body_size(stream: Address, body: u32) -> usize;
    pub(crate) fn envoy_dynamic_module_callback_http_get_body_chunks_size(stream: Address, body: u32) -> usize;
    pub(crate) fn envoy_dynamic_module_callback_http_get_body_chunks(
        stream: Address,
        body: u32,
        out: *mut Bytes,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
        stream: Address,
        attribute: u32,
        out: *mut Bytes,
    ) -> bool;
    // Within these two Envoy may call the filter, and may be done with the stream when they return.
    pub(crate) fn envoy_dynamic_module_callback_http_append_body(stream: Address, body: u32, data: Bytes) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_continue_encoding(stream: Address);
    pub(crate) fn envoy_dynamic_module_callback_http_drain_body(stream: Address, body: u32, count: usize) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_http_callout(
        stream: Address,
        id: *mut u64,
        cluster: Bytes,
        headers: *const Header,
        count: usize,
        body: Bytes,
        timeout_ms: u64,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_http_callout(
        config: Address,
        id: *mut u64,
        cluster: Bytes,
        headers: *const Header,
        count: usize,
        body: Bytes,
        timeout_ms: u64,
    ) -> u32;
    // Its answer comes in pieces, to hooks of the configuration's.
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_start_http_stream(
        config: Address,
        id: *mut u64,
        cluster: Bytes,
        headers: *const Header,
        count: usize,
        body: Bytes,
        end: bool,
        timeout_ms: u64,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_stream_send_data(
        config: Address,
        id: u64,
        data: Bytes,
        end: bool,
    ) -> bool;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        config: Address,
        name: Bytes,
        labels: *const Bytes,
        labels_count: usize,
        id: *mut usize,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_increment_counter(
        config: Address,
        id: usize,
        labels: *const Bytes,
        labels_count: usize,
        by: u64,
    ) -> u32;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_scheduler_new(config: Address) -> Address;
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_scheduler_commit(scheduler: Address, event: u64);
    pub(crate) fn envoy_dynamic_module_callback_http_filter_config_scheduler_delete(scheduler: Address);
}
