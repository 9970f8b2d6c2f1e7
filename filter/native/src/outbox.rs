//! Batches that wait for the main thread, which sends them ([`crate::batch_sender`]).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Requests of a worker from one piece of a batch to the next: with responses of 1 KiB a batch is away before the next
/// one is full.
const BETWEEN: u32 = 16;

/// A batch that waits for the main thread.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The worker's number.
    pub(crate) worker: usize,
    /// What the worker knows it by.
    pub(crate) token: u32,
    pub(crate) cluster: String,
    /// As [`filter::pairs::write`] writes them.
    pub(crate) headers: Vec<u8>,
    pub(crate) body: Arc<Vec<u8>>,
    pub(crate) timeout_ms: u32,
}

/// See the module. The filter's own limits bound what waits: what is sent without a response counts towards them.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<VecDeque<Batch>>,
    /// A batch is sent in part.
    partial: AtomicBool,
}

impl Outbox {
    /// Any thread: leaves a batch to the main thread.
    pub(crate) fn push(&self, batch: Batch) {
        locked(&self.waiting).push_back(batch);
    }

    /// The batch that has waited longest.
    pub(crate) fn pop(&self) -> Option<Batch> {
        locked(&self.waiting).pop_front()
    }

    /// Returns `true` if none waits.
    pub(crate) fn is_empty(&self) -> bool {
        locked(&self.waiting).is_empty()
    }

    /// Nothing waits any more.
    pub(crate) fn clear(&self) {
        locked(&self.waiting).clear();
    }

    /// Whether a batch is sent in part, so that requests ask for the rest of it.
    pub(crate) fn set_partial(&self, partial: bool) {
        self.partial.store(partial, Ordering::Relaxed);
    }

    /// Returns `true` if a worker that has had `requests` of them is to ask for another piece.
    pub(crate) fn piece_due(&self, requests: u32) -> bool {
        requests.is_multiple_of(BETWEEN) && self.partial.load(Ordering::Relaxed)
    }
}

/// The value behind a lock, whether or not somebody panicked with it: each value that is kept so changes in one step,
/// and is whole at any time.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
