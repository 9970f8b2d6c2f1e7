//! One VM, which is one of Envoy's workers: its filters by their root contexts, its streams by their numbers, and each
//! callback's way to them. A callback for a context that is not known here changes nothing and lets the stream go on.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::config::{Config, Module};
use crate::plugin::filter::Filter;
use crate::plugin::host::{CallResponse, Callouts, Host, Level, Log, Refused, Stats, StreamHost, Timers};
use crate::plugin::replacement::Flow;
use crate::plugin::stream::Stream;

/// The additional task of a VM's host: it gives the configuration of a root context.
pub trait Configuration {
    /// Appends a configuration of `length` bytes to `out`.
    ///
    /// # Errors
    /// Where there is none.
    fn configuration(&self, length: usize, out: &mut Vec<u8>) -> Result<(), Refused>;
}
use crate::log_line::log_line;

/// See the module.
#[derive(Debug, Default)]
pub struct Worker {
    /// A few, so that looking at each is quickest.
    filters: Vec<(u32, Filter)>,
    streams: HashMap<u32, StreamEntry, BuildHasherDefault<IdHasher>>,
}

/// A stream: its root context, and what is known of it once its headers have come.
#[derive(Debug)]
struct StreamEntry {
    root: u32,
    stream: Option<Box<Stream>>,
}

impl Worker {
    /// A context comes to be. Root contexts have no root of their own, and begin when they are configured.
    pub fn created(&mut self, context: u32, root: u32) {
        if root != 0 {
            self.streams.insert(context, StreamEntry { root, stream: None });
        }
    }

    /// A root context gets its configuration, of `length` bytes. Returns `false` where it is refused: the reason is in
    /// the log, and the root context's streams are left alone.
    pub fn configured(
        &mut self,
        host: &(impl Configuration + Log + Stats + Timers),
        context: u32,
        length: usize,
    ) -> bool {
        let mut json = Vec::new();
        if length > 0 && host.configuration(length, &mut json).is_err() {
            host.log(Level::Error, &log_line("config_unreadable", &[]));
            return false;
        }
        let config = match Config::parse(&json, Module::Wasm) {
            Ok(config) => config,
            Err(error) => {
                let effect = "every client is given the baseline";
                host.log(Level::Error, &log_line("config_refused", &[("error", &error), ("effect", &effect)]));
                return false;
            }
        };
        match Filter::new(host, config) {
            Ok(mut filter) => {
                self.close(host, context);
                filter.start(host);
                self.filters.push((context, filter));
                true
            }
            Err(refused) => {
                host.log(Level::Error, &log_line("counters_refused", &[("status", &refused.0)]));
                false
            }
        }
    }

    /// A request's headers.
    pub fn request_headers(&mut self, host: &impl StreamHost, context: u32, end: bool) {
        let Some(known) = self.streams.get_mut(&context).filter(|known| known.stream.is_none()) else { return };
        let seen = find(&mut self.filters, known.root).and_then(|filter| {
            let asleep = filter.asleep();
            let stream = filter.request_headers(host, context, end)?;
            if asleep {
                // The copy of the shares is old: the next request shall find a young one.
                filter.request_shares(host);
            }
            Some(stream)
        });
        match seen {
            Some(stream) => known.stream = Some(Box::new(stream)),
            None => drop(self.streams.remove(&context)),
        }
    }

    /// `length` bytes of a request's body.
    pub fn request_body(&mut self, host: &impl StreamHost, context: u32, length: usize, end: bool) {
        if let Some((filter, stream)) = self.at(context) {
            filter.request_body(host, context, stream, length, end);
        }
        self.conclude_if_complete(host, context);
    }

    /// A request's trailers.
    pub fn request_trailers(&mut self, host: &impl StreamHost, context: u32) {
        if let Some((filter, stream)) = self.at(context) {
            filter.request_over(host, context, stream);
        }
        self.conclude_if_complete(host, context);
    }

