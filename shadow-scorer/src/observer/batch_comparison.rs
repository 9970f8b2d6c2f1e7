//! Compares the items of a batch; each goes into the batch result, and disagreements into the samples.

use std::sync::Arc;
use std::time::Duration;

use contract::frame::{NOT_TIMED, Observation};
use contract::names::{Arm, NotCompared};
use contract::response::ResponseSchema;

use super::champion_challenger::Pairing;
use super::compare::{Comparison, Counterpart, Tally, compare};
use super::matrix::{BatchCounts, LabelPair};
use super::predictions::Predictions;
use super::samples::Sample;
use super::served::{ObservedResponses, OtherResponse, ServedItem};
use super::time::{millis, seconds};
use crate::metrics::{Metrics, bounded::Labels};

/// What comparisons are counted with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) metrics: &'a Metrics,
    /// Labels that keep their names in metrics.
    pub(super) labels: &'a Labels,
    /// Predictions below it count as none, as in live responses.
    pub(super) min_confidence: f32,
}

/// A batch while its items are compared.
pub(super) struct BatchComparison<'a> {
    pub(super) context: Context<'a>,
    pub(super) schema: &'a ResponseSchema,
    pub(super) now: Duration,
    pub(super) pairing: Arc<Pairing>,
    pub(super) tally: Tally,
    pub(super) sheet: BatchCounts<'a>,
    pub(super) disagreements: Vec<Sample>,
}

impl<'a> BatchComparison<'a> {
    pub(super) fn count_observation(
        &mut self,
        observation: &Observation<'_>,
        served: &ObservedResponses,
        predictions: &Predictions,
    ) {
        record_latency(observation, self.context.metrics);
        self.tally.observation();
        if observation.success() && observation.assigned == Arm::Baseline {
            self.tally.candidate_available(predictions.unavailable.is_none());
        }
        let result = match served {
            ObservedResponses::Unreadable => {
                self.tally.not_compared(NotCompared::Unreadable, 1);
                "unreadable"
            }
            ObservedResponses::Items(..) | ObservedResponses::Error => "compared",
        };
        self.context.metrics.observations.with_label_values(&[result]).inc();
    }

    /// Compares one item with its counterpart: the other response, or the champion's prediction if the gateway has
    /// none.
    pub(super) fn compare_item(
        &mut self,
        observation: &Observation<'_>,
        served: &'a ServedItem,
        response: &'a OtherResponse,
        predictions: &'a Predictions,
    ) -> Comparison {
        let item = &served.item;
        let row = predictions.row(&item.id);
        let scored = match (&predictions.champion, row) {
            (Some(scores), Some(row)) => scores.top(row, self.context.min_confidence),
            _ => None,
        };
        let other = match response {
            OtherResponse::Labels(labels) => {
                labels.get(&item.id).map_or(Counterpart::MissingItem, |label| Counterpart::Label(label.as_deref()))
            }
            OtherResponse::Unreadable => Counterpart::Unavailable(NotCompared::Unreadable),
            OtherResponse::NotObserved => match (predictions.unavailable, row) {
                (Some(reason), _) => Counterpart::Unavailable(reason),
                (None, None) => Counterpart::MissingItem,
                (None, Some(_)) => Counterpart::Label(scored.map(|scored| scored.label)),
            },
        };
        let given = item.label.as_deref();
        let comparison = compare(given, other, self.schema);
        self.tally.item(observation.served, given, comparison);
        let label = match other {
            Counterpart::Label(label) => label,
            Counterpart::MissingItem | Counterpart::Unavailable(_) => None,
        };
        let (baseline, candidate) = match observation.served {
            Arm::Baseline => (given, label),
            Arm::Candidate => (label, given),
        };
        self.count_pair(baseline, candidate, comparison);
        if let Counterpart::Label(_) = other {
            self.count_labels(observation, served, baseline, candidate);
        }
        self.count_challenger(predictions, row, baseline, candidate);
        if comparison == Comparison::Disagree
            && let (Some(baseline), Some(candidate)) = (baseline, candidate)
        {
            let (confidence, version) = match (response, scored, &predictions.champion) {
                (OtherResponse::NotObserved, Some(scored), Some(scores)) => {
                    (Some(scored.confidence.into()), scores.model().version().to_owned())
                }
                _ => (served.details.confidence, served.details.model_version.clone().unwrap_or_default()),
            };
            self.disagreements.push(Sample {
                at_ms: millis(self.now),
                user: observation.bucket,
                item: item.id.clone(),
                served: observation.served,
                rule_label: baseline.to_owned(),
                model_label: candidate.to_owned(),
                model_confidence: confidence.filter(|_| observation.served == Arm::Candidate || scored.is_some()),
                model_version: version,
            });
        }
        comparison
    }

    /// Counts an item whose labels are both known, for the analysis.
    fn count_labels(
        &mut self,
        observation: &Observation<'_>,
        served: &'a ServedItem,
        baseline: Option<&'a str>,
        candidate: Option<&'a str>,
    ) {
        let (labels, schema) = (self.context.labels, self.schema);
        let opinion =
            |label: Option<&'a str>| label.filter(|label| !schema.abstains(label)).map(|label| labels.of(label));
        let event_id = served.event_id.as_deref();
        let pair = LabelPair { baseline: opinion(baseline), candidate: opinion(candidate), event_id };
        self.sheet.item(observation, pair, seconds(self.now));
    }

    /// Counts the pair of labels if both arms have an opinion.
    fn count_pair(&self, baseline: Option<&str>, candidate: Option<&str>, comparison: Comparison) {
        self.pairing.champion_baseline.add(comparison);
        if let (Comparison::Agree | Comparison::Disagree, Some(baseline), Some(candidate)) =
            (comparison, baseline, candidate)
        {
            let labels = self.context.labels;
            self.context.metrics.pairs.with_label_values(&[labels.of(baseline), labels.of(candidate)]).inc();
        }
    }

    /// Counts whether the challenger agrees with the champion and with the baseline.
    fn count_challenger(
        &self,
        predictions: &Predictions,
        row: Option<usize>,
        baseline: Option<&str>,
        candidate: Option<&str>,
    ) {
        let (Some(scores), Some(row)) = (&predictions.challenger, row) else { return };
        let challenger = scores.top(row, self.context.min_confidence).map(|scored| scored.label);
        let (champion, of_baseline) = (&self.pairing.challenger_champion, &self.pairing.challenger_baseline);
        for (against, label, count) in [("champion", candidate, champion), ("baseline", baseline, of_baseline)] {
            let comparison = compare(challenger, Counterpart::Label(label), self.schema);
            if let (Comparison::Agree | Comparison::Disagree, Some(agree)) = (comparison, comparison.agree()) {
                self.context.metrics.challenger.with_label_values(&[against, agree.as_str()]).inc();
                count.add(comparison);
            }
        }
    }
}

/// Records how long the responses took, as the gateway measured it.
pub(super) fn record_latency(observation: &Observation<'_>, metrics: &Metrics) {
    if observation.duration_us == NOT_TIMED {
        return;
    }
    let arm = if observation.fallback { "fallback" } else { observation.served.as_str() };
    metrics.gateway_seconds.with_label_values(&[arm]).observe(f64::from(observation.duration_us) / 1e6);
    for (arm, us) in [(Arm::Baseline, observation.baseline_us), (Arm::Candidate, observation.candidate_us)] {
        if us != NOT_TIMED {
            metrics.response_seconds.with_label_values(&[arm.as_str()]).observe(f64::from(us) / 1e6);
        }
    }
}
