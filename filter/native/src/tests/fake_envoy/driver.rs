//! Envoy's threads, which are all the test's one: the module's hooks, called as Envoy does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, Weak};

use contract::share::{BETA_KEY, OBSERVE_KEY, RUNTIME_KEY};

use super::no_failure;
use super::state::{
    CANNOT_CREATE_REQUEST, CHUNK, CURRENT, Call, INSTANCES, NOW_NS, Owner, RESET, RUNTIME, STREAMS, State, Stream, at,
};
use crate::abi::{self, Address, Bytes, Header};
use crate::main_thread::MainThread;
use crate::shared::{Event, Shared};
use crate::tests::gateway::Envoy;
use crate::tests::messages::{Headers, Observed, RecordedCall, Response};
use crate::{admin_hooks, hooks};

/// The filter in a faked Envoy, whose threads are all the one that drives it.
pub(crate) struct NativeModule {
    instance: usize,
    configured: Address,
    main: Weak<MainThread>,
    shared: Weak<Shared>,
    ended: bool,
}

impl NativeModule {
    pub(crate) fn address(&self, stream: u32) -> Address {
        std::ptr::without_provenance_mut(self.instance * STREAMS + stream as usize)
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        CURRENT.set(self.instance);
        at(self.address(0), act)
    }

    fn stream<T: Default>(&self, stream: u32, act: impl FnOnce(&mut Stream) -> T) -> T {
        self.state(|state| state.streams.get_mut(&stream).map(act).unwrap_or_default())
    }

    /// The module's object of a stream, while that lasts.
    fn module(&self, stream: u32) -> Option<Address> {
        let module = self.stream(stream, |stream| stream.module);
        (module != 0).then(|| std::ptr::with_exposed_provenance_mut(module))
    }

    /// A hook of a stream that is there.
    fn hook(&self, stream: u32, hook: impl FnOnce(Address, Address) -> u32) -> u32 {
        self.module(stream).map_or(abi::CONTINUE, |module| hook(self.address(stream), module))
    }

    /// A hook of a stream's response.
    fn response_hook(&self, stream: u32, hook: impl FnOnce(Address, Address) -> u32) {
        if self.module(stream).is_some() {
            let result = self.hook(stream, hook);
            self.stream(stream, |stream| stream.flows(result));
        }
        self.run_main();
    }

    /// The main thread does what it was asked to do. Ticks are the test's to give.
    pub(crate) fn run_main(&self) {
        while let Some((event, thread)) =
            self.state(|state| state.scheduled.as_ref().and_then(|queue| queue.lock().unwrap().pop_front()))
        {
            let ticker = event == Event::Tick as u64 && thread != std::thread::current().id();
            if !ticker && !self.ended {
                hooks::envoy_dynamic_module_on_http_filter_config_scheduled(self.address(0), self.configured, event);
            }
        }
    }

    /// This is done within the next call of the module's that may lead back to it.
    pub(crate) fn within(&self, act: impl FnOnce(u64) + Send + 'static) {
        self.state(|state| state.within = Some(Box::new(act)));
    }

    /// A handle on a stream for [`NativeModule::within`].
    pub(crate) fn handle(&self, stream: u32) -> StreamHandle {
        StreamHandle { instance: self.instance, stream }
    }

    /// A handle on the configuration's calls for [`NativeModule::within`].
    pub(crate) fn batches(&self) -> BatchHandle {
        BatchHandle { config: self.address(0).addr(), configured: self.configured() }
    }

    /// A stream of Envoy's that a test's own thread drives; its address.
    pub(crate) fn add_stream(&self, stream: u32) -> usize {
        let request = Headers::of(&[(":method", "POST"), (":path", "/ml/suggestions"), ("x-user-id", "u1")]);
        self.state(|state| state.streams.insert(stream, Stream { request, ..Stream::default() }));
        self.address(stream).addr()
    }

    /// Returns `true` if nothing is left of the configuration.
    pub(crate) fn is_gone(&self) -> bool {
        self.main.strong_count() == 0 && self.shared.strong_count() == 0
    }

