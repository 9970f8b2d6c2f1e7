//! From pending counts to Envoy's counters, and the tick that hands them over.
//!
//! The root context ticks fast while something waits, slowly while the copy of the shares must be kept young, and else
//! not at all: an idle gateway without a canary does not wake.

use crate::decision::accounting::PendingCounts;
use crate::metrics::{self, Stat};
use crate::plugin::host::{Refused, Stats, Timers};

/// The slow tick, in ms: how often the copy of the shares is renewed.
const SLOW_MS: u32 = 1_000;

/// See the module.
#[derive(Debug)]
pub struct Counters {
    pending: PendingCounts,
    ids: Vec<u32>,
    flush_ms: u32,
    /// The period that the host was asked for; 0 for none.
    period_ms: u32,
}

impl Counters {
    /// Defines every counter, so that each is there, at 0, from the first scrape.
    ///
    /// # Errors
    /// When the host does not define one.
    pub fn define(host: &impl Stats, labels: &[String], flush_ms: u32) -> Result<Self, Refused> {
        let ids = metrics::names(labels).iter().map(|name| host.define(name)).collect::<Result<_, _>>()?;
        Ok(Self { pending: PendingCounts::new(labels.to_vec()), ids, flush_ms: flush_ms.min(SLOW_MS), period_ms: 0 })
    }

    /// One more.
    pub fn count(&mut self, stat: Stat) {
        self.pending.count(stat);
    }

    /// The pending counts, for counts that come many at a time.
    pub const fn pending(&mut self) -> &mut PendingCounts {
        &mut self.pending
    }

    /// Returns `true` if the root context does not tick.
    #[must_use]
    pub const fn asleep(&self) -> bool {
        self.period_ms == 0
    }

    /// Starts the fast tick if something waits here or, as `more` says, elsewhere.
    pub fn wake(&mut self, host: &impl Timers, more: bool) {
        if self.period_ms != self.flush_ms && (more || self.pending.moved()) {
            self.tick_every(host, self.flush_ms);
        }
    }

    /// A tick: hands the increments over. Where there was nothing to do, here or elsewhere, the next one comes `later`,
    /// or none.
    pub fn tick(&mut self, host: &(impl Timers + Stats), more: bool, later: bool) {
        if self.pending.moved() {
            self.flush(host);
        } else if !more {
            self.tick_every(host, if later { SLOW_MS } else { 0 });
        }
    }

    /// Hands the increments over.
    pub fn flush(&mut self, host: &impl Stats) {
        let ids = &self.ids;
        self.pending.flush(|place, by| ids.get(place).is_some_and(|id| host.increment(*id, by).is_ok()));
    }

    fn tick_every(&mut self, host: &impl Timers, ms: u32) {
        if self.period_ms != ms && host.tick_every(ms).is_ok() {
            self.period_ms = ms;
        }
    }
}
