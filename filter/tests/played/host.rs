//! The port, played.

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

    fn get(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(found, _)| found == name.as_bytes())?;
        Some(String::from_utf8_lossy(&found.1).into_owned())
    }

    fn write(&self, out: &mut Vec<u8>) {
        let borrowed: Vec<(&[u8], &[u8])> = self.0.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
        pairs::write(out, &borrowed);
    }

    fn texts(&self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.0.iter().map(|(name, value)| (text(name), text(value))).collect()
    }
}

/// What Envoy does once the callback has returned.
#[derive(Debug)]
pub(crate) enum Action {
    Resume(u32),
    Respond { context: u32, headers: Headers, body: Vec<u8> },
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
    answer: Option<Headers>,
    details: String,
    notes: BTreeMap<Vec<u8>, Vec<u8>>,
    answered: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct State {
    now_ns: u64,
    acting: u32,
    chunk: Vec<u8>,
    reply: Headers,
    /// Which stream a context belongs to.
    of: BTreeMap<u32, u32>,
    streams: BTreeMap<u32, Stream>,
    held: BTreeMap<u32, bool>,
    counters: Vec<(String, u64)>,
    periods: BTreeMap<u32, u32>,
    log: Vec<String>,
    calls: Vec<CallSeen>,
    actions: Vec<Action>,
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
        let id = *self.of.get(&self.acting)?;
        self.streams.get_mut(&id)
    }

    fn map(&mut self, map: Map) -> Option<&mut Headers> {
        match map {
            Map::Request => self.stream().map(|stream| &mut stream.request),
            Map::Answer => self.stream().and_then(|stream| stream.answer.as_mut()),
            Map::Call => Some(&mut self.reply),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PlayedHost(RefCell<State>);

impl PlayedHost {
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
        let mut state = self.0.borrow_mut();
        state.of.insert(context, context);
        state.streams.insert(context, Stream { request, ..Stream::default() });
    }

    pub(crate) fn same_stream(&self, context: u32, as_of: u32) {
        self.0.borrow_mut().of.insert(context, as_of);
    }

    pub(crate) fn drop_stream(&self, context: u32) {
        self.0.borrow_mut().of.remove(&context);
    }

    pub(crate) fn answer(&self, stream: u32, headers: Headers, details: &str) {
        if let Some(stream) = self.0.borrow_mut().streams.get_mut(&stream) {
            stream.answer = Some(headers);
            stream.details = details.to_owned();
        }
    }

    pub(crate) fn set_answered(&self, stream: u32, body: &[u8]) {
        if let Some(stream) = self.0.borrow_mut().streams.get_mut(&stream) {
            assert!(stream.answered.is_none(), "answered twice");
            stream.answered = Some(body.to_vec());
        }
    }

    pub(crate) fn answered(&self, stream: u32) -> Option<Vec<u8>> {
        self.0.borrow().streams.get(&stream)?.answered.clone()
    }

    pub(crate) fn request_header(&self, stream: u32, name: &str) -> Option<String> {
        self.0.borrow().streams.get(&stream)?.request.get(name)
    }

    pub(crate) fn told(&self, stream: u32) -> Vec<(String, String)> {
        let state = self.0.borrow();
        let headers = state.streams.get(&stream).and_then(|stream| stream.answer.clone()).unwrap_or_default();
        let mut told: Vec<_> = headers.texts().into_iter().filter(|(name, _)| name.starts_with("x-perch-")).collect();
        told.sort();
        told
    }

    pub(crate) fn set_held(&self, context: u32, held: bool) {
        self.0.borrow_mut().held.insert(context, held);
    }

    pub(crate) fn held(&self, context: u32) -> bool {
        self.0.borrow().held.get(&context).copied().unwrap_or(false)
    }

    pub(crate) fn take_actions(&self) -> Vec<Action> {
        std::mem::take(&mut self.0.borrow_mut().actions)
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

    pub(crate) fn period(&self, root: u32) -> u32 {
        self.0.borrow().periods.get(&root).copied().unwrap_or(0)
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

impl Host for PlayedHost {
    const MATCHERS: bool = true;

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

    fn body(&self, _: Body, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("body")?;
        out.extend_from_slice(&state.chunk[..length.min(state.chunk.len())]);
        Ok(())
    }

    fn property(&self, path: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        out.clear();
        state.check("property")?;
        let stream = state.stream().ok_or(Refused(NOT_FOUND))?;
        if path == b"response\0code_details" {
            out.extend_from_slice(stream.details.as_bytes());
        } else {
            out.extend_from_slice(stream.notes.get(path).ok_or(Refused(NOT_FOUND))?);
        }
        Ok(())
    }

    fn note(&self, path: &str, value: &[u8]) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("note")?;
        let stream = state.stream().ok_or(Refused(NOT_FOUND))?;
        stream.notes.insert(path.as_bytes().to_vec(), value.to_vec());
        Ok(())
    }

    fn left_out(&self) -> bool {
        false
    }

    fn call(&self, call: &Call<'_>) -> Result<u32, Refused> {
        let mut state = self.0.borrow_mut();
        let headers = Headers::read(call.headers);
        if headers.get(":path").as_deref() == Some(PATH) {
            let batch = Batch::parse(call.body.bytes()).unwrap();
            for seen in batch.observations.iter() {
                state.observed.0 += 1;
                if (200..=299).contains(&seen.status) {
                    state.observed.1 += answer::read(seen.answer, &batch.schema).map_or(1, |items| items.len() as u64);
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

    fn respond(&self, headers: &[u8], body: &[u8], _: &str) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("respond")?;
        let action = Action::Respond { context: state.acting, headers: Headers::read(headers), body: body.to_vec() };
        state.actions.push(action);
        Ok(())
    }

    fn resume(&self) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("resume")?;
        let action = Action::Resume(state.acting);
        state.actions.push(action);
        Ok(())
    }

    fn act_for(&self, context: u32) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("act_for")?;
        if !state.of.contains_key(&context) {
            return Err(Refused(BAD_ARGUMENT));
        }
        state.acting = context;
        Ok(())
    }

    fn tick_every(&self, ms: u32) -> Result<(), Refused> {
        let mut state = self.0.borrow_mut();
        state.check("tick_every")?;
        // The period is that of the root context; in tests that name one, streams of the model plugin act for it.
        let acting = state.acting;
        let root = if acting <= 2 {
            acting
        } else if state.of.get(&acting) == Some(&acting) {
            1
        } else {
            2
        };
        state.periods.insert(root, ms);
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
