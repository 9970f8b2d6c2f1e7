//! One stream on its way through the filter, from its first hook to its last.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use filter::plugin::filter::{Filter, Stream};
use filter::plugin::host::{Body, Flow};

use crate::abi::{self, Address};
use crate::place::Place;
use crate::received::Received;
use crate::stream::{self, OnStream};
use crate::survived::survived;

/// See the module.
pub(crate) struct Exchange {
    /// Nothing where the configuration was refused: the stream is left alone.
    place: Option<Arc<Place>>,
    /// What is known of it, until request and response have passed.
    known: RefCell<Option<Stream>>,
    /// How often its worker's filter had begun anew when that came to be known: what an earlier one knew is worth nothing.
    anew: Cell<u32>,
    number: u32,
    /// Envoy's number of the call under way, and the filter's.
    call: Cell<Option<(u64, u32)>>,
    /// Envoy waits for the filter to let the response go on.
    held: Cell<bool>,
}

/// Every function but [`Exchange::end`] is a hook's: `envoy` is what the hook was handed.
impl Exchange {
    pub(crate) fn new(place: Option<Arc<Place>>) -> Self {
        Self {
            number: place.as_ref().map_or(0, |place| place.number()),
            place,
            known: RefCell::new(None),
            anew: Cell::new(0),
            call: Cell::new(None),
            held: Cell::new(false),
        }
    }

    /// It is over; Envoy's side of it is gone.
    pub(crate) fn end(&self) {
        // SAFETY: nothing is asked of Envoy by a null address.
        unsafe {
            self.called(std::ptr::null_mut(), None, (), |filter, host, known| {
                if let Some(mut stream) = known.take() {
                    filter.conclude(host, &mut stream);
                }
            });
        }
        if let Some(place) = &self.place {
            place.request_over();
        }
    }

    /// # Safety
    /// As [`Exchange::called`].
    pub(crate) unsafe fn request_headers(&self, envoy: Address, end: bool) {
        let Some(place) = &self.place else { return };
        survived(Some(&place.plugin), (), || {
            if !place.plugin.intercepts(envoy) {
                return;
            }
            let mut filter = place.filter();
            // SAFETY: as the caller says.
            let host = unsafe { OnStream::new(envoy, place, None) };
            if filter.is_none() {
                *filter = place.plugin.filter(&host);
            }
            let Some(filter) = &mut *filter else { return };
            self.anew.set(place.anew());
            let stream = filter.request_headers(&host, self.number, end);
            self.call.set(host.began());
            if let Ok(mut known) = self.known.try_borrow_mut() {
                *known = stream;
            }
        });
    }

    /// # Safety
    /// As [`Exchange::called`].
    pub(crate) unsafe fn request_body(&self, envoy: Address, end: bool) {
        // Most requests are those of a baseline user: of their bodies nothing is wanted but the end, and for that nobody
        // need hold the filter.
        let unseen = self
            .known
            .try_borrow_mut()
            .is_ok_and(|mut known| known.as_mut().is_none_or(|stream| stream.passes_unseen(end)));
        if !unseen {
            // SAFETY: as the caller says.
            unsafe {
                self.observing(envoy, (), |filter, host, stream| {
                    filter.request_body(host, self.number, stream, host.passing(Body::Request), end);
                });
            }
        }
    }

    /// # Safety
    /// As [`Exchange::called`].
    pub(crate) unsafe fn request_trailers(&self, envoy: Address) {
        // SAFETY: as the caller says.
        unsafe {
            self.observing(envoy, (), |filter, host, stream| filter.request_over(host, self.number, stream));
        }
    }

    /// # Safety
    /// As [`Exchange::called`].
    pub(crate) unsafe fn response_headers(&self, envoy: Address, end: bool) -> u32 {
        // SAFETY: as the caller says.
        let flow = unsafe {
            self.observing(envoy, Flow::Continue, |filter, host, stream| filter.response_headers(host, stream, end))
        };
        // SAFETY: as the caller says.
        unsafe { self.returned(envoy, flow, abi::STOP_ITERATION) }
    }

    /// # Safety
    /// As [`Exchange::called`].
    pub(crate) unsafe fn response_body(&self, envoy: Address, end: bool) -> u32 {
        // SAFETY: as the caller says.
        let flow = unsafe {
            self.observing(envoy, Flow::Continue, |filter, host, stream| {
                filter.response_body(host, stream, host.passing(Body::Response), end)
            })
        };
        // SAFETY: as the caller says.
        unsafe { self.returned(envoy, flow, abi::STOP_AND_WATERMARK) }
    }

