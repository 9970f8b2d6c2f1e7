//! Observation batches in, batch results out, without ever making a live response wait.
//!
//! Observation work has its own threads, at a lower priority, and its own bounded queue. Three things can happen to a
//! batch:
//!
//! 1. it is worked on: a response that is missing is found, items are compared, the result says how it went;
//! 2. the queue is full, or it had no turn in time: it is *shed*, that is, its items are counted and the result says so. One thread of its own
//!    does that, so that shedding works exactly when the other threads have no time;
//! 3. that is full as well: it is refused, and the filter counts what it has. Nothing is lost silently.
//!
//! A batch whose sender hung up is not worked on any further, and counted as abandoned.

mod admission;
mod batch_comparison;
mod champion_challenger;
pub mod compare;
mod cooperative_yield;
mod drift;
mod matrix;
mod noise;
mod samples;
mod served;
mod users;
mod work;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use contract::batch_result::BatchResult;
use contract::evidence;
use contract::frame::{Batch, FrameError};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

pub use champion_challenger::Contest;
pub use drift::Drift;
pub use samples::{Kept, Sample};

use self::admission::{Gate, Pass};
use self::matrix::Matrix;
use self::noise::Noise;
use self::samples::Samples;
use self::users::Users;
use self::work::{Work, millis};
use crate::feedback::{EventLog, Writing, forget_old};
use crate::metrics::{Metrics, bounded::Labels};
use crate::model::Registry;
use crate::settings::Settings;
use crate::store::Store;

/// Longest wait for the store at the end.
const STORING: Duration = Duration::from_secs(5);

/// The threads that observation work runs on. Made first, since the observer's store belongs to them.
#[derive(Debug)]
pub struct Threads {
    work: Runtime,
    shed: Runtime,
}

impl Threads {
    /// Starts `count` threads for the work and one for shedding.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(count: usize) -> io::Result<Self> {
        let runtime = |name: &str, threads| {
            Builder::new_multi_thread()
                .worker_threads(threads)
                .thread_name(name)
                .on_thread_start(cooperative_yield::be_nice)
                .enable_all()
                .build()
        };
        Ok(Self { work: runtime("perch-observe", count)?, shed: runtime("perch-shed", 1)? })
    }

    /// Where the observer's store is to be opened, so that its connections are served by these threads.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.work.handle()
    }
}

/// The observer. Dropping it drops what it has not begun.
#[derive(Debug)]
pub struct Observer {
    threads: Option<Threads>,
    work: Arc<Work>,
    queue: Gate,
    shed: Gate,
    writing: Mutex<Option<(Writing, matrix::Writing)>>,
    metrics: Arc<Metrics>,
}

/// What became of a batch that has no result.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The bytes are no batch.
    #[error(transparent)]
    Malformed(#[from] FrameError),
    /// Neither working on it nor shedding it had room.
    #[error("the observation queue is full, and so is the one for shedding")]
    Refused,
    /// The work panicked or the program is ending.
    #[error("observation work ended without a result")]
    Broken,
}

