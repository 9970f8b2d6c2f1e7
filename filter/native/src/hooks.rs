//! What Envoy calls, and something happens (the other hooks are in [`crate::unused`]).
//!
//! No panic leaves a hook. The stream goes on as if the filter were not there; its worker begins anew (see [`crate::seat`]).
#![allow(unsafe_code)]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use filter::plugin::host::{Body, Flow, Level};
use filter::plugin::worker::Worker;

use crate::abi::{self, Address, Bytes, Header};
use crate::plugin::Plugin;
use crate::received::Received;
use crate::seat::{self, Place};
use crate::stream::{self, OnStream, Then};

/// What Envoy keeps for us of a stream.
struct Stream {
    /// Nothing where the plugin's configuration was refused: the stream is left alone.
    place: Option<Arc<Place>>,
    number: u32,
    /// The plugin has nothing to do with it, or has not seen its headers.
    aside: Cell<bool>,
    /// Envoy's number of the call under way, and the worker's.
    call: Cell<Option<(u64, u32)>>,
    /// Envoy waits for us to let the request go on.
    held: Cell<bool>,
    /// The seat knows the way to it.
    can_be_woken: Cell<bool>,
}

/// What Envoy keeps for us of a configuration; nothing where it was refused.
type Configured = Option<Arc<Plugin>>;

/// What `hook` comes to, or `otherwise` where it panics, which is logged and, where there is a plugin, counted.
fn survived<T>(plugin: Option<&Plugin>, otherwise: T, hook: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(hook)).unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        stream::log(Level::Error, &format!("perch: the filter failed: {}", why.unwrap_or("no reason given")));
        if let Some(plugin) = plugin {
            plugin.failed();
        }
        otherwise
    })
}

