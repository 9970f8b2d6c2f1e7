//! A batch while its items are compared: each goes into the batch result, and into what is kept of the disagreements.

use std::sync::Arc;
use std::time::Duration;

use contract::answer::AnswerSchema;
use contract::frame::Observation;
use contract::names::{Arm, NotCompared};

use super::compare::{Other, Outcome, Tally, judge};
use super::contest::Pairing;
use super::matrix::{Both, Sheet};
use super::samples::Sample;
use super::served::{OtherResponse, Served, ServedItem};
use super::work::{Predictions, Work, millis, seconds};

/// A batch while its items are compared.
pub(super) struct Judged<'a> {
    pub(super) work: &'a Work,
    pub(super) schema: &'a AnswerSchema,
    pub(super) now: Duration,
    pub(super) pairing: Arc<Pairing>,
    pub(super) tally: Tally,
    pub(super) sheet: Sheet<'a>,
    pub(super) disagreements: Vec<Sample>,
}

impl<'a> Judged<'a> {
    pub(super) fn observation(&mut self, observation: &Observation<'_>, served: &Served, predictions: &Predictions) {
        self.work.time(observation);
        self.tally.observation();
        if observation.success() && observation.assigned == Arm::Baseline {
            self.tally.candidate_was(predictions.absent.is_none());
        }
        let result = match served {
            Served::Unreadable => {
                self.tally.none(NotCompared::Unreadable, 1);
                "unreadable"
            }
            Served::Items(..) | Served::Error => "compared",
        };
        self.work.metrics.observations.with_label_values(&[result]).inc();
    }

    /// Compares one item with what the other response says of it, which is the champion's word where the gateway has no
    /// other response.
    pub(super) fn item(
        &mut self,
        observation: &Observation<'_>,
        served: &'a ServedItem,
        response: &'a OtherResponse,
        predictions: &'a Predictions,
    ) -> Outcome {
        let item = &served.item;
        let row = predictions.row(&item.id);
        let scored = match (&predictions.champion, row) {
            (Some(scores), Some(row)) => scores.top(row, self.work.min_confidence),
            _ => None,
        };
        let other = match response {
            OtherResponse::Known(labels) => {
                labels.get(&item.id).map_or(Other::Lacks, |label| Other::Says(label.as_deref()))
            }
            OtherResponse::Unreadable => Other::Absent(NotCompared::Unreadable),
            OtherResponse::Unknown => match (predictions.absent, row) {
                (Some(reason), _) => Other::Absent(reason),
                (None, None) => Other::Lacks,
                (None, Some(_)) => Other::Says(scored.map(|scored| scored.label)),
            },
        };
        let given = item.label.as_deref();
        let outcome = judge(given, other, self.schema);
        self.tally.item(observation.served, given, outcome);
        let label = match other {
            Other::Says(label) => label,
            Other::Lacks | Other::Absent(_) => None,
        };
        let (baseline, candidate) = match observation.served {
            Arm::Baseline => (given, label),
            Arm::Candidate => (label, given),
        };
        self.pair(baseline, candidate, outcome);
        if let Other::Says(_) = other {
            self.count(observation, served, baseline, candidate);
        }
        self.challenge(predictions, row, baseline, candidate);
        if outcome == Outcome::Differ
            && let (Some(baseline), Some(candidate)) = (baseline, candidate)
        {
            let (confidence, version) = match (response, scored, &predictions.champion) {
                (OtherResponse::Unknown, Some(scored), Some(scores)) => {
                    (Some(scored.confidence.into()), scores.model().version().to_owned())
                }
                _ => (served.suggestion.confidence, served.suggestion.model_version.clone().unwrap_or_default()),
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
        outcome
    }

    /// Counts an item of which both labels are known, for the analysis.
    fn count(
        &mut self,
        observation: &Observation<'_>,
        served: &'a ServedItem,
        rule: Option<&'a str>,
        model: Option<&'a str>,
    ) {
        let (labels, schema) = (&self.work.labels, self.schema);
        let opinion =
            |label: Option<&'a str>| label.filter(|label| !schema.abstains(label)).map(|label| labels.of(label));
        let event_id = served.event_id.as_deref();
        let both = Both { rule: opinion(rule), model: opinion(model), event_id };
        self.sheet.item(observation, both, seconds(self.now));
    }

    /// Counts the pair of labels where both sides have an opinion.
    fn pair(&self, rule: Option<&str>, model: Option<&str>, outcome: Outcome) {
        self.pairing.champion_rules.add(outcome);
        if let (Outcome::Same | Outcome::Differ, Some(rule), Some(model)) = (outcome, rule, model) {
            let labels = &self.work.labels;
            self.work.metrics.pairs.with_label_values(&[labels.of(rule), labels.of(model)]).inc();
        }
    }

    /// Counts whether the challenger says the same as the champion and as the rules.
    fn challenge(&self, predictions: &Predictions, row: Option<usize>, rule: Option<&str>, model: Option<&str>) {
        let (Some(scores), Some(row)) = (&predictions.challenger, row) else { return };
        let challenger = scores.top(row, self.work.min_confidence).map(|scored| scored.label);
        let (champion, rules) = (&self.pairing.challenger_champion, &self.pairing.challenger_rules);
        for (against, label, tallied) in [("champion", model, champion), ("rules", rule, rules)] {
            let outcome = judge(challenger, Other::Says(label), self.schema);
            if let (Outcome::Same | Outcome::Differ, Some(agree)) = (outcome, outcome.agree()) {
                self.work.metrics.challenger.with_label_values(&[against, agree.as_str()]).inc();
                tallied.add(outcome);
            }
        }
    }
}
