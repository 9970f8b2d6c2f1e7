//! Comparison of baseline and candidate on recorded requests: the counts of `perch replay`.
//!
//! The figures are those of an analysis ([`crate::analysis`]), from requests that no client waits for.

pub mod arms;
pub mod line;
mod unpack;

use std::collections::{BTreeMap, HashMap};

use contract::analysis::{self, Analysis, Pair, Sample};
use contract::evidence::{Clusters, Feedback};
use contract::names::Arm;
use contract::response::{Item, ResponseSchema};
use serde::Serialize;

/// Most sampled disagreements.
const SAMPLES: usize = 200;

/// The comparisons of a log so far.
#[derive(Debug, Default)]
pub struct Tally {
    pairs: BTreeMap<(Option<String>, Option<String>), u64>,
    /// Compared and agreeing items by user. Each request without a user counts as a user of its own.
    users: HashMap<String, (u64, u64)>,
    anonymous: Clusters,
    samples: Vec<Sample>,
    /// Requests by outcome.
    pub counts: Counts,
}

/// Requests by outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests to which both arms responded.
    pub compared: u64,
    /// Items that only one of the two responses has.
    pub unpaired: u64,
    /// Requests that could not be compared, by arm and reason.
    pub failed: BTreeMap<String, u64>,
}

impl Counts {
    /// Requests that could not be compared.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

impl Tally {
    /// Adds the two responses to a request.
    pub fn add(&mut self, user: Option<&str>, baseline: &[Item], candidate: &[Item], schema: &ResponseSchema) {
        self.counts.compared += 1;
        let by_id: HashMap<&str, &Item> = candidate.iter().map(|item| (item.id.as_str(), item)).collect();
        let (mut compared, mut agreed, mut paired) = (0, 0, 0);
        let label = |item: &Item| item.label.clone().filter(|label| !schema.abstains(label));
        for item in baseline {
            let Some(other) = by_id.get(item.id.as_str()) else { continue };
            paired += 1;
            let (rule, model) = (label(item), label(other));
            if let (Some(rule), Some(model)) = (&rule, &model) {
                compared += 1;
                agreed += u64::from(rule == model);
                if rule != model && self.samples.len() < SAMPLES {
                    self.samples.push(sample(&item.id, rule, model));
                }
            }
            *self.pairs.entry((rule, model)).or_default() += 1;
        }
        self.counts.unpaired += (baseline.len() as u64 - paired) + (candidate.len() as u64).saturating_sub(paired);
        match user {
            Some(user) => {
                let of = self.users.entry(user.to_owned()).or_default();
                *of = (of.0 + compared, of.1 + agreed);
            }
            None => self.anonymous.add(compared, agreed),
        }
    }

    /// Counts a request that could not be compared.
    pub fn failed(&mut self, reason: String) {
        *self.counts.failed.entry(reason).or_default() += 1;
    }

    /// Fraction of the compared items on which the arms agree, 0 to 1; `None` without any.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn agreement(&self) -> Option<f64> {
        let clusters = self.clusters();
        (clusters.given > 0).then(|| clusters.accepted as f64 / clusters.given as f64)
    }

    fn clusters(&self) -> Clusters {
        let mut clusters = self.anonymous;
        self.users.values().for_each(|(compared, agreed)| clusters.add(*compared, *agreed));
        clusters
    }

    /// The counts in the form of an analysis of live traffic, without served clients and without feedback.
    #[must_use]
    pub fn analysis(&self, began_ms: u64, now_ms: u64) -> Analysis {
        let pairs = self.pairs.iter().map(|((rule, model), items)| Pair {
            rule: rule.clone(),
            model: model.clone(),
            served: Arm::Baseline,
            items: *items,
        });
        Analysis {
            version: analysis::VERSION,
            since_ms: began_ms,
            until_ms: now_ms,
            left_out: Vec::new(),
            pairs: pairs.collect(),
            agreement: self.clusters(),
            users: None,
            feedback: Feedback::default(),
            disputed: Feedback::default(),
            taken: Vec::new(),
            samples: self.samples.clone(),
            disputes_dropped: 0,
        }
    }
}

fn sample(item: &str, rule: &str, model: &str) -> Sample {
    Sample {
        at_ms: 0,
        user: None,
        item: item.to_owned(),
        served: Arm::Baseline,
        rule_label: rule.to_owned(),
        model_label: model.to_owned(),
        model_confidence: None,
        model_version: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::report::{Items, Report};

    fn item(id: &str, label: Option<&str>) -> Item {
        Item { id: id.into(), label: label.map(str::to_owned) }
    }

    #[test]
    fn items_are_paired_by_id_and_an_abstention_is_not_a_disagreement() {
        let mut tally = Tally::default();
        let rules = [item("1", Some("coffee")), item("2", Some("unknown")), item("3", Some("travel")), item("4", None)];
        let model =
            [item("3", Some("pets")), item("1", Some("coffee")), item("2", Some("fees")), item("9", Some("fees"))];
        tally.add(Some("ann"), &rules, &model, &ResponseSchema::default());
        tally.failed("candidate: 503".into());
        let report = Report::of(tally.analysis(1, 2), None);
        assert_eq!(report.items, Items { agree: 1, disagree: 1, only_model: 1, only_rule: 0, neither: 0 });
        assert_eq!((tally.counts.compared, tally.counts.unpaired, tally.counts.failures()), (1, 2, 1));
        assert_eq!(tally.agreement(), Some(0.5));
    }

    #[test]
    fn the_interval_counts_users_and_not_requests() {
        let width = |user: fn(usize) -> String| {
            let mut tally = Tally::default();
            for at in 0..400 {
                let label = if at % 2 == 0 { "coffee" } else { "travel" };
                let rules = [item("1", Some(label))];
                tally.add(Some(&user(at)), &rules, &[item("1", Some("coffee"))], &ResponseSchema::default());
            }
            let [low, high] = Report::of(tally.analysis(1, 2), None).agreement.unwrap().interval;
            high - low
        };
        // Twenty users with a habit each are less evidence than four hundred users.
        assert!(width(|at| format!("u{}", at % 20)) > 3.0 * width(|at| format!("u{at}")));
    }

    #[test]
    fn without_items_there_is_no_agreement() {
        assert_eq!(Tally::default().agreement(), None);
    }
}
