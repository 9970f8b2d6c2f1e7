//! What Envoy calls. Only callbacks with something to do are exported: Envoy enters the VM for no other.
//!
//! A worker's VM runs on one thread, but Envoy may call it again within one of its own host calls: seen on 1.40, a body
//! beyond the buffer limit resets the stream from inside the call, and the stream's end is told at once. So what can lead
//! there (a replaced body, a response that goes on) is done when the worker is not borrowed any more, and a stream's end
//! that comes while it is borrowed all the same is kept until it is free: nothing is lost, and nothing panics.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};

use crate::envoy::abi::Envoy;
use crate::plugin::host::{Flow, Host, Level};
use crate::plugin::worker::Worker;

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
    /// Contexts that ended while the worker was borrowed.
    static ENDED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    /// A host call is under way that may end the stream.
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// What a callback returns to let the stream go on.
const CONTINUE: u32 = 0;
/// Headers and trailers: wait, while the body may come. For headers Envoy honours it where the plugin's configuration
/// says `allow_on_headers_stop_iteration`. Bodies: wait, and Envoy keeps what came.
const STOP: u32 = 1;

fn worker<T>(idle: T, act: impl FnOnce(&mut Worker) -> T) -> T {
    WORKER.with(|worker| match worker.try_borrow_mut() {
        Ok(mut worker) => {
            let result = act(&mut worker);
            while let Some(context) = ENDED.with_borrow_mut(Vec::pop) {
                worker.deleted(&Envoy::new(), context);
            }
            result
        }
        Err(_) => idle,
    })
}

/// What a callback of a response returns; a body is replaced on the way.
fn returned(flow: Flow) -> u32 {
    match flow {
        Flow::Continue => CONTINUE,
        Flow::Hold => STOP,
        Flow::Replace(replacement) => {
            WITHIN.set(true);
            replacement.apply(&Envoy::new());
            WITHIN.set(false);
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
        Envoy::new().log(Level::Error, &format!("perch: the filter failed: {panic}"))
    }));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    worker((), |worker| worker.created(context, root));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(context: u32, length: usize) -> u32 {
    // Always taken, as far as Envoy is concerned: it refuses its whole configuration, and does not start, when a plugin
    // refuses its own, whatever the failure policy. A root context without a configuration leaves every request alone,
    // so the clients get the rules, and the reason is in the log.
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
        let host = Envoy { held: worker.held(context) };
        worker.response_body(&host, context, length, end != 0)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context: u32, _trailers: u32) -> u32 {
    returned(worker(Flow::Continue, |worker| worker.response_trailers(&Envoy::new(), context)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(context: u32, token: u32, headers: usize, length: usize, _trailers: usize) {
    let goes_on = worker(None, |worker| worker.call_over(&Envoy::new(), context, token, headers, length));
    if let Some((stream, flow)) = goes_on {
        // The call was the root context's; the response is the stream's, which is the effective context since.
        if Envoy::new().act_for(stream).is_ok() && flow != Flow::Hold {
            returned(flow);
            WITHIN.set(true);
            Envoy::new().resume();
            WITHIN.set(false);
        }
    }
}

#[unsafe(no_mangle)]
#[allow(clippy::panic)]
extern "C" fn proxy_on_delete(context: u32) {
    // A failure on purpose, in a build for tests.
    if cfg!(feature = "drill") && WITHIN.get() {
        panic!("a drill");
    }
    let free = WORKER.with(|worker| worker.try_borrow_mut().is_ok());
    if free {
        worker((), |worker| worker.deleted(&Envoy::new(), context));
    } else {
        ENDED.with_borrow_mut(|ended| ended.push(context));
    }
}
