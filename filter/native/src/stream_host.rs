//! The port for a callback of a stream, on the stream's own worker thread.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use filter::pairs::Pairs;
use filter::plugin::host::{Body, Call, Host, Level, Map, Payload, Refused};

use crate::abi::{self, Address, Bytes, Header};
use crate::place::Place;
use crate::received::{self, FEW_HEADERS, FEW_PIECES, Received};
use crate::sending::Leaving;

/// The filter asked for what is not to be had here: a status, as any of Envoy's.
pub(crate) const NOT_HERE: Refused = Refused(1);
/// What the WebAssembly host answers where there is no such cluster, and where a call cannot be made.
const BAD_ARGUMENT: Refused = Refused(2);
const NOT_SENT: Refused = Refused(10);

/// Nanoseconds since the first that anybody asked.
pub(crate) fn now_ns() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    u64::try_from(FIRST.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Writes to Envoy's log.
pub(crate) fn log(level: Level, line: &str) {
    let level = match level {
        Level::Warn => abi::WARN,
        Level::Error => abi::ERROR,
    };
    // SAFETY: the line lives until the call returns.
    unsafe { abi::envoy_dynamic_module_callback_log(level, Bytes::of(line.as_bytes())) };
}

/// An attribute of the stream at `stream`, in one of its hooks, as `read` reads it. Of a header that is one, Envoy makes no
/// copy of the name first.
pub(crate) fn attribute<T>(stream: Address, attribute: u32, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let mut value = Bytes::NONE;
    // SAFETY: the stream's address is good in its hook.
    let found = !stream.is_null()
        && unsafe {
            abi::envoy_dynamic_module_callback_http_filter_get_attribute_string(stream, attribute, &raw mut value)
        };
    // SAFETY: Envoy keeps the value until the hook ends or something is set, which reading it does not.
    found.then(|| read(unsafe { value.read() }))
}

/// Leaves a call to the main thread; the worker's token for it.
pub(crate) fn token(place: &Arc<Place>, call: &Call<'_>, ask: bool) -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let token = NEXT.fetch_add(1, Ordering::Relaxed);
    let leaving = Leaving {
        place: Arc::clone(place),
        token,
        cluster: call.cluster.to_owned(),
        headers: call.headers.to_vec(),
        body: call.body.keep(),
        timeout_ms: call.timeout_ms,
    };
    place.plugin.leave(leaving, ask);
    token
}

/// See the module.
pub(crate) struct OnStream<'a> {
    /// Null once the stream is over: nothing of it can be read or changed then.
    envoy: Address,
    place: &'a Arc<Place>,
    /// What a call was answered with; nothing where it failed, or this is no callback of one.
    received: Option<Received<'a>>,
    /// Envoy's number of the call that this callback began, and ours.
    began: Cell<Option<(u64, u32)>>,
}