    /// Ends the configuration before its streams, which Envoy does not do.
    pub(crate) fn end_configuration(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.state(|state| state.calls.retain(|call| matches!(call.owner, Owner::Stream(_))));
            hooks::envoy_dynamic_module_on_http_filter_config_destroy(self.configured);
        }
    }

    /// The address that the module keeps a configuration by, for another thread.
    pub(crate) fn configured(&self) -> usize {
        self.configured.expose_provenance()
    }
}

/// See [`NativeModule::batches`].
#[derive(Clone, Copy)]
pub(crate) struct BatchHandle {
    config: usize,
    configured: usize,
}

impl BatchHandle {
    /// The connection breaks by which a batch is sent, if that is what the call is for.
    pub(crate) fn reset(self, call: u64) {
        let config = std::ptr::without_provenance_mut(self.config);
        let batch = at(config, |state| {
            let is = |known: &Call| known.owner == Owner::Batch && u64::from(known.seen.token) == call;
            state.calls.iter().position(is).map(|at| state.calls.remove(at)).is_some()
        });
        if !batch {
            return;
        }
        let configured = std::ptr::with_exposed_provenance_mut(self.configured);
        hooks::envoy_dynamic_module_on_http_filter_config_http_stream_reset(config, configured, call, RESET);
    }
}

/// See [`NativeModule::handle`].
#[derive(Clone, Copy)]
pub(crate) struct StreamHandle {
    instance: usize,
    stream: u32,
}

impl StreamHandle {
    fn address(self) -> Address {
        std::ptr::without_provenance_mut(self.instance * STREAMS + self.stream as usize)
    }

    /// Envoy ends the stream: its calls end with it.
    pub(crate) fn end(self) {
        let module = at(self.address(), |state| {
            state.calls.retain(|call| call.owner != Owner::Stream(self.stream));
            state.streams.get_mut(&self.stream).map_or(0, |stream| {
                stream.waits = false;
                std::mem::take(&mut stream.module)
            })
        });
        if module != 0 {
            hooks::envoy_dynamic_module_on_http_filter_destroy(std::ptr::with_exposed_provenance_mut(module));
        }
    }

    /// A call of the stream's is over.
    pub(crate) fn call_over(self, call: u64, reply: &Response) {
        let module = at(self.address(), |state| {
            state.calls.retain(|known| u64::from(known.seen.token) != call);
            state.streams.get(&self.stream).map_or(0, |stream| stream.module)
        });
        if module == 0 {
            return;
        }
        let module = std::ptr::with_exposed_provenance_mut(module);
        show(reply, |result, (headers, headers_count), (chunks, chunks_count)| {
            hooks::envoy_dynamic_module_on_http_filter_http_callout_done(
                self.address(),
                module,
                call,
                result,
                headers,
                headers_count,
                chunks,
                chunks_count,
            );
        });
    }

    /// The connection breaks by which the stream's calls are made.
    pub(crate) fn calls_fail(self) {
        let calls: Vec<u32> = at(self.address(), |state| {
            let own = state.calls.iter().filter(|call| call.owner == Owner::Stream(self.stream));
            own.map(|call| call.seen.token).collect()
        });
        for call in calls {
            self.call_over(u64::from(call), &Response::failed());
        }
    }

    /// The response of the stream, unless it is complete, goes on with an empty last piece, as one of Envoy's own would.
    pub(crate) fn response_ends(self) {
        let module = at(self.address(), |state| {
            let going_on = state.streams.get_mut(&self.stream).filter(|stream| !stream.response_complete)?;
            going_on.response_complete = true;
            Some(going_on.module)
        })
        .unwrap_or(0);
        if module != 0 {
            let module = std::ptr::with_exposed_provenance_mut(module);
            hooks::envoy_dynamic_module_on_http_filter_response_body(self.address(), module, true);
        }
    }
}

