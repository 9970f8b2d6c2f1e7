//! The functions that Envoy calls. Only callbacks with something to do are exported, since Envoy enters the VM for
//! each.
//!
//! A worker's VM runs on one thread, but Envoy may call it again within one of its own host calls: on 1.40, a body
//! above the buffer limit makes Envoy send a response of its own and end the stream from inside the call. A trap in
//! such an inner callback crashes Envoy itself (on 1.40 by SIGSEGV), where any other costs one VM. So inner callbacks
//! do nothing that could fail: they return at once, and the end of a stream is only recorded, in memory reserved
//! beforehand, and processed at the beginning of the next callback. Host calls that can lead there (replacing a body,
//! resuming a response) are made when the worker is no longer borrowed.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};

use crate::envoy::abi::{Envoy, Response};
use crate::log_line::log_line;
use crate::plugin::host::{Level, Log, Messages};
use crate::plugin::replacement::Flow;
use crate::plugin::worker::Worker;

/// Streams that may end within one host call without an allocation; in all known cases it is one.
const RESERVED: usize = 64;

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
    /// A host call is in progress that may end streams.
    static WITHIN: Cell<bool> = const { Cell::new(false) };
    /// Contexts that ended within such a call.
    static ENDED: RefCell<Vec<u32>> = RefCell::new(Vec::with_capacity(RESERVED));
}

/// What a callback returns to let the stream go on.
const CONTINUE: u32 = 0;
/// Headers and trailers: wait, while the body may come. For headers Envoy honours it where the plugin's configuration
/// says `allow_on_headers_stop_iteration`. Bodies: wait, and Envoy keeps what came.
const STOP: u32 = 1;

fn worker<T>(idle: T, act: impl FnOnce(&mut Worker) -> T) -> T {
    if WITHIN.get() {
        return idle;
    }
    WORKER.with(|worker| {
        let Ok(mut worker) = worker.try_borrow_mut() else { return idle };
        while let Some(context) = ENDED.with_borrow_mut(Vec::pop) {
            fail_on_purpose();
            worker.deleted(&Envoy::new(), context);
        }
        act(&mut worker)
    })
}

/// A failure on purpose in a build for tests, in no other.
#[allow(clippy::panic)]
fn fail_on_purpose() {
    if cfg!(feature = "fault-injection") {
        panic!("an injected failure");
    }
}

/// Makes a host call that may end streams.
fn within(call: impl FnOnce()) {
    WITHIN.set(true);
    call();
    WITHIN.set(false);
}

/// What a callback of a response returns; a body is replaced on the way.
fn returned(flow: Flow) -> u32 {
    match flow {
        Flow::Continue => CONTINUE,
        Flow::Hold => STOP,
        Flow::Replace(replacement) => {
            within(|| replacement.apply(&Envoy::new()));
            CONTINUE
        }
    }
}

// SAFETY, for every export: the name is the ABI's, and nothing else in the module has it.

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // A panic ends in a trap, which Envoy logs without a word of why.
    std::panic::set_hook(Box::new(|panic| {
        Envoy::new().log(Level::Error, &log_line("filter_panicked", &[("error", &panic)]))
    }));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    worker((), |worker| worker.created(context, root));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(context: u32, length: usize) -> u32 {
    // Envoy is always told that the configuration is accepted: it refuses its own whole configuration, and does not
    // start, when a plugin refuses its own, whatever the failure policy. A root context without a configuration leaves
    // every request alone, so clients get the baseline, and the reason is in the log.
    worker(false, |worker| worker.configured(&Envoy::new(), context, length));
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(context: u32) {
    worker((), |worker| worker.tick(&Envoy::new(), context));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _headers: u32, end: u32) -> u32 {
    worker((), |worker| worker.request_headers(&Envoy::new(), context, end != 0));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, length: usize, end: u32) -> u32 {
    worker((), |worker| worker.request_body(&Envoy::new(), context, length, end != 0));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context: u32, _trailers: u32) -> u32 {
    worker((), |worker| worker.request_trailers(&Envoy::new(), context));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, _headers: u32, end: u32) -> u32 {
    returned(worker(Flow::Continue, |worker| worker.response_headers(&Envoy::new(), context, end != 0)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context: u32, length: usize, end: u32) -> u32 {
    returned(worker(Flow::Continue, |worker| {
        let host = Envoy { held: worker.waiting_bytes(context) };
        worker.response_body(&host, context, length, end != 0)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context: u32, _trailers: u32) -> u32 {
    returned(worker(Flow::Continue, |worker| worker.response_trailers(&Envoy::new(), context)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(context: u32, token: u32, headers: usize, length: usize, _trailers: usize) {
    let response = Response::new(headers, length);
    let goes_on = worker(None, |worker| worker.call_over(&Envoy::new(), context, token, response.as_ref()));
    if let Some((stream, flow)) = goes_on {
        // The call was the root context's; the response is the stream's, which is the effective context since.
        if Envoy::new().act_for(stream).is_ok() && flow != Flow::Hold {
            returned(flow);
            within(|| Envoy::new().resume());
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    if WITHIN.get() || WORKER.with(|worker| worker.try_borrow_mut().is_err()) {
        ENDED.with_borrow_mut(|ended| ended.push(context));
    } else {
        worker((), |worker| worker.deleted(&Envoy::new(), context));
    }
}
