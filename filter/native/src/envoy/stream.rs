//! The stream whose hook is running.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::NonNull;

use filter::pairs::Pairs;
use filter::plugin::host::{Body, Call, Map};

use super::response::{self, FEW_HEADERS, FEW_PIECES};
use crate::abi::{self, Address, Bytes, Header};

/// An attribute of a stream that is one of its request headers, and of which Envoy makes no copy first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    Path,
    Method,
}

/// Why Envoy did not begin a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallRefusal {
    NoCluster,
    Other,
}

/// See the module. `'hook` is no longer than the hook lasts, and a stream's hooks all run on its worker's thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream<'hook> {
    address: NonNull<c_void>,
    hook: PhantomData<&'hook ()>,
}

// SAFETY, for every call below: the address is good for as long as `'hook`, as `new` was promised, also where Envoy is
// done with the stream in the middle of a hook, since it puts off its deletion until no hook runs; names, values and
// bodies that are handed over live until the call returns.

impl Stream<'_> {
    /// `None` for a null address.
    ///
    /// # Safety
    /// `address` is null, or was handed to a hook of a stream that is running on this thread for all of the lifetime.
    pub(crate) const unsafe fn new(address: Address) -> Option<Self> {
        match NonNull::new(address) {
            Some(address) => Some(Self { address, hook: PhantomData }),
            None => None,
        }
    }

    const fn address(self) -> Address {
        self.address.as_ptr()
    }

    /// An attribute, as `read` reads it.
    pub(crate) fn attribute<T>(self, attribute: Attribute, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let attribute = match attribute {
            Attribute::Path => abi::REQUEST_PATH,
            Attribute::Method => abi::REQUEST_METHOD,
        };
        let mut value = Bytes::NONE;
        // SAFETY: see above; `value` is of the type that Envoy writes.
        let found = unsafe {
            abi::envoy_dynamic_module_callback_http_filter_get_attribute_string(
                self.address(),
                attribute,
                &raw mut value,
            )
        };
        // SAFETY: Envoy keeps the value until the hook ends or something is set, which reading it does not.
        found.then(|| read(unsafe { value.read() }))
    }

    /// Shows a whole header map to `read`, which only reads; `None` where there is none.
    pub(crate) fn headers<T>(self, map: Map, read: impl FnOnce(Pairs<'_>) -> T) -> Option<T> {
        let map = number(map);
        // SAFETY: see above.
        let count = unsafe { abi::envoy_dynamic_module_callback_http_get_headers_size(self.address(), map) };
        // SAFETY: see above; Envoy writes as many as it has just counted, since no header came or went, and keeps names
        // and values until the hook ends or a header is set, which nothing does that only reads.
        unsafe {
            response::listed::<_, _, FEW_HEADERS>(
                count,
                |list| abi::envoy_dynamic_module_callback_http_get_headers(self.address(), map, list),
                |headers| response::shown(headers, read),
            )
        }
    }

    /// Sets a header, or with `None` removes all of that name. Returns `false` where there is no such map.
    pub(crate) fn set_header(self, map: Map, name: &[u8], value: Option<&[u8]>) -> bool {
        let value = value.map_or(Bytes::NONE, Bytes::of);
        // SAFETY: see above.
        unsafe {
            abi::envoy_dynamic_module_callback_http_set_header(self.address(), number(map), Bytes::of(name), value)
        }
    }

    /// Adds a header. Returns `false` where there is no such map.
    pub(crate) fn add_header(self, map: Map, name: &[u8], value: &[u8]) -> bool {
        let (name, value) = (Bytes::of(name), Bytes::of(value));
        // SAFETY: see above.
        unsafe { abi::envoy_dynamic_module_callback_http_add_header(self.address(), number(map), name, value) }
    }

    /// How many bytes of the request's body, or of the response's, pass in this callback.
    pub(crate) fn passing(self, body: Body) -> usize {
        let kind = match body {
            Body::Request => abi::REQUEST_BODY,
            Body::Response | Body::Held => abi::RESPONSE_BODY,
        };
        // SAFETY: see above.
        unsafe { abi::envoy_dynamic_module_callback_http_get_body_size(self.address(), kind) }
    }

    /// Appends the first `length` bytes of a body to `out`, or fewer where there are fewer. Returns `false` where there
    /// is no such body.
    pub(crate) fn body(self, body: Body, length: usize, out: &mut Vec<u8>) -> bool {
        match body {
            Body::Request => self.append(abi::REQUEST_BODY, length, out).is_some(),
            Body::Response => self.append(abi::RESPONSE_BODY, length, out).is_some(),
            Body::Held => {
                // With the trailers nothing passes; with the first piece of the body nothing waits. The caller looks at
                // what came.
                let lacks = self.append(abi::HELD_RESPONSE_BODY, length, out).unwrap_or(length);
                let _ = self.append(abi::RESPONSE_BODY, lacks, out);
                true
            }
        }
    }

    /// Returns how many bytes are lacking.
    fn append(self, kind: u32, length: usize, out: &mut Vec<u8>) -> Option<usize> {
        // SAFETY: see above.
        let count = unsafe { abi::envoy_dynamic_module_callback_http_get_body_chunks_size(self.address(), kind) };
        // SAFETY: see above; Envoy writes as many as it has just counted, since nothing came, and keeps the bytes until
        // the hook ends or the body is changed, which nothing does here.
        unsafe {
            response::listed::<Bytes, _, FEW_PIECES>(
                count,
                |list| abi::envoy_dynamic_module_callback_http_get_body_chunks(self.address(), kind, list),
                |pieces| response::append(pieces.iter().map(|piece| piece.read()), length, out),
            )
        }
    }

    /// Puts `body` in place of all that waits of the response, and of what passes in this callback. Returns `false`
    /// where there is none. Envoy may call hooks of the stream within, also the one that ends it.
    pub(crate) fn replace_response(self, body: &[u8]) -> bool {
        let drain = |kind| {
            // SAFETY: see above.
            unsafe { abi::envoy_dynamic_module_callback_http_drain_body(self.address(), kind, usize::MAX) }
        };
        let append = |kind| {
            // SAFETY: see above.
            unsafe { abi::envoy_dynamic_module_callback_http_append_body(self.address(), kind, Bytes::of(body)) }
        };
        // What waits, and what passes in this callback, where there is any.
        let held = drain(abi::HELD_RESPONSE_BODY);
        let passing = drain(abi::RESPONSE_BODY);
        if passing { append(abi::RESPONSE_BODY) } else { held && append(abi::HELD_RESPONSE_BODY) }
    }

    /// Lets a response that waits go on. Envoy may call hooks of the stream within, also the one that ends it.
    pub(crate) fn continue_response(self) {
        // SAFETY: see above.
        unsafe { abi::envoy_dynamic_module_callback_http_filter_continue_encoding(self.address()) };
    }

    /// Begins a call; Envoy's number for it. It may be over within.
    pub(crate) fn call(self, call: &Call<'_>) -> Result<u64, CallRefusal> {
        let headers: Vec<Header> = Pairs::new(call.headers).iter().map(Header::of).collect();
        let mut number = 0;
        // SAFETY: see above; `number` is of the type that Envoy writes.
        let result = unsafe {
            abi::envoy_dynamic_module_callback_http_filter_http_callout(
                self.address(),
                &raw mut number,
                Bytes::of(call.cluster.as_bytes()),
                headers.as_ptr(),
                headers.len(),
                Bytes::of(call.body),
                u64::from(call.timeout_ms),
            )
        };
        match result {
            abi::SUCCESS => Ok(number),
            abi::CLUSTER_NOT_FOUND => Err(CallRefusal::NoCluster),
            _ => Err(CallRefusal::Other),
        }
    }
}

const fn number(map: Map) -> u32 {
    match map {
        Map::Request => abi::REQUEST_HEADERS,
        Map::Response => abi::RESPONSE_HEADERS,
        Map::ResponseTrailers => abi::RESPONSE_TRAILERS,
    }
}
