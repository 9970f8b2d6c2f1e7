//! Compares champion and challenger, so that a model is evaluated before it serves.
//!
//! **Agreement** is counted over items on which both have an opinion, on the same observations, since the two models
//! were first loaded together. Another champion or challenger starts a new count.
//!
//! **F1** is measured on feedback: on the newest labels that were given after both models were trained, so that neither
//! was trained on them. An accepted suggestion becomes a label, which favours the model that made it: a challenger that
//! is equal to the champion here is likely to be better.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use serde_json::{Value, json};

use super::compare::Comparison;
use crate::feedback::F1;
use crate::metrics::{self, Metrics};
use crate::model::{LoadedModel, Registry, Scores};
use crate::store::{LabelSource, Store, StoreError};

/// Most labels from feedback that models are evaluated on.
const MOST_LABELS: u32 = 1_000;

/// The champion, the challenger, and how they compare.
#[derive(Debug)]
pub struct ChampionChallenger {
    registry: Arc<Registry>,
    pairing: ArcSwapOption<Pairing>,
}

/// The counts for one champion and one challenger.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    champion: Option<String>,
    challenger: Option<String>,
    /// Seconds since 1970.
    since: u64,
    /// Champion and baseline.
    pub(super) champion_baseline: AgreementCount,
    /// Challenger and baseline.
    pub(super) challenger_baseline: AgreementCount,
    /// Challenger and champion.
    pub(super) challenger_champion: AgreementCount,
    on_feedback: Mutex<FeedbackScores>,
}

#[derive(Debug, Clone, Copy, Default)]
struct FeedbackScores {
    champion: Option<F1>,
    challenger: Option<F1>,
}

/// Items on which two agree and disagree.
#[derive(Debug, Default)]
pub(super) struct AgreementCount {
    same: AtomicU64,
    differ: AtomicU64,
}

impl AgreementCount {
    pub(super) fn add(&self, comparison: Comparison) {
        match comparison {
            Comparison::Agree => self.same.fetch_add(1, Ordering::Relaxed),
            Comparison::Disagree => self.differ.fetch_add(1, Ordering::Relaxed),
            Comparison::Abstained | Comparison::NotCompared(_) => return,
        };
    }

    /// `{"items", "agreement"}`, where `agreement` is `null` without items.
    fn to_json(&self) -> Value {
        let (same, differ) = (self.same.load(Ordering::Relaxed), self.differ.load(Ordering::Relaxed));
        #[allow(clippy::cast_precision_loss)] // for people
        let agreement = (same + differ > 0).then(|| same as f64 / (same + differ) as f64);
        json!({ "items": same + differ, "agreement": agreement })
    }
}

impl ChampionChallenger {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, pairing: ArcSwapOption::empty() }
    }

    /// The pairing of the models that are loaded now; a new one if they have changed.
    pub(super) fn pairing(&self) -> Arc<Pairing> {
        let version = |model: Option<Arc<LoadedModel>>| model.map(|model| model.version().to_owned());
        let (champion, challenger) = (version(self.registry.champion()), version(self.registry.challenger()));
        let same = |pairing: &Arc<Pairing>| pairing.champion == champion && pairing.challenger == challenger;
        if let Some(pairing) = self.pairing.load_full().filter(same) {
            return pairing;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let pairing = Arc::new(Pairing { champion, challenger, since, ..Pairing::default() });
        self.pairing.store(Some(Arc::clone(&pairing)));
        pairing
    }

    /// Evaluates both on feedback; predictions below `min_confidence` count as none, as in live responses.
    ///
    /// # Errors
    /// If labels or transactions cannot be read from the store.
    pub(super) async fn evaluate_on_feedback(
        &self,
        store: &Store,
        metrics: &Metrics,
        min_confidence: f32,
    ) -> Result<(), StoreError> {
        let pairing = self.pairing();
        let (champion, challenger) = (self.registry.champion(), self.registry.challenger());
        let models: Vec<&Arc<LoadedModel>> = champion.iter().chain(&challenger).collect();
        let trained = models.iter().map(|model| model.manifest.created_unix).max().unwrap_or(0);
        let labels = store.newest_labels(LabelSource::Feedback, trained, MOST_LABELS).await?;
        let ids: Vec<i64> = labels.iter().map(|(id, _)| *id).collect();
        let found = store.entities(&ids).await?;
        let rows: HashMap<i64, usize> = found.iter().enumerate().map(|(row, one)| (one.id(), row)).collect();
        let mut scored = Scores::of(&models, &found, metrics).await.into_iter().map(|scores| {
            let scores = scores.inspect_err(|error| tracing::error!(%error, "prediction_failed")).ok()?;
            F1::of(labels.iter().filter_map(|(id, truth)| {
                let predicted = scores.top(*rows.get(id)?, min_confidence).map(|scored| scored.label);
                Some((truth.as_str(), predicted))
            }))
        });
        let mut next = |model: &Option<Arc<LoadedModel>>| model.as_ref().and_then(|_| scored.next()).flatten();
        let on_feedback = FeedbackScores { champion: next(&champion), challenger: next(&challenger) };
        *pairing.on_feedback.lock().unwrap_or_else(PoisonError::into_inner) = on_feedback;
        for (alias, f1) in [("champion", on_feedback.champion), ("challenger", on_feedback.challenger)] {
            metrics::set_or_remove(&metrics.feedback_f1, alias, f1.map(|f1| f1.macro_average));
        }
        Ok(())
    }

    /// The comparison for the model status; unknown values are `null`.
    #[must_use]
    pub fn status(&self) -> Value {
        let pairing = self.pairing();
        let on_feedback = *pairing.on_feedback.lock().unwrap_or_else(PoisonError::into_inner);
        let champion = pairing.champion.as_ref().map(|version| {
            json!({
                "version": version,
                "agreement_with_baseline": pairing.champion_baseline.to_json(),
                "on_feedback": on_feedback.champion,
            })
        });
        let challenger = pairing.challenger.as_ref().map(|version| {
            json!({
                "version": version,
                "agreement_with_baseline": pairing.challenger_baseline.to_json(),
                "agreement_with_champion": pairing.challenger_champion.to_json(),
                "on_feedback": on_feedback.challenger,
            })
        });
        json!({ "since": pairing.since, "champion": champion, "challenger": challenger })
    }
}
