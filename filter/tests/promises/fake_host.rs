//! The port, faked: the filter in a VM, and a host that returns any status to any call where a test asks for it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use contract::share::{BETA_KEY, OBSERVE_KEY, RUNTIME_KEY};
use filter::pairs::{self, Pairs};
use filter::plugin::host::{
    BatchCall, Batches, Body, Call, CallResponse, Callouts, Clock, Level, Log, Map, Messages, Refused, Stats, Timers,
};
use filter::plugin::replacement::Flow;
use filter::plugin::worker::{Configuration, Worker};

use super::gateway::{ADMIN_CLUSTER, Envoy};
use super::messages::{Headers, Observed, RecordedCall, Response};

/// The filter's root context.
const ROOT: u32 = 1;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;

#[derive(Debug, Default)]
struct Stream {
    request: Headers,
    response: Option<Headers>,
    trailers: Headers,
    /// What waits of the response, and what passes in this callback.
    buffer: Vec<u8>,
    /// How much of it waits.
    held: usize,
    /// What has gone to the client.
    given: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    now_ns: u64,
    acting: u32,
    chunk: Vec<u8>,
    reply: Headers,
    streams: BTreeMap<u32, Stream>,
    counters: Vec<(String, u64)>,
    period: u32,
    log: Vec<String>,
    calls: Vec<RecordedCall>,
    next_token: u32,
    observed: Observed,
    refuse: Option<(&'static str, u32)>,
    statuses: Vec<u32>,
    next_status: usize,
    /// In place of any header map.
    raw_map: Option<Vec<u8>>,
}

impl State {
    fn check(&mut self, kind: &'static str) -> Result<(), Refused> {
        if let Some((refused, status)) = self.refuse
            && refused == kind
        {
            return Err(Refused(status));
        }
        if !self.statuses.is_empty() {
            self.next_status += 1;
            let status = self.statuses[self.next_status % self.statuses.len()];
            if status != 0 {
                return Err(Refused(status));
            }
        }
        Ok(())
    }

    fn stream(&mut self) -> Option<&mut Stream> {
        self.streams.get_mut(&self.acting)
    }

    fn map(&mut self, map: Map) -> Option<&mut Headers> {
        match map {
            Map::Request => self.stream().map(|stream| &mut stream.request),
            Map::Response => self.stream().and_then(|stream| stream.response.as_mut()),
            Map::ResponseTrailers => self.stream().map(|stream| &mut stream.trailers),
        }
    }
}

/// The host.
#[derive(Debug, Default)]
pub(crate) struct FakeHost(RefCell<State>);

impl FakeHost {
    pub(crate) fn enter(&self, context: u32) {
        self.0.borrow_mut().acting = context;
    }

    pub(crate) fn set_chunk(&self, chunk: &[u8]) {
        self.0.borrow_mut().chunk = chunk.to_vec();
    }

    pub(crate) fn set_reply(&self, headers: Headers) {
        self.0.borrow_mut().reply = headers;
    }

    pub(crate) fn stream(&self, context: u32, request: Headers) {
        self.0.borrow_mut().streams.insert(context, Stream { request, ..Stream::default() });
    }

    fn at<T: Default>(&self, context: u32, act: impl FnOnce(&mut Stream) -> T) -> T {
        self.0.borrow_mut().streams.get_mut(&context).map(act).unwrap_or_default()
    }

    pub(crate) fn drop_stream(&self, context: u32) {
        self.0.borrow_mut().streams.remove(&context);
    }

    pub(crate) fn respond(&self, context: u32, headers: Headers, trailers: Headers) {
        self.at(context, |stream| {
            stream.response = Some(headers);
            stream.trailers = trailers;
        });
    }

    /// A part of the response comes; how much there is with what waits.
    pub(crate) fn comes(&self, context: u32, chunk: &[u8]) -> usize {
        self.at(context, |stream| {
            stream.held = stream.buffer.len();
            stream.buffer.extend_from_slice(chunk);
            stream.buffer.len()
        })
    }

    /// What waited of the response goes to the client.
    pub(crate) fn goes(&self, context: u32) {
        self.at(context, |stream| {
            let mut buffer = std::mem::take(&mut stream.buffer);
            stream.given.append(&mut buffer);
            stream.held = 0;
        });
    }

