//! One configuration on one of Envoy's worker threads.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use filter::plugin::filter::Filter;
use filter::plugin::host::Refused;
use filter::plugin::stream::Stream;

use crate::envoy::NOT_DONE;
use crate::fault_injection::{Place, fail_here};
use crate::outbox::locked;
use crate::shared::{Event, Shared};

/// See the module.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    /// Its place in the main thread's list.
    pub(crate) number: usize,
    /// What the worker's streams share; made with the first of them, and after a failure.
    filter: Mutex<Option<Filter>>,
    /// How often it began anew.
    generation: AtomicU32,
    /// A callback of a stream is running, on the worker's own thread.
    in_callback: AtomicBool,
    /// Streams that nothing more happens to, but that could not be concluded yet.
    unconcluded: Mutex<Vec<Stream>>,
    any_unconcluded: AtomicBool,
    /// How often it wants ticks, in ms; 0 for not at all.
    period_ms: AtomicU32,
    /// How many requests it has had; the worker's alone.
    requests: AtomicU32,
    /// The number of the next stream.
    next_stream: AtomicU32,
}

/// What a worker's streams share, in a callback of one of them.
pub(crate) struct CallbackFilter<'a> {
    filter: MutexGuard<'a, Option<Filter>>,
    in_callback: &'a AtomicBool,
}

impl Deref for CallbackFilter<'_> {
    type Target = Option<Filter>;

    fn deref(&self) -> &Self::Target {
        &self.filter
    }
}

impl DerefMut for CallbackFilter<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.filter
    }
}

impl Drop for CallbackFilter<'_> {
    fn drop(&mut self) {
        self.in_callback.store(false, Ordering::Relaxed);
    }
}

thread_local! {
    /// The workers of this thread, one for each configuration. The main thread owns them.
    static WORKERS: RefCell<Vec<Weak<Worker>>> = const { RefCell::new(Vec::new()) };
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, number: usize) -> Self {
        Self {
            shared,
            number,
            filter: Mutex::default(),
            generation: AtomicU32::new(0),
            in_callback: AtomicBool::new(false),
            unconcluded: Mutex::default(),
            any_unconcluded: AtomicBool::new(false),
            period_ms: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            next_stream: AtomicU32::new(1),
        }
    }

    /// The worker of a configuration on this thread, if there is one.
    pub(crate) fn of_this_thread(shared: &Arc<Shared>) -> Option<Arc<Self>> {
        let find = |workers: &RefCell<Vec<Weak<Self>>>| {
            let workers = workers.try_borrow().ok()?;
            workers.iter().filter_map(Weak::upgrade).find(|worker| Arc::ptr_eq(&worker.shared, shared))
        };
        WORKERS.try_with(find).ok().flatten()
    }

    /// It is this thread's from now on.
    pub(crate) fn enter_this_thread(self: &Arc<Self>) {
        // A thread that is ending has no streams any more.
        let _ = WORKERS.try_with(|workers| {
            if let Ok(mut workers) = workers.try_borrow_mut() {
                workers.retain(|worker| worker.strong_count() > 0);
                workers.push(Arc::downgrade(self));
            }
        });
    }

    /// What the worker's streams share, for the main thread. After a panic in a callback, whose stream went on without
    /// it, it begins anew: what was known may be half changed.
    pub(crate) fn filter(&self) -> MutexGuard<'_, Option<Filter>> {
        self.filter.lock().unwrap_or_else(|poisoned| {
            let mut filter = poisoned.into_inner();
            *filter = None;
            self.generation.fetch_add(1, Ordering::Relaxed);
            drop(self.take_unconcluded());
            self.filter.clear_poison();
            filter
        })
    }

    /// What the worker's streams share, for a callback of one of them. `None` where Envoy calls within such a callback.
    pub(crate) fn filter_in_callback(&self) -> Option<CallbackFilter<'_>> {
        // Only this thread writes to it.
        if self.in_callback.load(Ordering::Relaxed) {
            return None;
        }
        let filter = self.filter();
        self.in_callback.store(true, Ordering::Relaxed);
        let filter = CallbackFilter { filter, in_callback: &self.in_callback };
        fail_here(Place::Filter);
        Some(filter)
    }

    /// How often it began anew; to be read by who holds the filter.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Nothing more happens to a stream of that generation: it is concluded when the filter is at hand.
    pub(crate) fn conclude_later(&self, stream: Stream, generation: u32) {
        if generation != self.generation() {
            return;
        }
        locked(&self.unconcluded).push(stream);
        self.any_unconcluded.store(true, Ordering::Relaxed);
    }

    /// Streams that are to be concluded now.
    pub(crate) fn take_unconcluded(&self) -> Vec<Stream> {
        if self.any_unconcluded.load(Ordering::Relaxed) {
            self.any_unconcluded.store(false, Ordering::Relaxed);
            std::mem::take(&mut locked(&self.unconcluded))
        } else {
            Vec::new()
        }
    }

    /// A number for a stream. They come round after four thousand million; no stream lives that long.
    pub(crate) fn stream_number(&self) -> u32 {
        self.next_stream.fetch_add(1, Ordering::Relaxed)
    }

    /// How often it wants ticks, in ms; 0 for not at all.
    pub(crate) fn period_ms(&self) -> u32 {
        self.period_ms.load(Ordering::Acquire)
    }

    /// It wants a tick every so often, or, with 0, none any more.
    pub(crate) fn tick_every(&self, ms: u32) -> Result<(), Refused> {
        self.period_ms.store(ms, Ordering::Release);
        if ms == 0 || self.shared.tick_after(ms) { Ok(()) } else { Err(NOT_DONE) }
    }

    /// The worker is done with a request.
    pub(crate) fn request_over(&self) {
        let requests = self.requests.load(Ordering::Relaxed).wrapping_add(1);
        self.requests.store(requests, Ordering::Relaxed);
        if self.shared.outbox.piece_due(requests) {
            self.shared.schedule(Event::NextPiece);
        }
    }
}
