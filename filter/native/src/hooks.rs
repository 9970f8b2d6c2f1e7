//! What Envoy calls, and something happens (the other hooks are in [`crate::unused`]).
//!
//! No panic leaves a hook. The stream goes on as if the filter were not there; its worker begins anew (see [`crate::seat`]).
#![allow(unsafe_code)]

use std::sync::Arc;

use filter::log_line::log_line;
use filter::plugin::host::Level;

use crate::abi::{self, Address, Bytes, Header};
use crate::exchange::Exchange;
use crate::place;
use crate::plugin::Plugin;
use crate::received::Received;
use crate::stream;
use crate::survived::survived;

/// What Envoy keeps for us of a configuration; nothing where it was refused.
type Configured = Option<Arc<Plugin>>;

// SAFETY, for every hook: the name is the ABI's, and nothing else in the process has it; the addresses are those that the
// ABI says, good for the time of the hook.

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const std::ffi::c_char {
    abi::VERSION.as_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    config: Address,
    _name: Bytes,
    document: Bytes,
) -> Address {
    // Always taken, as far as Envoy is concerned: it would refuse its whole configuration, and not start. Without a
    // plugin every request is left alone, so the clients get the rules, and the reason is in the log.
    let configured: Configured = survived(None, None, || {
        // SAFETY: Envoy's for the time of the hook.
        let document = unsafe { document.read() };
        let plugin = Plugin::new(config, document);
        plugin
            .inspect_err(|error| {
                let effect = "every client is given the baseline";
                stream::log(Level::Error, &log_line("config_refused", &[("error", error), ("effect", &effect)]));
            })
            .ok()
    });
    Box::into_raw(Box::new(configured)).cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(configured: Address) {
    survived(None, (), || {
        // SAFETY: what `config_new` made, for the last time.
        let configured = unsafe { Box::from_raw(configured.cast::<Configured>()) };
        if let Some(plugin) = *configured {
            plugin.end();
        }
    });
}

/// Main thread: `act`, unless the configuration was refused.
///
/// # Safety
/// `configured` is what `config_new` made.
unsafe fn on_main(configured: Address, act: impl FnOnce(&Arc<Plugin>)) {
    // SAFETY: as the caller says.
    if let Some(plugin) = unsafe { &*configured.cast::<Configured>() } {
        survived(Some(plugin), (), || act(plugin));
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_scheduled(_envoy: Address, configured: Address, event: u64) {
    // SAFETY: what `config_new` made.
    unsafe { on_main(configured, |plugin| plugin.asked(event)) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_http_callout_done(
    _envoy: Address,
    configured: Address,
    call: u64,
    result: u32,
    headers: *const Header,
    headers_count: usize,
    chunks: *const Bytes,
    chunks_count: usize,
) {
    // SAFETY: Envoy's for the time of the hook.
    let received = unsafe { received(result, (headers, headers_count), (chunks, chunks_count)) };
    // SAFETY: what `config_new` made.
    unsafe { on_main(configured, |plugin| plugin.shares_told(call, received)) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_http_stream_headers(
    _envoy: Address,
    configured: Address,
    call: u64,
    headers: *const Header,
    count: usize,
    _end: bool,
) {
    // SAFETY: Envoy's for the time of the hook.
    let received = unsafe { Received::new(abi::slice(headers, count), &[]) };
    // SAFETY: what `config_new` made.
    unsafe { on_main(configured, |plugin| plugin.answer_headers(call, received)) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_http_stream_data(
    _envoy: Address,
    configured: Address,
    call: u64,
    chunks: *const Bytes,
    count: usize,
    _end: bool,
) {
    // SAFETY: Envoy's for the time of the hook.
    let received = unsafe { Received::new(&[], abi::slice(chunks, count)) };
    // SAFETY: what `config_new` made.
    unsafe { on_main(configured, |plugin| plugin.answer_body(call, received)) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_http_stream_complete(
    _envoy: Address,
    configured: Address,
    call: u64,
) {
    // SAFETY: what `config_new` made.
    unsafe { on_main(configured, |plugin| plugin.batch_over(call, true)) };
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_http_stream_reset(
    _envoy: Address,
    configured: Address,
    call: u64,
    _why: u32,
) {
    // SAFETY: what `config_new` made.
    unsafe { on_main(configured, |plugin| plugin.batch_over(call, false)) };
}

/// # Safety
/// All that they lead to is readable for `'a`.
unsafe fn received<'a>(
    result: u32,
    (headers, headers_count): (*const Header, usize),
    (chunks, chunks_count): (*const Bytes, usize),
) -> Option<Received<'a>> {
    (result == abi::SUCCESS).then(|| {
        // SAFETY: as the caller says.
        unsafe { Received::new(abi::slice(headers, headers_count), abi::slice(chunks, chunks_count)) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_new(configured: Address, _envoy: Address) -> Address {
    // Never null, which Envoy would answer with an error of its own: without a place the stream is left alone.
    // SAFETY: what `config_new` made.
    let configured = unsafe { &*configured.cast::<Configured>() };
    let place = configured.as_ref().and_then(|plugin| survived(Some(plugin), None, || place::place(plugin)));
    Box::into_raw(Box::new(Exchange::new(place))).cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_destroy(stream: Address) {
    // SAFETY: what `filter_new` made, for the last time.
    survived(None, (), || unsafe { Box::from_raw(stream.cast::<Exchange>()) }.end());
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(envoy: Address, stream: Address, end: bool) -> u32 {
    // SAFETY, here and in what follows: what `filter_new` made; nobody has it mutably, and it outlives the hook or, where
    // the hook ends it, is not used any more.
    unsafe { (*stream.cast::<Exchange>()).request_headers(envoy, end) };
    abi::CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_body(envoy: Address, stream: Address, end: bool) -> u32 {
    // SAFETY: see above.
    unsafe { (*stream.cast::<Exchange>()).request_body(envoy, end) };
    abi::CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(envoy: Address, stream: Address) -> u32 {
    // SAFETY: see above.
    unsafe { (*stream.cast::<Exchange>()).request_trailers(envoy) };
    abi::CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(envoy: Address, stream: Address, end: bool) -> u32 {
    // SAFETY: see above.
    unsafe { (*stream.cast::<Exchange>()).response_headers(envoy, end) }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_body(envoy: Address, stream: Address, end: bool) -> u32 {
    // SAFETY: see above.
    unsafe { (*stream.cast::<Exchange>()).response_body(envoy, end) }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(envoy: Address, stream: Address) -> u32 {
    // SAFETY: see above.
    unsafe { (*stream.cast::<Exchange>()).response_trailers(envoy) }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_http_callout_done(
    envoy: Address,
    stream: Address,
    call: u64,
    result: u32,
    headers: *const Header,
    headers_count: usize,
    chunks: *const Bytes,
    chunks_count: usize,
) {
    // SAFETY: see above; what was received is Envoy's for the time of the hook.
    unsafe {
        let received = received(result, (headers, headers_count), (chunks, chunks_count));
        (*stream.cast::<Exchange>()).call_over(envoy, call, received);
    }
}
