//! One VM, which is one of Envoy's workers: its root contexts and streams, and each callback's way to them. A callback
//! for a context that is not known here changes nothing and lets the stream go on.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::config::{Config, Module};
use crate::plugin::host::{Body, Flow, Host, Level};
use crate::plugin::model::Canary;
use crate::plugin::observe::{Observe, Observed};
use crate::plugin::roots::Roots;

/// See the module.
#[derive(Debug, Default)]
pub struct Worker {
    roots: Roots,
    streams: HashMap<u32, Stream, BuildHasherDefault<IdHasher>>,
}

#[derive(Debug)]
enum Stream {
    /// Its headers have not come.
    Fresh {
        root: u32,
    },
    Observed {
        root: u32,
        seen: Box<Observed>,
    },
    Canary {
        root: u32,
        canary: Box<Canary>,
    },
}

impl Worker {
    /// A context comes to be. Root contexts have no root of their own, and begin when they are configured.
    pub fn created(&mut self, context: u32, root: u32) {
        if root != 0 {
            self.streams.insert(context, Stream::Fresh { root });
        }
    }

    /// A root context gets its configuration, of `length` bytes. `false` where it is refused: the reason is in the log,
    /// and the root context's streams are left alone.
    pub fn configured(&mut self, host: &impl Host, context: u32, length: usize) -> bool {
        let mut json = Vec::new();
        if length > 0 && host.body(Body::Configuration, length, &mut json).is_err() {
            host.log(Level::Error, "perch: the plugin configuration cannot be read from Envoy");
            return false;
        }
        match Config::parse(&json, Module::Wasm) {
            Ok(config) => self.roots.install(host, context, config),
            Err(error) => {
                host.log(
                    Level::Error,
                    &format!("perch: the configuration is refused, every client gets the rules: {error}"),
                );
                false
            }
        }
    }

    /// A request's headers.
    pub fn request_headers(&mut self, host: &impl Host, context: u32, end: bool) -> Flow {
        let Self { roots, streams } = self;
        let Some(Stream::Fresh { root }) = streams.get(&context) else { return Flow::Continue };
        let root = *root;
        let (flow, stream) = if let Some(at) = roots.observe(root) {
            let (flow, seen) = at.plugin.request_headers(host, at.scratch, context, end);
            (flow, seen.map(|seen| Stream::Observed { root, seen: Box::new(seen) }))
        } else if let Some(at) = roots.model(root) {
            let (flow, canary) = at.plugin.request_headers(host, at.scratch, (context, None), end);
            (flow, canary.map(|canary| Stream::Canary { root, canary: Box::new(canary) }))
        } else {
            (Flow::Continue, None)
        };
        match stream {
            Some(stream) => streams.insert(context, stream),
            None => streams.remove(&context),
        };
        flow
    }

    /// `length` bytes of a request's body.
    pub fn request_body(&mut self, host: &impl Host, context: u32, length: usize, end: bool) -> Flow {
        let Self { roots, streams } = self;
        let flow = match streams.get_mut(&context) {
            Some(Stream::Observed { root, seen }) => {
                roots.observe(*root).map(|at| at.plugin.request_body(host, seen, length, end))
            }
            Some(Stream::Canary { root, canary }) => {
                roots.model(*root).map(|at| at.plugin.request_body(host, context, canary, length, end))
            }
            _ => None,
        };
        if end {
            self.conclude_if_complete(host, context);
        }
        flow.unwrap_or(Flow::Continue)
    }

    /// A request's trailers.
    pub fn request_trailers(&mut self, host: &impl Host, context: u32) -> Flow {
        let Self { roots, streams } = self;
        let flow = match streams.get_mut(&context) {
            Some(Stream::Observed { root, seen }) => {
                if let Some(at) = roots.observe(*root) {
                    at.plugin.request_trailers(host, seen);
                }
                None
            }
            Some(Stream::Canary { root, canary }) => {
                roots.model(*root).map(|at| at.plugin.request_trailers(host, context, canary))
            }
            _ => None,
        };
        self.conclude_if_complete(host, context);
        flow.unwrap_or(Flow::Continue)
    }