    /// # Safety
    /// As [`Exchange::called`].
    pub(crate) unsafe fn response_trailers(&self, envoy: Address) -> u32 {
        // SAFETY: as the caller says.
        let flow = unsafe {
            self.observing(envoy, Flow::Continue, |filter, host, stream| filter.response_trailers(host, stream))
        };
        // SAFETY: as the caller says.
        unsafe { self.returned(envoy, flow, abi::STOP_ITERATION) }
    }

    /// A call is over. A response that waits goes on now, where its fate is known or nobody knows of it any more.
    ///
    /// # Safety
    /// As [`Exchange::called`]; the stream may be gone when this returns.
    pub(crate) unsafe fn call_over(&self, envoy: Address, call: u64, received: Option<Received<'_>>) {
        let Some((_, token)) = self.call.take().filter(|(number, _)| *number == call) else {
            stream::note_at_once(call);
            return;
        };
        let headers = received.map_or(0, |received| received.headers.len());
        let length = received.map_or(0, Received::length);
        // SAFETY: as the caller says.
        let flow = unsafe {
            self.called(envoy, received, None, |filter, host, known| {
                let Some(call) = filter.live_call(token) else { return Some(Flow::Continue) };
                let flow = filter.live_call_over(host, call, (headers, length), known.as_mut());
                conclude(filter, host, known);
                // It waits for its own end.
                if known.is_some() && flow.is_none() { Some(Flow::Hold) } else { flow }
            })
        };
        let flow = flow.unwrap_or(Flow::Continue);
        if flow == Flow::Hold || !self.held.replace(false) {
            return;
        }
        // SAFETY: as the caller says; nothing is borrowed any more.
        unsafe {
            self.returned(envoy, flow, abi::CONTINUE);
            abi::envoy_dynamic_module_callback_http_filter_continue_encoding(envoy);
        }
    }

    /// What a hook of the response returns, with the body replaced on the way.
    ///
    /// # Safety
    /// As [`Exchange::called`].
    unsafe fn returned(&self, envoy: Address, flow: Flow, hold: u32) -> u32 {
        self.held.set(flow == Flow::Hold);
        match flow {
            Flow::Continue => abi::CONTINUE,
            Flow::Hold => hold,
            Flow::Replace(replacement) => {
                if let Some(place) = &self.place {
                    survived(Some(&place.plugin), (), || {
                        // SAFETY: as the caller says.
                        replacement.apply(&unsafe { OnStream::new(envoy, place, None) });
                    });
                }
                abi::CONTINUE
            }
        }
    }

    /// A callback of a stream that is known.
    ///
    /// # Safety
    /// As [`Exchange::called`].
    unsafe fn observing<T>(
        &self,
        envoy: Address,
        otherwise: T,
        act: impl FnOnce(&mut Filter, &OnStream<'_>, &mut Stream) -> T,
    ) -> T {
        if self.known.try_borrow().is_ok_and(|known| known.is_none()) {
            return otherwise;
        }
        // SAFETY: as the caller says.
        unsafe {
            self.called(envoy, None, None, |filter, host, known| {
                let result = act(filter, host, known.as_mut()?);
                conclude(filter, host, known);
                Some(result)
            })
        }
        .unwrap_or(otherwise)
    }

    /// A callback. It comes to `otherwise` where there is nothing to do it with, and where it panics.
    ///
    /// # Safety
    /// `envoy` is null, or was handed to the hook that is running.
    unsafe fn called<T>(
        &self,
        envoy: Address,
        received: Option<Received<'_>>,
        otherwise: T,
        act: impl FnOnce(&mut Filter, &OnStream<'_>, &mut Option<Stream>) -> T,
    ) -> T {
        let Some(place) = &self.place else { return otherwise };
        let done = survived(Some(&place.plugin), None, || {
            let mut known = self.known.try_borrow_mut().ok()?;
            known.as_ref()?;
            let mut filter = place.filter();
            let anew = place.anew();
            if self.anew.replace(anew) != anew {
                *known = None;
            }
            // SAFETY: as the caller says.
            let host = unsafe { OnStream::new(envoy, place, received) };
            let result = act(filter.as_mut()?, &host, &mut known);
            drop(filter);
            if let Some(call) = host.began() {
                self.call.set(Some(call));
            }
            Some(result)
        });
        done.unwrap_or(otherwise)
    }
}

/// Once request and response have passed whole, everything is known of the stream.
fn conclude(filter: &mut Filter, host: &OnStream<'_>, known: &mut Option<Stream>) {
    if let Some(mut stream) = known.take_if(|stream| stream.complete()) {
        filter.conclude(host, &mut stream);
    }
}
