//! Suggestion events on their way to the store.
//!
//! An answer never waits for the store: events go into a bounded queue, and one task writes what has gathered in one
//! statement. A full queue drops the event and counts it; feedback on a dropped event is taken, without arm and version.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

use crate::store::{Store, SuggestionEvent};

/// Events waiting at most.
const QUEUE: usize = 20_000;
/// Events written in one statement at most.
const BATCH: usize = 500;
/// How long a statement that is not full waits for more: a transaction costs much more than a row in it.
const GATHER: Duration = Duration::from_millis(20);
/// How often old events are looked for, and the pause between two statements that forget some.
const FORGET_EVERY: Duration = Duration::from_secs(600);
const FORGET_PAUSE: Duration = Duration::from_millis(200);

/// Takes events; clones share the queue.
#[derive(Debug, Clone)]
pub struct EventLog {
    queue: Sender<SuggestionEvent>,
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
        let task = tokio::spawn(write(store, events, Arc::clone(&dropped)));
        (Self { queue, dropped }, Writing { task })
    }

    /// Hands an event over; never waits.
    pub fn offer(&self, event: SuggestionEvent) {
        if self.queue.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
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
            log::error!("the task that stores suggestion events ended badly: {error}");
        }
    }
}

async fn write(store: Store, mut events: Receiver<SuggestionEvent>, dropped: Arc<AtomicU64>) {
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
        match store.add_events(&batch).await {
            Ok(()) if failing => {
                failing = false;
                log::info!("suggestion events are stored again");
            }
            Ok(()) => {}
            Err(error) => {
                dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
                // Once a trouble, not once a batch.
                if !failing {
                    log::warn!("suggestion events are lost until this is mended: {error}");
                }
                failing = true;
            }
        }
        batch.clear();
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
                    log::warn!("old suggestion events are not forgotten, another try follows: {error}");
                    break;
                }
            }
        }
    }
}
