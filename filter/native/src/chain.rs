//! One stream's way through "observe" and "model", one after the other, as through two filters of Envoy's: requests pass
//! "observe" first, answers pass it last.
#![allow(unsafe_code)]

use contract::bucket::Bucket;
use contract::names::{Arm, Cohort};
use filter::config::Role;
use filter::pairs::Pairs;
use filter::plugin::host::{Body, Flow, Host as _};
use filter::plugin::observe::{Observe, Observed};

use crate::abi::{self, Address};
use crate::gate;
use crate::kept::Stream;
use crate::received::Received;
use crate::stream::{self, Shown};
use crate::survived::survived;
use crate::then::Then;

/// Every function but [`Stream::end`] is a hook's: `envoy` is what the hook was handed.
impl Stream {
    /// It is over; Envoy's side of it is gone.
    pub(crate) fn end(&self) {
        let nowhere = std::ptr::null_mut();
        if self.asked.get().is_some() {
            // SAFETY: nothing is asked of Envoy by a null address.
            unsafe {
                self.called(nowhere, Role::Model, Shown::Passing, (), |place, roots, _| {
                    let canary = self.canary.try_borrow_mut().ok()?.take()?;
                    roots.model(place.plugin.root(Role::Model))?.plugin.conclude(*canary);
                    Some(())
                })
            };
        }
        if self.seen.try_borrow().is_ok_and(|seen| seen.is_some()) {
            // SAFETY: as above.
            unsafe {
                self.called(nowhere, Role::Observe, Shown::Passing, (), |place, roots, host| {
                    let mut seen = self.seen.try_borrow_mut().ok()?.take()?;
                    roots.observe(place.plugin.root(Role::Observe))?.plugin.conclude(host, &mut seen);
                    Some(())
                });
            }
        }
        let Some(place) = &self.place else { return };
        place.request_over();
        let [observed, canary] = &self.can_be_woken;
        if observed.get() {
            place.seat.forget(self.observed);
        }
        if let Some(number) = self.asked.get().filter(|_| canary.get()) {
            place.seat.forget(number);
        }
    }

    /// # Safety
    /// As [`Stream::called`].
    pub(crate) unsafe fn request_headers(&self, envoy: Address, end: bool) -> u32 {
        let Some(place) = &self.place else { return abi::CONTINUE };
        if !survived(Some(&place.plugin), false, || place.plugin.intercepts(envoy)) {
            return abi::CONTINUE;
        }
        self.aside.set(false);
        let nothing = (Flow::Continue, None);
        // SAFETY: as the caller says. A hook that returns lets the stream go on or holds it, and puts nothing off.
        let ((flow, user), _) = unsafe {
            self.called(envoy, Role::Observe, Shown::Passing, nothing, |place, roots, host| {
                place.plugin.begin(roots, host);
                let at = roots.observe(place.plugin.root(Role::Observe))?;
                let (flow, seen) = at.plugin.request_headers(host, at.scratch, self.observed, end);
                let mut known = self.seen.try_borrow_mut().ok()?;
                *known = seen;
                Some((flow, known.as_ref().and_then(Observed::user)))
            })
        };
        // SAFETY: as the caller says.
        let flow = match self.says(envoy, Role::Observe, flow) {
            Flow::Hold => Flow::Hold,
            Flow::Continue => unsafe { self.enter(envoy, user, end) },
        };
        if flow == Flow::Hold { abi::STOP_ITERATION } else { abi::CONTINUE }
    }

    /// "observe" has let the request go on, and says whose it is: one of the canary's goes to "model".
    ///
    /// # Safety
    /// As [`Stream::called`].
    unsafe fn enter(&self, envoy: Address, user: Option<(Bucket, Cohort)>, end: bool) -> Flow {
        let (Some(place), Some((bucket, cohort))) = (&self.place, user) else { return Flow::Continue };
        if gate::arm(bucket, cohort) == Arm::Baseline {
            return Flow::Continue;
        }
        let number = place.seat.number();
        self.asked.set(Some(number));
        // SAFETY: as the caller says.
        let (flow, _) = unsafe {
            self.called(envoy, Role::Model, Shown::Passing, Flow::Continue, |place, roots, host| {
                let at = roots.model(place.plugin.root(Role::Model))?;
                let (flow, canary) = at.plugin.request_headers(host, at.scratch, (number, Some(bucket)), end);
                *self.canary.try_borrow_mut().ok()? = canary.map(Box::new);
                Some(flow)
            })
        };
        self.says(envoy, Role::Model, flow)
    }

