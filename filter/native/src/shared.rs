//! What all threads share of one filter configuration. It owns nothing of those that hold it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contract::series::FAILURES;
use filter::config::{Config, Module};
use filter::metrics;

use crate::abi::Address;
use crate::envoy::configuration::Configuration;
use crate::envoy::scheduler::Scheduler;
use crate::outbox::{Outbox, locked};
use crate::shares::KnownShares;
use crate::ticker::Ticker;

/// What the main thread is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Event {
    Tick = 1,
    /// Send what waits.
    Send = 2,
    /// Read the shares anew.
    RenewShares = 3,
    /// Send the next piece of a batch, or piece by piece the rest of it.
    NextPiece = 4,
    Rest = 5,
}

impl Event {
    /// What was scheduled by that number.
    pub(crate) const fn from_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::Tick),
            2 => Some(Self::Send),
            3 => Some(Self::RenewShares),
            4 => Some(Self::NextPiece),
            5 => Some(Self::Rest),
            _ => None,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// Envoy's numbers of the counters, by name.
    pub(crate) counters: HashMap<String, u32>,
    pub(crate) envoy: Configuration,
    pub(crate) outbox: Outbox,
    scheduler: Arc<Scheduler>,
    ticker: Mutex<Option<Ticker>>,
    known_shares: Mutex<KnownShares>,
    ended: AtomicBool,
}

impl Shared {
    /// For a configuration that Envoy is making, with what is known of the shares already.
    ///
    /// # Errors
    /// Says what is wrong, and how to fix it.
    ///
    /// # Safety
    /// `config` was handed to the hook that is running, which is the one that makes a configuration. [`Shared::end`] is
    /// called in the hook that ends it.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn new(config: Address, document: &[u8], shares: KnownShares) -> Result<Self, String> {
        let checked = Config::parse(document, Module::Native).map_err(|error| error.to_string())?;
        if checked.reads_metadata() {
            return Err(
                "a claim of a JWT cannot be read by the native module, to which Envoy shows no nested metadata: let \
                        jwt_authn copy it into a header (claim_to_headers) and name that, or run the WebAssembly module"
                    .into(),
            );
        }
        // SAFETY: as the caller says.
        let (envoy, scheduler) = unsafe { (Configuration::new(config), Scheduler::new(config)) };
        let defined = metrics::names(&checked.labels).into_iter().map(|name| {
            let counter = envoy.define(&name).ok_or_else(|| format!("Envoy defines no counter {name:?}"))?;
            Ok((name, counter))
        });
        let counters = defined.collect::<Result<_, String>>()?;
        Ok(Self {
            config: checked,
            counters,
            envoy,
            outbox: Outbox::default(),
            scheduler: Arc::new(scheduler.ok_or("Envoy has no scheduler for it")?),
            ticker: Mutex::default(),
            known_shares: Mutex::new(shares),
            ended: AtomicBool::new(false),
        })
    }

    /// Asks the main thread.
    pub(crate) fn schedule(&self, event: Event) {
        self.scheduler.schedule(event as u64);
    }

    /// A tick will come, once, so much later at the latest. Returns `false` where the system has no thread for it.
    pub(crate) fn tick_after(&self, ms: u32) -> bool {
        let mut ticker = locked(&self.ticker);
        if ticker.is_none() && !self.ended() {
            let scheduler = Arc::clone(&self.scheduler);
            *ticker = Ticker::start(move || scheduler.schedule(Event::Tick as u64));
        }
        ticker.as_ref().map(|ticker| ticker.tick_after(Duration::from_millis(u64::from(ms)))).is_some()
    }

    /// What is known of the shares.
    pub(crate) fn known_shares(&self) -> KnownShares {
        *locked(&self.known_shares)
    }

    /// Main thread: what is known of the shares is renewed, as [`KnownShares::renew`] says.
    pub(crate) fn renew_shares(&self, listing: Option<filter::decision::shares::Shares>) -> bool {
        locked(&self.known_shares).renew(listing)
    }

    /// Any thread: a hook has panicked.
    pub(crate) fn count_failure(&self) {
        if let Some(counter) = self.counters.get(FAILURES) {
            self.envoy.increment(*counter, 1);
        }
    }

    /// Envoy does away with the configuration: no tick comes any more, and nothing is sent.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        drop(locked(&self.ticker).take());
        self.outbox.clear();
    }

    /// Returns `true` if Envoy has done away with the configuration.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
