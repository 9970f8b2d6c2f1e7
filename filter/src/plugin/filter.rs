//! One configured filter on one worker: what all its streams share.

use contract::frame;

use crate::config::Config;
use crate::decision::budget::Budget;
use crate::decision::canary::Canary;
use crate::decision::cohort::Named;
use crate::decision::exchange::Exchange;
use crate::decision::heads::ResponseHead;
use crate::decision::observation::{Bounds, Buffer};
use crate::decision::shares::{ShareCopy, Shares};
use crate::decision::uploads::{UploadId, Uploads};
use crate::log_line::log_line;
use crate::metrics::Stat;
use crate::pairs::{self, Pairs};
use crate::plugin::call::LiveCall;
use crate::plugin::counters::Counters;
use crate::plugin::host::{Body, Call, Host, Level, Map, Payload, Refused};
use crate::plugin::pool::Pool;
use contract::names::BatchOutcome;

/// Exchanges that are timed between two ticks, all of them below some hundred a second: reading the clock twice is some
/// percent of what a request costs, and a sample has the same durations. Canary users' are all timed.
const TIMED_A_TICK: u32 = 32;
/// Time for the admin interface to say what the runtime holds, in ms.
const SHARES_MS: u32 = 1_000;
/// Longest listing of the runtime that is read, in bytes.
const SHARES_BYTES: usize = 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Filter {
    pub(super) config: Config,
    pub(super) counters: Counters,
    pub(super) buffer: Buffer,
    /// For copies of responses, and records that wait.
    pub(super) budget: Budget,
    /// For canary users' responses, the application's and the candidate's, while they wait for one another.
    pub(super) waiting: Budget,
    pub(super) uploads: Uploads,
    pub(super) pool: Pool,
    /// Header maps are read into it, one at a time.
    pub(super) scratch: Vec<u8>,
    pub(super) shares: ShareCopy,
    pub(super) calls: Vec<LiveCall>,
    /// The last live call that ended was answered by the scorer.
    pub(super) reached: bool,
    /// Exchanges to be timed before the next tick.
    pub(super) to_time: u32,
    batch_headers: Vec<u8>,
    /// The question to the admin interface that is under way: its token, and when it was asked.
    asking: Option<(u32, u64)>,
    /// That the shares cannot be read is in the log.
    warned: bool,
}

/// What is known of one intercepted request.
#[derive(Debug)]
pub struct Stream {
    pub(super) exchange: Exchange,
    pub(super) upload: Option<Upload>,
    pub(super) canary: Option<Box<CanaryStream>>,
    /// The response ends with trailers.
    pub(super) trailers: bool,
}

/// The copy of a request whose body is coming.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) id: UploadId,
    /// Longest body that is copied, in bytes.
    pub(super) limit: usize,
    /// The user is looked for in the body; what the headers say of cohorts.
    pub(super) identity: Option<Named>,
}

/// A user who is in the canary, or may be once the body has said who it is.
#[derive(Debug)]
pub(super) struct CanaryStream {
    pub(super) canary: Canary,
    /// Of the call to the scorer, but for the bucket, as [`crate::pairs::write`] writes them.
    pub(super) call_headers: Vec<u8>,
}

