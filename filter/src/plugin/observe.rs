//! The plugin for all users: it writes the bucket header, copies request and answer as they pass, says in the answer
//! who gave it, and sends what it saw in batches.

use contract::bucket::Bucket;
use contract::frame::{self, Encoding};
use contract::headers;
use contract::names::{Arm, BatchOutcome, Cohort, IdentitySource, Outcome};

use crate::config::Config;
use crate::decision::budget::Budget;
use crate::decision::exchange::{Exchange, Side};
use crate::decision::heads::AnswerHead;
use crate::decision::identity::{self, Search};
use crate::decision::observation::{Bounds, Buffer};
use crate::metrics::Stat;
use crate::pairs::{self, Pairs};
use crate::plugin::counters::Counters;
use crate::plugin::handover::Handover;
use crate::plugin::host::{Body, Call, Flow, Host, Map, Payload, Refused};
use crate::plugin::pool::Pool;
use crate::plugin::said::{Begun, Said, Told};

/// How often requests that wait for their body are looked through, in ns.
const LOOK_NS: u64 = 100_000_000;

/// Exchanges that are timed between two ticks, all of them below some hundred a second: reading the clock twice is some
/// percent of what a request costs, and what time answers take a sample tells as well.
const TIMED_A_TICK: u32 = 32;

/// The root context.
#[derive(Debug)]
pub struct Observe {
    config: Config,
    counters: Counters,
    buffer: Buffer,
    budget: Budget,
    pool: Pool,
    call_headers: Vec<u8>,
    /// Streams that wait for an identity in their body, and some that do not any more.
    waiting: Vec<u32>,
    next_look_ns: u64,
    /// Exchanges to be timed before the next tick.
    to_time: u32,
}

/// One intercepted request.
#[derive(Debug)]
pub struct Observed {
    exchange: Exchange,
    waits: Option<Waiting>,
}

/// A request that is held until its body says who the user is.
#[derive(Debug)]
struct Waiting {
    body: Vec<u8>,
    since_ns: u64,
    said: Said,
}

impl Observe {
    /// Configures the root context.
    ///
    /// # Errors
    /// When the host defines no counters.
    pub fn new(host: &impl Host, config: Config) -> Result<Self, Refused> {
        let counters = Counters::define(host, &config.labels, config.limits.flush_ms)?;
        let bounds = Bounds { batch: config.limits.batch_bytes, in_flight: config.limits.in_flight_bytes };
        let mut call_headers = Vec::new();
        pairs::write(
            &mut call_headers,
            &[
                (b":method", b"POST"),
                (b":path", frame::PATH.as_bytes()),
                (b":authority", config.scorer.authority.as_bytes()),
                (b"content-type", frame::CONTENT_TYPE.as_bytes()),
            ],
        );
        Ok(Self {
            buffer: Buffer::new(config.answer_json.clone(), bounds),
            budget: Budget::new(config.limits.pending_bytes),
            config,
            counters,
            pool: Pool::default(),
            call_headers,
            waiting: Vec::new(),
            next_look_ns: 0,
            to_time: TIMED_A_TICK,
        })
    }

    /// A request's headers. `None` where nothing more is to be seen of it.
    pub fn request_headers(
        &mut self,
        host: &impl Host,
        scratch: &mut Vec<u8>,
        context: u32,
        end: bool,
    ) -> (Flow, Option<Observed>) {
        let config = &self.config;
        let read = host.headers(Map::Request, scratch, |headers| Begun::read(host, config, headers));
        let Ok(read) = read else { return (Flow::Continue, None) };
        self.counters.count(Stat::Intercepted);
        let Begun { unsampled, encoding, length, search, said } = match read {
            Ok(begun) => begun,
            Err(skipped) => {
                self.counters.count(Stat::Observation(skipped));
                self.counters.wake(host, false);
                return (Flow::Continue, None);
            }
        };
        let now_ns = (self.to_time > 0).then(|| host.now_ns());
        self.to_time = self.to_time.saturating_sub(1);
        let limits = (self.config.limits.body_bytes, self.config.limits.answer_bytes);
        let mut exchange = Exchange::begin(now_ns, unsampled, encoding, limits);
        if end {
            exchange.ended(Side::Request);
        }
        let small = length.is_none_or(|length| length <= self.config.limits.identity_body_bytes);
        if search == Search::AskBody && !end && small && encoding == Encoding::Identity {
            exchange.announce(Side::Request, length, &mut self.budget);
            let since_ns = now_ns.unwrap_or_else(|| host.now_ns());
            let waits = Waiting { body: self.pool.take(), since_ns, said };
            self.waiting.push(context);
            self.counters.wake(host, true);
            return (Flow::Hold, Some(Observed { exchange, waits: Some(waits) }));
        }
        let found = match search {
            Search::Found(bucket, from) => Some((bucket, from)),
            Search::AskBody | Search::Missing => None,
        };
        self.identified(host, &mut exchange, found, said);
        exchange.announce(Side::Request, length, &mut self.budget);
        (Flow::Continue, Some(Observed { exchange, waits: None }))
    }

