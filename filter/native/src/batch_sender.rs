//! Batches' way from Envoy's main thread to the scorer.
//!
//! The main thread may share a core with a worker, whose clients wait for as long as it runs. So a large batch goes in
//! pieces. While there is traffic its requests say when the next one goes, a few requests after the one before; what is still
//! there at a tick, or when another batch waits, goes one piece after the other, and between two of them whoever wants the
//! core has it. One batch is sent at a time; answers come for as many as the filter's limits let be under way.
#![allow(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use filter::pairs::{self, Pairs};

use crate::abi::{Bytes, Header};
use crate::main_thread::Envoy;
use crate::place::Place;
use crate::plugin::locked;
use crate::received::Received;

/// Most bytes that are sent in one go.
const PIECE: usize = 32 * 1024;
/// Requests of a worker from one piece to the next: with answers of 1 KiB a batch is away before the next one is full.
const BETWEEN: u32 = 16;

/// A batch that waits for the main thread.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) place: Arc<Place>,
    /// What the worker knows it by.
    pub(crate) token: u32,
    pub(crate) cluster: String,
    /// As [`filter::pairs::write`] writes them.
    pub(crate) headers: Vec<u8>,
    pub(crate) body: Arc<Vec<u8>>,
    pub(crate) timeout_ms: u32,
}

/// Whose a call under way is, and what has come of its answer.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) place: Arc<Place>,
    pub(crate) token: u32,
    /// As [`filter::pairs::write`] writes them; empty until they come.
    headers: Vec<u8>,
    body: Vec<u8>,
}

/// The batch of which not all is sent.
#[derive(Debug)]
struct Partly {
    call: u64,
    body: Arc<Vec<u8>>,
    sent: usize,
    /// Its rest goes piece by piece, without waiting for requests.
    hurried: bool,
}

/// What the main thread is at.
#[derive(Debug, Default)]
enum At {
    #[default]
    Nothing,
    /// In a call to Envoy, which may call back within.
    Calling,
    Batch(Partly),
}

/// See the module. No lock is held while Envoy is called.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    /// The filter's own limits bound them: what is sent and not answered counts towards them.
    waiting: Mutex<VecDeque<Leaving>>,
    at: Mutex<At>,
    /// A batch is not sent whole yet.
    rests: AtomicBool,
    /// By Envoy's number.
    under_way: Mutex<HashMap<u64, Flight>>,
}

/// What came of [`Sending::begin`].
#[derive(Debug)]
pub(crate) enum Begun {
    /// Nothing waits, or another batch is not sent whole yet.
    Nothing,
    /// The whole of a batch.
    Whole,
    /// A batch, of which [`Sending::go_on`] sends the rest, and at once where it says so.
    Partly { hurried: bool },
    /// The call could not be made.
    Failed(Leaving),
}

impl Sending {
    /// Any thread: leaves a batch to the main thread.
    pub(crate) fn leave(&self, leaving: Leaving) {
        locked(&self.waiting).push_back(leaving);
    }

    /// Main thread: begins to send the next batch, whose rest is to wait for no request where it is to be `hurried`.
    pub(crate) fn begin(&self, envoy: &Envoy, hurried: bool) -> Begun {
        if !matches!(*locked(&self.at), At::Nothing) {
            return Begun::Nothing;
        }
        let Some(leaving) = locked(&self.waiting).pop_front() else { return Begun::Nothing };
        *locked(&self.at) = At::Calling;
        let (piece, whole) = piece(&leaving.body, 0);
        let (call, sent) = (envoy.begin(&leaving, piece, whole), piece.len());
        *locked(&self.at) = At::Nothing;
        let Some(call) = call else { return Begun::Failed(leaving) };
        let Leaving { place, token, body, .. } = leaving;
        locked(&self.under_way).insert(call, Flight { place, token, headers: Vec::new(), body: Vec::new() });
        if whole {
            return Begun::Whole;
        }
        let hurried = hurried || self.another_waits();
        self.stand_at(Some(Partly { call, body, sent, hurried }));
        Begun::Partly { hurried }
    }

