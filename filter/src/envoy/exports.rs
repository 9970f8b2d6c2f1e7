//! What Envoy calls. Only callbacks with something to do are exported: Envoy enters the VM for no other.
//!
//! A worker's VM runs on one thread, and no host call that the filter makes calls back into it: Envoy puts off what it
//! does to a stream (answering, continuing) and answers to calls until the callback has returned. Were it otherwise, the
//! inner callback would find the worker taken and let its stream go on.
#![allow(unsafe_code)]

use std::cell::RefCell;

use crate::envoy::abi::Envoy;
use crate::plugin::host::{Flow, Host, Level};
use crate::plugin::worker::Worker;

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}

/// What a callback returns to let the stream go on.
const CONTINUE: u32 = 0;
/// Headers and trailers: wait, while the body may come. For headers Envoy honours it where the plugin's configuration
/// says `allow_on_headers_stop_iteration`; else the body waits too, and the request is let go after `hold_ms`.
const STOP_ITERATION: u32 = 1;
/// Bodies: wait and keep what came, and when Envoy's buffer is full, read no further, where plain buffering would answer
/// the client with 413.
const STOP_AND_WATERMARK: u32 = 2;

fn worker<T>(idle: T, act: impl FnOnce(&mut Worker) -> T) -> T {
    WORKER.with(|worker| match worker.try_borrow_mut() {
        Ok(mut worker) => act(&mut worker),
        Err(_) => idle,
    })
}

const fn code(flow: Flow, hold: u32) -> u32 {
    match flow {
        Flow::Continue => CONTINUE,
        Flow::Hold => hold,
    }
}

// SAFETY, for every export: the name is the ABI's, and nothing else in the module has it.

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // A panic ends in a trap, which Envoy logs without a word of why.
    std::panic::set_hook(Box::new(|panic| Envoy.log(Level::Error, &format!("perch: the filter failed: {panic}"))));
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
    worker(false, |worker| worker.configured(&Envoy, context, length));
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(context: u32) {
    worker((), |worker| worker.tick(&Envoy, context));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _headers: u32, end: u32) -> u32 {
    let flow = worker(Flow::Continue, |worker| worker.request_headers(&Envoy, context, end != 0));
    code(flow, STOP_ITERATION)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, length: usize, end: u32) -> u32 {
    let flow = worker(Flow::Continue, |worker| worker.request_body(&Envoy, context, length, end != 0));
    code(flow, STOP_AND_WATERMARK)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context: u32, _trailers: u32) -> u32 {
    code(worker(Flow::Continue, |worker| worker.request_trailers(&Envoy, context)), STOP_ITERATION)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, _headers: u32, end: u32) -> u32 {
    worker((), |worker| worker.answer_headers(&Envoy, context, end != 0));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context: u32, length: usize, end: u32) -> u32 {
    worker((), |worker| worker.answer_body(&Envoy, context, length, end != 0));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context: u32, _trailers: u32) -> u32 {
    worker((), |worker| worker.answer_trailers(&Envoy, context));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(context: u32, token: u32, headers: usize, length: usize, _trailers: usize) {
    worker((), |worker| worker.call_answered(&Envoy, context, token, headers, length));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    worker((), |worker| worker.deleted(&Envoy, context));
}