    /// `length` bytes of a request's body, the last ones where `end` says so.
    pub fn request_body(&mut self, host: &impl Host, seen: &mut Observed, length: usize, end: bool) -> Flow {
        let Some(waits) = &mut seen.waits else {
            let read = |out: &mut Vec<u8>| read(host, Body::Request, length, &mut self.pool, out);
            seen.exchange.pass(Side::Request, length, &mut self.budget, read);
            if end {
                seen.exchange.ended(Side::Request);
            }
            return Flow::Continue;
        };
        let after = waits.body.len().saturating_add(length);
        let fits = after <= self.config.limits.identity_body_bytes && self.budget.take(length);
        if fits
            && (length == 0 || host.body(Body::Request, length, &mut waits.body).is_ok())
            && waits.body.len() == after
        {
            if end {
                self.body_whole(host, seen);
                return Flow::Continue;
            }
            return Flow::Hold;
        }
        if fits {
            waits.body.resize(after, 0);
        }
        // Over the bound, or no room: the rules answer, and the request goes on untouched.
        self.give_up(host, seen);
        if fits {
            seen.exchange.pass(Side::Request, 1, &mut self.budget, |_| false);
        } else {
            let read = |out: &mut Vec<u8>| read(host, Body::Request, length, &mut self.pool, out);
            seen.exchange.pass(Side::Request, length, &mut self.budget, read);
        }
        if end {
            seen.exchange.ended(Side::Request);
        }
        Flow::Continue
    }

    /// A request's trailers: its body is whole.
    pub fn request_trailers(&mut self, host: &impl Host, seen: &mut Observed) {
        if seen.waits.is_some() {
            self.body_whole(host, seen);
        } else {
            seen.exchange.ended(Side::Request);
        }
    }

    /// An answer's headers. In `handover` is the request that the model answered last.
    pub fn answer_headers(
        &mut self,
        host: &impl Host,
        (scratch, handover): (&mut Vec<u8>, &mut Handover),
        seen: &mut Observed,
        end: bool,
    ) {
        if seen.waits.is_some() {
            // Somebody answered while the request was held for its body, e.g. Envoy since the client was too slow.
            self.give_up(host, seen);
        }
        if host.left_out() {
            seen.exchange.leave_out(&mut self.budget);
        }
        let read = host.headers(Map::Answer, scratch, |headers| Told::read(host, headers));
        let known = read.is_ok();
        let Told { status, encoding, length, arm, fallback, ours, strange } =
            read.unwrap_or_else(|_| Told::read(host, Pairs::listed(&[])));
        if !strange.is_empty() {
            remove(host, &strange);
        }
        if arm == Arm::Baseline {
            write_header(host, Map::Answer, headers::ARM, arm.as_str().as_bytes(), ours || !known);
        }
        if arm == Arm::Candidate {
            let request = seen.exchange.bucket().and_then(|user| handover.take(user));
            seen.exchange.handed(request, &mut self.budget);
        }
        seen.exchange.answered(status, encoding, arm, fallback);
        seen.exchange.announce(Side::Answer, length, &mut self.budget);
        if end {
            seen.exchange.ended(Side::Answer);
        }
    }

