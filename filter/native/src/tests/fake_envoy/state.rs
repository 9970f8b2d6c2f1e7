//! What Envoy keeps of its streams and calls.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use crate::abi::{self, Address, Bytes, Header};
use crate::tests::messages::{Headers, Observed, RecordedCall};

/// Bytes of a body that Envoy shows in one piece.
pub(super) const CHUNK: usize = 5;
pub(super) const RESET: u32 = 1;
pub(super) const CANNOT_CREATE_REQUEST: u32 = 4;
/// Streams that a faked Envoy can have.
pub(super) const STREAMS: usize = 1 << 20;

/// What is done once, within the next call of the module's that may lead back to it; it is handed the number of the
/// call that is being begun there.
pub(super) type Within = Box<dyn FnOnce(u64) + Send>;

/// One of the module's scheduled events, and the thread that asked for it.
pub(super) type Scheduled = Mutex<VecDeque<(u64, ThreadId)>>;

thread_local! {
    pub(super) static NOW_NS: Cell<u64> = const { Cell::new(1_000_000_000) };
    pub(super) static RUNTIME: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
    /// The instance whose log this thread writes.
    pub(super) static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// Every faked Envoy, by number.
pub(super) static INSTANCES: Mutex<BTreeMap<usize, Arc<Mutex<State>>>> = Mutex::new(BTreeMap::new());

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Stream(u32),
    Configuration,
    Batch,
}

pub(super) struct Call {
    pub(super) owner: Owner,
    pub(super) seen: RecordedCall,
    pub(super) whole: bool,
}

#[derive(Default)]
pub(super) struct Stream {
    /// The module's object; null once it is destroyed.
    pub(super) module: usize,
    pub(super) request: Headers,
    pub(super) response: Option<Headers>,
    pub(super) trailers: Headers,
    pub(super) request_chunk: Option<Vec<u8>>,
    /// Of the response: what passes in this callback, what waits, what has gone to the client.
    pub(super) passing: Option<Vec<u8>>,
    pub(super) waiting: Option<Vec<u8>>,
    pub(super) given: Vec<u8>,
    pub(super) waits: bool,
    /// `true` once the response's last piece, or its trailers, have been given to the module: nothing follows then.
    pub(super) response_complete: bool,
}

impl Stream {
    pub(super) fn map(&mut self, map: u32) -> Option<&mut Headers> {
        match map {
            abi::REQUEST_HEADERS => Some(&mut self.request),
            abi::RESPONSE_HEADERS => self.response.as_mut(),
            abi::RESPONSE_TRAILERS => Some(&mut self.trailers),
            _ => None,
        }
    }

    pub(super) fn body(&mut self, kind: u32) -> &mut Option<Vec<u8>> {
        match kind {
            abi::REQUEST_BODY => &mut self.request_chunk,
            abi::RESPONSE_BODY => &mut self.passing,
            _ => &mut self.waiting,
        }
    }

    /// A callback of the response has returned.
    pub(super) fn flows(&mut self, result: u32) {
        let passing = self.passing.take();
        self.waits = result != abi::CONTINUE;
        if let Some(passing) = passing {
            self.waiting.get_or_insert_default().extend_from_slice(&passing);
        }
        if !self.waits {
            self.goes_on();
        }
    }

    pub(super) fn goes_on(&mut self) {
        self.waits = false;
        self.given.append(&mut self.waiting.take().unwrap_or_default());
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) streams: BTreeMap<u32, Stream>,
    pub(super) counters: Vec<(String, u64)>,
    pub(super) log: Vec<String>,
    pub(super) calls: Vec<Call>,
    pub(super) next_call: u32,
    pub(super) observed: Observed,
    pub(super) refuse: Option<u32>,
    pub(super) scheduled: Option<Arc<Scheduled>>,
    pub(super) within: Option<Within>,
}

impl State {
    pub(super) fn stream(&mut self, address: Address) -> &mut Stream {
        let number = u32::try_from(address.addr() % STREAMS).unwrap();
        self.streams.get_mut(&number).expect("a stream of Envoy's")
    }

    pub(super) fn begin(
        &mut self,
        owner: Owner,
        cluster: Bytes,
        headers: &[Header],
        body: Bytes,
        whole: bool,
    ) -> Result<u64, u32> {
        // SAFETY: the module's, for the time of the call.
        let (cluster, body) = unsafe { (cluster.read(), body.read().to_vec()) };
        let mut read = Headers::default();
        for header in headers {
            // SAFETY: as above.
            let (name, value) = unsafe { header.read() };
            read.add(name, value);
        }
        let path = read.get(":path").unwrap_or_default();
        if whole {
            self.observed.count(&path, &body);
        }
        if let Some(refused) = self.refuse {
            return Err(refused);
        }
        self.next_call += 1;
        let (token, cluster) = (self.next_call, String::from_utf8_lossy(cluster).into_owned());
        let seen = RecordedCall { token, cluster, path, headers: read.texts(), body };
        self.calls.push(Call { owner, seen, whole });
        Ok(u64::from(token))
    }
}

pub(super) fn instance(number: usize) -> Option<Arc<Mutex<State>>> {
    INSTANCES.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
}

/// The state that an address of ours belongs to.
pub(super) fn at<T>(address: Address, act: impl FnOnce(&mut State) -> T) -> T {
    let state = instance(address.addr() / STREAMS).expect("an instance that is there");
    act(&mut lock(&state))
}

pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does what the test wants done within a call.
pub(super) fn within(address: Address, call: u64) {
    if let Some(within) = at(address, |state| state.within.take()) {
        within(call);
    }
}
