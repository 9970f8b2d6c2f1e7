//! The port for a callback of a stream, on the stream's own worker thread.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use filter::config::Role;
use filter::pairs::Pairs;
use filter::plugin::host::{Body, Call, Host, Level, Map, Refused};
use filter::plugin::{FALLBACK_NOTE, MODEL_DETAILS};

use crate::abi::{self, Address, Bytes, Header};
use crate::gate;
use crate::received::{self, FEW_HEADERS, FEW_PIECES, Received};
use crate::seat::Place;
use crate::sending::Leaving;
use crate::then::Then;

/// The filter asked for what is not to be had here: a status, as any of Envoy's.
pub(crate) const NOT_HERE: Refused = Refused(1);
/// What the WebAssembly host answers where there is no such cluster, and where a call cannot be made.
const BAD_ARGUMENT: Refused = Refused(2);
const NOT_SENT: Refused = Refused(10);

/// The path by which the filter asks who answered.
const CODE_DETAILS: &[u8] = b"response\0code_details";

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

/// The first header of that name of the request at `stream`, in one of its hooks, as `read` reads it.
pub(crate) fn header<T>(stream: Address, name: &str, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let mut value = Bytes::NONE;
    // SAFETY: the stream's address is good in its hook; the name lives until the call returns; nobody asks how many
    // there are.
    let found = !stream.is_null()
        && unsafe {
            abi::envoy_dynamic_module_callback_http_get_header(
                stream,
                abi::REQUEST_HEADERS,
                Bytes::of(name.as_bytes()),
                &raw mut value,
                0,
                std::ptr::null_mut(),
            )
        };
    // SAFETY: Envoy keeps the value until the hook ends or a header is set, which reading it does not.
    found.then(|| read(unsafe { value.read() }))
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

/// What a callback sees besides the stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown<'a> {
    /// What passes in it, and nothing else.
    Passing,
    /// A request's whole body: what Envoy has kept of it since it waits, and then what passes.
    WholeRequest,
    /// What a call was answered with; nothing where it failed.
    Received(Option<Received<'a>>),
    /// The answer of the model's that the client is about to get, which Envoy does not show to the filter that gives it:
    /// headers, the status among them, and the body.
    Answer { headers: Pairs<'a>, body: &'a [u8] },
}

/// See the module.
pub(crate) struct OnStream<'a> {
    /// Null once the stream is over: nothing of it can be read or changed then.
    envoy: Address,
    place: &'a Arc<Place>,
    /// Whose callback it is.
    role: Role,
    shown: Shown<'a>,
    then: RefCell<Option<Then>>,
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
    pub(crate) const unsafe fn new(envoy: Address, place: &'a Arc<Place>, role: Role, shown: Shown<'a>) -> Self {
        Self { envoy, place, role, shown, then: RefCell::new(None), began: Cell::new(None) }
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

    /// What the callback put off.
    pub(crate) fn then(self) -> Option<Then> {
        self.then.into_inner()
    }

    /// What stands in the stream's filter state under that key.
    fn noted(&self, key: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        out.clear();
        let mut value = Bytes::NONE;
        // SAFETY: the stream's address is good in its hook; the key lives until the call returns.
        let found = !self.envoy.is_null()
            && unsafe {
                abi::envoy_dynamic_module_callback_http_get_filter_state_bytes(
                    self.envoy,
                    Bytes::of(key),
                    &raw mut value,
                )
            };
        if !found {
            return Err(NOT_HERE);
        }
        // SAFETY: Envoy keeps it until the hook ends, or something is set, which nothing does before it is copied.
        out.extend_from_slice(unsafe { value.read() });
        Ok(())
    }

    /// A header map of the stream that can be changed now.
    fn changeable(&self, map: Map) -> Result<u32, Refused> {
        let ours = map == Map::Answer && matches!(self.shown, Shown::Answer { .. });
        map_number(map).filter(|_| !self.envoy.is_null() && !ours).ok_or(NOT_HERE)
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
        let map = self.changeable(map)?;
        // SAFETY: the stream's address is good in its hook; name and value live until the call returns.
        let done =
            unsafe { abi::envoy_dynamic_module_callback_http_set_header(self.envoy, map, Bytes::of(name), value) };
        if done { Ok(()) } else { Err(NOT_HERE) }
    }
}

const fn kind(body: Body) -> Option<u32> {
    match body {
        Body::Request => Some(abi::REQUEST_BODY),
        Body::Answer => Some(abi::RESPONSE_BODY),
        Body::Call | Body::Configuration => None,
    }
}

const fn map_number(map: Map) -> Option<u32> {
    match map {
        Map::Request => Some(abi::REQUEST_HEADERS),
        Map::Answer => Some(abi::RESPONSE_HEADERS),
        Map::Call => None,
    }
}

impl Host for OnStream<'_> {
    /// See [`crate::gate`].
    const MATCHERS: bool = false;

    fn now_ns(&self) -> u64 {
        now_ns()
    }

    fn log(&self, level: Level, line: &str) {
        log(level, line);
    }

    fn headers<T>(&self, map: Map, _: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused> {
        match (map, self.shown) {
            (Map::Answer, Shown::Answer { headers, .. }) => return Ok(read(headers)),
            (Map::Call, Shown::Received(Some(received))) => return Ok(received.headers(read)),
            _ => {}
        }
        let map = map_number(map).filter(|_| !self.envoy.is_null()).ok_or(NOT_HERE)?;
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
        let map = self.changeable(map)?;
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
        match (body, self.shown) {
            (Body::Answer, Shown::Answer { body, .. }) => {
                received::append([body].into_iter(), length, out);
                return Ok(());
            }
            (Body::Call, Shown::Received(Some(received))) => {
                received.write_body(length, out);
                return Ok(());
            }
            _ => {}
        }
        let kind = kind(body).ok_or(NOT_HERE)?;
        if matches!((body, self.shown), (Body::Request, Shown::WholeRequest)) {
            // With the trailers nothing passes; with the last piece of the body nothing may be kept. Whoever asks looks at
            // what came.
            let lacks = self.append(abi::KEPT_REQUEST_BODY, length, out).unwrap_or(length);
            let _ = self.append(kind, lacks, out);
            return Ok(());
        }
        self.append(kind, length, out).map(drop)
    }

    fn property(&self, path: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        match path {
            CODE_DETAILS if matches!(self.shown, Shown::Answer { .. }) => {
                out.clear();
                out.extend_from_slice(MODEL_DETAILS.as_bytes());
                Ok(())
            }
            CODE_DETAILS => attribute(self.envoy, abi::RESPONSE_CODE_DETAILS, |details| {
                out.clear();
                out.extend_from_slice(details);
            })
            .ok_or(NOT_HERE),
            path if path == FALLBACK_NOTE.as_bytes() => self.noted(path, out),
            _ => Err(NOT_HERE),
        }
    }

    fn note(&self, path: &str, value: &[u8]) -> Result<(), Refused> {
        if self.envoy.is_null() {
            return Err(NOT_HERE);
        }
        // SAFETY: the stream's address is good in its hook; path and value live until the call returns.
        let done = unsafe {
            abi::envoy_dynamic_module_callback_http_set_filter_state_bytes(
                self.envoy,
                Bytes::of(path.as_bytes()),
                Bytes::of(value),
            )
        };
        if done { Ok(()) } else { Err(NOT_HERE) }
    }

    fn left_out(&self) -> bool {
        gate::left_out(self.envoy)
    }

    fn call(&self, call: &Call<'_>) -> Result<u32, Refused> {
        if self.role == Role::Observe {
            // It outlives the request.
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

    fn respond(&self, headers: &[u8], body: &[u8], details: &str) -> Result<(), Refused> {
        let then = Then::Respond { headers: headers.to_vec(), body: body.to_vec(), details: details.to_owned() };
        self.then.replace(Some(then));
        Ok(())
    }

    fn resume(&self) -> Result<(), Refused> {
        self.then.replace(Some(Then::Resume));
        Ok(())
    }

    fn act_for(&self, _: u32) -> Result<(), Refused> {
        // Callbacks here are the stream's own.
        if self.envoy.is_null() { Err(NOT_HERE) } else { Ok(()) }
    }

    fn tick_every(&self, ms: u32) -> Result<(), Refused> {
        self.place.tick_every(self.role, ms)
    }

    fn define(&self, name: &str) -> Result<u32, Refused> {
        self.place.plugin.counters.get(name).copied().ok_or(NOT_HERE)
    }

    fn increment(&self, counter: u32, by: u64) -> Result<(), Refused> {
        if self.place.plugin.increment(counter, by) { Ok(()) } else { Err(NOT_HERE) }
    }
}
