//! What one of Envoy's worker threads has of the filter: root contexts, as a VM has them in the WebAssembly module.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use filter::config::Role;
use filter::plugin::host::Refused;
use filter::plugin::roots::Roots;

use crate::drill;
use crate::plugin::Plugin;
use crate::scheduler::ToStream;
use crate::stream::NOT_HERE;

/// Streams are numbered from here; below it are plugins, which share the numbers.
const FIRST_STREAM: u32 = 1 << 16;

/// One worker thread's.
#[derive(Debug)]
pub(crate) struct Seat {
    roots: Mutex<Roots>,
    /// How often they began anew.
    anew: AtomicU32,
    next: AtomicU32,
    /// The way to streams that wait.
    waiting: Mutex<HashMap<u32, ToStream>>,
}

/// One plugin on one worker thread.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) seat: Arc<Seat>,
    /// Its root contexts here want ticks: "observe", "model".
    ticking: [AtomicBool; 2],
    /// How many requests it has had; the worker's alone.
    requests: AtomicU32,
}

thread_local! {
    static SEAT: Arc<Seat> = Arc::new(Seat {
        roots: Mutex::default(),
        anew: AtomicU32::new(0),
        next: AtomicU32::new(FIRST_STREAM),
        waiting: Mutex::default(),
    });
    static PLACES: RefCell<Vec<Arc<Place>>> = const { RefCell::new(Vec::new()) };
}

impl Seat {
    /// The root contexts. After a panic in a callback, whose stream went on without it, all begin anew: what they knew, or
    /// what is known of that stream, may be half changed.
    pub(crate) fn roots(&self) -> MutexGuard<'_, Roots> {
        let roots = self.roots.lock().unwrap_or_else(|poisoned| {
            let mut roots = poisoned.into_inner();
            *roots = Roots::default();
            self.anew.fetch_add(1, Ordering::Relaxed);
            self.roots.clear_poison();
            // Each of them finds that it is not known any more, and goes on.
            self.waiting().values().for_each(ToStream::wake);
            roots
        });
        // As a callback would fail: with the root contexts in its hands.
        drill::strike();
        roots
    }

    /// How often they began anew; to be asked by who holds them.
    pub(crate) fn anew(&self) -> u32 {
        self.anew.load(Ordering::Relaxed)
    }

    /// A number for a stream. They come round after four thousand million; no stream lives that long.
    pub(crate) fn number(&self) -> u32 {
        self.next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                Some(next.checked_add(1).unwrap_or(FIRST_STREAM))
            })
            .unwrap_or(FIRST_STREAM)
    }

    /// From now on the stream can be woken.
    pub(crate) fn waits(&self, stream: u32, way: ToStream) {
        self.waiting().insert(stream, way);
    }

    /// Wakes the stream, if it is still there.
    pub(crate) fn wake(&self, stream: u32) {
        if let Some(way) = self.waiting().get(&stream) {
            way.wake();
        }
    }

    /// The stream is gone.
    pub(crate) fn forget(&self, stream: u32) {
        self.waiting().remove(&stream);
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u32, ToStream>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Does that root context here want ticks?
    pub(crate) fn ticks(&self, role: Role) -> bool {
        self.ticking(role).load(Ordering::Acquire)
    }

    /// That root context here wants no ticks any more.
    pub(crate) fn rests(&self, role: Role) {
        self.ticking(role).store(false, Ordering::Release);
    }

    /// The worker is done with a request.
    pub(crate) fn request_over(&self) {
        let requests = self.requests.load(Ordering::Relaxed).wrapping_add(1);
        self.requests.store(requests, Ordering::Relaxed);
        self.plugin.request_over(requests);
    }

    fn ticking(&self, role: Role) -> &AtomicBool {
        let [observe, model] = &self.ticking;
        match role {
            Role::Observe => observe,
            Role::Model => model,
        }
    }

    /// That root context here wants a tick every so often, or, with 0, none any more. How often is the plugin's own
    /// setting.
    pub(crate) fn tick_every(&self, role: Role, ms: u32) -> Result<(), Refused> {
        self.ticking(role).store(ms > 0, Ordering::Release);
        if ms == 0 || self.plugin.tick_soon() { Ok(()) } else { Err(NOT_HERE) }
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
                seat: SEAT.with(Arc::clone),
                ticking: Default::default(),
                requests: AtomicU32::new(0),
            });
            plugin.seated(&place);
            places.push(Arc::clone(&place));
            Some(place)
        })
        .ok()
        .flatten()
}
