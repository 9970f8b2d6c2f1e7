//! Observation batches in, batch results out, without making a live request wait.
//!
//! Observation work has its own threads, at a lower priority, and its own bounded queue. A batch has one of three
//! fates:
//!
//! 1. It is worked on: the missing response is predicted, items are compared, and the result has the counts.
//! 2. The queue is full, or no thread was free in time: the batch is *shed*, that is, its items are counted as shed in
//!    the result. A separate thread does that, so that shedding works exactly when the other threads have no time.
//! 3. The queue for shedding is full as well: the batch is refused, and the filter counts it. Nothing is lost silently.
//!
//! A batch whose sender disconnected is aborted and counted as abandoned.

mod admission;
mod batch_comparison;
mod champion_challenger;
pub mod compare;
mod cooperative_yield;
mod drift;
mod matrix;
mod noise;
mod predictions;
mod samples;
mod served;
mod time;
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

pub use champion_challenger::ChampionChallenger;
pub use drift::Drift;
pub use samples::{Disagreements, Sample};

use self::admission::{AdmissionControl, Permit};
use self::matrix::LabelMatrix;
use self::noise::NoiseSampler;
use self::samples::Samples;
use self::time::millis;
use self::users::Users;
use self::work::Work;
use crate::feedback::{EventLog, EventWriter, forget_old};
use crate::metrics::{Metrics, bounded::Labels};
use crate::model::Registry;
use crate::settings::Settings;
use crate::store::Store;

/// Longest wait for the store when the program ends.
const FINAL_STORE_WAIT: Duration = Duration::from_secs(5);

/// The threads of observation work. They start first, since the observer's store belongs to them.
#[derive(Debug)]
pub struct Threads {
    work: Runtime,
    shed: Runtime,
}

impl Threads {
    /// Starts `count` threads for the work and one for shedding.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(count: usize) -> io::Result<Self> {
        let runtime = |name: &str, threads| {
            Builder::new_multi_thread()
                .worker_threads(threads)
                .thread_name(name)
                .on_thread_start(cooperative_yield::lower_thread_priority)
                .enable_all()
                .build()
        };
        Ok(Self { work: runtime("perch-observe", count)?, shed: runtime("perch-shed", 1)? })
    }

    /// The runtime to open the observer's store on, so that these threads serve its connections.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.work.handle()
    }
}

/// Takes observation batches. Dropping it drops batches that have not started.
#[derive(Debug)]
pub struct Observer {
    threads: Option<Threads>,
    work: Arc<Work>,
    queue: AdmissionControl,
    shed: AdmissionControl,
    writing: Mutex<Option<(EventWriter, matrix::CountWriter)>>,
    metrics: Arc<Metrics>,
}

/// Why a batch has no result.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The bytes are not a batch.
    #[error(transparent)]
    Malformed(#[from] FrameError),
    /// Both queues are full.
    #[error("the observation queue is full, and so is the one for shedding")]
    Refused,
    /// The work panicked, or the program is ending.
    #[error("observation work ended without a result")]
    Broken,
}

