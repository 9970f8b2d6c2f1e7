//! One filter configuration on Envoy's main thread: what its workers leave to it, and what it does for all of them.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, Weak};

use filter::decision::shares::Shares;
use filter::log_line::log_line;
use filter::pairs;
use filter::plugin::host::{Call, CallResponse, Level};

use crate::abi::Address;
use crate::batch_sender::{BatchSender, Begin};
use crate::envoy::response::Response;
use crate::envoy::{log, now_ns};
use crate::outbox::locked;
use crate::shared::{Event, Shared};
use crate::shares::KnownShares;
use crate::stream_state::conclude_others;
use crate::worker::Worker;
use crate::worker_host::WorkerHost;

/// Ticks that are further apart come too late for the rest of a batch, which no requests have asked for: the scorer
/// does not wait long for a body.
const REST_WAITS_MS: u32 = 1_000;

/// The shares are renewed that often, in ms, while one is above 0 or traffic flows, besides whenever somebody has set
/// one.
const RENEWED_MS: u32 = 1_000;
/// Shorter than that by what a timer may come early.
const RENEWAL_DUE_NS: u64 = RENEWED_MS as u64 * 900_000;
/// Time for the admin interface's response.
const QUESTION_MS: u32 = 1_000;

thread_local! {
    /// On the main thread: every configuration. On no other is there one.
    static CONFIGURATIONS: RefCell<Vec<Weak<MainThread>>> = const { RefCell::new(Vec::new()) };
}

/// See the module. It owns the workers; nothing of theirs leads back to it.
#[derive(Debug)]
pub(crate) struct MainThread {
    pub(crate) shared: Arc<Shared>,
    workers: Mutex<Vec<Arc<Worker>>>,
    sender: BatchSender,
    shares_request: Mutex<SharesRequest>,
}

/// The request to the admin interface for the shares that the runtime holds.
#[derive(Debug, Default)]
struct SharesRequest {
    /// It is being sent: a call that ends now ends during the send.
    asking: bool,
    ended_at_once: Vec<u64>,
    /// Envoy's number of the one under way.
    call: Option<u64>,
    /// The runtime changed after it was sent.
    again: bool,
    /// When the shares were renewed last, or that was tried.
    at_ns: Option<u64>,
    /// That the shares cannot be read is in the log.
    warned: bool,
}

/// Every configuration that there is, on the main thread.
fn configurations() -> Vec<Arc<MainThread>> {
    CONFIGURATIONS.with_borrow(|all| all.iter().filter_map(Weak::upgrade).collect())
}

/// Main thread: the runtime is another.
pub(crate) fn runtime_changed() {
    for main in configurations() {
        if !main.shared.renew_shares(None) {
            // Not at once: Envoy is in the middle of a request of its admin interface.
            main.shared.schedule(Event::RenewShares);
        }
        main.renew_copies();
    }
}