thread_local! {
    /// The call that was over within the call that began it.
    static AT_ONCE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Notes a call that no stream knows of yet.
pub(crate) fn note_at_once(call: u64) {
    AT_ONCE.set(Some(call));
}

impl<'a> OnStream<'a> {
    /// For a hook of the stream at `envoy`; null in its last.
    ///
    /// # Safety
    /// `envoy` is null, or was handed to the hook that is running on this thread and in which this is used.
    pub(crate) const unsafe fn new(envoy: Address, place: &'a Arc<Place>, received: Option<Received<'a>>) -> Self {
        Self { envoy, place, received, began: Cell::new(None) }
    }

    /// Envoy's number of the call that the callback began, and the worker's.
    pub(crate) const fn began(&self) -> Option<(u64, u32)> {
        self.began.get()
    }

    /// How many bytes of a body pass in this callback.
    pub(crate) fn passing(&self, body: Body) -> usize {
        let Some(kind) = kind(body).filter(|_| !self.envoy.is_null()) else { return 0 };
        // SAFETY: the stream's address is good in its hook.
        unsafe { abi::envoy_dynamic_module_callback_http_get_body_size(self.envoy, kind) }
    }

    /// A header map of the stream.
    fn map(&self, map: Map) -> Result<u32, Refused> {
        map_number(map).filter(|_| !self.envoy.is_null()).ok_or(NOT_HERE)
    }

    /// Appends the first `length` bytes of a body, or fewer where there are fewer. How many it lacks then.
    fn append(&self, kind: u32, length: usize, out: &mut Vec<u8>) -> Result<usize, Refused> {
        if self.envoy.is_null() {
            return Err(NOT_HERE);
        }
        // SAFETY: the stream's address is good in its hook.
        let count = unsafe { abi::envoy_dynamic_module_callback_http_get_body_chunks_size(self.envoy, kind) };
        // SAFETY: as above; Envoy writes as many as it has just counted, since nothing came, and keeps the bytes until the
        // hook ends or the body is changed, which nothing does here.
        unsafe {
            abi::listed::<Bytes, _, FEW_PIECES>(
                count,
                |list| abi::envoy_dynamic_module_callback_http_get_body_chunks(self.envoy, kind, list),
                |pieces| received::append(pieces.iter().map(|piece| piece.read()), length, out),
            )
        }
        .ok_or(NOT_HERE)
    }

    fn set(&self, map: Map, name: &[u8], value: Bytes) -> Result<(), Refused> {
        let map = self.map(map)?;
        // SAFETY: the stream's address is good in its hook; name and value live until the call returns.
        let done =
            unsafe { abi::envoy_dynamic_module_callback_http_set_header(self.envoy, map, Bytes::of(name), value) };
        if done { Ok(()) } else { Err(NOT_HERE) }
    }
}

const fn kind(body: Body) -> Option<u32> {
    match body {
        Body::Request => Some(abi::REQUEST_BODY),
        Body::Response => Some(abi::RESPONSE_BODY),
        Body::Held | Body::Call | Body::Configuration => None,
    }
}

const fn map_number(map: Map) -> Option<u32> {
    match map {
        Map::Request => Some(abi::REQUEST_HEADERS),
        Map::Response => Some(abi::RESPONSE_HEADERS),
        Map::ResponseTrailers => Some(abi::RESPONSE_TRAILERS),
        Map::Call => None,
    }
}

impl Host for OnStream<'_> {
    const SHARES_BY_CALL: bool = false;
    const CALLS_END_WITH_STREAM: bool = true;

    fn now_ns(&self) -> u64 {
        now_ns()
    }

    fn log(&self, level: Level, line: &str) {
        log(level, line);
    }

    fn headers<T>(&self, map: Map, _: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused> {
        if let (Map::Call, Some(received)) = (map, self.received) {
            return Ok(received.headers(read));
        }
        let map = self.map(map)?;
        // SAFETY: the stream's address is good in its hook.
        let count = unsafe { abi::envoy_dynamic_module_callback_http_get_headers_size(self.envoy, map) };
        // SAFETY: as above; Envoy writes as many as it has just counted, since no header came or went, and keeps names and
        // values until the hook ends or a header is set, which nothing does that only reads.
        unsafe {
            abi::listed::<_, _, FEW_HEADERS>(
                count,
                |list| abi::envoy_dynamic_module_callback_http_get_headers(self.envoy, map, list),
                |headers| received::shown(headers, read),
            )
        }
        .ok_or(NOT_HERE)
    }

    fn set_header(&self, map: Map, name: &str, value: &[u8]) -> Result<(), Refused> {
        self.set(map, name.as_bytes(), Bytes::of(value))
    }

    fn add_header(&self, map: Map, name: &str, value: &[u8]) -> Result<(), Refused> {
        let map = self.map(map)?;
        // SAFETY: the stream's address is good in its hook; name and value live until the call returns.
        let done = unsafe {
            abi::envoy_dynamic_module_callback_http_add_header(
                self.envoy,
                map,
                Bytes::of(name.as_bytes()),
                Bytes::of(value),
            )
        };
        if done { Ok(()) } else { Err(NOT_HERE) }
    }

    fn remove_header(&self, map: Map, name: &[u8]) -> Result<(), Refused> {
        self.set(map, name, Bytes::NONE)
    }

    fn body(&self, body: Body, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        match (body, self.received) {
            (Body::Call, Some(received)) => {
                received.write_body(length, out);
                return Ok(());
            }
            (Body::Held, _) => {
                // With the trailers nothing passes; with the first piece of the body nothing waits. Whoever asks looks at
                // what came.
                let lacks = self.append(abi::HELD_RESPONSE_BODY, length, out).unwrap_or(length);
                let _ = self.append(abi::RESPONSE_BODY, lacks, out);
                return Ok(());
            }
            _ => {}
        }
        let kind = kind(body).ok_or(NOT_HERE)?;
        self.append(kind, length, out).map(drop)
    }

    fn property(&self, _: &[u8], _: &mut Vec<u8>) -> Result<(), Refused> {
        Err(NOT_HERE)
    }

    fn replace_response(&self, body: &[u8]) -> Result<(), Refused> {
        if self.envoy.is_null() {
            return Err(NOT_HERE);
        }
        let drain = |kind| {
            // SAFETY: the stream's address is good in its hook.
            unsafe { abi::envoy_dynamic_module_callback_http_drain_body(self.envoy, kind, usize::MAX) }
        };
        let append = |kind| {
            // SAFETY: as above; the body lives until the call returns.
            unsafe { abi::envoy_dynamic_module_callback_http_append_body(self.envoy, kind, Bytes::of(body)) }
        };
        // What waits, and what passes in this callback, where there is any.
        let held = drain(abi::HELD_RESPONSE_BODY);
        let passing = drain(abi::RESPONSE_BODY);
        let done = if passing { append(abi::RESPONSE_BODY) } else { held && append(abi::HELD_RESPONSE_BODY) };
        if done { Ok(()) } else { Err(NOT_HERE) }
    }

    fn call(&self, call: &Call<'_>) -> Result<u32, Refused> {
        if matches!(call.body, Payload::Shared(_)) {
            // A batch outlives the request.
            return Ok(token(self.place, call, true));
        }
        if self.envoy.is_null() {
            return Err(NOT_HERE);
        }
        let headers: Vec<Header> = Pairs::new(call.headers).iter().map(Header::of).collect();
        let mut number = 0;
        AT_ONCE.set(None);
        // SAFETY: the stream's address is good in its hook; everything else lives until the call returns.
        let result = unsafe {
            abi::envoy_dynamic_module_callback_http_filter_http_callout(
                self.envoy,
                &raw mut number,
                Bytes::of(call.cluster.as_bytes()),
                headers.as_ptr(),
                headers.len(),
                Bytes::of(call.body.bytes()),
                u64::from(call.timeout_ms),
            )
        };
        match result {
            abi::SUCCESS if AT_ONCE.get() != Some(number) => {
                static NEXT: AtomicU32 = AtomicU32::new(1);
                let token = NEXT.fetch_add(1, Ordering::Relaxed);
                self.began.set(Some((number, token)));
                Ok(token)
            }
            abi::CLUSTER_NOT_FOUND => Err(BAD_ARGUMENT),
            _ => Err(NOT_SENT),
        }
    }

    fn act_for(&self, _: u32) -> Result<(), Refused> {
        // Callbacks here are the stream's own.
        if self.envoy.is_null() { Err(NOT_HERE) } else { Ok(()) }
    }

    fn tick_every(&self, ms: u32) -> Result<(), Refused> {
        self.place.tick_every(ms)
    }

    fn define(&self, name: &str) -> Result<u32, Refused> {
        self.place.plugin.counters.get(name).copied().ok_or(NOT_HERE)
    }

    fn increment(&self, counter: u32, by: u64) -> Result<(), Refused> {
        if self.place.plugin.increment(counter, by) { Ok(()) } else { Err(NOT_HERE) }
    }
}
