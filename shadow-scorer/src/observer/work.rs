//! Works out the result of an observation batch.
//!
//! A batch costs one lookup in the store and one run of the model over all items. If the gateway has both responses
//! they are compared; otherwise the champion's prediction takes the place of the other one. The application is never
//! called.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use contract::batch_result::BatchResult;
use contract::frame::{Batch, FrameError, Observation};
use contract::names::{Arm, NotCompared};
use contract::response::ResponseSchema;

use super::batch_comparison::{BatchComparison, Context, record_latency};
use super::champion_challenger::ChampionChallenger;
use super::compare::{Agreement, Tally};
use super::cooperative_yield::CooperativeYield;
use super::drift::Drift;
use super::matrix::{BatchCounts, LabelMatrix};
use super::noise::NoiseSampler;
use super::predictions::Predictions;
use super::samples::Samples;
use super::served::{ObservedResponses, ServedItem};
use super::time::{millis, seconds};
use super::users::Users;
use crate::feedback::EventLog;
use crate::metrics::{Metrics, bounded::Labels};
use crate::model::{LoadedModel, Registry, Scores};
use crate::store::{Store, SuggestionEvent};

/// Longest id or label of an event, in bytes.
const MAX_TEXT_BYTES: usize = 200;

/// What all batches share.
#[derive(Debug)]
pub(super) struct Work {
    /// The champion and the challenger.
    pub registry: Arc<Registry>,
    /// Compares champion and challenger.
    pub champion_challenger: ChampionChallenger,
    /// Compares the champion's inputs with those of its training.
    pub drift: Drift,
    /// Transactions and their histories.
    pub store: Store,
    /// Stores suggestions; `None` once the program ends.
    pub events: Mutex<Option<EventLog>>,
    /// Sample of disagreements.
    pub samples: Samples,
    /// Counts of label pairs.
    pub matrix: LabelMatrix,
    /// Labels that keep their names in metrics.
    pub labels: Labels,
    /// Users by arm.
    pub users: Users,
    /// Second calls of the candidate.
    pub noise: NoiseSampler,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Longest wait for a thread and for the store, from a batch's arrival.
    pub deadline: Duration,
    /// Largest decompressed body, in bytes.
    pub decoded_bytes: usize,
    /// Predictions below it count as none, as in live responses.
    pub min_confidence: f32,
}

impl Work {
    /// Works out the result of a batch that arrived at `arrived`.
    ///
    /// # Errors
    /// If the bytes are not a batch.
    pub(super) async fn result(&self, bytes: &Bytes, arrived: Instant) -> Result<BatchResult, FrameError> {
        let batch = Batch::parse(bytes)?;
        let mut served = Vec::with_capacity(batch.observations.len());
        let mut yielding = CooperativeYield::default();
        for observation in &batch.observations {
            let read = ObservedResponses::read(observation, &batch.schema, self.decoded_bytes, &self.metrics).await;
            yielding.finished(read.count() as usize);
            served.push(read);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let predictions = self.predict(&served, arrived, now, &mut yielding).await;

        let mut comparison = BatchComparison {
            context: Context { metrics: &self.metrics, labels: &self.labels, min_confidence: self.min_confidence },
            schema: &batch.schema,
            now,
            pairing: self.champion_challenger.pairing(),
            tally: Tally::default(),
            sheet: BatchCounts::default(),
            disagreements: Vec::new(),
        };
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (observation, served) in batch.observations.iter().zip(&served) {
            comparison.count_observation(observation, served, &predictions);
            let ObservedResponses::Items(items, other) = served else { continue };
            let mut agreement = Agreement::default();
            for item in items {
                agreement.add(comparison.compare_item(observation, item, other, &predictions));
                if let (Some(events), Some(event)) = (&events, event(observation, item, now)) {
                    events.offer(event);
                }
                yielding.finished(1);
            }
            if let Some(share) = agreement.share() {
                self.metrics.judged_requests.inc();
                self.metrics.agreement.inc_by(share);
                self.metrics.agreement_squares.inc_by(share * share);
                self.call_again(observation, &batch.schema, items, &predictions);
            }
        }
        self.users.record(&batch.observations, millis(now));
        let BatchComparison { tally, sheet, disagreements, .. } = comparison;
        self.matrix.add(sheet, seconds(now));
        if !disagreements.is_empty() {
            let champion = predictions.champion.as_ref().map_or("", |scores| scores.model().version());
            self.samples.offer(champion, disagreements);
        }
        let result = tally.into_result();
        self.count(&result);
        if let Some(watched) = predictions.watched {
            watched.add_agreement(result.agree_true, result.agree_false, now.as_secs());
        }
        Ok(result)
    }

    /// The result of a batch that is shed: its items are counted as such, which requires reading the responses but
    /// neither store nor model.
    ///
    /// # Errors
    /// If the bytes are not a batch.
    pub(super) async fn shed(&self, bytes: &Bytes) -> Result<BatchResult, FrameError> {
        let batch = Batch::parse(bytes)?;
        let model = self.registry.champion().is_some();
        let mut tally = Tally::default();
        for observation in &batch.observations {
            let served = ObservedResponses::read(observation, &batch.schema, self.decoded_bytes, &self.metrics).await;
            record_latency(observation, &self.metrics);
            tally.observation();
            if observation.success() && observation.assigned == Arm::Baseline {
                tally.candidate_available(model);
            }
            match &served {
                ObservedResponses::Unreadable => tally.not_compared(NotCompared::Unreadable, 1),
                served => tally.not_compared(NotCompared::Shed, served.count()),
            }
            self.metrics.observations.with_label_values(&["shed"]).inc();
        }
        self.users
            .record(&batch.observations, millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()));
        let result = tally.into_result();
        self.count(&result);
        Ok(result)
    }

