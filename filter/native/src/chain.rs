//! One stream's way through "observe" and "model", one after the other, as through two filters of Envoy's: requests pass
//! "observe" first, answers pass it last.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::sync::Arc;

use contract::bucket::Bucket;
use contract::names::{Arm, Cohort};
use filter::config::Role;
use filter::pairs::Pairs;
use filter::plugin::host::{Body, Flow};
use filter::plugin::worker::Worker;

use crate::abi::{self, Address};
use crate::gate;
use crate::received::Received;
use crate::scheduler::ToStream;
use crate::seat::Place;
use crate::stream::{self, OnStream, Shown, Then};
use crate::survived::survived;

/// What is kept of a stream between its hooks.
///
/// Every function but [`Stream::new`] and [`Stream::end`] is a hook's: `envoy` is what the hook was handed.
pub(crate) struct Stream {
    /// Nothing where the plugin's configuration was refused: the stream is left alone.
    place: Option<Arc<Place>>,
    /// The filter has nothing to do with it, or has not seen its headers.
    aside: Cell<bool>,
    /// "observe" has nothing more to do with it.
    over: Cell<bool>,
    /// Its numbers on its worker. There is one for "model" where the user is in the canary.
    observed: u32,
    canary: Cell<Option<u32>>,
    /// Envoy's number of the call under way, and the worker's.
    call: Cell<Option<(u64, u32)>>,
    /// Envoy waits for us to let the request go on.
    held: Cell<Option<Role>>,
    /// What Envoy has kept of the request's body since it waits for it to say who the user is, in bytes.
    kept: Cell<usize>,
    /// The seat knows the way to it, by its numbers.
    can_be_woken: [Cell<bool>; 2],
}

impl Stream {
    pub(crate) fn new(place: Option<Arc<Place>>) -> Self {
        Self {
            observed: place.as_ref().map_or(0, |place| place.seat.number()),
            place,
            aside: Cell::new(true),
            over: Cell::new(false),
            canary: Cell::new(None),
            call: Cell::new(None),
            held: Cell::new(None),
            kept: Cell::new(0),
            can_be_woken: Default::default(),
        }
    }

    /// It is over; Envoy's side of it is gone.
    pub(crate) fn end(&self) {
        let nowhere = std::ptr::null_mut();
        if let Some(canary) = self.canary.get() {
            // SAFETY: nothing is asked of Envoy by a null address.
            unsafe {
                self.called(nowhere, Role::Model, Shown::Passing, (), |worker, host| worker.deleted(host, canary))
            };
        }
        if !self.over.get() {
            // SAFETY: as above.
            unsafe {
                self.called(nowhere, Role::Observe, Shown::Passing, (), |worker, host| {
                    worker.deleted(host, self.observed);
                });
            }
        }
        let Some(place) = &self.place else { return };
        let [observed, canary] = &self.can_be_woken;
        if observed.get() {
            place.seat.forget(self.observed);
        }
        if let Some(number) = self.canary.get().filter(|_| canary.get()) {
            place.seat.forget(number);
        }
    }

