//! The plugin for canary users: it holds the request, asks the scorer with a deadline, and answers with what it got or
//! lets the request go on.
//!
//! It is run for canary users only, so all it needs to know of a user is the bucket, which it hands to the scorer; cookies
//! and credentials stay behind.

use contract::bucket::Bucket;
use contract::headers;
use contract::names::FallbackReason;

use crate::config::Config;
use crate::decision::budget::Budget;
use crate::decision::fallback;
use crate::decision::heads::{AnswerHead, RequestHead};
use crate::decision::held::{Held, Stage};
use crate::metrics::Stat;
use crate::pairs::{self, Pairs};
use crate::plugin::counters::Counters;
use crate::plugin::handover::{BucketDigits, Handover};
use crate::plugin::host::{Body, Call, Flow, Host, Level, Map, Payload, Refused};
use crate::plugin::pool::Pool;
use crate::plugin::{FALLBACK_NOTE, MODEL_DETAILS};

/// How often held requests are looked through for bodies that do not come, in ns.
const LOOK_NS: u64 = 100_000_000;

/// Request headers that the scorer gets besides the bucket: what it needs to read the body, and what ties logs and
/// traces together.
const PASSED_ON: [&[u8]; 6] =
    [b"content-type", b"content-encoding", b"accept", b"traceparent", b"tracestate", b"x-request-id"];

/// The root context.
#[derive(Debug)]
pub struct Model {
    config: Config,
    counters: Counters,
    budget: Budget,
    pool: Pool,
    calls: Vec<Asked>,
    /// The last call that ended was answered by the scorer.
    reached: bool,
    /// Streams whose body is being gathered, and some whose is not any more.
    gathering: Vec<u32>,
    next_look_ns: u64,
}

/// A call under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    token: u32,
    /// The stream that it is for, which may be gone by the time the answer comes.
    pub stream: u32,
    at_ns: u64,
}

/// One canary request.
#[derive(Debug)]
pub struct Canary {
    held: Held,
    user: BucketDigits,
    call_headers: Vec<u8>,
}

impl Model {
    /// Configures the root context.
    ///
    /// # Errors
    /// When the host defines no counters.
    pub fn new(host: &impl Host, config: Config) -> Result<Self, Refused> {
        Ok(Self {
            counters: Counters::define(host, &config.labels, config.limits.flush_ms)?,
            budget: Budget::new(config.limits.pending_bytes),
            config,
            pool: Pool::default(),
            calls: Vec::new(),
            reached: true,
            gathering: Vec::new(),
            next_look_ns: 0,
        })
    }

    /// A request's headers. `user` is whose it is; without it the bucket header says so, which Envoy's matcher around the
    /// plugin has seen. `None` where the plugin has nothing to do with it.
    pub fn request_headers(
        &mut self,
        host: &impl Host,
        scratch: &mut Vec<u8>,
        (context, user): (u32, Option<Bucket>),
        end: bool,
    ) -> (Flow, Option<Canary>) {
        let mut call_headers = self.pool.take();
        let config = &self.config;
        let read = host.headers(Map::Request, scratch, |headers| {
            let head = RequestHead::read(headers);
            // What is no bucket was not written by "observe".
            let written = head.bucket.and_then(|bucket| BucketDigits::try_from(bucket).ok());
            let user = user.map(Bucket::digits).or(written).filter(|_| config.intercept.passes(&head).is_none())?;
            let mut passed: Vec<(&[u8], &[u8])> = Vec::with_capacity(4 + PASSED_ON.len());
            passed.extend([
                (b":method".as_slice(), head.method),
                (b":path", head.path),
                (b":authority", config.scorer.authority.as_bytes()),
                (headers::BUCKET.as_bytes(), &user),
            ]);
            passed.extend(headers.iter().filter(|(name, _)| PASSED_ON.contains(name)));
            pairs::write(&mut call_headers, &passed);
            Some((user, head.content_length))
        });
        let Ok(Some((user, content_length))) = read else {
            self.pool.put(call_headers);
            return (Flow::Continue, None);
        };
        let limit = self.config.limits.body_bytes;
        let mut canary = Canary { held: Held::begin(host.now_ns(), limit, self.pool.take()), user, call_headers };
        let flow = if content_length.is_some_and(|length| length > limit) {
            self.let_go(host, &mut canary, FallbackReason::RequestTooLarge);
            Flow::Continue
        } else if end {
            self.ask(host, context, &mut canary)
        } else {
            self.gathering.push(context);
            self.counters.wake(host, true);
            Flow::Hold
        };
        (flow, Some(canary))
    }

