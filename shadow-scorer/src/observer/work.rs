//! From a batch of observations to its result.
//!
//! Everything that can be done for the whole batch at once is: one look-up in the store, one run of the model over all
//! items. Where the gateway knows both responses they are compared; else the champion's word is the other one. The
//! application is never asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use contract::response::ResponseSchema;
use contract::batch_result::BatchResult;
use contract::frame::{Batch, FrameError, NOT_TIMED, Observation};
use contract::names::{Arm, NotCompared};

use super::compare::{Agreement, Tally};
use super::contest::Contest;
use super::courtesy::Courtesy;
use super::drift::{Drift, Watched};
use super::judged::Judged;
use super::matrix::{Matrix, Sheet};
use super::noise::Noise;
use super::samples::Samples;
use super::served::{Served, ServedItem};
use super::users::Users;
use crate::features::Entity;
use crate::feedback::EventLog;
use crate::metrics::{Metrics, bounded::Labels};
use crate::model::{Loaded, Registry, Scores};
use crate::store::{Store, SuggestionEvent};

/// Longest id or label of an event, in bytes.
const MOST_TEXT: usize = 200;

/// What a result is worked out with. Shared by all batches.
#[derive(Debug)]
pub(super) struct Work {
    /// Who is compared with the rules, and who is judged beside.
    pub registry: Arc<Registry>,
    /// Champion and challenger side by side.
    pub contest: Contest,
    /// Whether the champion is asked what it was trained on.
    pub drift: Drift,
    /// Transactions and their histories.
    pub store: Store,
    /// Where suggestions are stored; taken away at the end.
    pub events: Mutex<Option<EventLog>>,
    /// Where disagreements are kept.
    pub samples: Samples,
    /// Where pairs of labels are counted.
    pub matrix: Matrix,
    /// Labels that keep their names in metrics.
    pub labels: Labels,
    /// Users by arm.
    pub users: Users,
    /// Second questions.
    pub noise: Noise,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Longest wait for a turn and for the store, from a batch's arrival on.
    pub deadline: Duration,
    /// Size of an unpacked body, at most.
    pub decoded_bytes: usize,
    /// Labels below it are none, as in live answers.
    pub min_confidence: f32,
}

/// What the models say of the transactions of a batch.
#[derive(Default)]
pub(super) struct Predictions {
    /// Why there is no champion's word, if there is none.
    pub(super) absent: Option<NotCompared>,
    pub(super) rows: HashMap<i64, usize>,
    pub(super) found: Vec<Arc<dyn Entity>>,
    pub(super) champion: Option<Scores>,
    pub(super) challenger: Option<Scores>,
    /// The champion's watch.
    watched: Option<Arc<Watched>>,
}

