//! Writes suggestion events to the store.
//!
//! A response never waits for the store: events go into a bounded queue, and one task writes the queued ones in one
//! statement. Until then feedback finds them among the store's pending events. If the queue is full the event is
//! dropped and counted; feedback on it expires. A failed statement is retried a few times, since existing events are
//! left unchanged; if the database refuses a row, the statement is split until only that row is dropped.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

use crate::store::{PendingEvents, Store, StoreError, SuggestionEvent, without_nul};

/// Most events in the queue.
const QUEUE: usize = 20_000;
/// Most events in one statement.
const BATCH: usize = 500;
/// Time that a statement waits for more events: a transaction costs much more than a row in it.
const GATHER: Duration = Duration::from_millis(20);
/// Attempts at a statement that fails, and the pause between two.
const TRIES: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Longest event id, in bytes: a longer one cannot be indexed, and feedback with it is refused.
const LONGEST_ID: usize = 200;
/// Interval at which old events are deleted, and the pause between two such statements.
const FORGET_EVERY: Duration = Duration::from_secs(600);
const FORGET_PAUSE: Duration = Duration::from_millis(200);

/// The queue of events; clones share it.
#[derive(Debug, Clone)]
pub struct EventLog {
    queue: Sender<Arc<SuggestionEvent>>,
    pending: PendingEvents,
    dropped: Arc<AtomicU64>,
}

/// The task that writes events.
#[derive(Debug)]
pub struct EventWriter {
    task: JoinHandle<()>,
}

impl EventLog {
    /// Starts the task that writes events.
    #[must_use]
    pub fn start(store: Store) -> (Self, EventWriter) {
        let (queue, events) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let pending = store.pending_events().clone();
        let task = tokio::spawn(write(store, events, Arc::clone(&dropped)));
        (Self { queue, pending, dropped }, EventWriter { task })
    }

    /// Queues an event without waiting; drops it if the queue is full.
    pub fn offer(&self, mut event: SuggestionEvent) {
        let place = self.queue.try_reserve().ok();
        let Some(place) = place.filter(|_| event.event_id.len() <= LONGEST_ID && !event.event_id.contains('\0')) else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        for text in [&mut event.label, &mut event.model_version] {
            if let Cow::Owned(clean) = without_nul(text) {
                *text = clean;
            }
        }
        let event = Arc::new(event);
        self.pending.add(&event);
        place.send(event);
    }

    /// Events that were dropped since the start: the queue was full, or the store refused them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl EventWriter {
    /// Waits until all queued events are written. Every [`EventLog`] must be dropped before.
    pub async fn finish(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "event_writer_panicked");
        }
    }
}

async fn write(store: Store, mut events: Receiver<Arc<SuggestionEvent>>, dropped: Arc<AtomicU64>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut failing = false;
    while events.recv_many(&mut batch, BATCH).await > 0 {
        if batch.len() < BATCH {
            tokio::time::sleep(GATHER).await;
            while batch.len() < BATCH
                && let Ok(event) = events.try_recv()
            {
                batch.push(event);
            }
        }
        let lost = store_batch(&store, &batch).await;
        let now_failing = lost.is_some();
        if let Some((events, error)) = lost {
            dropped.fetch_add(events, Ordering::Relaxed);
            // Once per outage, not once per batch.
            if !failing {
                tracing::warn!(%error, "events_dropped");
            }
        } else if failing {
            tracing::info!("events_stored_again");
        }
        failing = now_failing;
        store.pending_events().remove(&batch);
        batch.clear();
    }
}

/// Stores a batch; returns how many events were lost, and why, if any were.
async fn store_batch(store: &Store, batch: &[Arc<SuggestionEvent>]) -> Option<(u64, StoreError)> {
    let mut lost: Option<(u64, StoreError)> = None;
    let mut parts = vec![batch];
    while let Some(part) = parts.pop() {
        let Err(error) = try_to_store(store, part).await else { continue };
        if error.is_of_the_rows() && part.len() > 1 {
            let (one, other) = part.split_at(part.len() / 2);
            parts.extend([one, other]);
            continue;
        }
        let events = lost.as_ref().map_or(0, |(events, _)| *events) + part.len() as u64;
        lost = Some((events, error));
    }
    lost
}

async fn try_to_store(store: &Store, events: &[Arc<SuggestionEvent>]) -> Result<(), StoreError> {
    let mut tries = 1;
    loop {
        match store.add_events(events).await {
            Err(error) if tries < TRIES && !error.is_of_the_rows() => {
                tries += 1;
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// Deletes events older than `keep` at regular intervals.
pub async fn forget_old(store: Store, keep: Duration) {
    let mut ticks = tokio::time::interval(FORGET_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let before = i64::try_from(now.saturating_sub(keep).as_secs()).unwrap_or(0);
        loop {
            match store.forget_events(before).await {
                Ok(0) => break,
                Ok(_) => tokio::time::sleep(FORGET_PAUSE).await,
                Err(error) => {
                    tracing::warn!(%error, retry_s = FORGET_EVERY.as_secs(), "old_events_not_deleted");
                    break;
                }
            }
        }
    }
}