/// Shows a response to a hook: its result, headers and body, in memory that is freed as soon as the hook has returned.
fn show(reply: &Response, hook: impl FnOnce(u32, (*const Header, usize), (*const Bytes, usize))) {
    if reply.headers.len() == 0 {
        return hook(RESET, (std::ptr::null(), 0), (std::ptr::null(), 0));
    }
    let reply = reply.clone();
    let headers: Vec<Header> = reply.headers.borrowed().into_iter().map(Header::of).collect();
    let chunks: Vec<Bytes> = reply.body.chunks(CHUNK).map(Bytes::of).collect();
    hook(abi::SUCCESS, (headers.as_ptr(), headers.len()), (chunks.as_ptr(), chunks.len()));
}

impl Envoy for NativeModule {
    fn start(document: &str) -> (Self, bool) {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let instance = NEXT.fetch_add(1, Ordering::Relaxed);
        INSTANCES.lock().unwrap_or_else(PoisonError::into_inner).insert(instance, Arc::default());
        CURRENT.set(instance);
        RUNTIME.take();
        let config = std::ptr::without_provenance_mut(instance * STREAMS);
        let configured = hooks::envoy_dynamic_module_on_http_filter_config_new(
            config,
            Bytes::of(b"perch"),
            Bytes::of(document.as_bytes()),
        );
        // SAFETY: what the hook has made.
        let main = unsafe { &*configured.cast::<Option<Arc<MainThread>>>() };
        let accepted = main.is_some();
        let shared = main.as_ref().map(|main| Arc::downgrade(&main.shared)).unwrap_or_default();
        let main = main.as_ref().map(Arc::downgrade).unwrap_or_default();
        let module = Self { instance, configured, main, shared, ended: false };
        module.run_main();
        (module, accepted)
    }

    /// Somebody sets it by the admin interface.
    fn set_share(&mut self, percent: u32) {
        RUNTIME.with_borrow_mut(|runtime| {
            for (key, value) in [(RUNTIME_KEY, percent), (BETA_KEY, 0), (OBSERVE_KEY, 100)] {
                runtime.insert(key.to_owned(), u64::from(value));
            }
        });
        self.state(|_| ());
        admin_hooks::envoy_dynamic_module_on_access_logger_log(self.address(0), std::ptr::null_mut(), 0);
        self.run_main();
    }

    fn request_headers(&mut self, stream: u32, headers: Headers, end: bool) {
        self.state(|state| state.streams.insert(stream, Stream { request: headers, ..Stream::default() }));
        let module = hooks::envoy_dynamic_module_on_http_filter_new(self.configured, self.address(stream));
        self.stream(stream, |stream| stream.module = module.expose_provenance());
        self.hook(stream, |envoy, module| {
            hooks::envoy_dynamic_module_on_http_filter_request_headers(envoy, module, end)
        });
        self.run_main();
    }

    fn request_body(&mut self, stream: u32, chunk: &[u8], end: bool) {
        self.stream(stream, |stream| stream.request_chunk = Some(chunk.to_vec()));
        self.hook(stream, |envoy, module| hooks::envoy_dynamic_module_on_http_filter_request_body(envoy, module, end));
        self.stream(stream, |stream| stream.request_chunk = None);
        self.run_main();
    }

    fn request_trailers(&mut self, stream: u32) {
        self.hook(stream, |envoy, module| hooks::envoy_dynamic_module_on_http_filter_request_trailers(envoy, module));
        self.run_main();
    }

    fn response_headers(&mut self, stream: u32, headers: Headers, trailers: Headers, end: bool) {
        self.stream(stream, |stream| {
            stream.response = Some(headers);
            stream.trailers = trailers;
            stream.response_complete = end;
        });
        self.response_hook(stream, |envoy, module| {
            hooks::envoy_dynamic_module_on_http_filter_response_headers(envoy, module, end)
        });
    }

    fn response_body(&mut self, stream: u32, chunk: &[u8], end: bool) {
        self.stream(stream, |stream| {
            stream.passing = Some(chunk.to_vec());
            stream.response_complete = end;
        });
        self.response_hook(stream, |envoy, module| {
            hooks::envoy_dynamic_module_on_http_filter_response_body(envoy, module, end)
        });
    }

    fn response_trailers(&mut self, stream: u32) {
        self.stream(stream, |stream| stream.response_complete = true);
        self.response_hook(stream, |envoy, module| {
            hooks::envoy_dynamic_module_on_http_filter_response_trailers(envoy, module)
        });
    }