/// A callback of a stream: what it comes to, and what is then to be done. A panic comes to `otherwise`, and lets a
/// request go on that is held.
///
/// # Safety
/// `stream` is what `filter_new` made and `filter_destroy` has not seen; `envoy` was handed to this hook.
unsafe fn called<T>(
    envoy: Address,
    stream: Address,
    received: Option<Received<'_>>,
    otherwise: T,
    act: impl FnOnce(&mut Worker, &OnStream<'_>, u32) -> T,
) -> (T, Option<Then>) {
    // SAFETY: as the caller says; nobody has it mutably, and the reference ends with this function.
    let stream = unsafe { &*stream.cast::<Stream>() };
    let Some(place) = stream.place.as_ref().filter(|_| !stream.aside.get()) else { return (otherwise, None) };
    let done = survived(Some(&place.plugin), None, || {
        // SAFETY: as the caller says.
        let host = unsafe { OnStream::new(envoy, place, received) };
        let result = act(&mut place.seat.worker(), &host, stream.number);
        if let Some(call) = host.began() {
            stream.call.set(Some(call));
        }
        Some((result, host.then()))
    });
    let (result, then) = done.unwrap_or_else(|| (otherwise, stream.held.get().then_some(Then::Resume)));
    if then.is_some() {
        stream.held.set(false);
    }
    (result, then)
}

/// A callback that may hold the stream.
///
/// # Safety
/// As [`called`].
unsafe fn flow(
    envoy: Address,
    stream: Address,
    hold: u32,
    act: impl FnOnce(&mut Worker, &OnStream<'_>, u32) -> Flow,
) -> u32 {
    // SAFETY: as the caller says. A hook that returns lets the stream go on or holds it, and puts nothing off.
    let (flow, _) = unsafe { called(envoy, stream, None, Flow::Continue, act) };
    // SAFETY: as the caller says; the stream is not over while its hook runs.
    let stream = unsafe { &*stream.cast::<Stream>() };
    stream.held.set(flow == Flow::Hold);
    if flow == Flow::Continue {
        return abi::CONTINUE;
    }
    if let Some(place) = &stream.place
        && !stream.can_be_woken.replace(true)
        && let Some(way) = crate::scheduler::ToStream::new(envoy)
    {
        place.seat.waits(stream.number, way);
    }
    hold
}

/// # Safety
/// As [`called`].
unsafe fn passes(envoy: Address, stream: Address, act: impl FnOnce(&mut Worker, &OnStream<'_>, u32)) -> u32 {
    // SAFETY: as the caller says. What answers pass through puts nothing off.
    unsafe { called(envoy, stream, None, (), act) };
    abi::CONTINUE
}

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
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    // Always taken, as far as Envoy is concerned: it would refuse its whole configuration, and not start. Without a
    // plugin every request is left alone, so the clients get the rules, and the reason is in the log.
    let configured: Configured = survived(None, None, || {
        // SAFETY: Envoy's for the time of the hook.
        let document = unsafe { document.read() };
        let plugin = Plugin::new(NUMBER.fetch_add(1, Ordering::Relaxed), config, document);
        plugin
            .inspect_err(|error| {
                stream::log(
                    Level::Error,
                    &format!("perch: the configuration is refused, every client gets the rules: {error}"),
                );
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

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_scheduled(_envoy: Address, configured: Address, event: u64) {
    // SAFETY: what `config_new` made.
    if let Some(plugin) = unsafe { &*configured.cast::<Configured>() } {
        survived(Some(plugin), (), || plugin.asked(event));
    }
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
    if let Some(plugin) = unsafe { &*configured.cast::<Configured>() } {
        survived(Some(plugin), (), || plugin.call_answered(call, received));
    }
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
    let place = configured.as_ref().and_then(|plugin| survived(Some(plugin), None, || seat::place(plugin)));
    let number = place.as_ref().map_or(0, |place| place.seat.number());
    let stream = Stream {
        place,
        number,
        aside: Cell::new(true),
        call: Cell::new(None),
        held: Cell::new(false),
        can_be_woken: Cell::new(false),
    };
    Box::into_raw(Box::new(stream)).cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_destroy(stream: Address) {
    // SAFETY: what `filter_new` made. Envoy's side of it is gone, hence the null.
    unsafe {
        called(std::ptr::null_mut(), stream, None, (), |worker, host, number| worker.deleted(host, number));
    }
    survived(None, (), || {
        // SAFETY: for the last time.
        let stream = unsafe { Box::from_raw(stream.cast::<Stream>()) };
        if let Some(place) = stream.place.as_ref().filter(|_| stream.can_be_woken.get()) {
            place.seat.forget(stream.number);
        }
    });
}

/// A stream's first callback, and perhaps its plugin's on this thread.
fn begin(worker: &mut Worker, host: &OnStream<'_>, number: u32) {
    let plugin = host.plugin();
    if !worker.knows(plugin.id) {
        worker.configured(host, plugin.id, plugin.document.len());
    }
    worker.created(number, plugin.id);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(envoy: Address, stream: Address, end: bool) -> u32 {
    // SAFETY: what `filter_new` made; the reference ends with the block.
    let aside = {
        let stream = unsafe { &*stream.cast::<Stream>() };
        let enters = stream
            .place
            .as_ref()
            .is_some_and(|place| survived(Some(&place.plugin), false, || place.plugin.wants(envoy)));
        stream.aside.set(!enters);
        !enters
    };
    if aside {
        return abi::CONTINUE;
    }
    // SAFETY: see above.
    unsafe {
        flow(envoy, stream, abi::STOP_ITERATION, |worker, host, number| {
            begin(worker, host, number);
            worker.request_headers(host, number, end)
        })
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_body(envoy: Address, stream: Address, end: bool) -> u32 {
    // SAFETY: see above.
    unsafe {
        flow(envoy, stream, abi::STOP_AND_WATERMARK, |worker, host, number| {
            worker.request_body(host, number, host.passing(Body::Request), end)
        })
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(envoy: Address, stream: Address) -> u32 {
    // SAFETY: see above.
    unsafe { flow(envoy, stream, abi::STOP_ITERATION, |worker, host, number| worker.request_trailers(host, number)) }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(envoy: Address, stream: Address, end: bool) -> u32 {
    // SAFETY: see above.
    unsafe { passes(envoy, stream, |worker, host, number| worker.answer_headers(host, number, end)) }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_body(envoy: Address, stream: Address, end: bool) -> u32 {
    // SAFETY: see above.
    unsafe {
        passes(envoy, stream, |worker, host, number| {
            worker.answer_body(host, number, host.passing(Body::Answer), end);
        })
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(envoy: Address, stream: Address) -> u32 {
    // SAFETY: see above.
    unsafe { passes(envoy, stream, |worker, host, number| worker.answer_trailers(host, number)) }
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
    // SAFETY: see above.
    let known = unsafe { &*stream.cast::<Stream>() }.call.take().filter(|(number, _)| *number == call);
    let Some((_, token)) = known else {
        stream::note_at_once(call);
        return;
    };
    // SAFETY: see above; what was received is Envoy's for the time of the hook.
    unsafe {
        let received = received(result, (headers, headers_count), (chunks, chunks_count));
        let count = received.map_or(0, |received| received.headers.len());
        let length = received.map_or(0, Received::length);
        let (_, then) = called(envoy, stream, received, (), |worker, host, _| {
            worker.call_answered(host, host.plugin().id, token, count, length);
        });
        settle(envoy, stream, then);
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_scheduled(envoy: Address, stream: Address, _event: u64) {
    // SAFETY: see above.
    unsafe {
        let (known, then) = called(envoy, stream, None, false, |worker, host, number| {
            worker.look(host, number);
            worker.knows(number)
        });
        if known {
            if let Some(then) = then {
                then.perform(envoy);
            }
        } else {
            settle(envoy, stream, then);
        }
    }
}

/// Does what is to be done; a request that is held and that nobody answers or lets go any more goes on.
///
/// # Safety
/// As [`called`]. The stream may be gone afterwards.
unsafe fn settle(envoy: Address, stream: Address, then: Option<Then>) {
    // SAFETY: as the caller says; the reference ends in this statement.
    let held = unsafe { &*stream.cast::<Stream>() }.held.replace(false);
    if let Some(then) = then.or_else(|| held.then_some(Then::Resume)) {
        // SAFETY: as the caller says.
        unsafe { then.perform(envoy) };
    }
}
