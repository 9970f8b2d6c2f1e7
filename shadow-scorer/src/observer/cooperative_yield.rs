//! How observation work gives way to live answers, and to whoever else wants its core.

use std::thread;

/// How much nicer than live answers the observation threads are, on Unix's scale (19 is nicest).
const NICENESS: i32 = 10;

/// Items between two offers of the core: some 100 µs.
const PORTION: usize = 16;

/// For a thread of observation work, when it starts.
pub(super) fn be_nice() {
    // On Linux a thread's niceness is its own. Failing is no fault: it is a preference.
    if let Err(error) = rustix::process::nice(NICENESS) {
        log::debug!("observation threads stay at normal priority: {error}");
    }
}

/// Offers the core to whoever wants it, each time that [`PORTION`] items are done, or a chunk that the model is asked
/// about.
///
/// Niceness alone does not see to that: a nice thread is due a share as well, and Linux gives it in one piece, until the next
/// timer tick, while others on the core wait. The price is that on a core which others keep busy all the time this thread
/// gets some 2 % instead of 10; shedding, which must work just then, does not pay it. The thread goes on with its own
/// batch: a runtime's pause would begin another one in between.
#[derive(Debug, Default)]
pub(super) struct Courtesy {
    items: usize,
}

impl Courtesy {
    /// That many items are done.
    pub(super) fn did(&mut self, items: usize) {
        self.items = self.items.saturating_add(items);
        if self.items >= PORTION {
            self.items = 0;
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_of_observation_work_is_nicer_than_who_started_it() {
        let niceness = || rustix::process::getpriority_process(None).unwrap_or(i32::MIN);
        let threads = thread::spawn(move || {
            let before = niceness();
            be_nice();
            (before, niceness())
        });
        let (before, after) = threads.join().unwrap_or_default();
        assert_eq!(after, (before + NICENESS).min(19));
    }
}