    /// Runs champion and challenger on all items, even if the gateway has the candidate's response: drift must be known
    /// at any canary share.
    async fn predict(
        &self,
        served: &[ObservedResponses],
        arrived: Instant,
        now: Duration,
        yielding: &mut CooperativeYield,
    ) -> Predictions {
        let champion = self.registry.champion();
        let challenger = self.registry.challenger();
        let unavailable = champion.is_none().then_some(NotCompared::CandidateUnavailable);
        let mut ids: Vec<i64> = Vec::new();
        for served in served {
            if let ObservedResponses::Items(items, _) = served {
                ids.extend(items.iter().filter_map(|served| served.item.id.parse::<i64>().ok()));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        let models: Vec<&Arc<LoadedModel>> = champion.iter().chain(challenger.iter()).collect();
        if ids.is_empty() || models.is_empty() {
            return Predictions { unavailable, ..Predictions::default() };
        }
        let left = self.deadline.saturating_sub(arrived.elapsed());
        let found = match self.store.entities_within(&ids, left).await {
            Ok(found) => found,
            Err(error) => {
                self.metrics.store_failures.with_label_values(&["observe"]).inc();
                tracing::debug!(%error, "transactions_not_found");
                // Without features there is no prediction.
                return Predictions { unavailable: Some(NotCompared::CandidateUnavailable), ..Predictions::default() };
            }
        };
        let watched = champion.as_ref().map(|champion| self.drift.watch(champion));
        // The champion comes first, if there is one.
        let watch = |rows: &[f32], classes: &[usize]| {
            if let Some(watched) = &watched {
                watched.add(rows, classes, now.as_secs());
            }
            yielding.finished(classes.len());
        };
        let mut scores = Scores::watched(&models, &found, &self.metrics, watch).await.into_iter();
        let mut next = |model: &Option<Arc<LoadedModel>>| model.as_ref().and_then(|_| scores.next()).transpose();
        let (champion, challenger) = (next(&champion), next(&challenger));
        for error in [&champion, &challenger].into_iter().filter_map(|scores| scores.as_ref().err()) {
            tracing::error!(%error, "prediction_failed");
        }
        let unavailable = unavailable.or(champion.is_err().then_some(NotCompared::CandidateUnavailable));
        Predictions {
            unavailable,
            rows: found.iter().enumerate().map(|(row, one)| (one.id(), row)).collect(),
            found,
            champion: champion.ok().flatten(),
            challenger: challenger.ok().flatten(),
            watched,
        }
    }

    /// Calls the candidate a second time if the observation is drawn for it. Nothing waits for that.
    fn call_again(
        &self,
        observation: &Observation<'_>,
        schema: &ResponseSchema,
        items: &[ServedItem],
        predictions: &Predictions,
    ) {
        let Some(scores) = &predictions.champion else { return };
        let Some(second) = self.noise.draw(observation, schema) else { return };
        let rows: Vec<usize> = items.iter().filter_map(|served| predictions.row(&served.item.id)).collect();
        let found = |row: &usize| predictions.found.get(*row).cloned();
        let label = |row: usize| scores.top(row, self.min_confidence).map(|scored| scored.label.to_owned());
        let found: Vec<_> = rows.iter().filter_map(found).collect();
        let first = found.iter().zip(&rows).map(|(one, row)| (one.id().to_string(), label(*row))).collect();
        tokio::spawn(second.run(scores.shared_model(), found, self.min_confidence, first));
    }

    fn count(&self, result: &BatchResult) {
        let items = &self.metrics.items;
        items.with_label_values(&["True"]).inc_by(result.agree_true.into());
        items.with_label_values(&["False"]).inc_by(result.agree_false.into());
        items.with_label_values(&["None"]).inc_by(result.not_compared_total());
        for (reason, count) in &result.not_compared {
            self.metrics.not_compared.with_label_values(&[reason.as_str()]).inc_by((*count).into());
        }
        for cell in &result.labels {
            let label = self.labels.of(&cell.label);
            self.metrics.label_items.with_label_values(&[label, cell.agree.as_str()]).inc_by(cell.items.into());
        }
    }
}

/// The event to store for one suggestion, for feedback on it; `None` if it has no id that feedback could refer to.
/// Baseline responses come from the application, so the length of their texts is limited.
fn event(observation: &Observation<'_>, served: &ServedItem, now: Duration) -> Option<SuggestionEvent> {
    let details = &served.details;
    let storable = |text: &&String| text.len() <= MAX_TEXT_BYTES && !text.contains('\0');
    Some(SuggestionEvent {
        event_id: served.event_id.as_ref().filter(storable)?.clone(),
        txn_id: served.item.id.parse().ok()?,
        arm: observation.served.as_str().to_owned(),
        model_version: details.model_version.as_ref().filter(storable).cloned().unwrap_or_default(),
        label: served.item.label.as_ref().filter(storable).cloned().unwrap_or_default(),
        confidence: details.confidence.unwrap_or(0.0),
        bucket: observation.bucket.map(|bucket| bucket.to_string()).unwrap_or_default(),
        cohort: observation.cohort.as_str().to_owned(),
        created_at: seconds(now),
    })
}
