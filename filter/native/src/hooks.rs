//! What Envoy calls, and something happens (the other hooks are in [`crate::unused_hooks`] and [`crate::admin_hooks`]).
//!
//! Each is guarded as a whole ([`catch_panic`]): no panic leaves a hook. The stream goes on as if the filter were not
//! there.
#![allow(unsafe_code)]

use std::rc::Rc;
use std::sync::Arc;

use filter::log_line::log_line;
use filter::plugin::host::Level;

use crate::abi::{self, Address, Bytes, Header};
use crate::catch_panic::catch_panic;
use crate::envoy::log;
use crate::envoy::response::Response;
use crate::envoy::stream::Stream;
use crate::main_thread::MainThread;
use crate::stream_state::StreamState;

/// What Envoy keeps for us of a configuration; nothing where it was refused.
type Configured = Option<Arc<MainThread>>;

// SAFETY, for every hook: the name is the ABI's, and nothing else in the process has it; the addresses are those that
// the ABI says, good for the time of the hook.

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_program_init() -> *const std::ffi::c_char {
    abi::VERSION.as_ptr()
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    config: Address,
    _name: Bytes,
    document: Bytes,
) -> Address {
    // Always taken, as far as Envoy is concerned: it would refuse its whole configuration, and not start. Without one
    // of ours every request is left alone, so the clients are given the baseline, and the reason is in the log.
    let configured: Configured = catch_panic(None, || {
        // SAFETY: the document is Envoy's for the time of the hook, which is the one that makes a configuration; Envoy
        // ends it by the hook that follows.
        unsafe { MainThread::new(config, document.read()) }
            .inspect_err(|error| {
                let effect = "every client is given the baseline";
                log(Level::Error, &log_line("config_refused", &[("error", error), ("effect", &effect)]));
            })
            .ok()
    })
    .flatten();
    Box::into_raw(Box::new(configured)).cast()
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(configured: Address) {
    // SAFETY: what `config_new` made, for the last time.
    let configured = unsafe { Box::from_raw(configured.cast::<Configured>()) };
    if let Some(main) = *configured {
        // Also after a panic, whose stack has nothing of it any more.
        if catch_panic(Some(&main.shared), || main.end()).is_none() {
            catch_panic(None, || main.end());
        }
        catch_panic(None, || drop(main));
    }
}

/// Main thread: `act`, unless the configuration was refused.
///
/// # Safety
/// `configured` is what `config_new` made, and not ended.
unsafe fn on_main(configured: Address, act: impl FnOnce(&MainThread)) {
    // SAFETY: as the caller says.
    if let Some(main) = unsafe { &*configured.cast::<Configured>() } {
        catch_panic(Some(&main.shared), || act(main));
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_config_scheduled(
    _envoy: Address,
    configured: Address,
    event: u64,
) {
    // SAFETY: what `config_new` made.
    unsafe { on_main(configured, |main| main.scheduled(event)) };
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_config_http_callout_done(
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
    let response =
        (result == abi::SUCCESS).then(|| unsafe { Response::new((headers, headers_count), (chunks, chunks_count)) });
    // SAFETY: what `config_new` made.
    unsafe { on_main(configured, |main| main.call_over(call, response)) };
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_config_http_stream_headers(
    _envoy: Address,
    configured: Address,
    call: u64,
    headers: *const Header,
    count: usize,
    _end: bool,
) {
    // SAFETY: Envoy's for the time of the hook.
    let response = unsafe { Response::new((headers, count), (std::ptr::null(), 0)) };
    // SAFETY: what `config_new` made.
    unsafe { on_main(configured, |main| main.batch_headers(call, response)) };
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_config_http_stream_data(
    _envoy: Address,
    configured: Address,
    call: u64,
    chunks: *const Bytes,
    count: usize,
    _end: bool,
) {
    // SAFETY: Envoy's for the time of the hook.
    let response = unsafe { Response::new((std::ptr::null(), 0), (chunks, count)) };
    // SAFETY: what `config_new` made.
    unsafe { on_main(configured, |main| main.batch_body(call, response)) };
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_config_http_stream_complete(
    _envoy: Address,
    configured: Address,
    call: u64,
) {
    // SAFETY: what `config_new` made.
    unsafe { on_main(configured, |main| main.batch_over(call, true)) };
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_config_http_stream_reset(
    _envoy: Address,
    configured: Address,
    call: u64,
    _why: u32,
) {
    // SAFETY: what `config_new` made.
    unsafe { on_main(configured, |main| main.batch_over(call, false)) };
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_new(configured: Address, _envoy: Address) -> Address {
    // Never null, which Envoy would answer with an error of its own: without a worker the stream is left alone.
    // SAFETY: what `config_new` made.
    let configured = unsafe { &*configured.cast::<Configured>() };
    let worker = configured.as_ref().and_then(|main| catch_panic(Some(&main.shared), || main.worker()));
    Rc::into_raw(Rc::new(StreamState::new(worker))).cast_mut().cast()
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_destroy(stream: Address) {
    // SAFETY: what `filter_new` made, for the last time that Envoy uses it; a hook that is running has a count of its
    // own.
    let state = unsafe { Rc::from_raw(stream.cast::<StreamState>()) };
    if catch_panic(state.shared(), || state.end()).is_none() {
        state.abandon();
    }
    catch_panic(None, || drop(state));
}

/// A hook of a stream: what `act` comes to. `otherwise`, with the stream left alone from there on, where it panics, or
/// Envoy names no stream.
///
/// # Safety
/// `envoy` was handed to the hook that is running, and `stream` is what `filter_new` made, and not destroyed.
unsafe fn on_stream<T>(
    envoy: Address,
    stream: Address,
    otherwise: T,
    act: impl FnOnce(&StreamState, Stream<'_>) -> T,
) -> T {
    let stream = stream.cast_const().cast::<StreamState>();
    // SAFETY: it came from `Rc::into_raw`, and Envoy's count of it is there. Ours keeps it where Envoy ends the stream
    // within. All of a stream's hooks run on one thread.
    let (state, envoy) = unsafe {
        Rc::increment_strong_count(stream);
        (Rc::from_raw(stream), Stream::new(envoy))
    };
    let Some(envoy) = envoy else { return otherwise };
    catch_panic(state.shared(), || act(&state, envoy)).unwrap_or_else(|| {
        state.abandon();
        otherwise
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    envoy: Address,
    stream: Address,
    end: bool,
) -> u32 {
    // SAFETY, here and in what follows: as `on_stream` wants them.
    unsafe { on_stream(envoy, stream, (), |state, envoy| state.request_headers(envoy, end)) };
    abi::CONTINUE
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    envoy: Address,
    stream: Address,
    end: bool,
) -> u32 {
    // SAFETY: see above.
    unsafe { on_stream(envoy, stream, (), |state, envoy| state.request_body(envoy, end)) };
    abi::CONTINUE
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(envoy: Address, stream: Address) -> u32 {
    // SAFETY: see above.
    unsafe { on_stream(envoy, stream, (), |state, envoy| state.request_trailers(envoy)) };
    abi::CONTINUE
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    envoy: Address,
    stream: Address,
    end: bool,
) -> u32 {
    // SAFETY: see above.
    let held = unsafe { on_stream(envoy, stream, false, |state, envoy| state.response_headers(envoy, end)) };
    if held { abi::STOP_ITERATION } else { abi::CONTINUE }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
    envoy: Address,
    stream: Address,
    end: bool,
) -> u32 {
    // SAFETY: see above.
    let held = unsafe { on_stream(envoy, stream, false, |state, envoy| state.response_body(envoy, end)) };
    if held { abi::STOP_AND_WATERMARK } else { abi::CONTINUE }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(envoy: Address, stream: Address) -> u32 {
    // SAFETY: see above.
    let held = unsafe { on_stream(envoy, stream, false, |state, envoy| state.response_trailers(envoy)) };
    if held { abi::STOP_ITERATION } else { abi::CONTINUE }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_http_callout_done(
    envoy: Address,
    stream: Address,
    call: u64,
    result: u32,
    headers: *const Header,
    headers_count: usize,
    chunks: *const Bytes,
    chunks_count: usize,
) {
    // SAFETY: Envoy's for the time of the hook.
    let response =
        (result == abi::SUCCESS).then(|| unsafe { Response::new((headers, headers_count), (chunks, chunks_count)) });
    // SAFETY: see above.
    let held = unsafe { (*stream.cast::<StreamState>()).is_waiting() };
    // SAFETY: see above.
    let stays = unsafe {
        on_stream(envoy, stream, false, |state, envoy| {
            state.call_over(envoy, call, response);
            state.is_waiting() || state.ended()
        })
    };
    // Outside of the panic guard above: even after a panic a waiting response does not wait for ever.
    if held && !stays {
        // SAFETY: see above; the stream's state is not used any more.
        if let Some(envoy) = unsafe { Stream::new(envoy) } {
            envoy.continue_response();
        }
    }
}