    /// A callback: what it comes to, and what is then to be done. A panic comes to `otherwise`, and lets a request go on
    /// that is held.
    ///
    /// # Safety
    /// `envoy` is null, or was handed to the hook that is running.
    unsafe fn called<T>(
        &self,
        envoy: Address,
        role: Role,
        shown: Shown<'_>,
        otherwise: T,
        act: impl FnOnce(&mut Worker, &OnStream<'_>) -> T,
    ) -> (T, Option<Then>) {
        let Some(place) = self.place.as_ref().filter(|_| !self.aside.get()) else { return (otherwise, None) };
        let done = survived(Some(&place.plugin), None, || {
            // SAFETY: as the caller says.
            let host = unsafe { OnStream::new(envoy, place, role, shown) };
            let result = act(&mut place.seat.worker(), &host);
            if let Some(call) = host.began() {
                self.call.set(Some(call));
            }
            Some((result, host.then()))
        });
        let (result, then) = done.unwrap_or_else(|| (otherwise, self.held.get().map(|_| Then::Resume)));
        if then.is_some() {
            self.held.set(None);
        }
        (result, then)
    }

    /// A callback that may hold the request.
    ///
    /// # Safety
    /// `envoy` was handed to the hook that is running.
    unsafe fn flow<T: Default>(
        &self,
        envoy: Address,
        role: Role,
        shown: Shown<'_>,
        act: impl FnOnce(&mut Worker, &OnStream<'_>) -> (Flow, T),
    ) -> (Flow, T) {
        // SAFETY: as the caller says. A hook that returns lets the stream go on or holds it, and puts nothing off.
        let ((flow, found), _) = unsafe { self.called(envoy, role, shown, (Flow::Continue, T::default()), act) };
        self.held.set((flow == Flow::Hold).then_some(role));
        if flow == Flow::Hold {
            self.can_be_woken(envoy, role);
        }
        (flow, found)
    }

    fn can_be_woken(&self, envoy: Address, role: Role) {
        let [observe, model] = &self.can_be_woken;
        let (known, number) = match role {
            Role::Observe => (observe, Some(self.observed)),
            Role::Model => (model, self.canary.get()),
        };
        if let (Some(place), Some(number)) = (&self.place, number)
            && !known.replace(true)
            && let Some(way) = ToStream::new(envoy)
        {
            place.seat.waits(number, way);
        }
    }

    /// # Safety
    /// As [`Stream::flow`].
    pub(crate) unsafe fn request_headers(&self, envoy: Address, end: bool) -> u32 {
        let Some(place) = &self.place else { return abi::CONTINUE };
        if !survived(Some(&place.plugin), false, || place.plugin.intercepts(envoy)) {
            return abi::CONTINUE;
        }
        self.aside.set(false);
        // SAFETY: as the caller says.
        let (flow, user) = unsafe {
            self.flow(envoy, Role::Observe, Shown::Passing, |worker, host| {
                place.plugin.begin(worker, host);
                let root = place.plugin.root(Role::Observe);
                worker.begin(host, (self.observed, root), None, end)
            })
        };
        // SAFETY: as the caller says.
        let flow = if flow == Flow::Hold { flow } else { unsafe { self.enter(envoy, user, end) } };
        if flow == Flow::Hold { abi::STOP_ITERATION } else { abi::CONTINUE }
    }

    /// "observe" has let the request go on, and says whose it is: one of the canary's goes to "model".
    ///
    /// # Safety
    /// As [`Stream::flow`].
    unsafe fn enter(&self, envoy: Address, user: Option<(Bucket, Cohort)>, end: bool) -> Flow {
        let (Some(place), Some((bucket, cohort))) = (&self.place, user) else { return Flow::Continue };
        if gate::arm(bucket, cohort) == Arm::Rule {
            return Flow::Continue;
        }
        let number = place.seat.number();
        self.canary.set(Some(number));
        let root = place.plugin.root(Role::Model);
        // SAFETY: as the caller says.
        let (flow, ()) = unsafe {
            self.flow(envoy, Role::Model, Shown::Passing, |worker, host| {
                (worker.begin(host, (number, root), Some(bucket), end).0, ())
            })
        };
        flow
    }

    /// # Safety
    /// As [`Stream::flow`].
    pub(crate) unsafe fn request_body(&self, envoy: Address, end: bool) -> u32 {
        let held = self.held.get() == Some(Role::Observe);
        // SAFETY: as the caller says.
        let (flow, (user, length)) = unsafe {
            self.flow(envoy, Role::Observe, Shown::Passing, |worker, host| {
                let length = host.passing(Body::Request);
                let flow = worker.request_body(host, self.observed, length, end);
                (flow, (if held { worker.user(self.observed) } else { None }, length))
            })
        };
        if flow == Flow::Hold {
            self.kept.set(self.kept.get().saturating_add(length));
            return abi::STOP_AND_WATERMARK;
        }
        // SAFETY: as the caller says.
        let flow = unsafe {
            match self.canary.get() {
                Some(canary) => self.gathers(envoy, canary, Shown::Passing, length, end),
                None if held => {
                    let length = self.kept.get().saturating_add(length);
                    self.enter_whole(envoy, user, length)
                }
                None => Flow::Continue,
            }
        };
        if flow == Flow::Hold { abi::STOP_AND_WATERMARK } else { abi::CONTINUE }
    }

    /// # Safety
    /// As [`Stream::flow`].
    pub(crate) unsafe fn request_trailers(&self, envoy: Address) -> u32 {
        let held = self.held.get();
        // SAFETY: as the caller says.
        let flow = unsafe {
            let (_, user) = self.flow(envoy, Role::Observe, Shown::Passing, |worker, host| {
                (worker.request_trailers(host, self.observed), worker.user(self.observed))
            });
            match self.canary.get() {
                Some(canary) => self.gathers(envoy, canary, Shown::Passing, 0, true),
                None if held == Some(Role::Observe) => self.enter_whole(envoy, user, self.kept.get()),
                None => Flow::Continue,
            }
        };
        if flow == Flow::Hold { abi::STOP_ITERATION } else { abi::CONTINUE }
    }

    /// As [`Stream::enter`], where it was the request's body that said whose it is: all `length` bytes of it are there.
    ///
    /// # Safety
    /// As [`Stream::flow`].
    unsafe fn enter_whole(&self, envoy: Address, user: Option<(Bucket, Cohort)>, length: usize) -> Flow {
        // SAFETY: as the caller says.
        unsafe {
            match (self.enter(envoy, user, false), self.canary.get()) {
                (Flow::Hold, Some(canary)) => self.gathers(envoy, canary, Shown::WholeRequest, length, true),
                (flow, _) => flow,
            }
        }
    }

    /// `length` bytes of a canary's request.
    ///
    /// # Safety
    /// As [`Stream::flow`].
    unsafe fn gathers(&self, envoy: Address, canary: u32, shown: Shown<'_>, length: usize, end: bool) -> Flow {
        // SAFETY: as the caller says.
        let (flow, ()) = unsafe {
            self.flow(envoy, Role::Model, shown, |worker, host| (worker.request_body(host, canary, length, end), ()))
        };
        flow
    }

    /// # Safety
    /// As [`Stream::flow`].
    pub(crate) unsafe fn answer_headers(&self, envoy: Address, end: bool) {
        // SAFETY: as the caller says. What answers pass through puts nothing off.
        unsafe {
            if let Some(canary) = self.canary.get() {
                self.called(envoy, Role::Model, Shown::Passing, (), |worker, host| {
                    worker.answer_headers(host, canary, end);
                });
            }
            self.called(envoy, Role::Observe, Shown::Passing, (), |worker, host| {
                worker.answer_headers(host, self.observed, end);
            });
        }
    }

    /// # Safety
    /// As [`Stream::flow`].
    pub(crate) unsafe fn answer_body(&self, envoy: Address, end: bool) {
        // SAFETY: as the caller says.
        unsafe {
            let (over, _) = self.called(envoy, Role::Observe, Shown::Passing, false, |worker, host| {
                worker.answer_body(host, self.observed, host.passing(Body::Answer), end)
            });
            self.over.set(over);
        }
    }

    /// # Safety
    /// As [`Stream::flow`].
    pub(crate) unsafe fn answer_trailers(&self, envoy: Address) {
        // SAFETY: as the caller says.
        unsafe {
            self.called(envoy, Role::Observe, Shown::Passing, (), |worker, host| {
                worker.answer_trailers(host, self.observed);
            });
        }
    }

    /// A call is over. What is then to be done.
    ///
    /// # Safety
    /// As [`Stream::flow`].
    pub(crate) unsafe fn call_answered(
        &self,
        envoy: Address,
        call: u64,
        received: Option<Received<'_>>,
    ) -> Option<Then> {
        let known = self.call.take().filter(|(number, _)| *number == call);
        let (Some((_, token)), Some(place)) = (known, &self.place) else {
            stream::note_at_once(call);
            return None;
        };
        let count = received.map_or(0, |received| received.headers.len());
        let length = received.map_or(0, Received::length);
        let root = place.plugin.root(Role::Model);
        // SAFETY: as the caller says.
        let ((), then) = unsafe {
            self.called(envoy, Role::Model, Shown::Received(received), (), |worker, host| {
                worker.call_answered(host, root, token, count, length);
            })
        };
        if let Some(Then::Respond { headers, body, .. }) = &then {
            // SAFETY: as the caller says.
            unsafe { self.answers(envoy, headers, body) };
        }
        self.settle(then)
    }

    /// The model's answer passes "observe": Envoy does not show a filter the answer that it gives itself.
    ///
    /// # Safety
    /// As [`Stream::flow`].
    unsafe fn answers(&self, envoy: Address, headers: &[u8], body: &[u8]) {
        let status: (&[u8], &[u8]) = (b":status", b"200");
        let given: Vec<_> = std::iter::once(status).chain(Pairs::new(headers).iter()).collect();
        let shown = Shown::Answer { headers: Pairs::listed(&given), body };
        // SAFETY: as the caller says.
        unsafe {
            self.called(envoy, Role::Observe, shown, (), |worker, host| {
                worker.answer_headers(host, self.observed, false);
                worker.answer_body(host, self.observed, body.len(), true);
            });
        }
    }

    /// Somebody wants it looked at: a body may be late, or its worker began anew. What is then to be done.
    ///
    /// # Safety
    /// As [`Stream::flow`].
    pub(crate) unsafe fn woken(&self, envoy: Address) -> Option<Then> {
        let role = self.held.get()?;
        let number = match role {
            Role::Observe => self.observed,
            Role::Model => self.canary.get()?,
        };
        // SAFETY: as the caller says.
        let (known, then) = unsafe {
            self.called(envoy, role, Shown::Passing, false, |worker, host| {
                worker.look(host, number);
                worker.knows(number)
            })
        };
        if known { then } else { self.settle(then) }
    }

    /// What is to be done; a request that is held and that nobody answers or lets go any more goes on.
    fn settle(&self, then: Option<Then>) -> Option<Then> {
        let held = self.held.take();
        then.or_else(|| held.map(|_| Then::Resume))
    }
}
