//! Envoy's side of the ABI, faked: the functions that the module calls, and a driver that calls its hooks as Envoy does.
//! Header and body memory is Envoy's and moves when it changes, so that address sanitizer finds what is kept too long.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::ThreadId;

use contract::switch::{BETA_KEY, OBSERVE_KEY, RUNTIME_KEY};

use super::gateway::Envoy;
use super::messages::{CallSeen, Headers, Observed, Response};
use crate::abi::{self, Address, Bytes, Header};
use crate::fault_injection::Place;
use crate::main_thread::MainThread;
use crate::shared::{Event, Shared};
use crate::{admin_hooks, hooks};

/// Bytes of a body that Envoy shows in one piece.
const CHUNK: usize = 5;
const RESET: u32 = 1;
const CANNOT_CREATE_REQUEST: u32 = 4;
/// Streams that a faked Envoy can have.
const STREAMS: usize = 1 << 20;

/// What is done once, within the next call of the module's that may lead back to it; it is handed the number of the call
/// that is being begun there.
type Within = Box<dyn FnOnce(u64) + Send>;

/// One of the module's scheduled events, and the thread that asked for it.
type Scheduled = Mutex<VecDeque<(u64, ThreadId)>>;

thread_local! {
    static NOW_NS: Cell<u64> = const { Cell::new(1_000_000_000) };
    static RUNTIME: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
    /// The instance whose log this thread writes.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
    static FAILURE: Cell<Option<(Place, u32)>> = const { Cell::new(None) };
}

/// Every faked Envoy, by number.
static INSTANCES: Mutex<BTreeMap<usize, Arc<Mutex<State>>>> = Mutex::new(BTreeMap::new());

/// The module's clock.
pub(crate) fn now_ns() -> u64 {
    NOW_NS.get()
}

/// Fails where the test has said so.
pub(crate) fn fail_here(place: Place) {
    if let Some((due, before)) = FAILURE.get()
        && due == place
    {
        FAILURE.set((before > 0).then(|| (due, before - 1)));
        assert!(before > 0, "an injected failure");
    }
}

/// On this thread the module fails at that place, after so many times at which it does not.
pub(crate) fn fail_at(place: Place, after: u32) {
    FAILURE.set(Some((place, after)));
}

/// No failure is due any more. Returns `true` if one was.
pub(crate) fn no_failure() -> bool {
    FAILURE.take().is_some()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Stream(u32),
    Configuration,
    Batch,
}

struct Call {
    owner: Owner,
    seen: CallSeen,
    whole: bool,
}

#[derive(Default)]
struct Stream {
    /// The module's object; null once it is destroyed.
    module: usize,
    request: Headers,
    response: Option<Headers>,
    trailers: Headers,
    request_chunk: Option<Vec<u8>>,
    /// Of the response: what passes in this callback, what waits, what has gone to the client.
    passing: Option<Vec<u8>>,
    waiting: Option<Vec<u8>>,
    given: Vec<u8>,
    waits: bool,
}

impl Stream {
    fn map(&mut self, map: u32) -> Option<&mut Headers> {
        match map {
            abi::REQUEST_HEADERS => Some(&mut self.request),
            abi::RESPONSE_HEADERS => self.response.as_mut(),
            abi::RESPONSE_TRAILERS => Some(&mut self.trailers),
            _ => None,
        }
    }

    fn body(&mut self, kind: u32) -> &mut Option<Vec<u8>> {
        match kind {
            abi::REQUEST_BODY => &mut self.request_chunk,
            abi::RESPONSE_BODY => &mut self.passing,
            _ => &mut self.waiting,
        }
    }

    /// A callback of the response has returned.
    fn flows(&mut self, result: u32) {
        let passing = self.passing.take();
        self.waits = result != abi::CONTINUE;
        if let Some(passing) = passing {
            self.waiting.get_or_insert_default().extend_from_slice(&passing);
        }
        if !self.waits {
            self.goes_on();
        }
    }

    fn goes_on(&mut self) {
        self.waits = false;
        self.given.append(&mut self.waiting.take().unwrap_or_default());
    }
}

#[derive(Default)]
struct State {
    streams: BTreeMap<u32, Stream>,
    counters: Vec<(String, u64)>,
    log: Vec<String>,
    calls: Vec<Call>,
    next_call: u32,
    observed: Observed,
    refuse: Option<u32>,
    scheduled: Option<Arc<Scheduled>>,
    within: Option<Within>,
}

impl State {
    fn stream(&mut self, address: Address) -> &mut Stream {
        let number = u32::try_from(address.addr() % STREAMS).unwrap();
        self.streams.get_mut(&number).expect("a stream of Envoy's")
    }