impl Observer {
    /// An observer on `threads`, with a store that was opened there.
    #[must_use]
    pub fn start(
        threads: Threads,
        settings: &Settings,
        registry: Arc<Registry>,
        store: Store,
        metrics: Arc<Metrics>,
    ) -> Self {
        let observe = &settings.observe;
        let (events, writing, matrix, counting) = {
            let _inside = threads.handle().enter();
            let (events, writing) = EventLog::start(store.clone());
            let (matrix, counting) = Matrix::start(store.clone());
            (events, writing, matrix, counting)
        };
        threads.handle().spawn(forget_old(store.clone(), settings.keep_events));
        let work = Work {
            contest: Contest::new(Arc::clone(&registry)),
            drift: Drift::new(Arc::clone(&registry), observe.drift),
            registry,
            store,
            events: Mutex::new(Some(events)),
            samples: Samples::new(observe.samples, seed()),
            matrix,
            labels: Labels::default(),
            users: Users::new(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())),
            noise: Noise::new(observe.noise_percent, Arc::clone(&metrics)),
            metrics: Arc::clone(&metrics),
            deadline: observe.deadline,
            decoded_bytes: observe.decoded_bytes,
            min_confidence: settings.live.min_confidence,
        };
        metrics.queue_limit.set(i64::try_from(observe.queue).unwrap_or(i64::MAX));
        let gauges = (metrics.queue.clone(), metrics.queue_bytes.clone());
        Self {
            threads: Some(threads),
            work: Arc::new(work),
            queue: Gate::new(observe.queue, observe.queue_bytes, Some(gauges)),
            shed: Gate::new(observe.queue, observe.queue_bytes, None),
            writing: Mutex::new(Some((writing, counting))),
            metrics,
        }
    }

    /// The result of a batch. Dropping the future abandons the batch.
    ///
    /// # Errors
    /// See [`ObserveError`].
    pub async fn submit(&self, bytes: Bytes) -> Result<BatchResult, ObserveError> {
        let result = self.result(bytes).await;
        let label = match &result {
            Ok((_, label)) => label,
            Err(ObserveError::Malformed(_)) => "malformed",
            Err(ObserveError::Refused | ObserveError::Broken) => "refused",
        };
        self.metrics.batches.with_label_values(&[label]).inc();
        result.map(|(counts, _)| counts)
    }

    /// Disagreements, for people to look at.
    #[must_use]
    pub fn samples(&self) -> Kept {
        self.work.samples.kept()
    }

    /// Users by arm since `asked_ms` (milliseconds since 1970), or since a later moment from which on they are known.
    #[must_use]
    pub fn users(&self, asked_ms: u64) -> (u64, evidence::Users) {
        self.work.users.since(asked_ms)
    }

    /// What the model is asked, against what it was trained on.
    #[must_use]
    pub fn drift(&self) -> &Drift {
        &self.work.drift
    }

    /// How champion and challenger do.
    #[must_use]
    pub fn contest(&self) -> &Contest {
        &self.work.contest
    }

    /// Judges champion and challenger on what users said.
    pub async fn judge(&self) {
        let (Some(threads), work) = (&self.threads, Arc::clone(&self.work)) else { return };
        let task = async move { work.contest.judge(&work.store, &work.metrics, work.min_confidence).await };
        match threads.work.spawn(task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "models_not_evaluated"),
            Err(error) => tracing::error!(%error, "model_evaluation_panicked"),
        }
    }

    /// Suggestion events that were not stored since the start.
    #[must_use]
    pub fn events_dropped(&self) -> u64 {
        let events = self.work.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.as_ref().map_or(0, EventLog::dropped)
    }

    /// Disagreements whose feedback cannot be told, as the store was not quick enough, since the start.
    #[must_use]
    pub fn disputes_dropped(&self) -> u64 {
        self.work.matrix.dropped()
    }

    /// Waits until the suggestion events that are known are stored, and takes no more. To be called when nothing is
    /// submitted any more.
    pub async fn finish(&self) {
        drop(self.work.events.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((events, counts)) = writing else { return };
        let both = async { tokio::join!(events.finish(), counts.finish()) };
        if tokio::time::timeout(STORING, both).await.is_err() {
            tracing::warn!(waited_ms = STORING.as_millis(), "last_events_not_stored");
        }
    }

    async fn result(&self, bytes: Bytes) -> Result<(BatchResult, &'static str), ObserveError> {
        let arrived = Instant::now();
        let observations = Batch::parse(&bytes)?.observations.len();
        let threads = self.threads.as_ref().ok_or(ObserveError::Broken)?;
        let work = Arc::clone(&self.work);
        let task = if let Some(pass) = self.queue.enter(observations, bytes.len()) {
            let task = async move {
                let _inside = pass;
                // Who is worked on too late has no one left who waits for it, and so has the next one: then it is better
                // to say so in time.
                if arrived.elapsed() < work.deadline {
                    work.result(&bytes, arrived).await.map(|counts| (counts, "answered"))
                } else {
                    work.shed(&bytes).await.map(|counts| (counts, "shed"))
                }
            };
            threads.work.spawn(task)
        } else {
            let pass: Pass = self.shed.enter(observations, bytes.len()).ok_or(ObserveError::Refused)?;
            let task = async move {
                let _inside = pass;
                work.shed(&bytes).await.map(|counts| (counts, "shed"))
            };
            threads.shed.spawn(task)
        };
        let mut waiting = Waiting { task, metrics: &self.metrics, observations, over: false };
        let ended = (&mut waiting.task).await;
        waiting.over = true;
        let answered = ended.map_err(|error| {
            tracing::error!(%error, "observation_task_panicked");
            ObserveError::Broken
        })??;
        self.metrics.batch_seconds.observe(arrived.elapsed().as_secs_f64());
        Ok(answered)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // A runtime must not be dropped, which waits, inside another one.
        if let Some(Threads { work, shed }) = self.threads.take() {
            work.shutdown_background();
            shed.shutdown_background();
        }
    }
}

/// Stops the work, and counts it as abandoned, when nobody waits for it any more.
struct Waiting<'a> {
    task: JoinHandle<Result<(BatchResult, &'static str), FrameError>>,
    metrics: &'a Metrics,
    observations: usize,
    over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.task.abort();
            self.metrics.batches.with_label_values(&["abandoned"]).inc();
            let observations = u64::try_from(self.observations).unwrap_or(u64::MAX);
            self.metrics.observations.with_label_values(&["abandoned"]).inc_by(observations);
        }
    }
}

/// Seconds since 1970.
fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Another one at each start, so that two scorers do not draw alike.
fn seed() -> u64 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    high ^ low
}
