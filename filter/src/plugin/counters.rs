//! The ledger's way to Envoy's counters, and the tick that takes it there.
//!
//! The root context ticks only while something waits: the first thing that waits starts it, and a tick that finds
//! nothing stops it. An idle gateway does not wake.

use crate::decision::accounting::Ledger;
use crate::metrics::{self, Stat};
use crate::plugin::host::{Host, Refused};

/// See the module.
#[derive(Debug)]
pub struct Counters {
    ledger: Ledger,
    ids: Vec<u32>,
    flush_ms: u32,
    ticking: bool,
}

impl Counters {
    /// Defines every counter, so that each is there, at 0, from the first scrape.
    ///
    /// # Errors
    /// When the host does not define one.
    pub fn define(host: &impl Host, labels: &[String], flush_ms: u32) -> Result<Self, Refused> {
        let ids = metrics::names(labels).iter().map(|name| host.define(name)).collect::<Result<_, _>>()?;
        Ok(Self { ledger: Ledger::new(labels.to_vec()), ids, flush_ms, ticking: false })
    }

    /// One more.
    pub fn count(&mut self, stat: Stat) {
        self.ledger.count(stat);
    }

    /// The ledger, for counts that come many at a time.
    pub const fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Starts the tick if something waits here or, as `more` says, elsewhere.
    pub fn wake(&mut self, host: &impl Host, more: bool) {
        if !self.ticking && (more || self.ledger.moved()) {
            self.ticking = host.tick_every(self.flush_ms).is_ok();
        }
    }

    /// A tick: hands the increments over, and stops ticking when there was nothing to do here or elsewhere.
    pub fn tick(&mut self, host: &impl Host, more: bool) {
        if self.ledger.moved() {
            self.flush(host);
        } else if !more {
            self.ticking = host.tick_every(0).is_err();
        }
    }

    /// Hands the increments over.
    pub fn flush(&mut self, host: &impl Host) {
        let ids = &self.ids;
        self.ledger.flush(|place, by| ids.get(place).is_some_and(|id| host.increment(*id, by).is_ok()));
    }
}
