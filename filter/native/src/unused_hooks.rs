//! Hooks with nothing to do here: Envoy resolves all of an HTTP filter's when it loads the module.
#![allow(unsafe_code)]

use crate::abi::{self, Address, Bytes, Header};

macro_rules! nothing_to_do {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) extern "C" fn $name($($argument: $kind),*) {}
        )*
    };
}

nothing_to_do! {
    envoy_dynamic_module_on_http_filter_scheduled(_envoy: Address, _stream: Address, _event: u64);
    envoy_dynamic_module_on_http_filter_stream_complete(_envoy: Address, _stream: Address);
    envoy_dynamic_module_on_http_filter_per_route_config_destroy(_config: Address);
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(_envoy: Address, _stream: Address);
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(_envoy: Address, _stream: Address);
    envoy_dynamic_module_on_http_filter_http_stream_headers(
        _envoy: Address, _stream: Address, _call: u64, _headers: *const Header, _count: usize, _end: bool);
    envoy_dynamic_module_on_http_filter_http_stream_data(
        _envoy: Address, _stream: Address, _call: u64, _chunks: *const Bytes, _count: usize, _end: bool);
    envoy_dynamic_module_on_http_filter_http_stream_trailers(
        _envoy: Address, _stream: Address, _call: u64, _trailers: *const Header, _count: usize);
    envoy_dynamic_module_on_http_filter_http_stream_complete(_envoy: Address, _stream: Address, _call: u64);
    envoy_dynamic_module_on_http_filter_http_stream_reset(_envoy: Address, _stream: Address, _call: u64, _why: u32);
    envoy_dynamic_module_on_http_filter_config_http_stream_trailers(
        _envoy: Address, _config: Address, _call: u64, _trailers: *const Header, _count: usize);
}

/// No settings by route: a route's own are refused, as what is not understood.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new(
    _name: Bytes,
    _document: Bytes,
) -> Address {
    std::ptr::null_mut()
}

/// Envoy's own responses are observed as they pass, like any other.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_local_reply(
    _envoy: Address,
    _stream: Address,
    _status: u32,
    _details: Bytes,
    _reset_follows: bool,
) -> u32 {
    abi::CONTINUE
}
