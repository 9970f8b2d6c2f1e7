//! The system's own noise: how far the candidate disagrees with itself.
//!
//! For a small sample of observations the candidate is asked a second time, once its first response is there, and the two
//! are compared item by item as baseline and candidate are. Whatever they differ by (a store that changed in between, a
//! model that is not deterministic) is not a difference between the arms. The application is never asked again: its
//! requests are its clients' only.
//!
//! It is the first thing to be shed: the candidate is asked only while few others of this kind are under way and most of
//! the observation queue is empty, and no batch result waits for it.

use std::sync::Arc;

use contract::response::ResponseSchema;
use contract::frame::Observation;
use contract::names::Arm;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use xxhash_rust::xxh64::xxh64;

use super::compare::{Agreement, Other, judge};
use super::served::Labels;
use crate::features::Entity;
use crate::metrics::Metrics;
use crate::model::{Loaded, Scores};

/// Second questions under way at once.
const AT_ONCE: usize = 4;
/// Other than the seeds of the arm, the observation sample, and the users' sample and groups.
const SEED: u64 = 4;
/// Shares are kept in parts of this.
const WHOLE: u32 = 1_000_000;

/// Draws observations and asks again.
#[derive(Debug)]
pub(super) struct Noise {
    /// Of [`WHOLE`].
    share: u64,
    turns: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// The right to ask about one observation.
#[derive(Debug)]
pub(super) struct Turn {
    schema: ResponseSchema,
    metrics: Arc<Metrics>,
    _turn: OwnedSemaphorePermit,
}

impl Noise {
    /// Draws a share of `percent`, 0.0..=100.0; 0 asks nobody.
    pub(super) fn new(percent: f64, metrics: Arc<Metrics>) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 10^6
        let share = (percent / 100.0 * f64::from(WHOLE)).round() as u64;
        Self { share, turns: Arc::new(Semaphore::new(AT_ONCE)), metrics }
    }

    /// The right to ask about `observation`, where it is drawn and there is room. Drawn by a hash of what it says, its duration included, so that a request
    /// that comes again and again is not always in or always out.
    pub(super) fn turn(&self, observation: &Observation<'_>, schema: &ResponseSchema) -> Option<Turn> {
        let user = observation.bucket.map_or(0, |bucket| bucket.0);
        let hash = xxh64(observation.given().1, SEED ^ user ^ u64::from(observation.duration_us));
        if hash % u64::from(WHOLE) >= self.share {
            return None;
        }
        // Mostly idle, or not at all.
        let busy = self.metrics.queue.get() > self.metrics.queue_limit.get() / 2;
        let turn = if busy { None } else { Arc::clone(&self.turns).try_acquire_owned().ok() };
        let Some(turn) = turn else {
            self.metrics.noise_shed.inc();
            return None;
        };
        Some(Turn { schema: schema.clone(), metrics: Arc::clone(&self.metrics), _turn: turn })
    }
}

impl Turn {
    /// Asks the model again, which said `first` of the transactions `found`.
    pub(super) async fn model(self, model: Arc<Loaded>, found: Vec<Arc<dyn Entity>>, least: f32, first: Labels) {
        let Some(Ok(scores)) = Scores::of(&[&model], &found, &self.metrics).await.pop() else { return };
        let label = |row| scores.top(row, least).map(|scored| scored.label.to_owned());
        let again: Labels = (0..).zip(&found).map(|(row, one)| (one.id().to_string(), label(row))).collect();
        self.count(&first, &again);
    }

    fn count(&self, first: &Labels, again: &Labels) {
        let mut agreement = Agreement::default();
        for (id, first) in first {
            let other = again.get(id).map_or(Other::Lacks, |label| Other::Says(label.as_deref()));
            agreement.add(judge(first.as_deref(), other, &self.schema));
        }
        if let Some(share) = agreement.share() {
            let side = &[Arm::Candidate.as_str()];
            self.metrics.noise_requests.with_label_values(side).inc();
            self.metrics.noise_agreement.with_label_values(side).inc_by(share);
            self.metrics.noise_agreement_squares.with_label_values(side).inc_by(share * share);
        }
    }
}
