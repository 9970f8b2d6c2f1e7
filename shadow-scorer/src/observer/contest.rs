//! Champion and challenger side by side, so that the next model is judged before it serves.
//!
//! **Agreement** is counted over the items on which both of two have an opinion, on the same observations, since the two
//! models were first seen together: another champion or challenger begins anew.
//!
//! **F1** is that on what users said: the newest labels from feedback that were given after both models were trained, so
//! that neither has learnt from them. An accepted suggestion becomes a label, which favours whoever made it: a challenger
//! that is level with the champion here is likely to be better.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use serde_json::{Value, json};

use super::compare::Outcome;
use crate::feedback::F1;
use crate::metrics::{self, Metrics};
use crate::model::{Loaded, Registry, Scores};
use crate::store::{LabelSource, Store, StoreError};

/// Labels from feedback that models are judged on.
const MOST_LABELS: u32 = 1_000;

/// The models that serve and are judged, and how they do.
#[derive(Debug)]
pub struct Contest {
    registry: Arc<Registry>,
    pairing: ArcSwapOption<Pairing>,
}

/// What is known of one champion and one challenger.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    champion: Option<String>,
    challenger: Option<String>,
    /// Seconds since 1970.
    since: u64,
    /// Champion and rules.
    pub(super) champion_rules: Tallied,
    /// Challenger and rules.
    pub(super) challenger_rules: Tallied,
    /// Challenger and champion.
    pub(super) challenger_champion: Tallied,
    on_feedback: Mutex<OnFeedback>,
}

#[derive(Debug, Clone, Copy, Default)]
struct OnFeedback {
    champion: Option<F1>,
    challenger: Option<F1>,
}

/// Items on which two agree, and on which they do not.
#[derive(Debug, Default)]
pub(super) struct Tallied {
    same: AtomicU64,
    differ: AtomicU64,
}

impl Tallied {
    pub(super) fn add(&self, outcome: Outcome) {
        match outcome {
            Outcome::Same => self.same.fetch_add(1, Ordering::Relaxed),
            Outcome::Differ => self.differ.fetch_add(1, Ordering::Relaxed),
            Outcome::Abstained | Outcome::Nothing(_) => return,
        };
    }

    /// `{"items", "agreement"}`, the latter `null` of no items.
    fn shown(&self) -> Value {
        let (same, differ) = (self.same.load(Ordering::Relaxed), self.differ.load(Ordering::Relaxed));
        #[allow(clippy::cast_precision_loss)] // for people
        let agreement = (same + differ > 0).then(|| same as f64 / (same + differ) as f64);
        json!({ "items": same + differ, "agreement": agreement })
    }
}

impl Contest {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, pairing: ArcSwapOption::empty() }
    }

    /// The pairing of the models that are loaded now, begun if they are others than before.
    pub(super) fn pairing(&self) -> Arc<Pairing> {
        let version = |model: Option<Arc<Loaded>>| model.map(|model| model.version().to_owned());
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

    /// Judges both on what users said; labels below `least` confidence are none, as in live answers.
    ///
    /// # Errors
    /// When the store does not give labels or transactions.
    pub(super) async fn judge(&self, store: &Store, metrics: &Metrics, least: f32) -> Result<(), StoreError> {
        let pairing = self.pairing();
        let (champion, challenger) = (self.registry.champion(), self.registry.challenger());
        let models: Vec<&Arc<Loaded>> = champion.iter().chain(&challenger).collect();
        let trained = models.iter().map(|model| model.manifest.created_unix).max().unwrap_or(0);
        let labels = store.newest_labels(LabelSource::Feedback, trained, MOST_LABELS).await?;
        let ids: Vec<i64> = labels.iter().map(|(id, _)| *id).collect();
        let found = store.entities(&ids).await?;
        let rows: HashMap<i64, usize> = found.iter().enumerate().map(|(row, one)| (one.id(), row)).collect();
        let mut judged = Scores::of(&models, &found, metrics).await.into_iter().map(|scores| {
            let scores = scores.inspect_err(|error| log::error!("{error}")).ok()?;
            F1::of(labels.iter().filter_map(|(id, truth)| {
                let said = scores.top(*rows.get(id)?, least).map(|scored| scored.label);
                Some((truth.as_str(), said))
            }))
        });
        let mut next = |model: &Option<Arc<Loaded>>| model.as_ref().and_then(|_| judged.next()).flatten();
        let on_feedback = OnFeedback { champion: next(&champion), challenger: next(&challenger) };
        *pairing.on_feedback.lock().unwrap_or_else(PoisonError::into_inner) = on_feedback;
        for (alias, f1) in [("champion", on_feedback.champion), ("challenger", on_feedback.challenger)] {
            metrics::set_or_remove(&metrics.feedback_f1, alias, f1.map(|f1| f1.macro_average));
        }
        Ok(())
    }

    /// How the two do, for model status. What nothing is known of is `null`.
    #[must_use]
    pub fn status(&self) -> Value {
        let pairing = self.pairing();
        let on_feedback = *pairing.on_feedback.lock().unwrap_or_else(PoisonError::into_inner);
        let champion = pairing.champion.as_ref().map(|version| {
            json!({
                "version": version,
                "with_rules": pairing.champion_rules.shown(),
                "on_feedback": on_feedback.champion,
            })
        });
        let challenger = pairing.challenger.as_ref().map(|version| {
            json!({
                "version": version,
                "with_rules": pairing.challenger_rules.shown(),
                "with_champion": pairing.challenger_champion.shown(),
                "on_feedback": on_feedback.challenger,
            })
        });
        json!({ "since": pairing.since, "champion": champion, "challenger": challenger })
    }
}
