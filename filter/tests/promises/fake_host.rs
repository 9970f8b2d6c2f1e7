//! The port, faked.

use std::cell::RefCell;
use std::collections::BTreeMap;

use contract::answer;
use contract::frame::{Batch, PATH};
use filter::pairs::{self, Pairs};
use filter::plugin::host::{Body, Call, Host, Level, Map, Refused};

const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;

/// A header map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(Vec<u8>, Vec<u8>)>);

impl Headers {
    pub(crate) fn of(headers: &[(&str, &str)]) -> Self {
        Self(headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect())
    }

    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self(Pairs::new(bytes).iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.put(name.as_bytes(), value.as_bytes());
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(found, _)| found != name.as_bytes());
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn put(&mut self, name: &[u8], value: &[u8]) {
        self.0.retain(|(found, _)| found != name);
        self.0.push((name.to_vec(), value.to_vec()));
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(found, _)| found == name.as_bytes())?;
        Some(String::from_utf8_lossy(&found.1).into_owned())
    }

    fn write(&self, out: &mut Vec<u8>) {
        let borrowed: Vec<(&[u8], &[u8])> = self.0.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
        pairs::write(out, &borrowed);
    }

    pub(crate) fn texts(&self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.0.iter().map(|(name, value)| (text(name), text(value))).collect()
    }
}

/// A call that the filter made.
#[derive(Debug, Clone)]
pub(crate) struct CallSeen {
    pub(crate) token: u32,
    pub(crate) cluster: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

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
    calls: Vec<CallSeen>,
    next_token: u32,
    observed: (u64, u64),
    refuse: Option<(&'static str, u32)>,
    moods: Vec<u32>,
    mood: usize,
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
        if !self.moods.is_empty() {
            self.mood += 1;
            let status = self.moods[self.mood % self.moods.len()];
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
            Map::Call => Some(&mut self.reply),
        }
    }
}

/// See the module.
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

    pub(crate) fn calls(&self) -> Vec<CallSeen> {
        self.0.borrow().calls.clone()
    }

    pub(crate) fn take_call(&self, token: u32) -> Option<CallSeen> {
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

    pub(crate) fn moody(&self, statuses: Vec<u32>) {
        self.0.borrow_mut().moods = statuses;
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
    pub(crate) fn observed(&self) -> (u64, u64) {
        self.0.borrow().observed
    }
}

impl Host for FakeHost {
    const SHARES_BY_CALL: bool = true;
    const CALLS_END_WITH_STREAM: bool = false;

    fn now_ns(&self) -> u64 {
        self.0.borrow().now_ns
    }

    fn log(&self, _: Level, line: &str) {
        self.0.borrow_mut().log.push(line.to_owned());
    }

    fn headers<T>(&self, map: Map, scratch: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused> {
        scratch.clear();
        {
            let mut state = self.0.borrow_mut();
            state.check("headers")?;
            if let Some(raw) = &state.raw_map {
                scratch.extend_from_slice(raw);
            } else if let Some(headers) = state.map(map) {
                headers.write(scratch);
            }
            // As in Envoy: a map that is not there reads as an empty one.
        }
        Ok(read(Pairs::new(scratch)))
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
        state.map(map).ok_or(Refused(BAD_ARGUMENT))?.0.push((name.as_bytes().to_vec(), value.to_vec()));
        Ok(())
    }

    fn remove_header(&self, map: Map, name: &[u8]) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("remove_header")?;
        state.map(map).ok_or(Refused(BAD_ARGUMENT))?.0.retain(|(found, _)| found != name);
        Ok(())
    }

    fn body(&self, body: Body, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("body")?;
        let shown = match body {
            Body::Response | Body::Held => {
                let stream = state.stream().ok_or(Refused(NOT_FOUND))?;
                let from = if body == Body::Response { stream.held } else { 0 };
                stream.buffer[from..].to_vec()
            }
            Body::Request | Body::Call | Body::Configuration => state.chunk.clone(),
        };
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

    fn call(&self, call: &Call<'_>) -> Result<u32, Refused> {
        let mut state = self.0.borrow_mut();
        let headers = Headers::read(call.headers);
        if headers.get(":path").as_deref() == Some(PATH) {
            let batch = Batch::parse(call.body.bytes()).unwrap();
            for seen in batch.observations.iter() {
                state.observed.0 += 1;
                if seen.success() {
                    let (_, body) = seen.given();
                    state.observed.1 += answer::read(body, &batch.schema).map_or(1, |items| items.len() as u64);
                }
            }
        }
        state.check("call")?;
        state.next_token += 4;
        let token = state.next_token;
        state.calls.push(CallSeen {
            token,
            cluster: call.cluster.to_owned(),
            path: headers.get(":path").unwrap_or_default(),
            headers: headers.texts(),
            body: call.body.bytes().to_vec(),
        });
        Ok(token)
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

    fn tick_every(&self, ms: u32) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("tick_every")?;
        // The period is that of the root context, whichever of its contexts acts.
        state.period = ms;
        Ok(())
    }

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
