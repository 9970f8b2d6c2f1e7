//! One configured filter on one worker: what all its streams share.

use contract::frame;

use crate::config::Config;
use crate::decision::budget::Budget;
use crate::decision::heads::ResponseHead;
use crate::decision::observation::{Bounds, Buffer};
use crate::decision::shares::{ShareCopy, Shares};
use crate::decision::uploads::Uploads;
use crate::log_line::log_line;
use crate::metrics::Stat;
use crate::pairs::{self, Pairs};
use crate::plugin::counters::Counters;
use crate::plugin::host::{BatchCall, Call, CallResponse, Callouts, Clock, Host, Level, Log, Refused, Stats, Timers};
use crate::plugin::pool::Pool;
use crate::plugin::stream::{LiveCall, Stream, Upload};
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
    /// The scorer responded to the last live call that ended.
    pub(super) reached: bool,
    /// Exchanges to be timed before the next tick.
    pub(super) to_time: u32,
    batch_headers: Vec<u8>,
    /// The request to the admin interface that is under way: its token, and when it was sent.
    asking: Option<(u32, u64)>,
    /// That the shares cannot be read is in the log.
    warned: bool,
}

impl Filter {
    /// Configures a filter.
    ///
    /// # Errors
    /// When the host defines no counters.
    pub fn new(host: &impl Stats, config: Config) -> Result<Self, Refused> {
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
            buffer: Buffer::new(config.response_json.clone(), bounds),
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
    pub fn start(&mut self, host: &impl Timers) {
        self.counters.wake(host, true);
    }

    /// The runtime held `shares` at `at_ns` or later.
    pub const fn renew_shares(&mut self, shares: Shares, at_ns: u64) {
        self.shares.renew(shares, at_ns);
    }

    /// Returns `true` if it does not tick: nothing waits in it, and its copy of the shares may be old.
    #[must_use]
    pub const fn asleep(&self) -> bool {
        self.counters.asleep()
    }

    /// Sends what has gathered, and hands the counts over.
    pub fn tick(&mut self, host: &impl Host) {
        self.to_time = TIMED_A_TICK;
        self.send(host, true);
        let more = self.buffer.waiting() || self.asking.is_some();
        self.counters.tick(host, more, self.shares.renews_when_idle());
    }

    /// The response to a stream's call never comes, or comes to nobody.
    pub fn forget_call(&mut self, stream: &Stream) {
        if let Some((token, _)) = stream.canary.as_ref().and_then(|canary| canary.canary.under_way()) {
            self.calls.retain(|call| call.token != token);
        }
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
        let canary = self.canary_over(stream);
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

    /// Another call of the filter's is over, if it is one. `response` is what came, if anything.
    pub fn call_over(&mut self, host: &impl Host, token: u32, response: Option<&impl CallResponse>) {
        if self.asking.is_some_and(|(asked, _)| asked == token) {
            self.shares_listed(host, response);
        } else if let Some(batch) = self.buffer.completed(token) {
            let read = |headers: Pairs<'_>| {
                let head = ResponseHead::read(headers);
                (head.scorer, head.status)
            };
            let head = response.and_then(|response| response.headers(&mut self.scratch, read).ok());
            let (scorer, status) = head.unwrap_or_default();
            let mut body = self.pool.take();
            let whole = response.is_some_and(|response| {
                let length = response.length();
                length <= self.config.limits.response_bytes && response.body(length, &mut body).is_ok()
            });
            self.counters.pending().batch_result(&batch, scorer && whole, status, &body);
            self.pool.put(body);
            self.buffer.recycle(batch);
            self.send(host, false);
            self.counters.wake(host, true);
        }
    }

    /// Ends the filter: batches that wait or are under way get no response any more, and count as failed.
    pub fn close(&mut self, host: &impl Stats) {
        for batch in self.buffer.drain() {
            self.counters.pending().batch_failed(&batch);
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
            let call = BatchCall {
                cluster: &self.config.scorer.observe_cluster,
                headers: &self.batch_headers,
                body: &batch.bytes,
                timeout_ms: self.config.scorer.observe_timeout_ms,
            };
            match host.send_batch(&call) {
                Ok(token) => {
                    self.counters.count(Stat::Batch(BatchOutcome::Sent));
                    self.buffer.sent(token, batch);
                }
                Err(_) => {
                    self.counters.pending().batch_failed(&batch);
                    self.buffer.recycle(batch);
                }
            }
        }
    }

    /// Renews an old copy of the shares by a call to the admin interface. A host that renews it by itself
    /// ([`Filter::renew_shares`]) never calls this.
    pub fn request_shares(&mut self, host: &(impl Clock + Log + Callouts)) {
        if self.asking.is_some() {
            return;
        }
        let now_ns = host.now_ns();
        if !self.shares.due(now_ns) {
            return;
        }
        let mut headers = self.pool.take();
        pairs::write(&mut headers, &[(b":method", b"GET"), (b":path", b"/runtime"), (b":authority", b"perch")]);
        let cluster = &self.config.scorer.admin_cluster;
        let call = Call { cluster, headers: &headers, body: b"".as_slice(), timeout_ms: SHARES_MS };
        match host.call(&call) {
            Ok(token) => self.asking = Some((token, now_ns)),
            Err(_) => self.warn_of_shares(host),
        }
        self.pool.put(headers);
    }

    /// The admin interface responded, or did not.
    fn shares_listed(&mut self, host: &impl Log, response: Option<&impl CallResponse>) {
        let Some((_, at_ns)) = self.asking.take() else { return };
        let mut listing = self.pool.take();
        let read = response.is_some_and(|response| {
            let length = response.length();
            length <= SHARES_BYTES && response.body(length, &mut listing).is_ok()
        });
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
    fn warn_of_shares(&mut self, host: &impl Log) {
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
