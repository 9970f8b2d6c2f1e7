//! One filter configuration: what it does on Envoy's main thread, and what its workers leave to it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use contract::names::FAILURES;
use filter::config::{Config, Module};
use filter::decision::shares::Shares;
use filter::log_line::log_line;
use filter::metrics;
use filter::pairs;
use filter::plugin::filter::Filter;
use filter::plugin::host::{Call, Host, Level, Payload};

use crate::abi::{self, Address};
use crate::main_thread::{self, Envoy, OnMain};
use crate::place::Place;
use crate::received::Received;
use crate::runtime;
use crate::scheduler::ToMain;
use crate::sending::{Begun, Leaving, Sending};
use crate::stream::{self, attribute};
use crate::ticker::Ticker;

/// What the main thread is asked to do.
const TICK: u64 = 1;
const SEND: u64 = 2;
const ASK: u64 = 3;
/// Send the next piece of a batch, or piece by piece the rest of it.
const GO_ON: u64 = 4;
const HURRY: u64 = 5;

/// Ticks that are further apart come too late for the rest of a batch, which no requests have asked for: the scorer does not
/// wait long for a body.
const REST_WAITS_MS: u32 = 1_000;

/// The shares are renewed that often, in ms, while one is above 0 or traffic flows, besides whenever somebody has set one.
const RENEWED_MS: u32 = 1_000;
/// Time for the admin interface's answer.
const ASKED_MS: u32 = 1_000;

