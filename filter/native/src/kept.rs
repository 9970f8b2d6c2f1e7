//! What is kept of a stream between its hooks, and how a callback comes by it.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use filter::config::Role;
use filter::plugin::host::Flow;
use filter::plugin::model::{Canary, Model};
use filter::plugin::observe::{Observe, Observed};
use filter::plugin::roots::{At, Roots};

use crate::abi::Address;
use crate::scheduler::ToStream;
use crate::seat::Place;
use crate::stream::{OnStream, Shown};
use crate::survived::survived;
use crate::then::Then;

/// See the module. What it does in its hooks is in [`crate::chain`].
pub(crate) struct Stream {
    /// Nothing where the plugin's configuration was refused: the stream is left alone.
    pub(crate) place: Option<Arc<Place>>,
    /// The filter has nothing to do with it, or has not seen its headers.
    pub(crate) aside: Cell<bool>,
    /// What "observe" knows of it, until request and answer have passed.
    pub(crate) seen: RefCell<Option<Observed>>,
    /// What "model" knows of it, where the user is in the canary.
    pub(crate) canary: RefCell<Option<Box<Canary>>>,
    /// How often its worker had begun anew when it came to know that: what an earlier one knew is worth nothing.
    anew: Cell<u32>,
    /// Its numbers on its worker. There is one for "model" where the user is in the canary.
    pub(crate) observed: u32,
    pub(crate) asked: Cell<Option<u32>>,
    /// Envoy's number of the call under way, and the worker's.
    pub(crate) call: Cell<Option<(u64, u32)>>,
    /// Envoy waits for us to let the request go on.
    pub(crate) held: Cell<Option<Role>>,
    /// What Envoy has kept of the request's body since it waits for it to say who the user is, in bytes.
    pub(crate) kept: Cell<usize>,
    /// The seat knows the way to it, by its numbers.
    pub(crate) can_be_woken: [Cell<bool>; 2],
}

impl Stream {
    pub(crate) fn new(place: Option<Arc<Place>>) -> Self {
        Self {
            observed: place.as_ref().map_or(0, |place| place.seat.number()),
            place,
            aside: Cell::new(true),
            seen: RefCell::new(None),
            canary: RefCell::new(None),
            anew: Cell::new(0),
            asked: Cell::new(None),
            call: Cell::new(None),
            held: Cell::new(None),
            kept: Cell::new(0),
            can_be_woken: Default::default(),
        }
    }

    /// A callback: what it comes to, and what is then to be done. It comes to `otherwise` where `act` finds nothing to do
    /// it with, and where it panics; then a request goes on that is held.
    ///
    /// # Safety
    /// `envoy` is null, or was handed to the hook that is running.
    pub(crate) unsafe fn called<T>(
        &self,
        envoy: Address,
        role: Role,
        shown: Shown<'_>,
        otherwise: T,
        act: impl FnOnce(&Place, &mut Roots, &OnStream<'_>) -> Option<T>,
    ) -> (T, Option<Then>) {
        let Some(place) = self.place.as_ref().filter(|_| !self.aside.get()) else { return (otherwise, None) };
        let done = survived(Some(&place.plugin), None, || {
            // SAFETY: as the caller says.
            let host = unsafe { OnStream::new(envoy, place, role, shown) };
            let mut roots = place.seat.roots();
            let anew = place.seat.anew();
            if self.anew.replace(anew) != anew {
                self.seen.try_borrow_mut().ok()?.take();
                self.canary.try_borrow_mut().ok()?.take();
            }
            let result = act(place, &mut roots, &host);
            drop(roots);
            if let Some(call) = host.began() {
                self.call.set(Some(call));
            }
            Some((result, host.then()))
        });
        let (result, then) = done.unwrap_or_else(|| (None, self.held.get().map(|_| Then::Resume)));
        if then.is_some() {
            self.held.set(None);
        }
        (result.unwrap_or(otherwise), then)
    }

    /// A callback of "observe", of a stream that it knows. Once both bodies have passed everything is said of it.
    ///
    /// # Safety
    /// As [`Stream::called`].
    pub(crate) unsafe fn observing<T>(
        &self,
        envoy: Address,
        shown: Shown<'_>,
        otherwise: T,
        act: impl FnOnce(&mut At<'_, Observe>, &OnStream<'_>, &mut Observed) -> T,
    ) -> (T, Option<Then>) {
        // SAFETY: as the caller says.
        unsafe {
            self.called(envoy, Role::Observe, shown, otherwise, |place, roots, host| {
                let mut at = roots.observe(place.plugin.root(Role::Observe))?;
                let mut known = self.seen.try_borrow_mut().ok()?;
                let seen = known.as_mut()?;
                let result = act(&mut at, host, seen);
                if seen.complete() {
                    at.plugin.conclude(host, seen);
                    *known = None;
                }
                Some(result)
            })
        }
    }

    /// A callback of "model", of a stream that it knows.
    ///
    /// # Safety
    /// As [`Stream::called`].
    pub(crate) unsafe fn asking<T>(
        &self,
        envoy: Address,
        shown: Shown<'_>,
        otherwise: T,
        act: impl FnOnce(&mut At<'_, Model>, &OnStream<'_>, &mut Canary) -> T,
    ) -> (T, Option<Then>) {
        // SAFETY: as the caller says.
        unsafe {
            self.called(envoy, Role::Model, shown, otherwise, |place, roots, host| {
                let mut at = roots.model(place.plugin.root(Role::Model))?;
                let mut known = self.canary.try_borrow_mut().ok()?;
                Some(act(&mut at, host, known.as_mut()?))
            })
        }
    }

    /// A hook's callback says that the request goes on, or is held.
    pub(crate) fn says(&self, envoy: Address, role: Role, flow: Flow) -> Flow {
        self.held.set((flow == Flow::Hold).then_some(role));
        if flow == Flow::Hold {
            self.can_be_woken(envoy, role);
        }
        flow
    }

    fn can_be_woken(&self, envoy: Address, role: Role) {
        let [observe, model] = &self.can_be_woken;
        let (known, number) = match role {
            Role::Observe => (observe, Some(self.observed)),
            Role::Model => (model, self.asked.get()),
        };
        if let (Some(place), Some(number)) = (&self.place, number)
            && !known.replace(true)
            && let Some(way) = ToStream::new(envoy)
        {
            place.seat.waits(number, way);
        }
    }
}
