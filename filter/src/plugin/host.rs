//! The port: what the filter asks of its host. Envoy answers each call with a status, and any status but "ok" is a value
//! here. Nothing else of the crate knows the host.

use std::sync::Arc;

use super::replacement::Replacement;
use crate::pairs::Pairs;

/// A header map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Map {
    /// Of the client's request.
    Request,
    /// Of the response to it.
    Response,
    /// Of the trailers of that response.
    ResponseTrailers,
    /// Of the response to a call of the filter's.
    Call,
}

/// A body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Of the client's request: the part that passes in this callback.
    Request,
    /// Of the response to it: the part that passes in this callback.
    Response,
    /// Of the response to it: what waits, and what passes in this callback.
    Held,
    /// Of the response to a call of the filter's.
    Call,
    /// The plugin's configuration.
    Configuration,
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

/// How a response goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    /// As it is.
    Continue,
    /// It waits, and its body with it, until a call is over.
    Hold,
    /// With another body, by [`super::replacement::Replacement::apply`], and then it goes on.
    Replace(Box<Replacement>),
}

/// A call to one of Envoy's clusters.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// A header map, as [`crate::pairs::write`] writes it.
    pub headers: &'a [u8],
    /// The body; empty for none.
    pub body: Payload<'a>,
    /// In milliseconds, at least 1.
    pub timeout_ms: u32,
}

/// The body of a call.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// There for the time of the call.
    Lent(&'a [u8]),
    /// A host that makes the call later need not copy it.
    Shared(&'a Arc<Vec<u8>>),
}

impl<'a> Payload<'a> {
    /// Its bytes.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// Its bytes for later.
    #[must_use]
    pub fn keep(self) -> Arc<Vec<u8>> {
        match self {
            Self::Lent(bytes) => Arc::new(bytes.to_vec()),
            Self::Shared(bytes) => Arc::clone(bytes),
        }
    }
}

/// What Envoy does for the filter. No function panics, whatever the host's status; `out` is only written to on success.
pub trait Host {
    /// The filter renews its copy of the shares by calls to the admin interface. Otherwise the host does that.
    const SHARES_BY_CALL: bool;
    /// A call made for a stream ends with it, and its response never comes.
    const CALLS_END_WITH_STREAM: bool;

    /// Nanoseconds since some fixed time; never less than before.
    fn now_ns(&self) -> u64;

    /// Writes a line to Envoy's log.
    fn log(&self, level: Level, line: &str);

    /// Shows a whole header map to `read`, which changes nothing of the stream's meanwhile. `scratch` may be written to.
    ///
    /// # Errors
    /// Where there is none.
    fn headers<T>(&self, map: Map, scratch: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused>;

    /// Sets a header, in place of any of that name.
    ///
    /// # Errors
    /// Where there is no such map, e.g. since the headers are on their way already.
    fn set_header(&self, map: Map, name: &str, value: &[u8]) -> Result<(), Refused>;

    /// Adds a header that is known not to be there: Envoy need not look for it, for which it would first make an index of
    /// the whole map.
    ///
    /// # Errors
    /// As [`Host::set_header`].
    fn add_header(&self, map: Map, name: &str, value: &[u8]) -> Result<(), Refused>;

    /// Removes all headers of that name.
    ///
    /// # Errors
    /// As [`Host::set_header`].
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

    /// Calls a cluster; the response comes to the root context under the token.
    ///
    /// # Errors
    /// When the call cannot be made: no such cluster, no healthy host, or too many calls under way. Envoy does not say
    /// which, and no response comes.
    fn call(&self, call: &Call<'_>) -> Result<u32, Refused>;

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

    /// Ticks the root context every so many milliseconds; 0 stops it.
    ///
    /// # Errors
    /// When it cannot.
    fn tick_every(&self, ms: u32) -> Result<(), Refused>;

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