thread_local! {
    /// On the main thread: every configuration. On no other is there one.
    static CONFIGURED: RefCell<Vec<Weak<Plugin>>> = const { RefCell::new(Vec::new()) };
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Plugin {
    config: Config,
    /// Envoy's numbers of the counters, by name.
    pub(crate) counters: HashMap<String, u32>,
    envoy: Envoy,
    to_main: Arc<ToMain>,
    ticker: Mutex<Option<Ticker>>,
    places: Mutex<Vec<Arc<Place>>>,
    sending: Sending,
    asking: Mutex<Asking>,
    ended: AtomicBool,
}

/// The question to the admin interface about what the runtime holds.
#[derive(Debug, Default)]
struct Asking {
    /// Envoy's number of the one under way.
    call: Option<u64>,
    /// Something has changed since it was asked.
    again: bool,
    /// When the shares were renewed last, or that was tried.
    at: Option<Instant>,
    /// That the shares cannot be read is in the log.
    warned: bool,
}

/// Main thread: the runtime is another.
pub(crate) fn runtime_changed() {
    let plugins: Vec<_> = CONFIGURED.with_borrow(|plugins| plugins.iter().filter_map(Weak::upgrade).collect());
    if let Some(plugin) = plugins.iter().find(|plugin| !plugin.ended())
        && !runtime::renew(None)
    {
        // Not at once: Envoy is in the middle of a request of its admin interface.
        plugin.to_main.ask(ASK);
    }
    for plugin in &plugins {
        plugin.tell_workers();
        if runtime::known().shares.any_canary() {
            plugin.tick_after(RENEWED_MS);
        }
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept in them changes in one step each: it is whole whoever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plugin {
    /// For the configuration at `config`, while Envoy makes it on its main thread.
    ///
    /// # Errors
    /// Says what is wrong, and how to mend it.
    pub(crate) fn new(config: Address, document: &[u8]) -> Result<Arc<Self>, String> {
        let checked = Config::parse(document, Module::Native).map_err(|error| error.to_string())?;
        if checked.reads_metadata() {
            return Err(
                "a claim of a JWT cannot be read by the native module, to which Envoy shows no nested metadata: \
                        let jwt_authn copy it into a header (claim_to_headers) and name that, or run the WebAssembly \
                        module"
                    .into(),
            );
        }
        let envoy = Envoy::new(config);
        let defined = metrics::names(&checked.labels).into_iter().map(|name| {
            let counter = envoy.define(&name).ok_or_else(|| format!("Envoy defines no counter {name:?}"))?;
            Ok((name, counter))
        });
        let counters = defined.collect::<Result<_, String>>()?;
        let to_main = ToMain::new(config).ok_or("Envoy has no scheduler for it")?;
        let plugin = Arc::new(Self {
            config: checked,
            counters,
            envoy,
            to_main: Arc::new(to_main),
            ticker: Mutex::default(),
            places: Mutex::default(),
            sending: Sending::default(),
            asking: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        CONFIGURED.with_borrow_mut(|plugins| {
            plugins.retain(|plugin| plugin.strong_count() > 0);
            plugins.push(Arc::downgrade(&plugin));
        });
        // Once Envoy can be asked, where that is needed.
        plugin.to_main.ask(if runtime::renew(None) { TICK } else { ASK });
        Ok(plugin)
    }

    /// A filter for a worker that has none: a new one, or one that begins anew.
    pub(crate) fn filter(&self, host: &impl Host) -> Option<Filter> {
        let filter = Filter::new(host, self.config.clone());
        let mut filter = filter
            .inspect_err(|refused| {
                stream::log(Level::Error, &log_line("counters_refused", &[("status", &refused.0)]));
            })
            .ok()?;
        tell(&mut filter);
        Some(filter)
    }

    /// A worker thread has it now.
    pub(crate) fn placed(&self, place: &Arc<Place>) {
        locked(&self.places).push(Arc::clone(place));
    }

    /// Envoy has done away with the configuration.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// A tick will come, once, so much later at the latest. Returns `false` where the system has no thread for it.
    pub(crate) fn tick_after(&self, ms: u32) -> bool {
        let mut ticker = locked(&self.ticker);
        if ticker.is_none() && !self.ended() {
            let to_main = Arc::clone(&self.to_main);
            *ticker = Ticker::start(move || to_main.ask(TICK));
        }
        ticker.as_ref().map(|ticker| ticker.ask(Duration::from_millis(u64::from(ms)))).is_some()
    }

    /// Leaves a call to the main thread, which is asked to look unless it does so anyway.
    pub(crate) fn leave(&self, leaving: Leaving, ask: bool) {
        self.sending.leave(leaving);
        if ask {
            self.to_main.ask(SEND);
        }
    }

    /// A worker is done with a request, its `requests`th.
    pub(crate) fn request_over(&self, requests: u32) {
        if self.sending.due(requests) {
            self.to_main.ask(GO_ON);
        }
    }

    /// Is the request whose headers are at `stream` one that the filter is about? All other traffic of the gateway passes
    /// at this price.
    pub(crate) fn intercepts(&self, stream: Address) -> bool {
        let intercept = &self.config.intercept;
        attribute(stream, abi::REQUEST_PATH, |path| intercept.is_path(path)).unwrap_or(false)
            && attribute(stream, abi::REQUEST_METHOD, |method| intercept.is_method(method)).unwrap_or(false)
    }

    /// A callback has panicked. Any thread.
    pub(crate) fn failed(&self) {
        if let Some(counter) = self.counters.get(FAILURES) {
            self.envoy.increment(*counter, 1);
        }
    }

    /// Main thread: adds to a counter.
    pub(crate) fn increment(&self, counter: u32, by: u64) -> bool {
        self.envoy.increment(counter, by)
    }

    /// Main thread: what it was asked to do.
    pub(crate) fn asked(self: &Arc<Self>, event: u64) {
        // A worker on the same core may be in the middle of a request: that one first.
        std::thread::yield_now();
        match event {
            TICK => self.tick(),
            ASK => self.renew(),
            // A rest that goes by itself is on its way without it.
            GO_ON if !self.sending.hurried() => self.go_on(),
            HURRY => self.go_on(),
            _ => {}
        }
        self.send();
    }

    fn go_on(&self) {
        if self.sending.go_on(&self.envoy) {
            self.to_main.ask(HURRY);
        }
    }

    fn tick(self: &Arc<Self>) {
        let places = locked(&self.places).clone();
        let ticking = || places.iter().filter(|place| place.period_ms() > 0);
        // First, so that a worker that fails here takes no tick of another's away; one too many ends by itself.
        if let Some(soonest) = ticking().map(|place| place.period_ms()).min() {
            self.tick_after(soonest);
        }
        if self.sending.hurry() {
            self.to_main.ask(HURRY);
        }
        let due = |asking: &Asking| {
            asking.at.is_none_or(|at| at.elapsed() >= Duration::from_millis(u64::from(RENEWED_MS) * 9 / 10))
        };
        if due(&locked(&self.asking)) {
            self.renew();
        }
        if runtime::known().shares.any_canary() {
            // Also while nobody comes.
            self.tick_after(RENEWED_MS);
        }
        for place in ticking() {
            match &mut *place.filter() {
                Some(filter) => filter.tick(&OnMain::new(place, None)),
                // It began anew after a failure, and nothing waits in it. It asks for ticks again when something does.
                None => place.rests(),
            }
        }
    }

    /// Reads the shares, and asks the admin interface for those that are not whole numbers.
    fn renew(&self) {
        locked(&self.asking).at = Some(Instant::now());
        if !runtime::renew(None) {
            self.ask_for_shares();
        }
        self.tell_workers();
    }

    /// Asks the admin interface what the runtime holds that is not a whole number.
    fn ask_for_shares(&self) {
        {
            let mut asking = locked(&self.asking);
            asking.again = asking.call.is_some();
            if asking.again || self.ended() {
                return;
            }
        }
        let mut headers = Vec::new();
        pairs::write(&mut headers, &[(b":method", b"GET"), (b":path", b"/runtime"), (b":authority", b"perch")]);
        let cluster = &self.config.scorer.admin_cluster;
        // Unlocked: it may be over within, and then says so.
        let body = Payload::Lent(&[]);
        let call = self.envoy.call(&Call { cluster, headers: &headers, body, timeout_ms: ASKED_MS });
        locked(&self.asking).call = call;
        if call.is_none() {
            self.told(None);
        }
    }

    /// What the admin interface says, if anything.
    fn told(&self, runtime: Option<&[u8]>) {
        let listing = runtime.and_then(Shares::from_listing);
        let understood = listing.is_some();
        runtime::renew(listing);
        self.tell_workers();
        if runtime::known().shares.any_canary() {
            self.tick_after(RENEWED_MS);
        }
        let warned = std::mem::replace(&mut locked(&self.asking).warned, !understood);
        if !understood && !warned {
            let line = log_line(
                "shares_unreadable",
                &[
                    ("cluster", &self.config.scorer.admin_cluster),
                    ("error", &"a share is absent or not a whole percentage, and GET /runtime does not tell it"),
                    ("effect", &"every client is given the baseline until it does"),
                    ("fix", &"set the share, or name the cluster of Envoy's admin interface in scorer.admin_cluster"),
                ],
            );
            stream::log(Level::Warn, &line);
        }
    }

    /// Main thread: a question to the admin interface is over. `received` is what came, if anything.
    pub(crate) fn shares_told(self: &Arc<Self>, call: u64, received: Option<Received<'_>>) {
        if locked(&self.asking).call.take_if(|asked| *asked == call).is_some() {
            let runtime = received.map(|received| {
                let mut body = Vec::new();
                received.write_body(received.length(), &mut body);
                body
            });
            self.told(runtime.as_deref());
            if std::mem::take(&mut locked(&self.asking).again) {
                self.ask_for_shares();
            }
            return;
        }
        // Within the call that began it: whoever made it takes it for failed.
        main_thread::note_at_once(call);
    }

    fn tell_workers(&self) {
        for place in locked(&self.places).clone() {
            if let Some(filter) = &mut *place.filter() {
                tell(filter);
            }
        }
    }

    /// Envoy does away with the configuration: whatever is under way will not be answered any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        drop(locked(&self.ticker).take());
        self.sending.end();
        for place in std::mem::take(&mut *locked(&self.places)) {
            if let Some(mut filter) = place.filter().take() {
                filter.close(&OnMain::new(&place, None));
            }
        }
    }

    fn send(self: &Arc<Self>) {
        loop {
            match self.sending.begin(&self.envoy, self.config.limits.flush_ms > REST_WAITS_MS) {
                Begun::Nothing => return,
                Begun::Whole => {}
                Begun::Partly { hurried: true } => return self.to_main.ask(HURRY),
                Begun::Partly { hurried: false } => {
                    // For when no requests follow that ask for the rest.
                    self.tick_after(self.config.limits.flush_ms);
                    return;
                }
                Begun::Failed(leaving) => self.over(&leaving.place, leaving.token, None),
            }
        }
    }

    /// Main thread: the headers of the answer to a batch.
    pub(crate) fn answer_headers(&self, call: u64, received: Received<'_>) {
        self.sending.headers(call, received);
    }

    /// Main thread: a part of the body of that answer.
    pub(crate) fn answer_body(&self, call: u64, received: Received<'_>) {
        // One byte more than is read tells that it is too long.
        self.sending.body(call, received, self.config.limits.response_bytes.saturating_add(1));
    }

    /// Main thread: a batch is answered, or will not be.
    pub(crate) fn batch_over(self: &Arc<Self>, call: u64, answered: bool) {
        if let Some(flight) = self.sending.over(call) {
            if answered {
                flight.received(|received| self.over(&flight.place, flight.token, Some(received)));
            } else {
                self.over(&flight.place, flight.token, None);
            }
        }
        self.send();
    }

    fn over(&self, place: &Arc<Place>, token: u32, received: Option<Received<'_>>) {
        let headers = received.map_or(0, |received| received.headers.len());
        let length = received.map_or(0, Received::length);
        let host = OnMain::new(place, received);
        if let Some(filter) = &mut *place.filter() {
            filter.call_over(&host, token, headers, length);
        }
    }
}

/// A worker's copy of the shares is renewed.
fn tell(filter: &mut Filter) {
    let known = runtime::known();
    match known.at_ns {
        Some(at_ns) => filter.renew_shares(known.shares, at_ns),
        // A canary that is off is off, whatever else is not known.
        None if !known.shares.any_canary() => filter.renew_shares(known.shares, 0),
        None => {}
    }
}