impl Filter {
    /// Configures a filter.
    ///
    /// # Errors
    /// When the host defines no counters.
    pub fn new(host: &impl Host, config: Config) -> Result<Self, Refused> {
        let counters = Counters::define(host, &config.labels, config.limits.flush_ms)?;
        let bounds = Bounds { batch: config.limits.batch_bytes, in_flight: config.limits.in_flight_bytes };
        let mut batch_headers = Vec::new();
        pairs::write(
            &mut batch_headers,
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
            waiting: Budget::new(config.limits.canary_bytes),
            uploads: Uploads::new(config.limits.canary_bytes),
            config,
            counters,
            pool: Pool::default(),
            scratch: Vec::new(),
            shares: ShareCopy::default(),
            calls: Vec::new(),
            reached: true,
            to_time: TIMED_A_TICK,
            batch_headers,
            asking: None,
            warned: false,
        })
    }

    /// Ticks begin, so that the first copy of the shares is there soon.
    pub fn start(&mut self, host: &impl Host) {
        self.counters.wake(host, true);
    }

    /// The runtime held `shares` at `at_ns` or later.
    pub const fn renew_shares(&mut self, shares: Shares, at_ns: u64) {
        self.shares.renew(shares, at_ns);
    }

    /// Sends what has gathered, hands the counts over, and renews the shares.
    pub fn tick(&mut self, host: &impl Host) {
        self.to_time = TIMED_A_TICK;
        self.send(host, true);
        self.ask_for_shares(host);
        let more = self.buffer.waiting() || self.asking.is_some();
        self.counters.tick(host, more, self.shares.kept_young());
    }

    /// A request and its response have passed, or their stream is over: counts it and hands the observation on. To be
    /// called once.
    pub fn conclude(&mut self, host: &impl Host, stream: &mut Stream) {
        if let Some(upload) = stream.upload.take() {
            self.drop_upload(&upload);
        }
        if stream.canary.as_ref().is_some_and(|canary| canary.canary.holds()) {
            stream.exchange.withheld();
        }
        let canary = self.canary_over(host, stream);
        stream.exchange.settle(&mut self.budget);
        let now_ns = stream.exchange.timed().then(|| host.now_ns());
        let ended = stream.exchange.end(canary.as_deref().map(|canary| &canary.canary), now_ns);
        let mut outcome = ended.outcome;
        if let Some(observation) = &ended.observation
            && !self.buffer.add(observation, &mut self.budget)
        {
            outcome = contract::names::Outcome::DroppedBufferFull;
        }
        self.counters.count(Stat::Observation(outcome));
        if let Some(arm) = ended.served {
            self.counters.count(Stat::Source(arm));
        }
        let copy = stream.exchange.release(&mut self.budget);
        self.pool.put(copy);
        self.send(host, false);
        self.counters.wake(host, true);
    }

    /// The call for a canary user that is over, if it is one: [`Filter::live_call_over`] follows.
    pub fn live_call(&mut self, token: u32) -> Option<LiveCall> {
        let at = self.calls.iter().position(|call| call.token == token)?;
        Some(self.calls.swap_remove(at))
    }

    /// Another call of the filter's is over, if it is one; `headers` is 0 where it failed.
    pub fn call_over(&mut self, host: &impl Host, token: u32, headers: usize, length: usize) {
        if self.asking.is_some_and(|(asked, _)| asked == token) {
            self.shares_told(host, headers, length);
        } else if let Some(batch) = self.buffer.landed(token) {
            let read = |headers: Pairs<'_>| {
                let head = ResponseHead::read(headers);
                (head.scorer, head.status)
            };
            let head = if headers > 0 { host.headers(Map::Call, &mut self.scratch, read).ok() } else { None };
            let (scorer, status) = head.unwrap_or_default();
            let mut body = self.pool.take();
            let most = self.config.limits.response_bytes;
            let whole = length <= most && host.body(Body::Call, length, &mut body).is_ok();
            self.counters.ledger().answered(&batch, scorer && whole, status, &body);
            self.pool.put(body);
            self.buffer.recycle(batch);
            self.send(host, false);
            self.counters.wake(host, true);
        }
    }

    /// The filter ends: whatever waits or is under way will not be answered any more.
    pub fn close(&mut self, host: &impl Host) {
        for batch in self.buffer.drain() {
            self.counters.ledger().failed(&batch);
        }
        self.counters.flush(host);
    }

    pub(super) fn drop_upload(&mut self, upload: &Upload) {
        if let Some(body) = self.uploads.take(upload.id) {
            self.pool.put(body);
        }
    }

    fn send(&mut self, host: &impl Host, all: bool) {
        while let Some(batch) = self.buffer.next(all, &mut self.budget) {
            let call = Call {
                cluster: &self.config.scorer.observe_cluster,
                headers: &self.batch_headers,
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

    pub(super) fn ask_for_shares<H: Host>(&mut self, host: &H) {
        if !H::SHARES_BY_CALL || self.asking.is_some() {
            return;
        }
        let now_ns = host.now_ns();
        if !self.shares.due(now_ns) {
            return;
        }
        let mut headers = self.pool.take();
        pairs::write(&mut headers, &[(b":method", b"GET"), (b":path", b"/runtime"), (b":authority", b"perch")]);
        let cluster = &self.config.scorer.admin_cluster;
        let call = Call { cluster, headers: &headers, body: Payload::Lent(&[]), timeout_ms: SHARES_MS };
        match host.call(&call) {
            Ok(token) => self.asking = Some((token, now_ns)),
            Err(_) => self.warn_of_shares(host),
        }
        self.pool.put(headers);
    }

    /// The admin interface answered, or did not.
    fn shares_told(&mut self, host: &impl Host, headers: usize, length: usize) {
        let Some((_, at_ns)) = self.asking.take() else { return };
        let mut listing = self.pool.take();
        let read = headers > 0 && length <= SHARES_BYTES && host.body(Body::Call, length, &mut listing).is_ok();
        match Shares::from_listing(&listing).filter(|_| read) {
            Some(shares) => {
                self.shares.renew(shares, at_ns);
                self.warned = false;
            }
            None => self.warn_of_shares(host),
        }
        self.pool.put(listing);
    }

    #[cold]
    fn warn_of_shares(&mut self, host: &impl Host) {
        if !std::mem::replace(&mut self.warned, true) {
            let line = log_line(
                "shares_unreadable",
                &[
                    ("cluster", &self.config.scorer.admin_cluster),
                    ("error", &"the cluster does not respond to GET /runtime with a listing"),
                    ("effect", &"every client is given the baseline until it does"),
                    ("fix", &"name the cluster of Envoy's admin interface in scorer.admin_cluster"),
                ],
            );
            host.log(Level::Warn, &line);
        }
    }
}

impl Stream {
    /// Request and response have passed whole.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.exchange.complete() && self.canary.as_ref().is_none_or(|canary| !canary.canary.holds())
    }

    /// A request's body passes of which nothing is wanted, the last of it where `end` says so. Returns `false`, having
    /// done nothing, where it is wanted, or where its end is that of the exchange.
    pub const fn passes_unseen(&mut self, end: bool) -> bool {
        let unseen = self.upload.is_none() && self.canary.is_none() && !self.exchange.response_ended();
        if unseen && end {
            self.exchange.request_over();
        }
        unseen
    }

    /// Bytes of the application's response that wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.canary.as_ref().filter(|canary| canary.canary.holds()).map_or(0, |canary| canary.canary.held())
    }
}
