//! Sends batches from Envoy's main thread to the scorer.
//!
//! The main thread may share a core with a worker, whose clients wait for as long as it runs. So a large batch is sent
//! in pieces. While there is traffic, the next piece is sent a few requests after the one before; what is left at a
//! tick, or when another batch waits, is sent one piece after the other, and between two of them other threads can have
//! the core. One batch is sent at a time; responses are awaited for as many as the filter's limits allow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use filter::pairs::{self, Pairs};
use filter::plugin::host::{Call, CallResponse, Refused};

use crate::envoy::response::Response;
use crate::outbox::{Batch, locked};
use crate::shared::Shared;

/// Most bytes that are sent in one go.
const PIECE: usize = 32 * 1024;

/// A batch whose response is awaited, and what has come of that.
#[derive(Debug)]
pub(crate) struct AwaitedResponse {
    /// The worker's number, and what it knows the batch by.
    pub(crate) worker: usize,
    pub(crate) token: u32,
    /// As [`filter::pairs::write`] writes them; empty until they come.
    headers: Vec<u8>,
    body: Vec<u8>,
}

/// The batch of which not all is sent.
#[derive(Debug)]
struct PartialBatch {
    call: u64,
    body: Arc<Vec<u8>>,
    sent: usize,
    /// Its rest goes piece by piece, without waiting for requests.
    hurried: bool,
}

#[derive(Debug, Default)]
enum Progress {
    #[default]
    Idle,
    /// In a call to Envoy, which may call back within.
    Calling,
    Partial(PartialBatch),
}

/// See the module. No lock is held while Envoy is called.
#[derive(Debug, Default)]
pub(crate) struct BatchSender {
    progress: Mutex<Progress>,
    /// By Envoy's number.
    awaited: Mutex<HashMap<u64, AwaitedResponse>>,
    /// Calls that ended within the call to Envoy that begins them.
    ended_at_once: Mutex<Vec<u64>>,
}

/// What came of [`BatchSender::begin`].
#[derive(Debug)]
pub(crate) enum Begin {
    /// Nothing waits, or another batch is not sent whole yet.
    Nothing,
    /// The whole of a batch.
    Whole,
    /// A batch, of which [`BatchSender::send_piece`] sends the rest, and at once where it says so.
    Partial { hurried: bool },
    /// The call could not be made, or failed at once.
    Failed(Batch),
}

/// All functions are the main thread's.
impl BatchSender {
    /// Begins to send the next batch, whose rest is to wait for no request where it is to be `hurried`.
    pub(crate) fn begin(&self, shared: &Shared, hurried: bool) -> Begin {
        if !matches!(*locked(&self.progress), Progress::Idle) {
            return Begin::Nothing;
        }
        let Some(batch) = shared.outbox.pop() else { return Begin::Nothing };
        *locked(&self.progress) = Progress::Calling;
        let (piece, whole) = piece(&batch.body, 0);
        let (cluster, headers, timeout_ms) = (&batch.cluster, &batch.headers, batch.timeout_ms);
        let call = shared.envoy.start_call(&Call { cluster, headers, body: piece, timeout_ms }, whole);
        let sent = piece.len();
        *locked(&self.progress) = Progress::Idle;
        let ended = std::mem::take(&mut *locked(&self.ended_at_once));
        let Some(call) = call.filter(|call| !ended.contains(call)) else { return Begin::Failed(batch) };
        let Batch { worker, token, body, .. } = batch;
        let awaited = AwaitedResponse { worker, token, headers: Vec::new(), body: Vec::new() };
        locked(&self.awaited).insert(call, awaited);
        if whole {
            return Begin::Whole;
        }
        let hurried = hurried || !shared.outbox.is_empty();
        self.set_partial(shared, Some(PartialBatch { call, body, sent, hurried }));
        Begin::Partial { hurried }
    }

    /// Sends the next piece of the batch that is being sent. Returns `true` if the one after it is to be sent at once.
    pub(crate) fn send_piece(&self, shared: &Shared) -> bool {
        let Some(PartialBatch { call, body, sent, hurried }) = self.take_partial() else { return false };
        let (piece, last) = piece(&body, sent);
        let sent = sent + piece.len();
        // The scorer may have responded, or be gone, before it has all, and that may show within this.
        let more = shared.envoy.send_data(call, piece, last) && !last && locked(&self.awaited).contains_key(&call);
        let hurried = hurried || !shared.outbox.is_empty();
        self.set_partial(shared, more.then_some(PartialBatch { call, body, sent, hurried }));
        more && hurried
    }

    /// Sends the rest of the batch without waiting for requests. Returns `true` if that is new for the current batch.
    pub(crate) fn hurry(&self) -> bool {
        match &mut *locked(&self.progress) {
            Progress::Partial(partial) => !std::mem::replace(&mut partial.hurried, true),
            Progress::Idle | Progress::Calling => false,
        }
    }

    /// Returns `true` if the rest goes without being asked for.
    pub(crate) fn hurried(&self) -> bool {
        matches!(&*locked(&self.progress), Progress::Partial(PartialBatch { hurried: true, .. }))
    }

    fn set_partial(&self, shared: &Shared, partial: Option<PartialBatch>) {
        shared.outbox.set_partial(partial.is_some());
        *locked(&self.progress) = partial.map_or(Progress::Idle, Progress::Partial);
    }

    fn take_partial(&self) -> Option<PartialBatch> {
        let mut progress = locked(&self.progress);
        match std::mem::replace(&mut *progress, Progress::Calling) {
            Progress::Partial(partial) => Some(partial),
            other => {
                *progress = other;
                None
            }
        }
    }

    /// The headers of a response.
    pub(crate) fn response_headers(&self, call: u64, response: Response<'_>) {
        if let Some(awaited) = locked(&self.awaited).get_mut(&call) {
            awaited.headers.clear();
            response.headers(|headers| pairs::write(&mut awaited.headers, &headers.iter().collect::<Vec<_>>()));
        }
    }

    /// A part of a response's body, of which `most` bytes at most are kept.
    pub(crate) fn response_body(&self, call: u64, response: Response<'_>, most: usize) {
        if let Some(awaited) = locked(&self.awaited).get_mut(&call) {
            response.write_body(most.saturating_sub(awaited.body.len()), &mut awaited.body);
        }
    }

    /// Records that a call is over, with a response or without. Returns its worker and what has arrived.
    pub(crate) fn over(&self, call: u64) -> Option<AwaitedResponse> {
        let awaited = locked(&self.awaited).remove(&call);
        if awaited.is_none() && matches!(*locked(&self.progress), Progress::Calling) {
            locked(&self.ended_at_once).push(call);
        }
        awaited
    }

    /// Drops what is under way: it gets no response any more.
    pub(crate) fn end(&self, shared: &Shared) {
        self.set_partial(shared, None);
        locked(&self.awaited).clear();
    }
}

impl CallResponse for AwaitedResponse {
    fn length(&self) -> usize {
        self.body.len()
    }

    fn headers<T>(&self, _: &mut Vec<u8>, read: impl FnOnce(Pairs<'_>) -> T) -> Result<T, Refused> {
        Ok(read(Pairs::new(&self.headers)))
    }

    fn body(&self, length: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        out.extend_from_slice(self.body.get(..length).unwrap_or(&self.body));
        Ok(())
    }
}

/// What is sent of `body` after the first `sent` bytes, and whether that is the last of it.
fn piece(body: &[u8], sent: usize) -> (&[u8], bool) {
    let rest = body.get(sent..).unwrap_or_default();
    rest.get(..PIECE).map_or((rest, true), |piece| (piece, piece.len() == rest.len()))
}
