//! One VM, which is one of Envoy's workers: its root contexts and streams, and each callback's way to them. A callback
//! for a context that is not known here changes nothing and lets the stream go on.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use contract::bucket::Bucket;
use contract::names::Cohort;

use crate::config::{Config, Role};
use crate::plugin::handover::Handover;
use crate::plugin::host::{Body, Flow, Host, Level};
use crate::plugin::model::{Canary, Model};
use crate::plugin::observe::{Observe, Observed};

/// See the module.
#[derive(Debug, Default)]
pub struct Worker {
    roots: Roots,
    streams: HashMap<u32, Stream, BuildHasherDefault<IdHasher>>,
    /// Header maps are read into it, one at a time.
    scratch: Vec<u8>,
    handover: Handover,
}

#[derive(Debug)]
enum Root {
    Observe(Box<Observe>),
    Model(Box<Model>),
}

/// Root contexts by their numbers: a few, so that looking at each is quickest.
#[derive(Debug, Default)]
struct Roots(Vec<(u32, Root)>);

impl Roots {
    fn get_mut(&mut self, context: u32) -> Option<&mut Root> {
        self.0.iter_mut().find(|(known, _)| *known == context).map(|(_, root)| root)
    }

    fn contains(&self, context: u32) -> bool {
        self.0.iter().any(|(known, _)| *known == context)
    }

    fn remove(&mut self, context: u32) -> Option<Root> {
        let at = self.0.iter().position(|(known, _)| *known == context)?;
        Some(self.0.swap_remove(at).1)
    }

