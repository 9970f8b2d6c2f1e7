//! A batch while its items are judged: each goes into the verdict, and into what is kept of the disagreements.

use std::sync::Arc;
use std::time::Duration;

use contract::answer::AnswerSchema;
use contract::frame::Observation;
use contract::names::{Arm, NotCompared};

use super::compare::{Other, Outcome, Tally, judge};
use super::contest::Pairing;
use super::matrix::{Both, Sheet};
use super::noise::Labels;
use super::samples::Sample;
use super::served::{Served, ServedItem};
use super::work::{Predictions, Work, millis, seconds};

/// A batch while its items are judged.
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
        if observation.arm == Arm::Baseline && !observation.fallback {
            self.tally.model_was(predictions.absent.is_none());
        }
        let result = match served {
            Served::Unreadable => {
                self.tally.none(NotCompared::Unreadable, 1);
                "unreadable"
            }
            Served::Items(_) | Served::Error => "compared",
        };
        self.work.metrics.observations.with_label_values(&[result]).inc();
    }

    pub(super) fn rule_item(
        &mut self,
        observation: &Observation<'_>,
        served: &'a ServedItem,
        predictions: &'a Predictions,
    ) -> Outcome {
        let least = self.work.min_confidence;
        let item = &served.item;
        let row = predictions.row(&item.id);
        let scored = match (&predictions.champion, row) {
            (Some(scores), Some(row)) => scores.top(row, least),
            _ => None,
        };
        let other = match (predictions.absent, row) {
            (Some(reason), _) => Other::Absent(reason),
            (None, None) => Other::Lacks,
            (None, Some(_)) => Other::Says(scored.map(|scored| scored.label)),
        };
        let outcome = judge(item.label.as_deref(), other, self.schema);
        self.tally.item(item.label.as_deref(), outcome);
        let model = scored.map(|scored| scored.label);
        self.pair(item.label.as_deref(), model, outcome);
        if let Other::Says(_) = other {
            self.count(observation, served, item.label.as_deref(), model);
        }
        self.challenge(predictions, row, item.label.as_deref(), model);
        if outcome == Outcome::Differ
            && let (Some(rule), Some(scored), Some(scores)) = (&item.label, scored, &predictions.champion)
        {
            self.disagreements.push(Sample {
                at_ms: millis(self.now),
                user: observation.bucket,
                item: item.id.clone(),
                served: Arm::Baseline,
                rule_label: rule.clone(),
                model_label: scored.label.to_owned(),
                model_confidence: Some(scored.confidence.into()),
                model_version: scores.model().version().to_owned(),
            });
        }
        outcome
    }

    pub(super) fn model_item(
        &mut self,
        observation: &Observation<'_>,
        served: &'a ServedItem,
        rules: Option<&'a Labels>,
        predictions: &Predictions,
    ) -> Outcome {
        let item = &served.item;
        let (other, rule) = match rules {
            None => (Other::Absent(NotCompared::RulesUnavailable), None),
            Some(labels) => match labels.get(&item.id) {
                None => (Other::Lacks, None),
                Some(label) => (Other::Says(label.as_deref()), label.as_deref()),
            },
        };
        let outcome = judge(item.label.as_deref(), other, self.schema);
        self.tally.item(item.label.as_deref(), outcome);
        self.pair(rule, item.label.as_deref(), outcome);
        if let Other::Says(_) = other {
            self.count(observation, served, rule, item.label.as_deref());
        }
        self.challenge(predictions, predictions.row(&item.id), rule, item.label.as_deref());
        if outcome == Outcome::Differ
            && let (Some(rule), Some(model)) = (rule, &item.label)
        {
            let suggestion = &served.suggestion;
            self.disagreements.push(Sample {
                at_ms: millis(self.now),
                user: observation.bucket,
                item: item.id.clone(),
                served: Arm::Candidate,
                rule_label: rule.to_owned(),
                model_label: model.clone(),
                model_confidence: suggestion.confidence,
                model_version: suggestion.model_version.clone().unwrap_or_default(),
            });
        }
        outcome
    }

    /// Counts an item of which both sides' words are known, for the analysis.
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
            if let Outcome::Same | Outcome::Differ = outcome {
                self.work.metrics.challenger.with_label_values(&[against, outcome.agree().as_str()]).inc();
                tallied.add(outcome);
            }
        }
    }
}