    /// Headers, body and trailers that the client was given.
    pub(crate) fn given(&self, context: u32) -> (Headers, Vec<u8>, Headers) {
        let get = |stream: &mut Stream| {
            (stream.response.clone().unwrap_or_default(), stream.given.clone(), stream.trailers.clone())
        };
        self.at(context, get)
    }

    pub(crate) fn request_headers(&self, context: u32) -> Headers {
        self.at(context, |stream| stream.request.clone())
    }

    pub(crate) fn calls(&self) -> Vec<RecordedCall> {
        self.0.borrow().calls.clone()
    }

    pub(crate) fn take_call(&self, token: u32) -> Option<RecordedCall> {
        let mut state = self.0.borrow_mut();
        let at = state.calls.iter().position(|call| call.token == token)?;
        Some(state.calls.remove(at))
    }

    pub(crate) fn wait_ms(&self, ms: u64) {
        self.0.borrow_mut().now_ns += ms * 1_000_000;
    }

    pub(crate) fn refuse(&self, refuse: Option<(&'static str, u32)>) {
        self.0.borrow_mut().refuse = refuse;
    }

    pub(crate) fn set_statuses(&self, statuses: Vec<u32>) {
        self.0.borrow_mut().statuses = statuses;
    }

    pub(crate) fn set_raw_map(&self, bytes: &[u8]) {
        self.0.borrow_mut().raw_map = Some(bytes.to_vec());
    }

    pub(crate) fn period(&self) -> u32 {
        self.0.borrow().period
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.0.borrow().log.clone()
    }

    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (name, count) in &self.0.borrow().counters {
            *sums.entry(name.clone()).or_default() += count;
        }
        sums
    }

    /// Observations and served items of all batches that the filter tried to send.
    pub(crate) fn observed(&self) -> Observed {
        self.0.borrow().observed
    }
}

impl FakeHost {
    fn http_call(&self, cluster: &str, headers: &[u8], body: &[u8]) -> Result<u32, Refused> {
        let mut state = self.0.borrow_mut();
        let mut read = Headers::default();
        for (name, value) in Pairs::new(headers).iter() {
            read.add(name, value);
        }
        let headers = read;
        let path = headers.get(":path").unwrap_or_default();
        state.observed.count(&path, body);
        state.check("call")?;
        state.next_token += 4;
        let token = state.next_token;
        let (cluster, headers, body) = (cluster.to_owned(), headers.texts(), body.to_vec());
        state.calls.push(RecordedCall { token, cluster, path, headers, body });
        Ok(token)
    }

    fn map<T>(
        &self,
        scratch: &mut Vec<u8>,
        find: impl FnOnce(&mut State) -> Option<&mut Headers>,
        read: impl FnOnce(Pairs<'_>) -> T,
    ) -> Result<T, Refused> {
        scratch.clear();
        {
            let mut state = self.0.borrow_mut();
            state.check("headers")?;
            if let Some(raw) = &state.raw_map {
                scratch.extend_from_slice(raw);
            } else if let Some(headers) = find(&mut state) {
                pairs::write(scratch, &headers.borrowed());
            }
            // As in Envoy: a map that is not there reads as an empty one.
        }
        Ok(read(Pairs::new(scratch)))
    }

    fn chunk(&self, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("body")?;
        out.extend_from_slice(&state.chunk[..length.min(state.chunk.len())]);
        Ok(())
    }
}

/// The response to a call, as the host shows it.
pub(crate) struct Reply<'a> {
    pub(crate) host: &'a FakeHost,
    pub(crate) length: usize,
}

impl CallResponse for Reply<'_> {
    fn length(&self) -> usize {
        self.length
    }

