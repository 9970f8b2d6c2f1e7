//! The port: what the filter wants of its host, in small traits, so that a callback is handed no more than there is in
//! it: where no stream is, none can be written to. Envoy answers each call with a status, and any status but "ok" is a
//! value here. Nothing else of the crate knows the host.

use std::sync::Arc;

use crate::pairs::Pairs;

/// A header map of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Map {
    /// Of the client's request.
    Request,
    /// Of the response to it.
    Response,
    /// Of the trailers of that response.
    ResponseTrailers,
}

/// A body of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Of the client's request: the part that passes in this callback.
    Request,
    /// Of the response to it: the part that passes in this callback.
    Response,
    /// Of the response to it: what waits, and what passes in this callback.
    Held,
}

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something works, but not as meant.
    Warn,
    /// Something does not work.
    Error,
}

/// The host did not do it; its status code says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub u32);

/// A request to one of Envoy's clusters.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a, B = &'a [u8]> {
    /// The cluster.
    pub cluster: &'a str,
    /// A header map, as [`crate::pairs::write`] writes it.
    pub headers: &'a [u8],
    /// The body; empty for none.
    pub body: B,
    /// In milliseconds, at least 1.
    pub timeout_ms: u32,
}

/// A request whose body a host that sends it later need not copy.
pub type BatchCall<'a> = Call<'a, &'a Arc<Vec<u8>>>;

/// The time.
pub trait Clock {
    /// Nanoseconds since some fixed time; never less than before.
    fn now_ns(&self) -> u64;
}

/// Envoy's log.
pub trait Log {
    /// Writes a line.
    fn log(&self, level: Level, line: &str);
}

/// The way of observations to the scorer.
pub trait Batches {
    /// Sends a batch; the response comes under the token, whatever becomes of the stream in whose callback it was sent.
    ///
    /// # Errors
    /// When it cannot be sent: no such cluster, no healthy host, or too many calls under way. No response comes.
    fn send_batch(&self, call: &BatchCall<'_>) -> Result<u32, Refused>;
}

/// Ticks.
pub trait Timers {
    /// Ticks every so many milliseconds; 0 stops it.
    ///
    /// # Errors
    /// When it cannot.
    fn tick_every(&self, ms: u32) -> Result<(), Refused>;
}

/// Envoy's counters.
pub trait Stats {
    /// Defines a counter; the same name is the same counter.
    ///
    /// # Errors
    /// When it cannot.
    fn define(&self, name: &str) -> Result<u32, Refused>;

    /// Adds to a counter; `by` is at least 1.
    ///
    /// # Errors
    /// When there is no such counter.
    fn increment(&self, counter: u32, by: u64) -> Result<(), Refused>;
}

/// Request and response of the stream whose callback it is.
pub trait Messages {
    /// Shows a whole header map to `read`, which changes nothing of the stream's meanwhile. `scratch` may be written
    /// to.
    ///
    /// # Errors
    /// Where there is none.
    fn headers<T>(&self, map: Map, scratch: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused>;

    /// Sets a header, in place of any of that name.
    ///
    /// # Errors
    /// Where there is no such map, e.g. since the headers are on their way already.
    fn set_header(&self, map: Map, name: &str, value: &[u8]) -> Result<(), Refused>;

    /// Adds a header that is known not to be there: Envoy need not look for it, for which it would first make an index
    /// of the whole map.
    ///
    /// # Errors
    /// As [`Messages::set_header`].
    fn add_header(&self, map: Map, name: &str, value: &[u8]) -> Result<(), Refused>;

    /// Removes all headers of that name.
    ///
    /// # Errors
    /// As [`Messages::set_header`].
    fn remove_header(&self, map: Map, name: &[u8]) -> Result<(), Refused>;

    /// Appends the first `length` bytes of a body, or fewer where there are fewer, to `out`.
    ///
    /// # Errors
    /// Where there is none.
    fn body(&self, body: Body, length: usize, out: &mut Vec<u8>) -> Result<(), Refused>;

    /// Reads a property, its path joined by zero bytes, into `out`, which is cleared.
    ///
    /// # Errors
    /// Where there is none.
    fn property(&self, path: &[u8], out: &mut Vec<u8>) -> Result<(), Refused>;

    /// Puts `body` in place of all that waits of the response, and of what passes in this callback.
    ///
    /// # Errors
    /// When there is none; then nothing is changed.
    fn replace_response(&self, body: &[u8]) -> Result<(), Refused>;

    /// What follows in this callback is done for `context` instead of the callback's own.
    ///
    /// # Errors
    /// When it is gone.
    fn act_for(&self, context: u32) -> Result<(), Refused>;
}

/// Calls whose response is awaited.
pub trait Callouts {
    /// Calls a cluster; the response comes under the token.
    ///
    /// # Errors
    /// When the call cannot be made: no such cluster, no healthy host, or too many calls under way. Envoy does not say
    /// which, and no response comes.
    fn call(&self, call: &Call<'_>) -> Result<u32, Refused>;
}

/// The response to a call or a batch, while the callback lasts that brought it.
pub trait CallResponse {
    /// Bytes of its body.
    fn length(&self) -> usize;

    /// Shows its headers to `read`. `scratch` may be written to.
    ///
    /// # Errors
    /// Where the host does not show them.
    fn headers<T>(&self, scratch: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused>;

    /// Appends the first `length` bytes of its body to `out`.
    ///
    /// # Errors
    /// Where the host does not show them.
    fn body(&self, length: usize, out: &mut Vec<u8>) -> Result<(), Refused>;
}

/// What Envoy does for the filter in every callback. No function of a host panics, whatever Envoy's status; `out` is
/// only written to on success.
pub trait Host: Clock + Log + Batches + Timers + Stats {}

impl<T: Clock + Log + Batches + Timers + Stats> Host for T {}

/// What Envoy does besides in a callback of a stream that is there.
pub trait StreamHost: Host + Messages + Callouts {}

impl<T: Host + Messages + Callouts> StreamHost for T {}