    fn begin(
        &mut self,
        owner: Owner,
        cluster: Bytes,
        headers: &[Header],
        body: Bytes,
        whole: bool,
    ) -> Result<u64, u32> {
        // SAFETY: the module's, for the time of the call.
        let (cluster, body) = unsafe { (cluster.read(), body.read().to_vec()) };
        let mut read = Headers::default();
        for header in headers {
            // SAFETY: as above.
            let (name, value) = unsafe { header.read() };
            read.add(name, value);
        }
        let path = read.get(":path").unwrap_or_default();
        if whole {
            self.observed.count(&path, &body);
        }
        if let Some(refused) = self.refuse {
            return Err(refused);
        }
        self.next_call += 1;
        let (token, cluster) = (self.next_call, String::from_utf8_lossy(cluster).into_owned());
        let seen = CallSeen { token, cluster, path, headers: read.texts(), body };
        self.calls.push(Call { owner, seen, whole });
        Ok(u64::from(token))
    }
}

fn instance(number: usize) -> Option<Arc<Mutex<State>>> {
    INSTANCES.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
}

/// The state that an address of ours belongs to.
fn at<T>(address: Address, act: impl FnOnce(&mut State) -> T) -> T {
    let state = instance(address.addr() / STREAMS).expect("an instance that is there");
    act(&mut lock(&state))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does what the test wants done within a call.
fn within(address: Address, call: u64) {
    if let Some(within) = at(address, |state| state.within.take()) {
        within(call);
    }
}

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
    /// The connection breaks by which a batch is sent.
    pub(crate) fn reset(self, call: u64) {
        let config = std::ptr::without_provenance_mut(self.config);
        at(config, |state| state.calls.retain(|known| u64::from(known.seen.token) != call));
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
            state.streams.get_mut(&self.stream).map_or(0, |stream| std::mem::take(&mut stream.module))
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

    /// The response of the stream goes on with an empty last piece, as one of Envoy's own would.
    pub(crate) fn response_ends(self) {
        let module = at(self.address(), |state| state.streams.get(&self.stream).map_or(0, |stream| stream.module));
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
        });
        self.response_hook(stream, |envoy, module| {
            hooks::envoy_dynamic_module_on_http_filter_response_headers(envoy, module, end)
        });
    }

    fn response_body(&mut self, stream: u32, chunk: &[u8], end: bool) {
        self.stream(stream, |stream| stream.passing = Some(chunk.to_vec()));
        self.response_hook(stream, |envoy, module| {
            hooks::envoy_dynamic_module_on_http_filter_response_body(envoy, module, end)
        });
    }

    fn response_trailers(&mut self, stream: u32) {
        self.response_hook(stream, |envoy, module| {
            hooks::envoy_dynamic_module_on_http_filter_response_trailers(envoy, module)
        });
    }

    fn held(&self, stream: u32) -> bool {
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

    fn calls(&self) -> Vec<CallSeen> {
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

// SAFETY, for every function: the name is the ABI's, and the test program has it once; addresses are those that the module
// hands over for the time of the call, or our own numbers.

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_log(_level: u32, line: Bytes) {
    if let Some(state) = instance(CURRENT.get()) {
        // SAFETY: see above.
        lock(&state).log.push(String::from_utf8_lossy(unsafe { line.read() }).into_owned());
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_get_runtime_int(key: Bytes, otherwise: u64) -> u64 {
    // SAFETY: see above.
    let key = String::from_utf8_lossy(unsafe { key.read() }).into_owned();
    RUNTIME.with_borrow(|runtime| runtime.get(&key).copied().unwrap_or(otherwise))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_access_logger_get_header_value(
    _logged: Address,
    _map: u32,
    _name: Bytes,
    out: *mut Bytes,
    _index: usize,
    _count: *mut usize,
) -> bool {
    // SAFETY: see above.
    unsafe { *out = Bytes::of(b"/runtime_modify?suggest=1") };
    true
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_headers_size(stream: Address, map: u32) -> usize {
    at(stream, |state| state.stream(stream).map(map).map_or(0, |headers| headers.len()))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_headers(stream: Address, map: u32, out: *mut Header) -> bool {
    at(stream, |state| {
        let Some(headers) = state.stream(stream).map(map) else { return false };
        for (place, header) in headers.borrowed().into_iter().enumerate() {
            // SAFETY: see above; the module has made room for as many.
            unsafe { out.add(place).write(Header::of(header)) };
        }
        true
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_add_header(
    stream: Address,
    map: u32,
    name: Bytes,
    value: Bytes,
) -> bool {
    // SAFETY: see above.
    let (name, value) = unsafe { (name.read(), value.read()) };
    at(stream, |state| state.stream(stream).map(map).map(|headers| headers.add(name, value)).is_some())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_set_header(
    stream: Address,
    map: u32,
    name: Bytes,
    value: Bytes,
) -> bool {
    // SAFETY: see above.
    let (name, read) = unsafe { (name.read(), value.read()) };
    let set =
        |headers: &mut Headers| if value.start.is_null() { headers.drop_all(name) } else { headers.put(name, read) };
    at(stream, |state| state.stream(stream).map(map).map(set).is_some())
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_size(stream: Address, body: u32) -> usize {
    at(stream, |state| state.stream(stream).body(body).as_ref().map_or(0, Vec::len))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_chunks_size(stream: Address, body: u32) -> usize {
    at(stream, |state| state.stream(stream).body(body).as_ref().map_or(0, |body| body.chunks(CHUNK).count()))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_get_body_chunks(stream: Address, body: u32, out: *mut Bytes) -> bool {
    at(stream, |state| {
        let Some(body) = state.stream(stream).body(body) else { return false };
        for (place, chunk) in body.chunks(CHUNK).enumerate() {
            // SAFETY: see above; the module has made room for as many.
            unsafe { out.add(place).write(Bytes::of(chunk)) };
        }
        true
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
    stream: Address,
    attribute: u32,
    out: *mut Bytes,
) -> bool {
    let name = if attribute == abi::REQUEST_PATH { b":path".as_slice() } else { b":method" };
    at(stream, |state| {
        let headers = state.stream(stream).request.borrowed();
        let found = headers.iter().find(|(found, _)| *found == name);
        // SAFETY: see above.
        found.map(|(_, value)| unsafe { *out = Bytes::of(value) }).is_some()
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_append_body(stream: Address, body: u32, data: Bytes) -> bool {
    // SAFETY: see above.
    let data = unsafe { data.read() };
    let done =
        at(stream, |state| state.stream(stream).body(body).as_mut().map(|body| body.extend_from_slice(data)).is_some());
    within(stream, 0);
    done
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_continue_encoding(stream: Address) {
    at(stream, |state| state.stream(stream).goes_on());
    within(stream, 0);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_drain_body(stream: Address, body: u32, count: usize) -> bool {
    at(stream, |state| {
        let drain = |body: &mut Vec<u8>| *body = body.split_off(count.min(body.len()));
        state.stream(stream).body(body).as_mut().map(drain).is_some()
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_http_callout(
    stream: Address,
    id: *mut u64,
    cluster: Bytes,
    headers: *const Header,
    count: usize,
    body: Bytes,
    _timeout_ms: u64,
) -> u32 {
    let number = u32::try_from(stream.addr() % STREAMS).unwrap();
    begin(stream, id, Owner::Stream(number), cluster, (headers, count), body, true)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_http_callout(
    config: Address,
    id: *mut u64,
    cluster: Bytes,
    headers: *const Header,
    count: usize,
    body: Bytes,
    _timeout_ms: u64,
) -> u32 {
    begin(config, id, Owner::Configuration, cluster, (headers, count), body, true)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_start_http_stream(
    config: Address,
    id: *mut u64,
    cluster: Bytes,
    headers: *const Header,
    count: usize,
    body: Bytes,
    end: bool,
    _timeout_ms: u64,
) -> u32 {
    begin(config, id, Owner::Batch, cluster, (headers, count), body, end)
}

fn begin(
    address: Address,
    id: *mut u64,
    owner: Owner,
    cluster: Bytes,
    (headers, count): (*const Header, usize),
    body: Bytes,
    whole: bool,
) -> u32 {
    // SAFETY: see above.
    let headers = unsafe { abi::slice(headers, count) };
    match at(address, |state| state.begin(owner, cluster, headers, body, whole)) {
        Ok(call) => {
            // SAFETY: see above.
            unsafe { *id = call };
            within(address, call);
            abi::SUCCESS
        }
        Err(refused) => refused,
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_stream_send_data(
    config: Address,
    id: u64,
    data: Bytes,
    end: bool,
) -> bool {
    // SAFETY: see above.
    let data = unsafe { data.read() };
    let done = at(config, |state| {
        let Some(call) = state.calls.iter_mut().find(|call| u64::from(call.seen.token) == id) else { return false };
        call.seen.body.extend_from_slice(data);
        call.whole = end;
        if end {
            state.observed.count(&call.seen.path, &call.seen.body);
        }
        true
    });
    within(config, id);
    done
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_define_counter(
    config: Address,
    name: Bytes,
    _labels: *const Bytes,
    _labels_count: usize,
    id: *mut usize,
) -> u32 {
    // SAFETY: see above.
    let name = String::from_utf8_lossy(unsafe { name.read() }).into_owned();
    at(config, |state| {
        state.counters.push((name, 0));
        // SAFETY: see above.
        unsafe { *id = state.counters.len() - 1 };
    });
    abi::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_increment_counter(
    config: Address,
    id: usize,
    _labels: *const Bytes,
    _labels_count: usize,
    by: u64,
) -> u32 {
    assert!(by > 0, "Envoy takes no 0");
    at(config, |state| state.counters[id].1 += by);
    abi::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_scheduler_new(config: Address) -> Address {
    let scheduled = Arc::<Scheduled>::default();
    at(config, |state| state.scheduled = Some(Arc::clone(&scheduled)));
    Arc::into_raw(scheduled).cast_mut().cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_scheduler_commit(scheduler: Address, event: u64) {
    // SAFETY: what `scheduler_new` made, and the module has not deleted.
    let scheduled = unsafe { &*scheduler.cast::<Scheduled>() };
    scheduled.lock().unwrap().push_back((event, std::thread::current().id()));
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_callback_http_filter_config_scheduler_delete(scheduler: Address) {
    // SAFETY: what `scheduler_new` made, deleted once.
    drop(unsafe { Arc::from_raw(scheduler.cast_const().cast::<Scheduled>()) });
}
