//! One filter configuration: its counters, its ticks, and the calls that its worker threads leave to the main thread.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contract::names::FAILURES;
use filter::config::{Config, Role};
use filter::decision::intercept::Intercept;
use filter::metrics;

use crate::abi::Address;
use crate::gate;
use crate::main_thread::{self, Envoy, OnMain};
use crate::received::Received;
use crate::scheduler::ToMain;
use crate::seat::Place;
use crate::stream::header;
use crate::ticker::Ticker;

/// What the main thread is asked to do.
const TICK: u64 = 1;
const SEND: u64 = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct Plugin {
    /// Its number among all that this process ever had; also that of its root context on every worker.
    pub(crate) id: u32,
    pub(crate) role: Role,
    /// The configuration's document, which each worker reads for itself.
    pub(crate) document: Vec<u8>,
    /// Envoy's numbers of the counters, by name.
    pub(crate) counters: HashMap<String, u32>,
    tick_after: Duration,
    intercept: Intercept,
    envoy: Envoy,
    to_main: Arc<ToMain>,
    ticker: Mutex<Option<Ticker>>,
    places: Mutex<Vec<Arc<Place>>>,
    /// Calls to be made. The filter's own limits bound them: what is sent and not answered counts towards them.
    to_send: Mutex<VecDeque<Leaving>>,
    /// Whose the calls under way are, by Envoy's number.
    under_way: Mutex<HashMap<u64, (Arc<Place>, u32)>>,
    ended: AtomicBool,
}

/// A call that waits for the main thread.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) place: Arc<Place>,
    /// What the worker knows it by.
    pub(crate) token: u32,
    pub(crate) cluster: String,
    /// As [`filter::pairs::write`] writes them.
    pub(crate) headers: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout_ms: u32,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept in them changes in one step each: it is whole whoever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plugin {
    /// For the configuration at `config`, while Envoy makes it.
    ///
    /// # Errors
    /// Says what is wrong, and how to mend it.
    pub(crate) fn new(id: u32, config: Address, document: &[u8]) -> Result<Arc<Self>, String> {
        let checked = Config::parse(document).map_err(|error| error.to_string())?;
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
        Ok(Arc::new(Self {
            id,
            role: checked.role,
            document: document.to_vec(),
            counters,
            intercept: checked.intercept,
            tick_after: Duration::from_millis(u64::from(checked.limits.flush_ms)),
            envoy,
            to_main: Arc::new(to_main),
            ticker: Mutex::default(),
            places: Mutex::default(),
            to_send: Mutex::default(),
            under_way: Mutex::default(),
            ended: AtomicBool::new(false),
        }))
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
        ticker.as_ref().map(|ticker| ticker.ask(self.tick_after)).is_some()
    }

    /// Leaves a call to the main thread, which is asked to look unless it does so anyway.
    pub(crate) fn leave(&self, leaving: Leaving, ask: bool) {
        locked(&self.to_send).push_back(leaving);
        if ask {
            self.to_main.ask(SEND);
        }
    }

    /// Has the plugin anything to do with the request whose headers are at `stream`? All other traffic of the gateway
    /// passes at this price.
    pub(crate) fn wants(&self, stream: Address) -> bool {
        match self.role {
            Role::Observe => self.intercept.is_at(|name, is| header(stream, name, is).unwrap_or(false)),
            Role::Model => gate::in_canary(stream),
        }
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
        if event == TICK {
            let places = locked(&self.places).clone();
            // First, so that a worker that fails here takes nobody else's tick away; one too many ends by itself.
            if places.iter().any(|place| place.ticking.load(Ordering::Acquire)) {
                self.tick_soon();
            }
            for place in places.iter().filter(|place| place.ticking.load(Ordering::Acquire)) {
                let host = OnMain::new(place, None);
                let mut worker = place.seat.worker();
                if !worker.knows(self.id) {
                    // It began anew after a failure, and nothing waits in it. It asks for ticks again when something does.
                    place.ticking.store(false, Ordering::Release);
                    continue;
                }
                worker.flush(&host, self.id);
                let due = worker.due(&host, self.id);
                drop(worker);
                for stream in due {
                    place.seat.wake(stream);
                }
            }
        }
        self.send();
    }

    /// Main thread: a call is over. `received` is what came, if anything.
    pub(crate) fn call_answered(self: &Arc<Self>, call: u64, received: Option<Received<'_>>) {
        let Some((place, token)) = locked(&self.under_way).remove(&call) else {
            // Within the call that began it: whoever made it takes it for failed.
            main_thread::note_at_once(call);
            return;
        };
        self.over(&place, token, received);
        self.send();
    }

    /// Envoy does away with the configuration: whatever is under way will not be answered any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        drop(locked(&self.ticker).take());
        locked(&self.to_send).clear();
        locked(&self.under_way).clear();
        for place in std::mem::take(&mut *locked(&self.places)) {
            place.seat.worker().deleted(&OnMain::new(&place, None), self.id);
        }
    }

    fn send(self: &Arc<Self>) {
        loop {
            let Some(leaving) = locked(&self.to_send).pop_front() else { return };
            match self.envoy.call(&leaving) {
                Some(call) => {
                    locked(&self.under_way).insert(call, (leaving.place, leaving.token));
                }
                None => self.over(&leaving.place, leaving.token, None),
            }
        }
    }

    fn over(&self, place: &Arc<Place>, token: u32, received: Option<Received<'_>>) {
        let headers = received.map_or(0, |received| received.headers.len());
        let length = received.map_or(0, Received::length);
        let host = OnMain::new(place, received);
        place.seat.worker().call_answered(&host, self.id, token, headers, length);
    }
}
