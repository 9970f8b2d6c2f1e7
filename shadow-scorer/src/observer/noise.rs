//! Measures the candidate's own noise: how far it disagrees with itself.
//!
//! For a small sample of observations the candidate is called a second time, after its first response, and the two are
//! compared item by item like baseline and candidate. A difference between them (the store changed in between, a model
//! is not deterministic) is not a difference between the arms. The application is never called: its requests are its
//! clients' only.
//!
//! Second calls are the first work to be shed: one runs only while few others do and most of the observation queue is
//! empty, and no batch result waits for it.

use std::sync::Arc;

use contract::frame::Observation;
use contract::names::Arm;
use contract::response::ResponseSchema;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use xxhash_rust::xxh64::xxh64;

use super::compare::{Agreement, Counterpart, compare};
use super::served::Labels;
use crate::features::Entity;
use crate::metrics::Metrics;
use crate::model::{LoadedModel, Scores};

/// Second calls in progress at once.
const CONCURRENT_CALLS: usize = 4;
/// Different from the seeds of the arm, the observation sample, and the users' sample and groups.
const SEED: u64 = 4;
/// The denominator of shares.
const WHOLE: u32 = 1_000_000;

/// Draws the observations for which the candidate is called again.
#[derive(Debug)]
pub(super) struct NoiseSampler {
    /// Numerator over [`WHOLE`].
    share: u64,
    permits: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// A second call that may run, for one observation.
#[derive(Debug)]
pub(super) struct SecondCall {
    schema: ResponseSchema,
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl NoiseSampler {
    /// Draws `percent` of the observations, `0.0..=100.0`.
    pub(super) fn new(percent: f64, metrics: Arc<Metrics>) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 10^6
        let share = (percent / 100.0 * f64::from(WHOLE)).round() as u64;
        Self { share, permits: Arc::new(Semaphore::new(CONCURRENT_CALLS)), metrics }
    }

    /// Returns the second call for `observation` if it is drawn and may run. The draw is a hash of the observation, its
    /// duration included, so that a request that repeats is not always drawn or never.
    pub(super) fn draw(&self, observation: &Observation<'_>, schema: &ResponseSchema) -> Option<SecondCall> {
        let user = observation.bucket.map_or(0, |bucket| bucket.0);
        let hash = xxh64(observation.given().1, SEED ^ user ^ u64::from(observation.duration_us));
        if hash % u64::from(WHOLE) >= self.share {
            return None;
        }
        // Only while the queue is mostly empty.
        let busy = self.metrics.queue.get() > self.metrics.queue_limit.get() / 2;
        let permit = if busy { None } else { Arc::clone(&self.permits).try_acquire_owned().ok() };
        let Some(permit) = permit else {
            self.metrics.noise_shed.inc();
            return None;
        };
        Some(SecondCall { schema: schema.clone(), metrics: Arc::clone(&self.metrics), _permit: permit })
    }
}

impl SecondCall {
    /// Calls `model` again on the entities `found`, and compares with its labels in `first`.
    pub(super) async fn run(
        self,
        model: Arc<LoadedModel>,
        found: Vec<Arc<dyn Entity>>,
        min_confidence: f32,
        first: Labels,
    ) {
        let Some(Ok(scores)) = Scores::of(&[&model], &found, &self.metrics).await.pop() else { return };
        let label = |row| scores.top(row, min_confidence).map(|scored| scored.label.to_owned());
        let again: Labels = (0..).zip(&found).map(|(row, one)| (one.id().to_string(), label(row))).collect();
        self.count(&first, &again);
    }

    fn count(&self, first: &Labels, again: &Labels) {
        let mut agreement = Agreement::default();
        for (id, first) in first {
            let other = again.get(id).map_or(Counterpart::MissingItem, |label| Counterpart::Label(label.as_deref()));
            agreement.add(compare(first.as_deref(), other, &self.schema));
        }
        if let Some(share) = agreement.share() {
            let arm = &[Arm::Candidate.as_str()];
            self.metrics.noise_requests.with_label_values(arm).inc();
            self.metrics.noise_agreement.with_label_values(arm).inc_by(share);
            self.metrics.noise_agreement_squares.with_label_values(arm).inc_by(share * share);
        }
    }
}