impl Observer {
    /// Starts an observer on `threads`, with a store that was opened there.
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
            let (matrix, counting) = LabelMatrix::start(store.clone());
            (events, writing, matrix, counting)
        };
        threads.handle().spawn(forget_old(store.clone(), settings.keep_events));
        let work = Work {
            champion_challenger: ChampionChallenger::new(Arc::clone(&registry)),
            drift: Drift::new(Arc::clone(&registry), observe.drift),
            registry,
            store,
            events: Mutex::new(Some(events)),
            samples: Samples::new(observe.samples, seed()),
            matrix,
            labels: Labels::default(),
            users: Users::new(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())),
            noise: NoiseSampler::new(observe.noise_percent, Arc::clone(&metrics)),
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
            queue: AdmissionControl::new(observe.queue, observe.queue_bytes, Some(gauges)),
            shed: AdmissionControl::new(observe.queue, observe.queue_bytes, None),
            writing: Mutex::new(Some((writing, counting))),
            metrics,
        }
    }

    /// Works out the result of a batch. Dropping the future abandons the batch.
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

    /// A sample of disagreements, for people to inspect.
    #[must_use]
    pub fn samples(&self) -> Disagreements {
        self.work.samples.snapshot()
    }

    /// Users by arm since `since_ms` (milliseconds since 1970), or since the scorer's start if that is later.
    #[must_use]
    pub fn users(&self, since_ms: u64) -> (u64, evidence::Users) {
        self.work.users.since(since_ms)
    }

    /// Compares the champion's inputs with those of its training.
    #[must_use]
    pub fn drift(&self) -> &Drift {
        &self.work.drift
    }

    /// Compares champion and challenger.
    #[must_use]
    pub fn champion_challenger(&self) -> &ChampionChallenger {
        &self.work.champion_challenger
    }

    /// Evaluates champion and challenger on feedback.
    pub async fn evaluate_models(&self) {
        let (Some(threads), work) = (&self.threads, Arc::clone(&self.work)) else { return };
        let task = async move {
            work.champion_challenger.evaluate_on_feedback(&work.store, &work.metrics, work.min_confidence).await
        };
        match threads.work.spawn(task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "models_not_evaluated"),
            Err(error) => tracing::error!(%error, "model_evaluation_panicked"),
        }
    }

    /// Suggestion events that were dropped since the start.
    #[must_use]
    pub fn events_dropped(&self) -> u64 {
        let events = self.work.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.as_ref().map_or(0, EventLog::dropped)
    }

    /// Disputes that were dropped since the start, so that feedback on them is not attributed.
    #[must_use]
    pub fn disputes_dropped(&self) -> u64 {
        self.work.matrix.dropped()
    }

    /// Waits until all known suggestion events and counts are stored. Call it when nothing is submitted any more.
    pub async fn finish(&self) {
        drop(self.work.events.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((events, counts)) = writing else { return };
        let both = async { tokio::join!(events.finish(), counts.finish()) };
        if tokio::time::timeout(FINAL_STORE_WAIT, both).await.is_err() {
            tracing::warn!(waited_ms = FINAL_STORE_WAIT.as_millis(), "last_events_not_stored");
        }
    }

    async fn result(&self, bytes: Bytes) -> Result<(BatchResult, &'static str), ObserveError> {
        let arrived = Instant::now();
        let observations = Batch::parse(&bytes)?.observations.len();
        let threads = self.threads.as_ref().ok_or(ObserveError::Broken)?;
        let work = Arc::clone(&self.work);
        let task = if let Some(permit) = self.queue.try_admit(observations, bytes.len()) {
            let task = async move {
                let _permit = permit;
                // Nobody waits for a late result, nor for those of the batches behind it: shedding in time is
                // better.
                if arrived.elapsed() < work.deadline {
                    work.result(&bytes, arrived).await.map(|counts| (counts, "answered"))
                } else {
                    work.shed(&bytes).await.map(|counts| (counts, "shed"))
                }
            };
            threads.work.spawn(task)
        } else {
            let permit: Permit = self.shed.try_admit(observations, bytes.len()).ok_or(ObserveError::Refused)?;
            let task = async move {
                let _permit = permit;
                work.shed(&bytes).await.map(|counts| (counts, "shed"))
            };
            threads.shed.spawn(task)
        };
        let mut pending = PendingResult { task, metrics: &self.metrics, observations, done: false };
        let ended = (&mut pending.task).await;
        pending.done = true;
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
        // Dropping a runtime waits for its threads, which must not happen inside another runtime.
        if let Some(Threads { work, shed }) = self.threads.take() {
            work.shutdown_background();
            shed.shutdown_background();
        }
    }
}

/// Aborts the work when dropped before it is done, and counts the batch as abandoned.
struct PendingResult<'a> {
    task: JoinHandle<Result<(BatchResult, &'static str), FrameError>>,
    metrics: &'a Metrics,
    observations: usize,
    done: bool,
}

impl Drop for PendingResult<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.task.abort();
            self.metrics.batches.with_label_values(&["abandoned"]).inc();
            let observations = u64::try_from(self.observations).unwrap_or(u64::MAX);
            self.metrics.observations.with_label_values(&["abandoned"]).inc_by(observations);
        }
    }
}

/// A different seed at each start, so that two scorers do not draw the same samples.
fn seed() -> u64 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    high ^ low
}