    /// # Safety
    /// As [`Stream::called`].
    pub(crate) unsafe fn request_body(&self, envoy: Address, end: bool) -> u32 {
        if self.passes_unseen(end) {
            return abi::CONTINUE;
        }
        let held = self.held.get() == Some(Role::Observe);
        // SAFETY: as the caller says.
        let ((flow, user, length), _) = unsafe {
            self.observing(envoy, Shown::Passing, (Flow::Continue, None, 0), |at, host, seen| {
                let length = host.passing(Body::Request);
                let flow = at.plugin.request_body(host, seen, length, end);
                (flow, if held { seen.user() } else { None }, length)
            })
        };
        if self.says(envoy, Role::Observe, flow) == Flow::Hold {
            self.kept.set(self.kept.get().saturating_add(length));
            return abi::STOP_AND_WATERMARK;
        }
        // SAFETY: as the caller says.
        let flow = unsafe {
            if self.asked.get().is_some() {
                self.gathers(envoy, Shown::Passing, length, end)
            } else if held {
                self.enter_whole(envoy, user, self.kept.get().saturating_add(length))
            } else {
                Flow::Continue
            }
        };
        if flow == Flow::Hold { abi::STOP_AND_WATERMARK } else { abi::CONTINUE }
    }

    /// Most requests are those of a known user whom the rules answer: of their bodies nothing is wanted but the end, and
    /// for that nobody need hold the root contexts.
    fn passes_unseen(&self, end: bool) -> bool {
        self.asked.get().is_none()
            && self
                .seen
                .try_borrow_mut()
                .is_ok_and(|mut seen| seen.as_mut().is_some_and(|seen| seen.passes_unseen(end)))
    }

    /// # Safety
    /// As [`Stream::called`].
    pub(crate) unsafe fn request_trailers(&self, envoy: Address) -> u32 {
        let held = self.held.replace(None) == Some(Role::Observe);
        // SAFETY: as the caller says.
        let flow = unsafe {
            let (user, _) = self.observing(envoy, Shown::Passing, None, |at, host, seen| {
                at.plugin.request_trailers(host, seen);
                seen.user()
            });
            if self.asked.get().is_some() {
                self.gathers(envoy, Shown::Passing, 0, true)
            } else if held {
                self.enter_whole(envoy, user, self.kept.get())
            } else {
                Flow::Continue
            }
        };
        if flow == Flow::Hold { abi::STOP_ITERATION } else { abi::CONTINUE }
    }

    /// As [`Stream::enter`], where it was the request's body that said whose it is: all `length` bytes of it are there.
    ///
    /// # Safety
    /// As [`Stream::called`].
    unsafe fn enter_whole(&self, envoy: Address, user: Option<(Bucket, Cohort)>, length: usize) -> Flow {
        // SAFETY: as the caller says.
        unsafe {
            match self.enter(envoy, user, false) {
                Flow::Hold => self.gathers(envoy, Shown::WholeRequest, length, true),
                Flow::Continue => Flow::Continue,
            }
        }
    }

    /// `length` bytes of a canary's request.
    ///
    /// # Safety
    /// As [`Stream::called`].
    unsafe fn gathers(&self, envoy: Address, shown: Shown<'_>, length: usize, end: bool) -> Flow {
        let Some(number) = self.asked.get() else { return Flow::Continue };
        // SAFETY: as the caller says.
        let (flow, _) = unsafe {
            self.asking(envoy, shown, Flow::Continue, |at, host, canary| {
                at.plugin.request_body(host, number, canary, length, end)
            })
        };
        self.says(envoy, Role::Model, flow)
    }