impl Work {
    /// Works out the result of a batch that arrived at `arrived`.
    ///
    /// # Errors
    /// When the bytes are no batch.
    pub(super) async fn result(&self, bytes: &Bytes, arrived: Instant) -> Result<BatchResult, FrameError> {
        let batch = Batch::parse(bytes)?;
        let mut served = Vec::with_capacity(batch.observations.len());
        let mut courtesy = Courtesy::default();
        for observation in &batch.observations {
            let read = Served::read(observation, &batch.schema, self.decoded_bytes, &self.metrics).await;
            courtesy.did(read.count() as usize);
            served.push(read);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let predictions = self.predict(&served, arrived, now, &mut courtesy).await;

        let mut judged = Judged {
            work: self,
            schema: &batch.schema,
            now,
            pairing: self.contest.pairing(),
            tally: Tally::default(),
            sheet: Sheet::default(),
            disagreements: Vec::new(),
        };
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (observation, served) in batch.observations.iter().zip(&served) {
            judged.observation(observation, served, &predictions);
            let Served::Items(items, other) = served else { continue };
            let mut agreement = Agreement::default();
            for item in items {
                agreement.add(judged.item(observation, item, other, &predictions));
                if let (Some(events), Some(event)) = (&events, event(observation, item, now)) {
                    events.offer(event);
                }
                courtesy.did(1);
            }
            if let Some(share) = agreement.share() {
                self.metrics.judged_requests.inc();
                self.metrics.agreement.inc_by(share);
                self.metrics.agreement_squares.inc_by(share * share);
                self.ask_again(observation, &batch.schema, items, &predictions);
            }
        }
        self.users.see(&batch.observations, millis(now));
        let Judged { tally, sheet, disagreements, .. } = judged;
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

    /// The result of a batch that is not worked on: its items are counted as shed, which takes reading the answers but
    /// neither store nor model.
    ///
    /// # Errors
    /// When the bytes are no batch.
    pub(super) async fn shed(&self, bytes: &Bytes) -> Result<BatchResult, FrameError> {
        let batch = Batch::parse(bytes)?;
        let model = self.registry.champion().is_some();
        let mut tally = Tally::default();
        for observation in &batch.observations {
            let served = Served::read(observation, &batch.schema, self.decoded_bytes, &self.metrics).await;
            self.time(observation);
            tally.observation();
            if observation.success() && observation.assigned == Arm::Baseline {
                tally.candidate_was(model);
            }
            match &served {
                Served::Unreadable => tally.none(NotCompared::Unreadable, 1),
                served => tally.none(NotCompared::Shed, served.count()),
            }
            self.metrics.observations.with_label_values(&["shed"]).inc();
        }
        self.users.see(&batch.observations, millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()));
        let result = tally.into_result();
        self.count(&result);
        Ok(result)
    }

    /// Asks champion and challenger about all items, also where the gateway has the candidate's response: whether the
    /// champion is asked what it was trained on must be known at any share.
    async fn predict(
        &self,
        served: &[Served],
        arrived: Instant,
        now: Duration,
        courtesy: &mut Courtesy,
    ) -> Predictions {
        let champion = self.registry.champion();
        let challenger = self.registry.challenger();
        let absent = champion.is_none().then_some(NotCompared::CandidateUnavailable);
        let mut ids: Vec<i64> = Vec::new();
        for served in served {
            if let Served::Items(items, _) = served {
                ids.extend(items.iter().filter_map(|served| served.item.id.parse::<i64>().ok()));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        let models: Vec<&Arc<Loaded>> = champion.iter().chain(challenger.iter()).collect();
        if ids.is_empty() || models.is_empty() {
            return Predictions { absent, ..Predictions::default() };
        }
        let left = self.deadline.saturating_sub(arrived.elapsed());
        let found = match self.store.entities_within(&ids, left).await {
            Ok(found) => found,
            Err(error) => {
                self.metrics.store_failures.with_label_values(&["observe"]).inc();
                log::debug!("observations without transactions: {error}");
                // Without its features the model cannot be asked.
                return Predictions { absent: Some(NotCompared::CandidateUnavailable), ..Predictions::default() };
            }
        };
        let watched = champion.as_ref().map(|champion| self.drift.watch(champion));
        // The first of the models is the champion, if there is one.
        let watch = |rows: &[f32], classes: &[usize]| {
            if let Some(watched) = &watched {
                watched.add(rows, classes, now.as_secs());
            }
            courtesy.did(classes.len());
        };
        let mut scores = Scores::watched(&models, &found, &self.metrics, watch).await.into_iter();
        let mut next = |model: &Option<Arc<Loaded>>| model.as_ref().and_then(|_| scores.next()).transpose();
        let (champion, challenger) = (next(&champion), next(&challenger));
        for error in [&champion, &challenger].into_iter().filter_map(|scores| scores.as_ref().err()) {
            log::error!("{error}");
        }
        let absent = absent.or(champion.is_err().then_some(NotCompared::CandidateUnavailable));
        Predictions {
            absent,
            rows: found.iter().enumerate().map(|(row, one)| (one.id(), row)).collect(),
            found,
            champion: champion.ok().flatten(),
            challenger: challenger.ok().flatten(),
            watched,
        }
    }

    /// Asks the candidate a second time, if the observation is drawn for that. Nothing waits for the response.
    fn ask_again(
        &self,
        observation: &Observation<'_>,
        schema: &ResponseSchema,
        items: &[ServedItem],
        predictions: &Predictions,
    ) {
        let Some(scores) = &predictions.champion else { return };
        let Some(turn) = self.noise.turn(observation, schema) else { return };
        let rows: Vec<usize> = items.iter().filter_map(|served| predictions.row(&served.item.id)).collect();
        let found = |row: &usize| predictions.found.get(*row).cloned();
        let label = |row: usize| scores.top(row, self.min_confidence).map(|scored| scored.label.to_owned());
        let found: Vec<_> = rows.iter().filter_map(found).collect();
        let first = found.iter().zip(&rows).map(|(one, row)| (one.id().to_string(), label(*row))).collect();
        tokio::spawn(turn.model(scores.shared_model(), found, self.min_confidence, first));
    }

    pub(super) fn time(&self, observation: &Observation<'_>) {
        if observation.duration_us == NOT_TIMED {
            return;
        }
        let arm = if observation.fallback { "fallback" } else { observation.served.as_str() };
        self.metrics.answer_seconds.with_label_values(&[arm]).observe(f64::from(observation.duration_us) / 1e6);
        for (side, us) in [(Arm::Baseline, observation.baseline_us), (Arm::Candidate, observation.candidate_us)] {
            if us != NOT_TIMED {
                self.metrics.response_seconds.with_label_values(&[side.as_str()]).observe(f64::from(us) / 1e6);
            }
        }
    }

    fn count(&self, result: &BatchResult) {
        let items = &self.metrics.items;
        items.with_label_values(&["True"]).inc_by(result.agree_true.into());
        items.with_label_values(&["False"]).inc_by(result.agree_false.into());
        items.with_label_values(&["None"]).inc_by(result.not_compared_total());
        for (reason, count) in &result.not_compared {
            self.metrics.none.with_label_values(&[reason.as_str()]).inc_by((*count).into());
        }
        for cell in &result.labels {
            let label = self.labels.of(&cell.label);
            self.metrics.label_items.with_label_values(&[label, cell.agree.as_str()]).inc_by(cell.items.into());
        }
    }
}

impl Predictions {
    pub(super) fn row(&self, id: &str) -> Option<usize> {
        id.parse::<i64>().ok().and_then(|id| self.rows.get(&id).copied())
    }
}

/// The stored form of one suggestion, for the feedback on it; `None` when it has no id that feedback could name. The
/// rules' answers are the application's own, so nothing in them may be longer than a column of ours should be.
fn event(observation: &Observation<'_>, served: &ServedItem, now: Duration) -> Option<SuggestionEvent> {
    let suggestion = &served.suggestion;
    let storable = |text: &&String| text.len() <= MOST_TEXT && !text.contains('\0');
    Some(SuggestionEvent {
        event_id: served.event_id.as_ref().filter(storable)?.clone(),
        txn_id: served.item.id.parse().ok()?,
        arm: observation.served.as_str().to_owned(),
        model_version: suggestion.model_version.as_ref().filter(storable).cloned().unwrap_or_default(),
        label: served.item.label.as_ref().filter(storable).cloned().unwrap_or_default(),
        confidence: suggestion.confidence.unwrap_or(0.0),
        bucket: observation.bucket.map(|bucket| bucket.to_string()).unwrap_or_default(),
        cohort: observation.cohort.as_str().to_owned(),
        created_at: seconds(now),
    })
}

pub(super) fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