    /// `length` bytes of an answer's body, the last ones where `end` says so.
    pub fn answer_body(&mut self, host: &impl Host, seen: &mut Observed, length: usize, end: bool) {
        let read = |out: &mut Vec<u8>| read(host, Body::Answer, length, &mut self.pool, out);
        seen.exchange.pass(Side::Answer, length, &mut self.budget, read);
        if end {
            seen.exchange.ended(Side::Answer);
        }
    }

    /// An answer's trailers: its body is whole.
    pub const fn answer_trailers(seen: &mut Observed) {
        seen.exchange.ended(Side::Answer);
    }

    /// A request and its answer have passed, or their stream is over: counts it and hands the observation on. To be asked
    /// once.
    pub fn conclude(&mut self, host: &impl Host, seen: &mut Observed) {
        if seen.waits.is_some() {
            self.give_up(host, seen);
        }
        seen.exchange.settle(&mut self.budget);
        let ended = seen.exchange.end(seen.exchange.timed().then(|| host.now_ns()));
        let mut outcome = ended.outcome;
        if let Some(observation) = &ended.observation
            && !self.buffer.add(observation, &mut self.budget)
        {
            outcome = Outcome::DroppedBufferFull;
        }
        self.counters.count(Stat::Observation(outcome));
        if let Some(arm) = ended.source {
            self.counters.count(Stat::Source(arm));
        }
        let (request, answer) = seen.exchange.release(&mut self.budget);
        self.pool.put(request);
        self.pool.put(answer);
        self.send(host, false);
        self.counters.wake(host, true);
    }