    /// A response's headers.
    pub fn response_headers(&mut self, host: &impl StreamHost, context: u32, end: bool) -> Flow {
        let flow = self.at(context).map(|(filter, stream)| filter.response_headers(host, stream, end));
        self.conclude_if_complete(host, context);
        flow.unwrap_or(Flow::Continue)
    }

    /// A response's body: `length` bytes with what waits of it already.
    pub fn response_body(&mut self, host: &impl StreamHost, context: u32, length: usize, end: bool) -> Flow {
        let flow = self.at(context).map(|(filter, stream)| {
            let passing = length.saturating_sub(stream.waiting_bytes());
            filter.response_body(host, stream, passing, end)
        });
        self.conclude_if_complete(host, context);
        flow.unwrap_or(Flow::Continue)
    }

    /// Bytes that wait of a stream's response.
    #[must_use]
    pub fn waiting_bytes(&self, context: u32) -> usize {
        self.streams.get(&context).and_then(|known| known.stream.as_ref()).map_or(0, |stream| stream.waiting_bytes())
    }

    /// A response's trailers.
    pub fn response_trailers(&mut self, host: &impl StreamHost, context: u32) -> Flow {
        let flow = self.at(context).map(|(filter, stream)| filter.response_trailers(host, stream));
        self.conclude_if_complete(host, context);
        flow.unwrap_or(Flow::Continue)
    }

    /// Records that a call of the root context `context` is over, with its `response` if there is one. Returns the
    /// stream whose response goes on now, and how. A call of a stream that is gone, or one not made here, is ignored.
    pub fn call_over(
        &mut self,
        host: &impl StreamHost,
        context: u32,
        token: u32,
        response: Option<&impl CallResponse>,
    ) -> Option<(u32, Flow)> {
        let Self { filters, streams } = self;
        let filter = find(filters, context)?;
        let Some(call) = filter.live_call(token) else {
            filter.call_over(host, token, response);
            return None;
        };
        let known = streams.get_mut(&call.stream).filter(|known| known.root == context);
        let stream = known.and_then(|known| known.stream.as_deref_mut());
        let flow = filter.live_call_over(host, call, response, stream)?;
        self.conclude_if_complete(host, call.stream);
        Some((call.stream, flow))
    }

    /// The root context `context` ticks.
    pub fn tick(&mut self, host: &(impl Host + Callouts), context: u32) {
        if let Some(filter) = find(&mut self.filters, context) {
            filter.request_shares(host);
            filter.tick(host);
        }
    }

    /// A context ends, a stream's or a root's.
    pub fn deleted(&mut self, host: &impl Host, context: u32) {
        if !self.close(host, context) {
            self.conclude(host, context);
        }
    }

    fn at(&mut self, context: u32) -> Option<(&mut Filter, &mut Stream)> {
        let known = self.streams.get_mut(&context)?;
        Some((find(&mut self.filters, known.root)?, known.stream.as_mut()?))
    }

    fn close(&mut self, host: &impl Stats, context: u32) -> bool {
        let Some(at) = self.filters.iter().position(|(known, _)| *known == context) else { return false };
        self.filters.swap_remove(at).1.close(host);
        true
    }

    fn conclude_if_complete(&mut self, host: &impl Host, context: u32) {
        let stream = self.streams.get(&context).and_then(|known| known.stream.as_ref());
        if stream.is_some_and(|stream| stream.complete()) {
            self.conclude(host, context);
        }
    }

    fn conclude(&mut self, host: &impl Host, context: u32) {
        if let Some(StreamEntry { root, stream: Some(mut stream) }) = self.streams.remove(&context)
            && let Some(filter) = find(&mut self.filters, root)
        {
            filter.conclude(host, &mut stream);
        }
    }
}

fn find(filters: &mut [(u32, Filter)], context: u32) -> Option<&mut Filter> {
    filters.iter_mut().find(|(known, _)| *known == context).map(|(_, filter)| filter)
}

/// Context ids are small numbers that count up: one multiplication spreads them well enough.
#[derive(Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}