    /// The root context that was there before, if any.
    fn insert(&mut self, context: u32, root: Root) -> Option<Root> {
        let earlier = self.remove(context);
        self.0.push((context, root));
        earlier
    }
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
        let config = match Config::parse(&json) {
            Ok(config) => config,
            Err(error) => {
                host.log(
                    Level::Error,
                    &format!("perch: the configuration is refused, every client gets the rules: {error}"),
                );
                return false;
            }
        };
        self.install(host, context, config)
    }

    /// A root context gets its configuration, read already. `false` where the host defines no counters: the reason is in
    /// the log.
    pub fn install(&mut self, host: &impl Host, context: u32, config: Config) -> bool {
        let root = match config.role {
            Role::Observe => Observe::new(host, config).map(|root| Root::Observe(Box::new(root))),
            Role::Model => Model::new(host, config).map(|root| Root::Model(Box::new(root))),
        };
        match root {
            Ok(root) => {
                if let Some(mut earlier) = self.roots.insert(context, root) {
                    earlier.close(host);
                }
                true
            }
            Err(refused) => {
                host.log(Level::Error, &format!("perch: Envoy defines no counters (status {})", refused.0));
                false
            }
        }
    }

    /// A request's headers.
    pub fn request_headers(&mut self, host: &impl Host, context: u32, end: bool) -> Flow {
        match self.streams.get(&context) {
            Some(Stream::Fresh { root }) => {
                let root = *root;
                self.begin(host, (context, root), None, end).0
            }
            _ => Flow::Continue,
        }
    }

    /// A request's headers, where the host has not said before that there is a context for it: `root` is its root context,
    /// and `user` whose it is, where it is "model" that begins and the host knows it. Says of a request that "observe" lets
    /// go on whose it is, if that is known.
    pub fn begin(
        &mut self,
        host: &impl Host,
        (context, root): (u32, u32),
        user: Option<Bucket>,
        end: bool,
    ) -> (Flow, Option<(Bucket, Cohort)>) {
        let Self { roots, streams, scratch, .. } = self;
        let mut whose = None;
        let (flow, stream) = match roots.get_mut(root) {
            Some(Root::Observe(observe)) => {
                let (flow, seen) = observe.request_headers(host, scratch, context, end);
                whose = seen.as_ref().and_then(Observed::user);
                (flow, seen.map(|seen| Stream::Observed { root, seen: Box::new(seen) }))
            }
            Some(Root::Model(model)) => {
                let (flow, canary) = model.request_headers(host, scratch, (context, user), end);
                (flow, canary.map(|canary| Stream::Canary { root, canary: Box::new(canary) }))
            }
            None => (Flow::Continue, None),
        };
        match stream {
            Some(stream) => streams.insert(context, stream),
            None => streams.remove(&context),
        };
        (flow, whose)
    }

    /// `length` bytes of a request's body.
    pub fn request_body(&mut self, host: &impl Host, context: u32, length: usize, end: bool) -> Flow {
        let Self { roots, streams, .. } = self;
        let flow = match streams.get_mut(&context) {
            Some(Stream::Observed { root, seen }) => match roots.get_mut(*root) {
                Some(Root::Observe(observe)) => observe.request_body(host, seen, length, end),
                _ => Flow::Continue,
            },
            Some(Stream::Canary { root, canary }) => match roots.get_mut(*root) {
                Some(Root::Model(model)) => model.request_body(host, context, canary, length, end),
                _ => Flow::Continue,
            },
            _ => Flow::Continue,
        };
        if end {
            self.conclude_if_complete(host, context);
        }
        flow
    }

    /// A request's trailers.
    pub fn request_trailers(&mut self, host: &impl Host, context: u32) -> Flow {
        let Self { roots, streams, .. } = self;
        let flow = match streams.get_mut(&context) {
            Some(Stream::Observed { root, seen }) => {
                if let Some(Root::Observe(observe)) = roots.get_mut(*root) {
                    observe.request_trailers(host, seen);
                }
                Flow::Continue
            }
            Some(Stream::Canary { root, canary }) => match roots.get_mut(*root) {
                Some(Root::Model(model)) => model.request_trailers(host, context, canary),
                _ => Flow::Continue,
            },
            _ => Flow::Continue,
        };
        self.conclude_if_complete(host, context);
        flow
    }

    /// An answer's headers.
    pub fn answer_headers(&mut self, host: &impl Host, context: u32, end: bool) {
        let Self { roots, streams, scratch, handover } = self;
        match streams.get_mut(&context) {
            Some(Stream::Observed { root, seen }) => {
                if let Some(Root::Observe(observe)) = roots.get_mut(*root) {
                    observe.answer_headers(host, (scratch, handover), seen, end);
                }
            }
            Some(Stream::Canary { root, canary }) => {
                if let Some(Root::Model(model)) = roots.get_mut(*root) {
                    model.answer_headers(host, canary);
                }
            }
            _ => {}
        }
        if end {
            self.conclude_if_complete(host, context);
        }
    }

    /// `length` bytes of an answer's body. Is everything said of the exchange?
    pub fn answer_body(&mut self, host: &impl Host, context: u32, length: usize, end: bool) -> bool {
        if let Some(Stream::Observed { root, seen }) = self.streams.get_mut(&context)
            && let Some(Root::Observe(observe)) = self.roots.get_mut(*root)
        {
            observe.answer_body(host, seen, length, end);
        }
        end && self.conclude_if_complete(host, context)
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
        let Self { roots, streams, scratch, handover } = self;
        match roots.get_mut(context) {
            Some(Root::Observe(observe)) => observe.call_answered(host, scratch, token, headers, length),
            Some(Root::Model(model)) => {
                let Some(asked) = model.landed(token) else { return };
                let canary = match streams.get_mut(&asked.stream) {
                    Some(Stream::Canary { root, canary }) if *root == context => Some(&mut **canary),
                    _ => None,
                };
                model.call_answered(host, (scratch, handover), asked, canary, headers, length);
            }
            None => {}
        }
    }

    /// The root context `context` ticks: counts and batches go, and streams whose body is late go on.
    pub fn tick(&mut self, host: &impl Host, context: u32) {
        self.flush(host, context);
        for stream in self.due(host, context) {
            self.look(host, stream);
        }
    }

    /// Counts and batches of the root context `context` go.
    pub fn flush(&mut self, host: &impl Host, context: u32) {
        match self.roots.get_mut(context) {
            Some(Root::Observe(observe)) => observe.tick(host),
            Some(Root::Model(model)) => model.tick(host),
            None => {}
        }
    }

    /// Streams of the root context `context` whose body may be late, each of them for [`Worker::look`]; none most times.
    pub fn due(&mut self, host: &impl Host, context: u32) -> Vec<u32> {
        let now_ns = host.now_ns();
        match self.roots.get_mut(context) {
            Some(Root::Observe(observe)) => observe.to_look_through(now_ns),
            Some(Root::Model(model)) => model.to_look_through(now_ns),
            None => Vec::new(),
        }
    }

    /// Looks at a stream, which goes on if its body is late.
    pub fn look(&mut self, host: &impl Host, context: u32) {
        let Self { roots, streams, .. } = self;
        match streams.get_mut(&context) {
            Some(Stream::Observed { root, seen }) => {
                if let Some(Root::Observe(observe)) = roots.get_mut(*root) {
                    observe.late(host, context, seen, host.now_ns());
                }
            }
            Some(Stream::Canary { root, canary }) => {
                if let Some(Root::Model(model)) = roots.get_mut(*root) {
                    model.late(host, context, canary, host.now_ns());
                }
            }
            Some(Stream::Fresh { .. }) | None => {}
        }
    }

    /// Who the user of an observed stream is, and in which cohort, once that is known.
    #[must_use]
    pub fn user(&self, context: u32) -> Option<(Bucket, Cohort)> {
        match self.streams.get(&context) {
            Some(Stream::Observed { seen, .. }) => seen.user(),
            _ => None,
        }
    }

    /// The context is one that is known here, and not over.
    #[must_use]
    pub fn knows(&self, context: u32) -> bool {
        self.streams.contains_key(&context) || self.roots.contains(context)
    }

    /// The root context is configured.
    #[must_use]
    pub fn has_root(&self, context: u32) -> bool {
        self.roots.contains(context)
    }

    /// A context ends, a stream's or a root's.
    pub fn deleted(&mut self, host: &impl Host, context: u32) {
        if let Some(mut root) = self.roots.remove(context) {
            root.close(host);
        } else {
            self.conclude(host, context);
        }
    }

    fn conclude_if_complete(&mut self, host: &impl Host, context: u32) -> bool {
        let complete = matches!(self.streams.get(&context), Some(Stream::Observed { seen, .. }) if seen.complete());
        if complete {
            self.conclude(host, context);
        }
        complete
    }

    fn conclude(&mut self, host: &impl Host, context: u32) {
        match self.streams.remove(&context) {
            Some(Stream::Observed { root, seen }) => {
                if let Some(Root::Observe(observe)) = self.roots.get_mut(root) {
                    observe.conclude(host, *seen);
                }
            }
            Some(Stream::Canary { root, canary }) => {
                if let Some(Root::Model(model)) = self.roots.get_mut(root) {
                    model.conclude(*canary);
                }
            }
            Some(Stream::Fresh { .. }) | None => {}
        }
    }
}

impl Root {
    fn close(&mut self, host: &impl Host) {
        match self {
            Self::Observe(observe) => observe.close(host),
            Self::Model(model) => model.close(host),
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
