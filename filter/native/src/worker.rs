//! One filter configuration on one of Envoy's worker threads.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use filter::plugin::filter::Filter;
use filter::plugin::host::Refused;

use crate::drill;
use crate::plugin::Plugin;
use crate::stream::NOT_HERE;

/// See the module.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) plugin: Arc<Plugin>,
    /// What the worker's streams share; made with the first of them, and after a failure.
    filter: Mutex<Option<Filter>>,
    /// How often it began anew.
    anew: AtomicU32,
    /// How often it wants ticks, in ms; 0 for not at all.
    period_ms: AtomicU32,
    /// How many requests it has had; the worker's alone.
    requests: AtomicU32,
    /// The number of the next stream.
    next: AtomicU32,
}

thread_local! {
    static PLACES: RefCell<Vec<Arc<Place>>> = const { RefCell::new(Vec::new()) };
}

impl Place {
    /// What the worker's streams share. After a panic in a callback, whose stream went on without it, it begins anew: what
    /// was known may be half changed.
    pub(crate) fn filter(&self) -> MutexGuard<'_, Option<Filter>> {
        let filter = self.filter.lock().unwrap_or_else(|poisoned| {
            let mut filter = poisoned.into_inner();
            *filter = None;
            self.anew.fetch_add(1, Ordering::Relaxed);
            self.filter.clear_poison();
            filter
        });
        // As a callback would fail: with what is shared in its hands.
        drill::strike();
        filter
    }

    /// How often it began anew; to be read by who holds the filter.
    pub(crate) fn anew(&self) -> u32 {
        self.anew.load(Ordering::Relaxed)
    }

    /// A number for a stream. They come round after four thousand million; no stream lives that long.
    pub(crate) fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// How often it wants ticks, in ms; 0 for not at all.
    pub(crate) fn period_ms(&self) -> u32 {
        self.period_ms.load(Ordering::Acquire)
    }

    /// It wants no ticks any more.
    pub(crate) fn rests(&self) {
        self.period_ms.store(0, Ordering::Release);
    }

    /// It wants a tick every so often, or, with 0, none any more.
    pub(crate) fn tick_every(&self, ms: u32) -> Result<(), Refused> {
        self.period_ms.store(ms, Ordering::Release);
        if ms == 0 || self.plugin.tick_after(ms) { Ok(()) } else { Err(NOT_HERE) }
    }

    /// The worker is done with a request.
    pub(crate) fn request_over(&self) {
        let requests = self.requests.load(Ordering::Relaxed).wrapping_add(1);
        self.requests.store(requests, Ordering::Relaxed);
        self.plugin.request_over(requests);
    }
}

/// The place of `plugin` on this thread, made when it is first asked for.
pub(crate) fn place(plugin: &Arc<Plugin>) -> Option<Arc<Place>> {
    PLACES
        .try_with(|places| {
            let mut places = places.try_borrow_mut().ok()?;
            if let Some(place) = places.iter().find(|place| Arc::ptr_eq(&place.plugin, plugin)) {
                return Some(Arc::clone(place));
            }
            places.retain(|place| !place.plugin.ended());
            let place = Arc::new(Place {
                plugin: Arc::clone(plugin),
                filter: Mutex::default(),
                anew: AtomicU32::new(0),
                period_ms: AtomicU32::new(0),
                requests: AtomicU32::new(0),
                next: AtomicU32::new(1),
            });
            plugin.placed(&place);
            places.push(Arc::clone(&place));
            Some(place)
        })
        .ok()
        .flatten()
}
