//! One stream on its way through the filter, from its first hook to its last.
//!
//! Envoy may call a hook within one of its own calls: of the same stream, also the one that ends it, and of others of
//! the same worker, whose calls fail when a connection does. Such a hook leaves its stream alone from there on, and
//! what was known of that is concluded when the callback is over that was running.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use filter::log_line::log_line;
use filter::plugin::filter::Filter;
use filter::plugin::host::{Body, Level};
use filter::plugin::replacement::Flow;
use filter::plugin::stream::Stream;

use crate::envoy::log;
use crate::envoy::response::Response;
use crate::envoy::stream::{Attribute, Stream as EnvoyStream};
use crate::shared::Shared;
use crate::stream_host::{StreamCalls, StreamHost};
use crate::worker::Worker;
use crate::worker_host::WorkerHost;

/// See the module.
#[derive(Debug)]
pub(crate) struct StreamState {
    /// Nothing where the configuration was refused: the stream is left alone.
    worker: Option<Arc<Worker>>,
    /// What is known of it, until request and response have passed.
    known: RefCell<Option<Stream>>,
    /// Its worker's when that came to be known: what an earlier generation knew is worth nothing.
    generation: Cell<u32>,
    number: u32,
    calls: StreamCalls,
    /// Envoy waits for the filter to let the response go on.
    held: Cell<bool>,
    /// Nothing more is done with it.
    left_alone: Cell<bool>,
    /// Envoy is done with it.
    ended: Cell<bool>,
}

/// Every function that takes `envoy` is a hook's.
impl StreamState {
    pub(crate) fn new(worker: Option<Arc<Worker>>) -> Self {
        Self {
            number: worker.as_ref().map_or(0, |worker| worker.stream_number()),
            worker,
            known: RefCell::new(None),
            generation: Cell::new(0),
            calls: StreamCalls::default(),
            held: Cell::new(false),
            left_alone: Cell::new(false),
            ended: Cell::new(false),
        }
    }

    /// Of its configuration.
    pub(crate) fn shared(&self) -> Option<&Shared> {
        self.worker.as_ref().map(|worker| &*worker.shared)
    }