    /// An answer's headers.
    pub fn answer_headers(&mut self, host: &impl Host, context: u32, end: bool) {
        let Self { roots, streams } = self;
        match streams.get_mut(&context) {
            Some(Stream::Observed { root, seen }) => {
                if let Some(at) = roots.observe(*root) {
                    at.plugin.answer_headers(host, (at.scratch, at.handover), seen, end);
                }
            }
            Some(Stream::Canary { root, canary }) => {
                if let Some(at) = roots.model(*root) {
                    at.plugin.answer_headers(host, canary);
                }
            }
            _ => {}
        }
        if end {
            self.conclude_if_complete(host, context);
        }
    }

    /// `length` bytes of an answer's body.
    pub fn answer_body(&mut self, host: &impl Host, context: u32, length: usize, end: bool) {
        if let Some(Stream::Observed { root, seen }) = self.streams.get_mut(&context)
            && let Some(at) = self.roots.observe(*root)
        {
            at.plugin.answer_body(host, seen, length, end);
        }
        if end {
            self.conclude_if_complete(host, context);
        }
    }

    /// An answer's trailers.
    pub fn answer_trailers(&mut self, host: &impl Host, context: u32) {
        if let Some(Stream::Observed { seen, .. }) = self.streams.get_mut(&context) {
            Observe::answer_trailers(seen);
        }
        self.conclude_if_complete(host, context);
    }

    /// A call of the root context `context` is over. `headers` is 0 where it failed. A call of a stream that is gone, or
    /// that nobody here made, is no reason to stop.
    pub fn call_answered(&mut self, host: &impl Host, context: u32, token: u32, headers: usize, length: usize) {
        let Self { roots, streams } = self;
        if let Some(at) = roots.observe(context) {
            at.plugin.call_answered(host, at.scratch, token, headers, length);
        } else if let Some(at) = roots.model(context)
            && let Some(asked) = at.plugin.landed(token)
        {
            let canary = match streams.get_mut(&asked.stream) {
                Some(Stream::Canary { root, canary }) if *root == context => Some(&mut **canary),
                _ => None,
            };
            at.plugin.call_answered(host, (at.scratch, at.handover), asked, canary, headers, length);
        }
    }

    /// The root context `context` ticks: counts and batches go, and streams whose body is late go on.
    pub fn tick(&mut self, host: &impl Host, context: u32) {
        self.roots.flush(host, context);
        for stream in self.roots.due(host, context) {
            self.look(host, stream);
        }
    }

    /// A context ends, a stream's or a root's.
    pub fn deleted(&mut self, host: &impl Host, context: u32) {
        if !self.roots.close(host, context) {
            self.conclude(host, context);
        }
    }

    /// Looks at a stream, which goes on if its body is late.
    fn look(&mut self, host: &impl Host, context: u32) {
        let Self { roots, streams } = self;
        match streams.get_mut(&context) {
            Some(Stream::Observed { root, seen }) => {
                if let Some(at) = roots.observe(*root) {
                    at.plugin.late(host, context, seen, host.now_ns());
                }
            }
            Some(Stream::Canary { root, canary }) => {
                if let Some(at) = roots.model(*root) {
                    at.plugin.late(host, context, canary, host.now_ns());
                }
            }
            Some(Stream::Fresh { .. }) | None => {}
        }
    }

    fn conclude_if_complete(&mut self, host: &impl Host, context: u32) {
        if matches!(self.streams.get(&context), Some(Stream::Observed { seen, .. }) if seen.complete()) {
            self.conclude(host, context);
        }
    }

    fn conclude(&mut self, host: &impl Host, context: u32) {
        match self.streams.remove(&context) {
            Some(Stream::Observed { root, mut seen }) => {
                if let Some(at) = self.roots.observe(root) {
                    at.plugin.conclude(host, &mut seen);
                }
            }
            Some(Stream::Canary { root, canary }) => {
                if let Some(at) = self.roots.model(root) {
                    at.plugin.conclude(*canary);
                }
            }
            Some(Stream::Fresh { .. }) | None => {}
        }
    }
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