    fn is_waiting(&self, stream: u32) -> bool {
        self.stream(stream, |stream| stream.waits)
    }

    fn given(&self, stream: u32) -> (Headers, Vec<u8>, Headers) {
        self.stream(stream, |stream| {
            (stream.response.clone().unwrap_or_default(), stream.given.clone(), stream.trailers.clone())
        })
    }

    fn request(&self, stream: u32) -> Headers {
        self.stream(stream, |stream| stream.request.clone())
    }

    fn end(&mut self, stream: u32) {
        self.state(|_| ());
        self.handle(stream).end();
        self.run_main();
    }

    fn reply(&mut self, token: u32, reply: &Response) {
        let found = self.state(|state| {
            let at = state.calls.iter().position(|call| call.seen.token == token)?;
            Some(state.calls.remove(at).owner)
        });
        let (config, call) = (self.address(0), u64::from(token));
        match found {
            Some(Owner::Stream(stream)) => self.handle(stream).call_over(call, reply),
            Some(Owner::Configuration) => show(reply, |result, headers, chunks| {
                hooks::envoy_dynamic_module_on_http_filter_config_http_callout_done(
                    config,
                    self.configured,
                    call,
                    result,
                    headers.0,
                    headers.1,
                    chunks.0,
                    chunks.1,
                );
            }),
            Some(Owner::Batch) => self.batch_reply(call, reply),
            // One that nobody has made, of a stream that is there.
            None => {
                let alive = |state: &mut State| {
                    state.streams.iter().find(|(_, stream)| stream.module != 0).map(|(number, _)| *number)
                };
                if let Some(stream) = self.state(alive) {
                    self.handle(stream).call_over(call, reply);
                }
            }
        }
        self.run_main();
    }

    fn calls(&self) -> Vec<RecordedCall> {
        self.state(|state| state.calls.iter().filter(|call| call.whole).map(|call| call.seen.clone()).collect())
    }

    fn tick(&mut self) {
        self.run_main();
        if !self.ended {
            let event = Event::Tick as u64;
            hooks::envoy_dynamic_module_on_http_filter_config_scheduled(self.address(0), self.configured, event);
        }
        self.run_main();
    }

    fn stop(&mut self) {
        let streams: Vec<u32> = self.state(|state| state.streams.keys().copied().collect());
        for stream in streams {
            self.end(stream);
        }
        self.end_configuration();
        assert!(self.is_gone(), "nothing is left of a configuration that is destroyed");
    }

    fn wait_ms(&self, ms: u64) {
        NOW_NS.set(NOW_NS.get() + ms * 1_000_000);
    }

    fn refuse(&self, refused: Option<(&'static str, u32)>) {
        let status =
            refused.map(|(_, status)| if status == 2 { abi::CLUSTER_NOT_FOUND } else { CANNOT_CREATE_REQUEST });
        self.state(|state| state.refuse = status);
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        self.state(|state| state.counters.iter().cloned().collect())
    }

    fn log(&self) -> Vec<String> {
        self.state(|state| state.log.clone())
    }

    fn observed(&self) -> Observed {
        self.state(|state| state.observed)
    }
}

impl NativeModule {
    fn batch_reply(&self, call: u64, reply: &Response) {
        let (config, configured) = (self.address(0), self.configured);
        show(reply, |result, (headers, headers_count), (chunks, chunks_count)| {
            if result == RESET {
                hooks::envoy_dynamic_module_on_http_filter_config_http_stream_reset(config, configured, call, result);
                return;
            }
            hooks::envoy_dynamic_module_on_http_filter_config_http_stream_headers(
                config,
                configured,
                call,
                headers,
                headers_count,
                false,
            );
            hooks::envoy_dynamic_module_on_http_filter_config_http_stream_data(
                config,
                configured,
                call,
                chunks,
                chunks_count,
                true,
            );
            hooks::envoy_dynamic_module_on_http_filter_config_http_stream_complete(config, configured, call);
        });
    }
}

impl Drop for NativeModule {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            no_failure();
            self.stop();
        }
        INSTANCES.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.instance);
    }
}
