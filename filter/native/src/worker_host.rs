//! The port for a worker's filter where no stream is: on Envoy's main thread, and when a stream is over.

use std::sync::atomic::{AtomicU32, Ordering};

use filter::plugin::host::{BatchCall, Batches, Clock, Level, Log, Refused, Stats, Timers};

use crate::envoy::{self, NOT_DONE};
use crate::outbox::Batch;
use crate::shared::Event;
use crate::worker::Worker;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerHost<'a> {
    worker: &'a Worker,
    /// The main thread is to be asked for what is left to it; else it looks by itself.
    ask: bool,
}

impl<'a> WorkerHost<'a> {
    /// On the worker's thread.
    pub(crate) const fn on_worker(worker: &'a Worker) -> Self {
        Self { worker, ask: true }
    }

    /// On the main thread, which sends next.
    pub(crate) const fn on_main(worker: &'a Worker) -> Self {
        Self { worker, ask: false }
    }
}

/// A token for a call, as a worker's filter knows it by.
pub(crate) fn new_token() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Clock for WorkerHost<'_> {
    fn now_ns(&self) -> u64 {
        envoy::now_ns()
    }
}

impl Log for WorkerHost<'_> {
    fn log(&self, level: Level, line: &str) {
        envoy::log(level, line);
    }
}

impl Batches for WorkerHost<'_> {
    /// Leaves it to the main thread: a batch outlives the request.
    fn send_batch(&self, call: &BatchCall<'_>) -> Result<u32, Refused> {
        let token = new_token();
        self.worker.shared.outbox.push(Batch {
            worker: self.worker.number,
            token,
            cluster: call.cluster.to_owned(),
            headers: call.headers.to_vec(),
            body: call.body.clone(),
            timeout_ms: call.timeout_ms,
        });
        if self.ask {
            self.worker.shared.schedule(Event::Send);
        }
        Ok(token)
    }
}

impl Timers for WorkerHost<'_> {
    fn tick_every(&self, ms: u32) -> Result<(), Refused> {
        self.worker.tick_every(ms)
    }
}

impl Stats for WorkerHost<'_> {
    fn define(&self, name: &str) -> Result<u32, Refused> {
        self.worker.shared.counters.get(name).copied().ok_or(NOT_DONE)
    }

    fn increment(&self, counter: u32, by: u64) -> Result<(), Refused> {
        done(self.worker.shared.envoy.increment(counter, by))
    }
}

/// As the port says it.
pub(crate) const fn done(done: bool) -> Result<(), Refused> {
    if done { Ok(()) } else { Err(NOT_DONE) }
}
