//! One filter configuration: its counters, its ticks, and the calls that its worker threads leave to the main thread. One
//! filter plays both plugins of the WebAssembly module here, since Envoy's way through a filter costs more than what is
//! done in it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use contract::names::FAILURES;
use filter::config::{Config, Module, Role};
use filter::metrics;
use filter::pairs;
use filter::plugin::host::{Call, Host, Level, Payload};
use filter::plugin::roots::Roots;

use crate::abi::{self, Address};
use crate::gate;
use crate::main_thread::{self, Envoy, OnMain};
use crate::received::Received;
use crate::scheduler::ToMain;
use crate::seat::Place;
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

/// While a share is no whole number, the admin interface is asked for it that often under traffic, besides whenever
/// somebody has set one.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// Time for its answer.
const ASKED_MS: u32 = 1_000;

/// "observe" and "model".
pub(crate) const ROLES: [Role; 2] = [Role::Observe, Role::Model];

thread_local! {
    /// On the main thread: every configuration. On no other is there one.
    static CONFIGURED: RefCell<Vec<Weak<Plugin>>> = const { RefCell::new(Vec::new()) };
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Plugin {
    /// Its number among all that this process ever had; also that of its root context "observe" on every worker. The next
    /// one is that of "model".
    id: u32,
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
    /// When it was asked last.
    at: Option<Instant>,
    /// That there was no answer to understand is in the log.
    told: bool,
}

/// Main thread: the runtime is another.
pub(crate) fn runtime_changed() {
    let plugins: Vec<_> = CONFIGURED.with_borrow(|plugins| plugins.iter().filter_map(Weak::upgrade).collect());
    if let Some(plugin) = plugins.iter().find(|plugin| !plugin.ended())
        && !gate::renew()
    {
        // Not at once: Envoy is in the middle of a request of its admin interface.
        plugin.to_main.ask(ASK);
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
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let checked = Config::parse(document, Module::Native).map_err(|error| error.to_string())?;
        if checked.role == Role::Model {
            return Err("role: the native module is one filter, which asks the model as well; take this one out".into());
        }
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
            id: NEXT.fetch_add(2, Ordering::Relaxed),
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
        if !gate::renew() {
            // Once Envoy can be asked.
            plugin.to_main.ask(ASK);
        }
        Ok(plugin)
    }

    /// The number of a root context on every worker.
    pub(crate) const fn root(&self, role: Role) -> u32 {
        match role {
            Role::Observe => self.id,
            Role::Model => self.id + 1,
        }
    }

    /// Makes the root contexts on a worker that does not know them: a new one, or one that began anew.
    pub(crate) fn begin(&self, roots: &mut Roots, host: &impl Host) {
        if roots.has(self.id) {
            return;
        }
        for role in ROLES {
            roots.install(host, self.root(role), Config { role, ..self.config.clone() });
        }
    }

    /// A worker thread has it now.
    pub(crate) fn seated(&self, place: &Arc<Place>) {
        locked(&self.places).push(Arc::clone(place));
    }

    /// Envoy has done away with the configuration.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// A tick will come, once.
    pub(crate) fn tick_soon(&self) -> bool {
        let mut ticker = locked(&self.ticker);
        if ticker.is_none() && !self.ended() {
            let to_main = Arc::clone(&self.to_main);
            *ticker = Ticker::start(move || to_main.ask(TICK));
        }
        let after = Duration::from_millis(u64::from(self.config.limits.flush_ms));
        ticker.as_ref().map(|ticker| ticker.ask(after)).is_some()
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
            ASK => self.ask_for_shares(),
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
        let ticking =
            || places.iter().flat_map(|place| ROLES.map(|role| (place, role))).filter(|(p, role)| p.ticks(*role));
        // First, so that a worker that fails here takes nobody else's tick away; one too many ends by itself.
        if ticking().next().is_some() {
            self.tick_soon();
        }
        if self.sending.hurry() {
            self.to_main.ask(HURRY);
        }
        if !gate::renew() && locked(&self.asking).at.is_none_or(|at| at.elapsed() >= ASKED_EVERY) {
            self.ask_for_shares();
        }
        for (place, role) in ticking() {
            let (host, root) = (OnMain::new(place, role, None), self.root(role));
            let mut roots = place.seat.roots();
            if !roots.has(root) {
                // It began anew after a failure, and nothing waits in it. It asks for ticks again when something does.
                place.rests(role);
                continue;
            }
            roots.flush(&host, root);
            let due = roots.due(&host, root);
            drop(roots);
            for stream in due {
                place.seat.wake(stream);
            }
        }
    }

    /// Asks the admin interface what the runtime holds that is no whole number.
    fn ask_for_shares(&self) {
        {
            let mut asking = locked(&self.asking);
            asking.again = asking.call.is_some();
            if asking.again || self.ended() {
                return;
            }
            asking.at = Some(Instant::now());
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
        let understood = gate::told(runtime);
        let logged = std::mem::replace(&mut locked(&self.asking).told, !understood);
        if !understood && !logged {
            let cluster = &self.config.scorer.admin_cluster;
            stream::log(
                Level::Warn,
                &format!(
                    "perch: a share of Envoy's runtime is absent, or no whole number of percents, and Envoy's admin \
                     interface, the cluster {cluster:?}, does not tell which: it counts as not set. Set it, or name the \
                     cluster in scorer.admin_cluster"
                ),
            );
        }
    }

    /// Main thread: a question to the admin interface is over. `received` is what came, if anything.
    pub(crate) fn call_answered(self: &Arc<Self>, call: u64, received: Option<Received<'_>>) {
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

    /// Envoy does away with the configuration: whatever is under way will not be answered any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        drop(locked(&self.ticker).take());
        self.sending.end();
        for place in std::mem::take(&mut *locked(&self.places)) {
            for role in ROLES {
                place.seat.roots().close(&OnMain::new(&place, role, None), self.root(role));
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
                    self.tick_soon();
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
        self.sending.body(call, received, self.config.limits.answer_bytes.saturating_add(1));
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
        let host = OnMain::new(place, Role::Observe, received);
        if let Some(at) = place.seat.roots().observe(self.root(Role::Observe)) {
            at.plugin.call_answered(&host, at.scratch, token, headers, length);
        }
    }
}