    /// # Safety
    /// As [`Stream::called`].
    pub(crate) unsafe fn answer_headers(&self, envoy: Address, end: bool) {
        // SAFETY: as the caller says. What answers pass through puts nothing off.
        unsafe {
            if self.asked.get().is_some() {
                self.asking(envoy, Shown::Passing, (), |at, host, canary| at.plugin.answer_headers(host, canary));
            }
            self.observing(envoy, Shown::Passing, (), |at, host, seen| {
                at.plugin.answer_headers(host, (at.scratch, at.handover), seen, end);
            });
        }
    }

    /// # Safety
    /// As [`Stream::called`].
    pub(crate) unsafe fn answer_body(&self, envoy: Address, end: bool) {
        // SAFETY: as the caller says.
        unsafe {
            self.observing(envoy, Shown::Passing, (), |at, host, seen| {
                at.plugin.answer_body(host, seen, host.passing(Body::Answer), end);
            });
        }
    }

    /// # Safety
    /// As [`Stream::called`].
    pub(crate) unsafe fn answer_trailers(&self, envoy: Address) {
        // SAFETY: as the caller says.
        unsafe { self.observing(envoy, Shown::Passing, (), |_, _, seen| Observe::answer_trailers(seen)) };
    }

    /// A call is over. What is then to be done.
    ///
    /// # Safety
    /// As [`Stream::called`].
    pub(crate) unsafe fn call_answered(
        &self,
        envoy: Address,
        call: u64,
        received: Option<Received<'_>>,
    ) -> Option<Then> {
        let known = self.call.take().filter(|(number, _)| *number == call);
        let Some((_, token)) = known else {
            stream::note_at_once(call);
            return None;
        };
        let count = received.map_or(0, |received| received.headers.len());
        let length = received.map_or(0, Received::length);
        // SAFETY: as the caller says.
        let ((), then) = unsafe {
            self.called(envoy, Role::Model, Shown::Received(received), (), |place, roots, host| {
                let at = roots.model(place.plugin.root(Role::Model))?;
                let asked = at.plugin.landed(token)?;
                let mut known = self.canary.try_borrow_mut().ok()?;
                let shared = (at.scratch, at.handover);
                at.plugin.call_answered(host, shared, asked, known.as_deref_mut(), count, length);
                Some(())
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
    /// As [`Stream::called`].
    unsafe fn answers(&self, envoy: Address, headers: &[u8], body: &[u8]) {
        let status: (&[u8], &[u8]) = (b":status", b"200");
        let given: Vec<_> = std::iter::once(status).chain(Pairs::new(headers).iter()).collect();
        let shown = Shown::Answer { headers: Pairs::listed(&given), body };
        // SAFETY: as the caller says.
        unsafe {
            self.observing(envoy, shown, (), |at, host, seen| {
                at.plugin.answer_headers(host, (at.scratch, at.handover), seen, false);
                at.plugin.answer_body(host, seen, body.len(), true);
            });
        }
    }

    /// Somebody wants it looked at: a body may be late, or its worker began anew. What is then to be done.
    ///
    /// # Safety
    /// As [`Stream::called`].
    pub(crate) unsafe fn woken(&self, envoy: Address) -> Option<Then> {
        // SAFETY: as the caller says.
        let (known, then) = unsafe {
            match (self.held.get()?, self.asked.get()) {
                (Role::Observe, _) => self.observing(envoy, Shown::Passing, false, |at, host, seen| {
                    at.plugin.late(host, self.observed, seen, host.now_ns());
                    true
                }),
                (Role::Model, Some(number)) => self.asking(envoy, Shown::Passing, false, |at, host, canary| {
                    at.plugin.late(host, number, canary, host.now_ns());
                    true
                }),
                (Role::Model, None) => (false, None),
            }
        };
        if known { then } else { self.settle(then) }
    }

    /// What is to be done; a request that is held and that nobody answers or lets go any more goes on.
    fn settle(&self, then: Option<Then>) -> Option<Then> {
        let held = self.held.take();
        then.or_else(|| held.map(|_| Then::Resume))
    }
}