/// Every function but [`MainThread::worker`] is the main thread's.
impl MainThread {
    /// For the configuration at `config`.
    ///
    /// # Errors
    /// Says what is wrong, and how to fix it.
    ///
    /// # Safety
    /// `config` was handed to the hook that is running, which is the one that makes a configuration.
    /// [`MainThread::end`] is called in the hook that ends it.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn new(config: Address, document: &[u8]) -> Result<Arc<Self>, String> {
        // What another configuration knows holds for this one: a canary goes on while one takes the other's place.
        let known = configurations().last().map_or(KnownShares::UNKNOWN, |main| main.shared.known_shares());
        // SAFETY: as the caller says.
        let shared = unsafe { Shared::new(config, document, known) }?;
        let main = Arc::new(Self {
            shared: Arc::new(shared),
            workers: Mutex::default(),
            sender: BatchSender::default(),
            shares_request: Mutex::default(),
        });
        CONFIGURATIONS.with_borrow_mut(|all| all.push(Arc::downgrade(&main)));
        // Once Envoy can be asked, where that is needed.
        main.shared.schedule(if main.shared.renew_shares(None) { Event::Tick } else { Event::RenewShares });
        Ok(main)
    }

    /// Any thread: the worker of this thread, made when it is first asked for.
    pub(crate) fn worker(&self) -> Arc<Worker> {
        Worker::of_this_thread(&self.shared).unwrap_or_else(|| {
            let mut workers = locked(&self.workers);
            let worker = Arc::new(Worker::new(Arc::clone(&self.shared), workers.len()));
            workers.push(Arc::clone(&worker));
            worker.enter_this_thread();
            worker
        })
    }

    /// What it was asked to do.
    pub(crate) fn scheduled(&self, event: u64) {
        // A worker on the same core may be in the middle of a request: that one first.
        std::thread::yield_now();
        match Event::from_number(event) {
            Some(Event::Tick) => self.tick(),
            Some(Event::RenewShares) => self.renew(),
            // A rest that goes by itself is on its way without it.
            Some(Event::NextPiece) if !self.sender.hurried() => self.send_piece(),
            Some(Event::Rest) => self.send_piece(),
            Some(Event::NextPiece | Event::Send) | None => {}
        }
        self.send();
    }

    fn tick(&self) {
        let workers = locked(&self.workers).clone();
        let ticking = || workers.iter().filter(|worker| worker.period_ms() > 0);
        // First, so that a worker that fails here takes no tick of another's away; one too many ends by itself.
        if let Some(soonest) = ticking().map(|worker| worker.period_ms()).min() {
            self.shared.tick_after(soonest);
        }
        if self.sender.hurry() {
            self.shared.schedule(Event::Rest);
        }
        let at_ns = locked(&self.shares_request).at_ns;
        if at_ns.is_none_or(|at_ns| now_ns().saturating_sub(at_ns) >= RENEWAL_DUE_NS) {
            self.renew();
        } else if self.shared.known_shares().any_canary() {
            // Also while nobody comes.
            self.shared.tick_after(RENEWED_MS);
        }
        for worker in ticking() {
            let host = WorkerHost::on_main(worker);
            match &mut *worker.filter() {
                Some(filter) => {
                    conclude_others(worker, filter, &host);
                    filter.tick(&host);
                }
                // It began anew after a failure, and nothing waits in it. It asks for ticks again when something does.
                None => drop(worker.tick_every(0)),
            }
        }
    }

    /// Reads the shares, and asks the admin interface for those that are not whole numbers.
    fn renew(&self) {
        locked(&self.shares_request).at_ns = Some(now_ns());
        if !self.shared.renew_shares(None) {
            self.request_shares();
        }
        self.renew_copies();
    }

    /// Asks the admin interface what the runtime holds that is not a whole number.
    fn request_shares(&self) {
        {
            let mut shares_request = locked(&self.shares_request);
            shares_request.again = shares_request.asking || shares_request.call.is_some();
            if shares_request.again || self.shared.ended() {
                return;
            }
            shares_request.asking = true;
        }
        let mut headers = Vec::new();
        pairs::write(&mut headers, &[(b":method", b"GET"), (b":path", b"/runtime"), (b":authority", b"perch")]);
        let cluster = &self.shared.config.scorer.admin_cluster;
        // Unlocked: it may be over within, and then says so.
        let call = self.shared.envoy.call(&Call { cluster, headers: &headers, body: b"", timeout_ms: QUESTION_MS });
        let failed = {
            let mut shares_request = locked(&self.shares_request);
            let ended = std::mem::take(&mut shares_request.ended_at_once);
            shares_request.asking = false;
            shares_request.call = call.filter(|call| !ended.contains(call));
            shares_request.call.is_none()
        };
        if failed {
            self.shares_listed(None);
        }
    }

    /// A call to the admin interface is over; `response` is what came, if anything.
    pub(crate) fn call_over(&self, call: u64, response: Option<Response<'_>>) {
        {
            let mut shares_request = locked(&self.shares_request);
            if shares_request.call != Some(call) {
                if shares_request.asking {
                    shares_request.ended_at_once.push(call);
                }
                return;
            }
            shares_request.call = None;
        }
        let listing = response.map(|response| {
            let mut body = Vec::new();
            response.write_body(response.length(), &mut body);
            body
        });
        self.shares_listed(listing.as_deref());
        if std::mem::take(&mut locked(&self.shares_request).again) {
            self.request_shares();
        }
    }

    /// What the admin interface says, if anything.
    fn shares_listed(&self, listing: Option<&[u8]>) {
        let listing = listing.and_then(Shares::from_listing);
        let understood = listing.is_some();
        self.shared.renew_shares(listing);
        self.renew_copies();
        let warned = std::mem::replace(&mut locked(&self.shares_request).warned, !understood);
        if !understood && !warned {
            let line = log_line(
                "shares_unreadable",
                &[
                    ("cluster", &self.shared.config.scorer.admin_cluster),
                    ("error", &"a share is absent or not a whole percentage, and GET /runtime does not tell it"),
                    ("effect", &"every client is given the baseline until it does"),
                    ("fix", &"set the share, or name the cluster of Envoy's admin interface in scorer.admin_cluster"),
                ],
            );
            log(Level::Warn, &line);
        }
    }

    /// Each worker's copy of the shares becomes what is known now, and is kept young.
    fn renew_copies(&self) {
        let known = self.shared.known_shares();
        for worker in locked(&self.workers).clone() {
            if let Some(filter) = &mut *worker.filter() {
                known.copy_to(filter);
            }
        }
        if known.any_canary() {
            self.shared.tick_after(RENEWED_MS);
        }
    }

    fn send(&self) {
        loop {
            match self.sender.begin(&self.shared, self.shared.config.limits.flush_ms > REST_WAITS_MS) {
                Begin::Nothing => return,
                Begin::Whole => {}
                Begin::Partial { hurried: true } => return self.shared.schedule(Event::Rest),
                Begin::Partial { hurried: false } => {
                    // For when no requests follow that ask for the rest.
                    self.shared.tick_after(self.shared.config.limits.flush_ms);
                    return;
                }
                Begin::Failed(batch) => self.batch_response(batch.worker, batch.token, None::<&Response<'_>>),
            }
        }
    }

    fn send_piece(&self) {
        if self.sender.send_piece(&self.shared) {
            self.shared.schedule(Event::Rest);
        }
    }

    /// The headers of the response to a batch.
    pub(crate) fn batch_headers(&self, call: u64, response: Response<'_>) {
        self.sender.response_headers(call, response);
    }

    /// A part of the body of that response.
    pub(crate) fn batch_body(&self, call: u64, response: Response<'_>) {
        // One byte more than is read tells that it is too long.
        self.sender.response_body(call, response, self.shared.config.limits.response_bytes.saturating_add(1));
    }

    /// A batch has its whole response, or will not get one.
    pub(crate) fn batch_over(&self, call: u64, whole: bool) {
        if let Some(awaited) = self.sender.over(call) {
            self.batch_response(awaited.worker, awaited.token, whole.then_some(&awaited));
        }
        self.send();
    }

    fn batch_response(&self, worker: usize, token: u32, response: Option<&impl CallResponse>) {
        let Some(worker) = locked(&self.workers).get(worker).map(Arc::clone) else { return };
        if let Some(filter) = &mut *worker.filter() {
            filter.call_over(&WorkerHost::on_main(&worker), token, response);
        }
    }

    /// Envoy drops the configuration: calls under way get no response any more.
    pub(crate) fn end(&self) {
        self.shared.end();
        self.sender.end(&self.shared);
        for worker in std::mem::take(&mut *locked(&self.workers)) {
            let host = WorkerHost::on_main(&worker);
            let filter = worker.filter().take();
            if let Some(mut filter) = filter {
                conclude_others(&worker, &mut filter, &host);
                filter.close(&host);
            }
        }
        self.shared.outbox.clear();
        self.shared.envoy.close();
        CONFIGURATIONS.with_borrow_mut(|all| all.retain(|main| !std::ptr::eq(main.as_ptr(), self)));
    }
}
