//! The application's response on its way to the client: passed on, held until the candidate's is there, or replaced by
//! it.

use contract::names::{Arm, PassedThrough};

use super::filter::Filter;
use super::host::{Body, Clock, Map, Messages, StreamHost};
use super::replacement::{Flow, Replacement};
use super::stream::Stream;
use crate::decision::baseline;
use crate::decision::canary::CanaryOutcome;
use crate::decision::heads::{ResponseHead, perch_headers};

/// A response unpacks to at most so many times its limit.
const UNPACKED: usize = 8;

impl Filter {
    /// The headers of the application's response, or of one that Envoy gives in its place; `end` says that there is no
    /// body.
    pub fn response_headers(&mut self, host: &impl StreamHost, stream: &mut Stream, end: bool) -> Flow {
        if stream.upload.is_some() {
            // The application did not wait for the request's end.
            self.give_up(stream, PassedThrough::RequestIncomplete);
        }
        let config = &self.config;
        let held_bytes = config.limits.held_bytes;
        let canary = stream.canary.is_some();
        let read = host.headers(Map::Response, &mut self.scratch, |headers| {
            let head = ResponseHead::read(headers);
            let strange = if head.perch { perch_headers(headers) } else { Vec::new() };
            let replaceable =
                if canary { baseline::replaceable(&head, end, &config.response_types, held_bytes) } else { Ok(()) };
            ((head.status, head.encoding, head.content_length, head.perch), strange, replaceable)
        });
        let known = read.is_ok();
        let ((status, encoding, length, ours), strange, replaceable) = read.unwrap_or((
            (0, contract::frame::Encoding::Unknown, None, true),
            Vec::new(),
            Err(PassedThrough::Unreadable),
        ));
        // Another gateway with Perch in it may be the upstream: what it says is not what this one did.
        for name in &strange {
            let _ = host.remove_header(Map::Response, name);
        }
        stream.exchange.response(status, encoding, length, &mut self.budget);
        if end {
            let now_ns = stream.exchange.timed().then(|| host.now_ns());
            stream.exchange.response_over(now_ns);
        }
        if let Some(canary) = &mut stream.canary
            && canary.canary.response_begins(replaceable)
        {
            return Flow::Hold;
        }
        Self::write_baseline(host, stream, known && !ours);
        Flow::Continue
    }

    /// `length` more bytes of the response's body, the last ones where `end` says so.
    pub fn response_body(&mut self, host: &impl StreamHost, stream: &mut Stream, length: usize, end: bool) -> Flow {
        let Some(canary) = stream.canary.as_mut().filter(|canary| canary.canary.holds()) else {
            let pool = &mut self.pool;
            let read = |out: &mut Vec<u8>| {
                pool.lend(out);
                host.body(Body::Response, length, out).is_ok()
            };
            stream.exchange.pass(length, &mut self.budget, read);
            if end {
                self.response_ended(host, stream);
            }
            return Flow::Continue;
        };
        let fits = canary.canary.waiting_bytes().saturating_add(length) <= self.config.limits.held_bytes;
        let room = fits && self.waiting.take(length);
        canary.canary.hold(if room { length } else { 0 });
        if !room {
            // It goes on as it is, and what waited with it.
            canary.canary.pass_through(if fits { PassedThrough::Shed } else { PassedThrough::TooLarge });
            let held = canary.canary.waiting_bytes().saturating_add(length);
            self.copy_waiting(host, stream, held);
            Self::write_baseline(host, stream, false);
        }
        if !end {
            return if room { Flow::Hold } else { Flow::Continue };
        }
        self.response_ended(host, stream);
        if room { self.response_whole(host, stream) } else { Flow::Continue }
    }

    /// The response's trailers: its body is whole.
    pub fn response_trailers(&mut self, host: &impl StreamHost, stream: &mut Stream) -> Flow {
        self.response_ended(host, stream);
        match &stream.canary {
            Some(canary) if canary.canary.holds() => {
                stream.trailers = true;
                self.response_whole(host, stream)
            }
            _ => Flow::Continue,
        }
    }

    fn response_ended(&mut self, host: &impl Clock, stream: &mut Stream) {
        let now_ns = stream.exchange.timed().then(|| host.now_ns());
        stream.exchange.response_over(now_ns);
    }

    fn response_whole(&mut self, host: &impl StreamHost, stream: &mut Stream) -> Flow {
        let waits = stream.canary.as_mut().is_some_and(|canary| !canary.canary.response_whole());
        if waits { Flow::Hold } else { self.goes_on(host, stream) }
    }

    /// A response that waited goes on: as it is where its fate is known already, else with the body that is chosen now.
    pub(super) fn goes_on(&mut self, host: &impl StreamHost, stream: &mut Stream) -> Flow {
        let in_canary = self.in_canary(host, stream);
        let Some(canary) = &mut stream.canary else { return Flow::Continue };
        let held = canary.canary.waiting_bytes();
        let mut flow = Flow::Continue;
        if canary.canary.holds() && !in_canary {
            canary.canary.pass_through(PassedThrough::RolledBack);
        }
        if canary.canary.holds() {
            let mut body = self.pool.take();
            let whole = host.body(Body::Held, held, &mut body).is_ok() && body.len() == held;
            let decoded = self.config.limits.held_bytes.saturating_mul(UNPACKED);
            let items = if whole {
                baseline::items(&body, stream.exchange.encoding(), &self.config.response, decoded)
            } else {
                Err(PassedThrough::Unreadable)
            };
            let fate = canary.canary.choose(items.as_deref().map_err(|reason| *reason), self.config.any_items);
            if let (CanaryOutcome::Candidate, Some((candidate, _))) = (fate, canary.canary.candidate()) {
                flow = Flow::Replace(Box::new(Replacement {
                    body: candidate.body.clone(),
                    model_version: candidate.model_version.clone(),
                    trailers: stream.trailers,
                }));
            }
            stream.exchange.pass(body.len(), &mut self.budget, |copy| {
                std::mem::swap(copy, &mut body);
                true
            });
            self.pool.put(body);
        } else {
            self.copy_waiting(host, stream, held);
        }
        if flow == Flow::Continue {
            Self::write_baseline(host, stream, false);
        }
        flow
    }

    /// Returns `true` if the user is still in the canary: a share that was lowered meanwhile holds for those who wait
    /// too.
    fn in_canary(&self, host: &impl Clock, stream: &Stream) -> bool {
        let arm = stream.exchange.bucket().map(|bucket| self.shares.arm(bucket, stream.exchange.cohort()));
        arm == Some(Arm::Candidate) && !self.shares.stale(host.now_ns())
    }

    /// What waited and passes now is copied like what passes by itself.
    fn copy_waiting(&mut self, host: &impl Messages, stream: &mut Stream, held: usize) {
        let pool = &mut self.pool;
        stream.exchange.pass(held, &mut self.budget, |out| {
            pool.lend(out);
            host.body(Body::Held, held, out).is_ok()
        });
    }
}