    /// Returns `true` if Envoy waits for the filter to let the response go on.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.held.get()
    }

    /// Returns `true` if Envoy is done with it.
    pub(crate) const fn ended(&self) -> bool {
        self.ended.get()
    }

    /// It is over; Envoy's side of it is gone.
    pub(crate) fn end(&self) {
        self.ended.set(true);
        self.left_alone.set(true);
        self.with_known(|_, _, _| ());
        if let Some(worker) = &self.worker {
            worker.request_over();
        }
    }

    /// Its hook has failed: from here on it passes as if the filter were not there.
    pub(crate) fn abandon(&self) {
        self.held.set(false);
        self.left_alone.set(true);
        // Where it is borrowed, the callback that has it is running, and concludes it.
        if let (Some(worker), Ok(mut known)) = (&self.worker, self.known.try_borrow_mut())
            && let Some(stream) = known.take()
        {
            worker.conclude_later(stream, self.generation.get());
        }
    }

    pub(crate) fn request_headers(&self, envoy: EnvoyStream<'_>, end: bool) {
        let Some(worker) = &self.worker else { return };
        let intercept = &worker.shared.config.intercept;
        // All other traffic of the gateway passes at this price.
        if !envoy.attribute(Attribute::Path, |path| intercept.is_path(path)).unwrap_or(false)
            || !envoy.attribute(Attribute::Method, |method| intercept.is_method(method)).unwrap_or(false)
        {
            return;
        }
        let Ok(mut known) = self.known.try_borrow_mut() else { return };
        let Some(mut filter) = worker.filter_in_callback() else { return };
        if filter.is_none() {
            *filter = new_filter(worker);
        }
        let Some(filter) = filter.as_mut() else { return };
        self.generation.set(worker.generation());
        let host = StreamHost::new(envoy, WorkerHost::on_worker(worker), &self.calls);
        *known = filter.request_headers(&host, self.number, end);
        self.conclude(worker, filter, &mut known);
    }

    pub(crate) fn request_body(&self, envoy: EnvoyStream<'_>, end: bool) {
        // Most requests are those of a baseline user: of their bodies nothing is wanted but the end, and for that
        // nobody need hold the filter.
        let unseen = self
            .known
            .try_borrow_mut()
            .is_ok_and(|mut known| known.as_mut().is_none_or(|stream| stream.passes_unseen(end)));
        if !unseen {
            self.callback(envoy, (), |filter, host, stream| {
                filter.request_body(host, self.number, stream, envoy.passing(Body::Request), end);
            });
        }
    }

    pub(crate) fn request_trailers(&self, envoy: EnvoyStream<'_>) {
        self.callback(envoy, (), |filter, host, stream| filter.request_over(host, self.number, stream));
    }

    /// Returns `true` if the response waits, here and in what follows.
    pub(crate) fn response_headers(&self, envoy: EnvoyStream<'_>, end: bool) -> bool {
        let flow =
            self.callback(envoy, Flow::Continue, |filter, host, stream| filter.response_headers(host, stream, end));
        self.go(envoy, &flow)
    }

    pub(crate) fn response_body(&self, envoy: EnvoyStream<'_>, end: bool) -> bool {
        let flow = self.callback(envoy, Flow::Continue, |filter, host, stream| {
            filter.response_body(host, stream, envoy.passing(Body::Response), end)
        });
        self.go(envoy, &flow)
    }

    pub(crate) fn response_trailers(&self, envoy: EnvoyStream<'_>) -> bool {
        let flow = self.callback(envoy, Flow::Continue, |filter, host, stream| filter.response_trailers(host, stream));
        self.go(envoy, &flow)
    }

    /// A call is over; `response` is what came, if anything. A response that waits and no longer has a reason to is
    /// made ready to go on: it is not held any more.
    pub(crate) fn call_over(&self, envoy: EnvoyStream<'_>, call: u64, response: Option<Response<'_>>) {
        let Some(token) = self.calls.over(call) else { return };
        let flow = self.callback(envoy, None, |filter, host, stream| match filter.live_call(token) {
            Some(call) => filter.live_call_over(host, call, response.as_ref(), Some(stream)),
            None => Some(Flow::Continue),
        });
        // Without a flow it waits for its own end, where it is still known.
        let flow = flow.unwrap_or(Flow::Hold);
        if self.held.get() {
            self.go(envoy, &flow);
        }
    }

    /// The response goes on like that: its body is replaced here. Nobody holds the filter meanwhile.
    fn go(&self, envoy: EnvoyStream<'_>, flow: &Flow) -> bool {
        // What is not known any more is waited for by nobody.
        let held = *flow == Flow::Hold && !self.known.try_borrow().is_ok_and(|known| known.is_none());
        self.held.set(held);
        if let (Flow::Replace(replacement), Some(worker)) = (flow, &self.worker) {
            replacement.apply(&StreamHost::new(envoy, WorkerHost::on_worker(worker), &self.calls));
        }
        held
    }

    /// A callback of a stream that is known. It comes to `otherwise` where there is nothing to do it with.
    fn callback<T>(
        &self,
        envoy: EnvoyStream<'_>,
        otherwise: T,
        act: impl FnOnce(&mut Filter, &StreamHost<'_>, &mut Stream) -> T,
    ) -> T {
        self.with_known(|worker, filter, stream| {
            act(filter, &StreamHost::new(envoy, WorkerHost::on_worker(worker), &self.calls), stream)
        })
        .unwrap_or(otherwise)
    }

    fn with_known<T>(&self, act: impl FnOnce(&Worker, &mut Filter, &mut Stream) -> T) -> Option<T> {
        let worker = self.worker.as_ref()?;
        let Ok(mut known) = self.known.try_borrow_mut() else {
            self.left_alone.set(true);
            return None;
        };
        known.as_ref()?;
        let Some(mut filter) = worker.filter_in_callback() else {
            if let Some(stream) = known.take() {
                worker.conclude_later(stream, self.generation.get());
            }
            return None;
        };
        // What was known goes with the filter that knew it: after a failure, and where the configuration has ended.
        let Some(filter) = filter.as_mut().filter(|_| self.generation.get() == worker.generation()) else {
            *known = None;
            return None;
        };
        let result = act(worker, filter, known.as_mut()?);
        self.conclude(worker, filter, &mut known);
        Some(result)
    }

    /// Once request and response have passed whole, or nothing more is done with it, everything is known of the stream.
    fn conclude(&self, worker: &Worker, filter: &mut Filter, known: &mut Option<Stream>) {
        let host = WorkerHost::on_worker(worker);
        if let Some(mut stream) = known.take_if(|stream| self.left_alone.get() || stream.complete()) {
            filter.forget_call(&stream);
            filter.conclude(&host, &mut stream);
        }
        conclude_others(worker, filter, &host);
    }
}

/// Concludes streams that could not be when they were over.
pub(crate) fn conclude_others(worker: &Worker, filter: &mut Filter, host: &WorkerHost<'_>) {
    for mut stream in worker.take_unconcluded() {
        filter.forget_call(&stream);
        filter.conclude(host, &mut stream);
    }
}

/// A filter for a worker that has none: a new one, or one that begins anew.
fn new_filter(worker: &Worker) -> Option<Filter> {
    let mut filter = Filter::new(&WorkerHost::on_worker(worker), worker.shared.config.clone())
        .inspect_err(|refused| {
            log(Level::Error, &log_line("counters_refused", &[("status", &refused.0)]));
        })
        .ok()?;
    worker.shared.known_shares().copy_to(&mut filter);
    Some(filter)
}
