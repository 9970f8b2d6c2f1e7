//! Makes observation work yield to live requests, and to other processes on its core.

use std::thread;

/// Niceness of observation threads relative to those of live requests, on Unix's scale (19 is the lowest priority).
const NICENESS: i32 = 10;

/// Items between two yields: some 100 µs.
const ITEMS_PER_YIELD: usize = 16;

/// Lowers the priority of the current thread; called when an observation thread starts.
pub(super) fn lower_thread_priority() {
    // On Linux niceness is per thread. A failure is harmless: it is only a preference.
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "thread_priority_not_lowered");
    }
}

/// Yields the core after every [`ITEMS_PER_YIELD`] items, or after each chunk of a model call.
///
/// Niceness alone is not enough: a nice thread gets a share too, and Linux gives it in one piece, until the next timer
/// tick, while others on the core wait. The price is that on a core that others keep busy this thread gets some 2%
/// instead of 10%; shedding, which must work just then, does not yield. The thread continues with its own batch
/// afterwards, whereas yielding to the runtime would begin another one in between.
#[derive(Debug, Default)]
pub(super) struct CooperativeYield {
    items: usize,
}

impl CooperativeYield {
    /// Counts finished items, and yields if it is time to.
    pub(super) fn finished(&mut self, items: usize) {
        self.items = self.items.saturating_add(items);
        if self.items >= ITEMS_PER_YIELD {
            self.items = 0;
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_thread_has_a_lower_priority_than_its_parent() {
        let niceness = || rustix::process::getpriority_process(None).unwrap_or(i32::MIN);
        let threads = thread::spawn(move || {
            let before = niceness();
            lower_thread_priority();
            (before, niceness())
        });
        let (before, after) = threads.join().unwrap_or_default();
        assert_eq!(after, (before + NICENESS).min(19));
    }
}