    fn headers<T>(&self, scratch: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused> {
        self.host.map(scratch, |state| Some(&mut state.reply), read)
    }

    fn body(&self, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        self.host.chunk(length, out)
    }
}

impl Clock for FakeHost {
    fn now_ns(&self) -> u64 {
        self.0.borrow().now_ns
    }
}

impl Log for FakeHost {
    fn log(&self, _: Level, line: &str) {
        self.0.borrow_mut().log.push(line.to_owned());
    }
}

impl Batches for FakeHost {
    fn send_batch(&self, call: &BatchCall<'_>) -> Result<u32, Refused> {
        self.http_call(call.cluster, call.headers, call.body)
    }
}

impl Callouts for FakeHost {
    fn call(&self, call: &Call<'_>) -> Result<u32, Refused> {
        self.http_call(call.cluster, call.headers, call.body)
    }
}

impl Configuration for FakeHost {
    fn configuration(&self, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        self.chunk(length, out)
    }
}

impl Timers for FakeHost {
    fn tick_every(&self, ms: u32) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("tick_every")?;
        // The period is that of the root context, whichever of its contexts acts.
        state.period = ms;
        Ok(())
    }
}

impl Messages for FakeHost {
    fn headers<T>(&self, map: Map, scratch: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused> {
        self.map(scratch, |state| state.map(map), read)
    }

    fn set_header(&self, map: Map, name: &str, value: &[u8]) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("set_header")?;
        state.map(map).ok_or(Refused(BAD_ARGUMENT))?.put(name.as_bytes(), value);
        Ok(())
    }

    fn add_header(&self, map: Map, name: &str, value: &[u8]) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("add_header")?;
        // As in Envoy: one that is there stays.
        state.map(map).ok_or(Refused(BAD_ARGUMENT))?.add(name.as_bytes(), value);
        Ok(())
    }

    fn remove_header(&self, map: Map, name: &[u8]) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("remove_header")?;
        state.map(map).ok_or(Refused(BAD_ARGUMENT))?.drop_all(name);
        Ok(())
    }

    fn body(&self, body: Body, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        if body == Body::Request {
            return self.chunk(length, out);
        }
        let mut state = self.0.borrow_mut();
        state.check("body")?;
        let stream = state.stream().ok_or(Refused(NOT_FOUND))?;
        let shown = &stream.buffer[if body == Body::Response { stream.held } else { 0 }..];
        out.extend_from_slice(&shown[..length.min(shown.len())]);
        Ok(())
    }

    fn property(&self, _: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        out.clear();
        self.0.borrow_mut().check("property")?;
        Err(Refused(NOT_FOUND))
    }

    fn replace_response(&self, body: &[u8]) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("replace")?;
        state.stream().ok_or(Refused(NOT_FOUND))?.buffer = body.to_vec();
        Ok(())
    }

    fn act_for(&self, context: u32) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("act_for")?;
        if !state.streams.contains_key(&context) {
            return Err(Refused(BAD_ARGUMENT));
        }
        state.acting = context;
        Ok(())
    }
}

impl Stats for FakeHost {
    fn define(&self, name: &str) -> Result<u32, Refused> {
        let mut state = self.0.borrow_mut();
        state.check("define")?;
        state.counters.push((name.to_owned(), 0));
        Ok(u32::try_from(state.counters.len() - 1).unwrap())
    }

    fn increment(&self, counter: u32, by: u64) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        assert!(by > 0, "Envoy takes no 0");
        state.check("increment")?;
        let counter = state.counters.get_mut(counter as usize).ok_or(Refused(NOT_FOUND))?;
        counter.1 += by;
        Ok(())
    }
}

/// One worker's VM.
#[derive(Debug, Default)]
pub(crate) struct Vm {
    pub(crate) worker: Worker,
    pub(crate) host: FakeHost,
    /// Streams whose response waits.
    held: BTreeMap<u32, bool>,
}

impl Vm {
    /// Every host call returns the next of these statuses, over and over.
    pub(crate) fn statuses(&self, statuses: Vec<u32>) {
        self.host.set_statuses(statuses);
    }

    fn flows(&mut self, stream: u32, flow: &Flow) {
        self.held.insert(stream, *flow == Flow::Hold);
        if let Flow::Replace(replacement) = flow {
            self.host.enter(stream);
            replacement.apply(&self.host);
        }
        if *flow != Flow::Hold {
            self.host.goes(stream);
        }
    }
}