    /// `length` bytes of a request's body, the last ones where `end` says so.
    pub fn request_body(
        &mut self,
        host: &impl Host,
        context: u32,
        canary: &mut Canary,
        length: usize,
        end: bool,
    ) -> Flow {
        let read = |out: &mut Vec<u8>| host.body(Body::Request, length, out).is_ok();
        if let Some(reason) = canary.held.gather(length, &mut self.budget, read) {
            self.counters.count(Stat::Fallback(reason));
            self.counters.wake(host, false);
        }
        match canary.held.stage() {
            Stage::Gathering if end => self.ask(host, context, canary),
            Stage::Gathering | Stage::Asking => Flow::Hold,
            Stage::Answered | Stage::LetGo(_) | Stage::Overtaken => Flow::Continue,
        }
    }

    /// A request's trailers: its body is whole.
    pub fn request_trailers(&mut self, host: &impl Host, context: u32, canary: &mut Canary) -> Flow {
        self.request_body(host, context, canary, 0, true)
    }

    /// An answer's headers, of whoever answers.
    pub fn answer_headers(&mut self, host: &impl Host, canary: &mut Canary) {
        canary.held.overtaken(&mut self.budget);
        if let Stage::LetGo(reason) = canary.held.stage() {
            let word = reason.as_str().as_bytes();
            let _ = host.set_header(Map::Answer, headers::FALLBACK, word);
            let _ = host.note(FALLBACK_NOTE, word);
        }
    }

    /// The request is over.
    pub fn conclude(&mut self, canary: Canary) {
        self.pool.put(canary.held.release(&mut self.budget));
        self.pool.put(canary.call_headers);
    }

    /// The call of that token, if it is ours; it is over.
    pub fn landed(&mut self, token: u32) -> Option<Asked> {
        let at = self.calls.iter().position(|call| call.token == token)?;
        Some(self.calls.swap_remove(at))
    }

