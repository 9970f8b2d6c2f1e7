//! The port for a callback of a stream, on the stream's own worker thread.

use std::cell::Cell;

use filter::pairs::Pairs;
use filter::plugin::host::{
    BatchCall, Batches, Body, Call, Callouts, Clock, Level, Log, Map, Messages, Refused, Stats, Timers,
};

use crate::envoy::NOT_DONE;
use crate::envoy::stream::{CallRefusal, Stream};
use crate::worker_host::{WorkerHost, done, new_token};

/// What a proxy-wasm host answers where there is no such cluster, and where a call cannot be made.
const BAD_ARGUMENT: Refused = Refused(2);
const NOT_SENT: Refused = Refused(10);

/// A stream's calls. It has one under way at most.
#[derive(Debug, Default)]
pub(crate) struct StreamCalls {
    /// Envoy's number of the call under way, and the filter's token for it.
    under_way: Cell<Option<(u64, u32)>>,
    /// One that was over before anybody knew of it, within the call to Envoy that begins it.
    ended_at_once: Cell<Option<u64>>,
}

impl StreamCalls {
    /// A call is over: the filter's token for it. `None` where nobody knows of it.
    pub(crate) fn over(&self, call: u64) -> Option<u32> {
        match self.under_way.get() {
            Some((number, token)) if number == call => {
                self.under_way.set(None);
                Some(token)
            }
            _ => {
                self.ended_at_once.set(Some(call));
                None
            }
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamHost<'a> {
    envoy: Stream<'a>,
    worker: WorkerHost<'a>,
    calls: &'a StreamCalls,
}

impl<'a> StreamHost<'a> {
    /// For a hook of the stream.
    pub(crate) const fn new(envoy: Stream<'a>, worker: WorkerHost<'a>, calls: &'a StreamCalls) -> Self {
        Self { envoy, worker, calls }
    }
}

impl Clock for StreamHost<'_> {
    fn now_ns(&self) -> u64 {
        self.worker.now_ns()
    }
}

impl Log for StreamHost<'_> {
    fn log(&self, level: Level, line: &str) {
        self.worker.log(level, line);
    }
}

impl Batches for StreamHost<'_> {
    fn send_batch(&self, call: &BatchCall<'_>) -> Result<u32, Refused> {
        self.worker.send_batch(call)
    }
}

impl Timers for StreamHost<'_> {
    fn tick_every(&self, ms: u32) -> Result<(), Refused> {
        self.worker.tick_every(ms)
    }
}

impl Stats for StreamHost<'_> {
    fn define(&self, name: &str) -> Result<u32, Refused> {
        self.worker.define(name)
    }

    fn increment(&self, counter: u32, by: u64) -> Result<(), Refused> {
        self.worker.increment(counter, by)
    }
}

impl Messages for StreamHost<'_> {
    fn headers<T>(&self, map: Map, _: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused> {
        self.envoy.headers(map, read).ok_or(NOT_DONE)
    }

    fn set_header(&self, map: Map, name: &str, value: &[u8]) -> Result<(), Refused> {
        done(self.envoy.set_header(map, name.as_bytes(), Some(value)))
    }

    fn add_header(&self, map: Map, name: &str, value: &[u8]) -> Result<(), Refused> {
        done(self.envoy.add_header(map, name.as_bytes(), value))
    }

    fn remove_header(&self, map: Map, name: &[u8]) -> Result<(), Refused> {
        done(self.envoy.set_header(map, name, None))
    }

    fn body(&self, body: Body, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        done(self.envoy.body(body, length, out))
    }

    /// Envoy shows modules no nested metadata, and what else is a property is a header too.
    fn property(&self, _: &[u8], _: &mut Vec<u8>) -> Result<(), Refused> {
        Err(NOT_DONE)
    }

    fn replace_response(&self, body: &[u8]) -> Result<(), Refused> {
        done(self.envoy.replace_response(body))
    }

    /// Callbacks here are the stream's own.
    fn act_for(&self, _: u32) -> Result<(), Refused> {
        Ok(())
    }
}

impl Callouts for StreamHost<'_> {
    fn call(&self, call: &Call<'_>) -> Result<u32, Refused> {
        self.calls.ended_at_once.set(None);
        let number = self.envoy.call(call).map_err(|refusal| match refusal {
            CallRefusal::NoCluster => BAD_ARGUMENT,
            CallRefusal::Other => NOT_SENT,
        })?;
        if self.calls.ended_at_once.take() == Some(number) {
            return Err(NOT_SENT);
        }
        let token = new_token();
        self.calls.under_way.set(Some((number, token)));
        Ok(token)
    }
}