    /// A worker that has had `requests` of them asks: is another piece due?
    pub(crate) fn due(&self, requests: u32) -> bool {
        requests.is_multiple_of(BETWEEN) && self.rests.load(Ordering::Relaxed)
    }

    /// Main thread: sends the next piece of the batch that is being sent. Is the one after it to be sent at once?
    pub(crate) fn go_on(&self, envoy: &Envoy) -> bool {
        let Some(Partly { call, body, sent, hurried }) = self.partly() else { return false };
        let (piece, last) = piece(&body, sent);
        let sent = sent + piece.len();
        // The scorer may have answered, or be gone, before it has all, and that may show within this.
        let more = envoy.go_on(call, piece, last) && !last && locked(&self.under_way).contains_key(&call);
        let hurried = hurried || self.another_waits();
        self.stand_at(more.then_some(Partly { call, body, sent, hurried }));
        more && hurried
    }

    /// Main thread: no request need ask for the rest any more. Is there one for which nobody has said so?
    pub(crate) fn hurry(&self) -> bool {
        match &mut *locked(&self.at) {
            At::Batch(partly) => !std::mem::replace(&mut partly.hurried, true),
            At::Nothing | At::Calling => false,
        }
    }

    /// Does the rest go without being asked for?
    pub(crate) fn hurried(&self) -> bool {
        matches!(&*locked(&self.at), At::Batch(Partly { hurried: true, .. }))
    }

    fn another_waits(&self) -> bool {
        !locked(&self.waiting).is_empty()
    }

    fn stand_at(&self, partly: Option<Partly>) {
        self.rests.store(partly.is_some(), Ordering::Relaxed);
        *locked(&self.at) = partly.map_or(At::Nothing, At::Batch);
    }

    fn partly(&self) -> Option<Partly> {
        let mut at = locked(&self.at);
        match std::mem::replace(&mut *at, At::Calling) {
            At::Batch(partly) => Some(partly),
            other => {
                *at = other;
                None
            }
        }
    }

    /// Main thread: the headers of an answer.
    pub(crate) fn headers(&self, call: u64, received: Received<'_>) {
        if let Some(flight) = locked(&self.under_way).get_mut(&call) {
            flight.headers.clear();
            received.headers(|headers| pairs::write(&mut flight.headers, &headers.iter().collect::<Vec<_>>()));
        }
    }

    /// Main thread: a part of an answer's body, of which `most` bytes at most are kept.
    pub(crate) fn body(&self, call: u64, received: Received<'_>, most: usize) {
        if let Some(flight) = locked(&self.under_way).get_mut(&call) {
            received.write_body(most.saturating_sub(flight.body.len()), &mut flight.body);
        }
    }

    /// Main thread: a call is over, answered or not. Whose it was, with what has come.
    pub(crate) fn over(&self, call: u64) -> Option<Flight> {
        locked(&self.under_way).remove(&call)
    }

    /// Whatever waits or is under way will not be answered any more.
    pub(crate) fn end(&self) {
        locked(&self.waiting).clear();
        self.stand_at(None);
        locked(&self.under_way).clear();
    }
}

impl Flight {
    /// Shows what has come to `see`.
    pub(crate) fn received(&self, see: impl FnOnce(Received<'_>)) {
        let headers: Vec<Header> = Pairs::new(&self.headers).iter().map(Header::of).collect();
        let body = [Bytes::of(&self.body)];
        // SAFETY: all of it is the flight's, which is lent for as long as `see` takes.
        see(unsafe { Received::new(&headers, &body) });
    }
}

/// What is sent of `body` after the first `sent` bytes, and whether that is the last of it.
fn piece(body: &[u8], sent: usize) -> (&[u8], bool) {
    let rest = body.get(sent..).unwrap_or_default();
    rest.get(..PIECE).map_or((rest, true), |piece| (piece, piece.len() == rest.len()))
}