    /// An answer to one of our calls, if it is one; `headers` is 0 where the call failed.
    pub fn call_answered(
        &mut self,
        host: &impl Host,
        scratch: &mut Vec<u8>,
        token: u32,
        headers: usize,
        length: usize,
    ) {
        let Some(batch) = self.buffer.landed(token) else { return };
        let read = |headers: Pairs<'_>| {
            let head = AnswerHead::read(headers);
            (head.scorer, head.status)
        };
        let head = if headers > 0 { host.headers(Map::Call, scratch, read).ok() } else { None };
        let (scorer, status) = head.unwrap_or_default();
        let mut body = self.pool.take();
        let whole = length <= self.config.limits.answer_bytes && host.body(Body::Call, length, &mut body).is_ok();
        self.counters.ledger().answered(&batch, scorer && whole, status, &body);
        self.pool.put(body);
        self.buffer.recycle(batch);
        self.send(host, false);
        self.counters.wake(host, true);
    }

    /// Sends what has gathered and hands the counts over.
    pub fn tick(&mut self, host: &impl Host) {
        self.to_time = TIMED_A_TICK;
        self.send(host, true);
        let more = self.buffer.waiting() || !self.waiting.is_empty();
        self.counters.tick(host, more);
    }

    /// Streams whose body has not come for too long, for [`Observe::late`]; looked for now and then.
    pub fn to_look_through(&mut self, now_ns: u64) -> Vec<u32> {
        if self.waiting.is_empty() || now_ns < self.next_look_ns {
            return Vec::new();
        }
        self.next_look_ns = now_ns.saturating_add(LOOK_NS);
        std::mem::take(&mut self.waiting)
    }

    /// Looks at a stream that may wait for its body: one that has waited too long goes on without an identity, the
    /// caller having made its context the effective one by `act`.
    pub fn late(&mut self, host: &impl Host, context: u32, seen: &mut Observed, now_ns: u64) {
        let Some(waits) = &seen.waits else { return };
        let held_ns = u64::from(self.config.limits.hold_ms) * 1_000_000;
        if now_ns.saturating_sub(waits.since_ns) < held_ns {
            self.waiting.push(context);
            return;
        }
        if host.act_for(context).is_ok() {
            self.give_up(host, seen);
            let _ = host.resume();
        }
    }

    /// The root context ends: whatever waits or is under way will not be answered any more.
    pub fn close(&mut self, host: &impl Host) {
        for batch in self.buffer.drain() {
            self.counters.ledger().failed(&batch);
        }
        self.counters.flush(host);
    }

    fn send(&mut self, host: &impl Host, all: bool) {
        while let Some(batch) = self.buffer.next(all, &mut self.budget) {
            let call = Call {
                cluster: &self.config.scorer.observe_cluster,
                headers: &self.call_headers,
                body: Payload::Shared(&batch.bytes),
                timeout_ms: self.config.scorer.observe_timeout_ms,
            };
            match host.call(&call) {
                Ok(token) => {
                    self.counters.count(Stat::Batch(BatchOutcome::Sent));
                    self.buffer.sent(token, batch);
                }
                Err(_) => {
                    self.counters.ledger().failed(&batch);
                    self.buffer.recycle(batch);
                }
            }
        }
    }

    /// The body that was waited for is there.
    fn body_whole(&mut self, host: &impl Host, seen: &mut Observed) {
        let Some(waits) = seen.waits.take() else { return };
        let bucket = identity::in_body(&self.config.identity, &waits.body, &self.config.salt);
        let found = bucket.map(|bucket| (bucket, IdentitySource::Body));
        self.identified(host, &mut seen.exchange, found, waits.said);
        self.adopt(seen, waits.body);
        seen.exchange.ended(Side::Request);
    }

    /// The body that was waited for will not be: the rules answer.
    #[cold]
    fn give_up(&mut self, host: &impl Host, seen: &mut Observed) {
        let Some(waits) = seen.waits.take() else { return };
        self.identified(host, &mut seen.exchange, None, waits.said);
        self.adopt(seen, waits.body);
    }

    /// The bytes that were read for the identity are those that the observation needs, where it needs any.
    fn adopt(&mut self, seen: &mut Observed, mut body: Vec<u8>) {
        self.budget.give(body.len());
        seen.exchange.pass(Side::Request, body.len(), &mut self.budget, |copy| {
            std::mem::swap(copy, &mut body);
            true
        });
        self.pool.put(body);
    }

    fn identified<H: Host>(
        &mut self,
        host: &H,
        exchange: &mut Exchange,
        found: Option<(Bucket, IdentitySource)>,
        said: Said,
    ) {
        let user = found.map(|(bucket, _)| (bucket, self.config.cohorts.of(bucket, said.named)));
        if let Some((bucket, cohort)) = user {
            exchange.identify(bucket, cohort);
        }
        self.counters.count(Stat::Identity(found.map_or(IdentitySource::Missing, |(_, from)| from)));
        if let Some((bucket, _)) = user.filter(|_| H::MATCHERS) {
            write_header(host, Map::Request, headers::BUCKET, &bucket.digits(), said.forged_bucket);
        } else if said.forged_bucket {
            let _ = host.remove_header(Map::Request, headers::BUCKET.as_bytes());
        }
        if let Some((_, cohort)) = user.filter(|(_, cohort)| *cohort != Cohort::Ordinary) {
            write_header(host, Map::Request, headers::COHORT, cohort.as_str().as_bytes(), said.forged_cohort);
        } else if said.forged_cohort {
            let _ = host.remove_header(Map::Request, headers::COHORT.as_bytes());
        }
    }
}

impl Observed {
    /// The user and the user's cohort, once known.
    #[must_use]
    pub fn user(&self) -> Option<(Bucket, Cohort)> {
        self.exchange.bucket().map(|bucket| (bucket, self.exchange.cohort()))
    }

    /// As [`Exchange::passes_unseen`]; a body that is waited for is wanted.
    pub const fn passes_unseen(&mut self, end: bool) -> bool {
        self.waits.is_none() && self.exchange.passes_unseen(end)
    }

    /// Request and answer have passed whole.
    #[must_use]
    pub const fn complete(&self) -> bool {
        self.exchange.complete()
    }
}

/// Appends `length` bytes of a body to `out`, which is given a buffer where it has none yet. Were they all there?
fn read(host: &impl Host, body: Body, length: usize, pool: &mut Pool, out: &mut Vec<u8>) -> bool {
    pool.lend(out);
    host.body(body, length, out).is_ok()
}

#[cold]
fn remove(host: &impl Host, names: &[Vec<u8>]) {
    for name in names {
        let _ = host.remove_header(Map::Answer, name);
    }
}

/// Writes a header of ours, in place of one that may be there where `forged` says so.
fn write_header(host: &impl Host, map: Map, name: &str, value: &[u8], forged: bool) {
    let _ = if forged { host.set_header(map, name, value) } else { host.add_header(map, name, value) };
}