    /// The scorer's answer, or its lack (`headers` is 0 where the call failed), to what was asked for `canary`, whose
    /// client may be gone. The request that is answered is left in `handover`.
    pub fn call_answered(
        &mut self,
        host: &impl Host,
        (scratch, handover): (&mut Vec<u8>, &mut Handover),
        asked: Asked,
        canary: Option<&mut Canary>,
        headers: usize,
        length: usize,
    ) {
        let context = asked.stream;
        let limit = self.config.limits.answer_bytes;
        let mut body = self.pool.take();
        let mut given = self.pool.take();
        let reading = |headers: Pairs<'_>| {
            let head = AnswerHead::read(headers);
            if length <= limit && host.body(Body::Call, length, &mut body).is_err() {
                return (head.scorer, Err(FallbackReason::Reset));
            }
            let verdict = fallback::judge(&head, &body, length, limit, &self.config.answer);
            (head.scorer, verdict.map(|good| pairs::write(&mut given, &fallback::answer_headers(&good))))
        };
        let read = if headers > 0 { host.headers(Map::Call, scratch, reading).ok() } else { None };
        let (reached, verdict) = read.unwrap_or_else(|| {
            // Envoy also breaks a call off when its time is up in the middle of the answer. Its timers count from when
            // its event loop last looked at the clock, so the last tenth of the time counts as late too.
            let nearly_ns = u64::from(self.config.scorer.deadline_ms) * 900_000;
            let late = host.now_ns().saturating_sub(asked.at_ns) >= nearly_ns;
            (false, Err(if late { FallbackReason::Deadline } else { FallbackReason::Reset }))
        });
        self.reached = reached;
        self.counters.count(Stat::Predict(verdict.is_ok()));
        if let Some(canary) = canary {
            match verdict {
                Ok(()) => {
                    if let Some(request) = canary.held.answer(&mut self.budget)
                        && host.act_for(context).is_ok()
                    {
                        handover.leave(canary.user, request);
                        let _ = host.respond(&given, &body, MODEL_DETAILS);
                    }
                }
                Err(reason) => {
                    if self.let_go(host, canary, reason) && host.act_for(context).is_ok() {
                        let _ = host.resume();
                    }
                }
            }
        }
        self.pool.put(given);
        self.pool.put(body);
        self.counters.wake(host, false);
    }

    /// Hands the counts over.
    pub fn tick(&mut self, host: &impl Host) {
        self.counters.tick(host, !self.gathering.is_empty());
    }

    /// Streams whose body has not come for too long, for [`Model::late`]; looked for now and then.
    pub fn to_look_through(&mut self, now_ns: u64) -> Vec<u32> {
        if self.gathering.is_empty() || now_ns < self.next_look_ns {
            return Vec::new();
        }
        self.next_look_ns = now_ns.saturating_add(LOOK_NS);
        std::mem::take(&mut self.gathering)
    }

    /// Looks at a stream whose body may be late, and lets it go if it is.
    pub fn late(&mut self, host: &impl Host, context: u32, canary: &mut Canary, now_ns: u64) {
        if canary.held.late(now_ns, self.config.limits.hold_ms) {
            if self.let_go(host, canary, FallbackReason::Deadline) && host.act_for(context).is_ok() {
                let _ = host.resume();
            }
        } else if canary.held.stage() == Stage::Gathering {
            self.gathering.push(context);
        }
    }

    /// The root context ends.
    pub fn close(&mut self, host: &impl Host) {
        self.counters.flush(host);
    }

    fn ask(&mut self, host: &impl Host, context: u32, canary: &mut Canary) -> Flow {
        if !canary.held.ask() {
            return Flow::Continue;
        }
        let call = Call {
            cluster: &self.config.scorer.live_cluster,
            headers: &canary.call_headers,
            body: Payload::Lent(canary.held.body()),
            timeout_ms: self.config.scorer.deadline_ms,
        };
        let at_ns = host.now_ns();
        match host.call(&call) {
            Ok(token) => {
                self.calls.push(Asked { token, stream: context, at_ns });
                Flow::Hold
            }
            Err(refused) => {
                self.counters.count(Stat::Predict(false));
                let reason = self.not_sent(host, refused);
                self.let_go(host, canary, reason);
                Flow::Continue
            }
        }
    }

    /// Envoy did not take the call: there is no such cluster, no healthy host, or a circuit breaker is open, and it does
    /// not say which. Where calls are under way and the scorer answered the last one, it is not the host that lacks.
    fn not_sent(&self, host: &impl Host, refused: Refused) -> FallbackReason {
        const BAD_ARGUMENT: u32 = 2;
        if refused.0 == BAD_ARGUMENT {
            let cluster = &self.config.scorer.live_cluster;
            host.log(Level::Error, &format!("perch: Envoy has no cluster {cluster:?}: the rules answer for the model"));
        } else if self.reached && !self.calls.is_empty() {
            return FallbackReason::Overloaded;
        }
        FallbackReason::Refused
    }

    fn let_go(&mut self, host: &impl Host, canary: &mut Canary, reason: FallbackReason) -> bool {
        let first = canary.held.let_go(reason, &mut self.budget);
        if first {
            self.counters.count(Stat::Fallback(reason));
            self.counters.wake(host, false);
        }
        first
    }
}
