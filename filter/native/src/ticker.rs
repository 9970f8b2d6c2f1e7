//! Asks for ticks. Envoy's modules have no timers where HTTP filters live, so a thread waits instead; it sleeps for
//! good while nobody asks, and an idle gateway does not wake.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The thread, and what it is asked.
#[derive(Debug)]
pub(crate) struct Ticker {
    schedule: Arc<Schedule>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Schedule {
    wish: Mutex<Wish>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
enum Wish {
    #[default]
    Nothing,
    /// One tick at that time.
    Tick(Instant),
    End,
}

impl Schedule {
    fn wish(&self) -> MutexGuard<'_, Wish> {
        // A wish is written in one piece, so it is whole even after a panic.
        self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a wish that is due, and forgets it. `false` at the end.
    fn due(&self) -> bool {
        let mut wish = self.wish();
        loop {
            match *wish {
                Wish::End => return false,
                Wish::Nothing => wish = self.changed.wait(wish).unwrap_or_else(PoisonError::into_inner),
                Wish::Tick(at) => {
                    let Some(left) = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                        *wish = Wish::Nothing;
                        return true;
                    };
                    wish = self.changed.wait_timeout(wish, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }
}

impl Ticker {
    /// A thread that calls `tick` once for each time it is asked. `None` where the system has no thread to give.
    pub(crate) fn start(tick: impl Fn() + Send + 'static) -> Option<Self> {
        let schedule = Arc::<Schedule>::default();
        let theirs = Arc::clone(&schedule);
        let run = move || {
            while theirs.due() {
                tick();
            }
        };
        let thread = std::thread::Builder::new().name("perch-tick".into()).spawn(run).ok()?;
        Some(Self { schedule, thread: Some(thread) })
    }

    /// One tick `after` from now, unless one is due earlier.
    pub(crate) fn tick_after(&self, after: Duration) {
        let at = Instant::now() + after;
        let mut wish = self.schedule.wish();
        if matches!(*wish, Wish::Nothing) || matches!(*wish, Wish::Tick(earlier) if earlier > at) {
            *wish = Wish::Tick(at);
            self.schedule.changed.notify_one();
        }
    }
}

impl Drop for Ticker {
    /// Once it is gone no tick comes.
    fn drop(&mut self) {
        *self.schedule.wish() = Wish::End;
        self.schedule.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
