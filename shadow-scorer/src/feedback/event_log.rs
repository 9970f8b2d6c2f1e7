//! Suggestion events on their way to the store.
//!
//! An answer never waits for the store: events go into a bounded queue, and one task writes what has gathered in one
//! statement. Until then feedback finds them among the store's pending events. A full queue drops the event and counts it;
//! feedback on a dropped event waits in vain. A statement that the store does not take is tried again some times, since
//! events that are there already are left as they are; one of whose rows the database refuses is split until that row
//! alone is dropped.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

use crate::store::{PendingEvents, Store, StoreError, SuggestionEvent, without_nul};

/// Events waiting at most.
const QUEUE: usize = 20_000;
/// Events written in one statement at most.
const BATCH: usize = 500;
/// How long a statement that is not full waits for more: a transaction costs much more than a row in it.
const GATHER: Duration = Duration::from_millis(20);
/// Tries of a statement that the store does not take, and the pause between two.
const TRIES: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Longest event id, in bytes: a longer one has no place in an index, and no feedback names it.
const LONGEST_ID: usize = 200;
/// How often old events are looked for, and the pause between two statements that forget some.
const FORGET_EVERY: Duration = Duration::from_secs(600);
const FORGET_PAUSE: Duration = Duration::from_millis(200);

/// Takes events; clones share the queue.
#[derive(Debug, Clone)]
pub struct EventLog {
    queue: Sender<Arc<SuggestionEvent>>,
    pending: PendingEvents,
    dropped: Arc<AtomicU64>,
}

/// The writing task.
#[derive(Debug)]
pub struct Writing {
    task: JoinHandle<()>,
}

impl EventLog {
    /// Starts the writing task.
    #[must_use]
    pub fn start(store: Store) -> (Self, Writing) {
        let (queue, events) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let pending = store.pending_events().clone();
        let task = tokio::spawn(write(store, events, Arc::clone(&dropped)));
        (Self { queue, pending, dropped }, Writing { task })
    }

    /// Hands an event over; never waits.
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

    /// Events that were not stored since the start: queue full, or refused by the store.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Writing {
    /// Waits until everything that was offered is written. Every [`EventLog`] must be gone by then.
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
            // Once a trouble, not once a batch.
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

/// Stores a batch; how many events are lost, and why, if some are.
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

/// Forgets events older than `keep`, again and again.
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