impl Envoy for Vm {
    fn start(document: &str) -> (Self, bool) {
        let mut vm = Self::default();
        vm.host.enter(ROOT);
        vm.host.set_chunk(document.as_bytes());
        vm.worker.created(ROOT, 0);
        let accepted = vm.worker.configured(&vm.host, ROOT, document.len());
        (vm, accepted)
    }

    /// The admin interface answers a query of the filter, if one is under way.
    fn set_share(&mut self, percent: u32) {
        let entry = |key: &str, value: u32| format!(r#""{key}":{{"final_value":"{value}"}}"#);
        let entries = [entry(RUNTIME_KEY, percent), entry(BETA_KEY, 0), entry(OBSERVE_KEY, 100)].join(",");
        let listing = format!(r#"{{"layers":[],"entries":{{{entries}}}}}"#);
        if let Some(call) = self.calls().into_iter().rfind(|call| call.cluster == ADMIN_CLUSTER) {
            self.reply(call.token, &Response::of(200, &[], listing.as_bytes()));
        }
    }

    fn request_headers(&mut self, stream: u32, headers: Headers, end: bool) {
        self.host.stream(stream, headers);
        self.worker.created(stream, ROOT);
        self.host.enter(stream);
        self.worker.request_headers(&self.host, stream, end);
    }

    fn request_body(&mut self, stream: u32, chunk: &[u8], end: bool) {
        self.host.enter(stream);
        self.host.set_chunk(chunk);
        self.worker.request_body(&self.host, stream, chunk.len(), end);
    }

    fn request_trailers(&mut self, stream: u32) {
        self.host.enter(stream);
        self.worker.request_trailers(&self.host, stream);
    }

    fn response_headers(&mut self, stream: u32, headers: Headers, trailers: Headers, end: bool) {
        self.host.respond(stream, headers, trailers);
        self.host.enter(stream);
        let flow = self.worker.response_headers(&self.host, stream, end);
        self.flows(stream, &flow);
    }

    fn response_body(&mut self, stream: u32, chunk: &[u8], end: bool) {
        self.host.enter(stream);
        // What does not wait is shown by itself, what waits with all that came.
        let length = self.host.comes(stream, chunk);
        let flow = self.worker.response_body(&self.host, stream, length, end);
        self.flows(stream, &flow);
    }

    fn response_trailers(&mut self, stream: u32) {
        self.host.enter(stream);
        let flow = self.worker.response_trailers(&self.host, stream);
        self.flows(stream, &flow);
    }

    fn is_waiting(&self, stream: u32) -> bool {
        self.held.get(&stream) == Some(&true)
    }

    fn given(&self, stream: u32) -> (Headers, Vec<u8>, Headers) {
        self.host.given(stream)
    }

    fn request(&self, stream: u32) -> Headers {
        self.host.request_headers(stream)
    }

    fn end(&mut self, stream: u32) {
        self.host.enter(stream);
        self.worker.deleted(&self.host, stream);
        self.host.drop_stream(stream);
    }

    fn reply(&mut self, token: u32, reply: &Response) {
        self.host.take_call(token);
        self.host.enter(ROOT);
        self.host.set_reply(reply.headers.clone());
        self.host.set_chunk(&reply.body);
        let shown = Reply { host: &self.host, length: reply.body.len() };
        let came = (reply.headers.len() > 0).then_some(&shown);
        if let Some((stream, flow)) = self.worker.call_over(&self.host, ROOT, token, came) {
            assert!(self.is_waiting(stream), "what goes on must have waited");
            self.flows(stream, &flow);
        }
    }

    fn calls(&self) -> Vec<RecordedCall> {
        self.host.calls()
    }

    fn tick(&mut self) {
        if self.host.period() > 0 {
            self.host.enter(ROOT);
            self.worker.tick(&self.host, ROOT);
        }
    }

    fn stop(&mut self) {
        self.host.enter(ROOT);
        self.worker.deleted(&self.host, ROOT);
    }

    fn wait_ms(&self, ms: u64) {
        self.host.wait_ms(ms);
    }

    fn refuse(&self, refused: Option<(&'static str, u32)>) {
        self.host.refuse(refused);
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        self.host.counters()
    }

    fn log(&self) -> Vec<String> {
        self.host.log()
    }

    fn observed(&self) -> Observed {
        self.host.observed()
    }
}
