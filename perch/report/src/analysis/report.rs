//! The figures of an analysis.
//!
//! Two kinds of intervals, both at 95%. `interval` is for a single analysis: the estimate ± 1.96 of its standard
//! errors, users (or groups of users) being the units ([`stats::clusters`]). `anytime_ci` is a confidence
//! sequence ([`stats::normal`], [`stats::ratio`]): it is valid at every moment and wider, so it is the
//! one to read when the analysis is repeated until it shows something.

use std::collections::BTreeMap;

use contract::analysis::{Analysis, Pair, PairFeedback, Sample, Took};
use contract::evidence::{Clusters, Feedback};
use contract::names::{Arm, Cohort};
use serde::Serialize;
use stats::clusters::{Difference, Rate, rate};
use stats::kappa;
use stats::ratio::{self, Split};

use super::pairs::LabelPairs;

/// Standard errors of a 95% interval.
const Z: f64 = 1.959_964;
/// `ln(1/α)` for either end of an interval of 95%.
const REQUIRED: f64 = 3.688_879;
/// `ln(1/α)`, α = 1%, from which on a split is a mismatch.
const MISMATCH: f64 = 4.605_170;
/// Difference in accept rates at which the confidence sequence is narrowest.
const PRIOR: f64 = 0.05;
/// Disagreements listed, and samples of each.
const PAIRS: usize = 20;
const SAMPLES: usize = 3;

/// An estimate with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower and upper end of the 95% interval for a single analysis.
    pub interval: [f64; 2],
    /// Users, or groups of users, that it is estimated from.
    pub units: f64,
}

/// A difference, candidate minus baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Effect {
    /// The difference.
    pub value: f64,
    /// The 95% interval for a single analysis.
    pub interval: [f64; 2],
    /// The 95% confidence sequence, which is valid at every moment.
    pub anytime_ci: [f64; 2],
}

/// Accept rates by the arm that was served. `None` while an arm has fewer than two users with feedback.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Accept {
    /// Of the baseline.
    pub rule: Option<Estimate>,
    /// Of the candidate.
    pub model: Option<Estimate>,
    /// Candidate minus baseline.
    pub effect: Option<Effect>,
    /// Feedback events on baseline and on candidate responses.
    pub feedbacks: [u64; 2],
}

/// The sample ratio check: whether the split of users between the arms fits the canary share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// The expected fraction of users in the candidate arm, 0 to 1.
    pub wanted: f64,
    /// The observed fraction, 0 to 1.
    pub seen: f64,
    /// The 95% confidence sequence of the fraction, which is valid at every moment.
    pub anytime_ci: [f64; 2],
    /// Users counted in the baseline arm and in the candidate arm.
    pub users: [u64; 2],
    /// The split is not chance (at 1%): no comparison of the two arms can be trusted.
    pub mismatch: bool,
}

/// Items by the arms that gave them one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The label.
    pub label: String,
    /// Items to which both arms give it.
    pub both: u64,
    /// Items to which only the baseline gives it.
    pub only_rule: u64,
    /// Items to which only the candidate gives it.
    pub only_model: u64,
    /// All other items.
    pub neither: u64,
}

/// A pair of labels on which the arms disagree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disagreement {
    /// The baseline's label.
    pub rule: String,
    /// The candidate's label.
    pub model: String,
    /// Items with this pair.
    pub items: u64,
    /// Fraction of all disagreements, 0 to 1.
    pub share: f64,
    /// Labels that users accepted, by arm.
    pub taken: Choices,
    /// Sampled items.
    pub samples: Vec<Sample>,
}

/// How often users accepted which label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Choices {
    /// The baseline's.
    pub rule: u64,
    /// The candidate's.
    pub model: u64,
    /// A third label.
    pub another: u64,
    /// None: the served label was rejected, and no other was named.
    pub nothing: u64,
}

impl Choices {
    fn add(&mut self, taken: &PairFeedback) {
        let count = match taken.took {
            Took::Rule => &mut self.rule,
            Took::Model => &mut self.model,
            Took::Another => &mut self.another,
            Took::Nothing => &mut self.nothing,
        };
        *count = count.saturating_add(taken.times);
    }

    /// The sum of all four.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.rule.saturating_add(self.model).saturating_add(self.another).saturating_add(self.nothing)
    }
}

/// Items by comparison and by the arms that gave a label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Items {
    /// Both arms gave the same label.
    pub agree: u64,
    /// Both arms gave a label, and the labels differ.
    pub disagree: u64,
    /// Only the baseline gave a label.
    pub only_rule: u64,
    /// Only the candidate gave a label.
    pub only_model: u64,
    /// Neither arm gave a label.
    pub neither: u64,
}

/// The figures of an analysis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Start of the period, in milliseconds since 1970; 0 if it covers everything that the scorer keeps.
    pub since_ms: u64,
    /// End of the period, in milliseconds since 1970.
    pub until_ms: u64,
    /// Cohorts that are left out.
    pub left_out: Vec<Cohort>,
    /// Items by comparison.
    pub items: Items,
    /// Fraction of equal labels where both arms gave one; units are groups of users.
    pub agreement: Option<Estimate>,
    /// Cohen's kappa.
    pub kappa: Option<Estimate>,
    /// Accept rates.
    pub accept: Accept,
    /// Accept rates where the arms disagree, which is where they can differ.
    pub disputed: Accept,
    /// Labels that users accepted where the arms disagree: with the baseline served, with the candidate served.
    pub taken: [Choices; 2],
    /// Sample ratio check; `None` without users, or while the gateways do not all hold the same share.
    pub ratio: Option<Ratio>,
    /// By label, most frequent first.
    pub labels: Vec<Label>,
    /// The most frequent disagreements.
    pub disagreements: Vec<Disagreement>,
    /// Every pair of labels, for charts and other programs.
    pub pairs: Vec<Pair>,
    /// Disagreements that were not stored, so that feedback on them is missing.
    pub disputes_dropped: u64,
}

impl Report {
    /// The figures of `analysis`; `wanted` is the fraction of users expected in the candidate arm, 0 to 1.
    #[must_use]
    pub fn of(analysis: Analysis, wanted: Option<f64>) -> Self {
        let mut taken = [Choices::default(); 2];
        for one in &analysis.taken {
            let [rule, model] = &mut taken;
            match one.served {
                Arm::Baseline => rule.add(one),
                Arm::Candidate => model.add(one),
            }
        }
        Self {
            since_ms: analysis.since_ms,
            until_ms: analysis.until_ms,
            left_out: analysis.left_out.clone(),
            items: items(&analysis.pairs),
            agreement: rate(&analysis.agreement).map(|rate| estimate(rate, 0.0)),
            kappa: kappa_of(&analysis),
            accept: accept(&analysis.feedback),
            disputed: accept(&analysis.disputed),
            taken,
            ratio: wanted.and_then(|wanted| ratio_of(&analysis, wanted)),
            labels: labels(&analysis.pairs),
            disagreements: disagreements(&analysis),
            pairs: analysis.pairs,
            disputes_dropped: analysis.disputes_dropped,
        }
    }
}

fn estimate(rate: Rate, least: f64) -> Estimate {
    let width = Z * rate.variance.sqrt();
    let interval = [(rate.value - width).max(least), (rate.value + width).min(1.0)];
    Estimate { value: rate.value, interval, units: rate.users }
}

fn accept(feedback: &Feedback) -> Accept {
    let effect = Difference::of(&feedback.rule, &feedback.model, PRIOR).map(|difference| {
        let width = Z * (difference.rule.variance + difference.model.variance).sqrt();
        let value = difference.value();
        let anytime_ci = [difference.lower_bound(REQUIRED).max(-1.0), difference.upper_bound(REQUIRED).min(1.0)];
        Effect { value, interval: [(value - width).max(-1.0), (value + width).min(1.0)], anytime_ci }
    });
    let of = |clusters: &Clusters| rate(clusters).map(|rate| estimate(rate, 0.0));
    Accept {
        rule: of(&feedback.rule),
        model: of(&feedback.model),
        effect,
        feedbacks: [feedback.rule.given, feedback.model.given],
    }
}

#[allow(clippy::cast_precision_loss)]
fn ratio_of(analysis: &Analysis, wanted: f64) -> Option<Ratio> {
    let users = analysis.users?;
    let split = Split { model: users.model as f64, rule: users.rule as f64 };
    let seen = split.share()?;
    let (lower, upper) = ratio::bounds(split, REQUIRED);
    let mismatch = ratio::log_evidence(split, wanted) >= MISMATCH;
    Some(Ratio { wanted, seen, anytime_ci: [lower, upper], users: [users.rule, users.model], mismatch })
}

/// Both labels of a pair; `None` where an arm gave none.
fn both(pair: &Pair) -> Option<(&str, &str, u64)> {
    Some((pair.rule.as_deref()?, pair.model.as_deref()?, pair.items))
}

#[allow(clippy::cast_precision_loss)]
fn kappa_of(analysis: &Analysis) -> Option<Estimate> {
    let found = kappa::of(analysis.pairs.iter().filter_map(both))?;
    let agreement = rate(&analysis.agreement)?;
    // How much more the items of real users vary than independent ones would.
    let independent = agreement.value * (1.0 - agreement.value) / analysis.agreement.given as f64;
    let design = if independent > 0.0 { (agreement.variance / independent).max(1.0) } else { 1.0 };
    let rate = Rate { value: found.value, variance: found.variance * design, users: agreement.users };
    Some(estimate(rate, -1.0))
}

fn items(pairs: &[Pair]) -> Items {
    let mut items = Items::default();
    for pair in pairs {
        let count = match (&pair.rule, &pair.model) {
            (Some(rule), Some(model)) if rule == model => &mut items.agree,
            (Some(_), Some(_)) => &mut items.disagree,
            (Some(_), None) => &mut items.only_rule,
            (None, Some(_)) => &mut items.only_model,
            (None, None) => &mut items.neither,
        };
        *count = count.saturating_add(pair.items);
    }
    items
}

fn labels(pairs: &[Pair]) -> Vec<Label> {
    let all: u64 = pairs.iter().map(|pair| pair.items).sum();
    let mut counts: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for pair in pairs {
        let (rule, model) = (pair.rule.as_deref(), pair.model.as_deref());
        if rule == model {
            if let Some(label) = rule {
                let [both, _, _] = counts.entry(label).or_default();
                *both += pair.items;
            }
            continue;
        }
        if let Some(label) = rule {
            let [_, only_rule, _] = counts.entry(label).or_default();
            *only_rule += pair.items;
        }
        if let Some(label) = model {
            let [_, _, only_model] = counts.entry(label).or_default();
            *only_model += pair.items;
        }
    }
    let line = |(label, [both, only_rule, only_model]): (&str, [u64; 3])| {
        let neither = all.saturating_sub(both + only_rule + only_model);
        Label { label: label.to_owned(), both, only_rule, only_model, neither }
    };
    let mut labels: Vec<Label> = counts.into_iter().map(line).collect();
    labels.sort_by_key(|label| (label.neither, label.label.clone()));
    labels
}

#[allow(clippy::cast_precision_loss)]
fn disagreements(analysis: &Analysis) -> Vec<Disagreement> {
    let most = LabelPairs::of(&analysis.pairs).disagreements();
    let all: u64 = most.iter().map(|(_, _, items)| items).sum();
    let line = |(rule, model, items): (&str, &str, u64)| {
        let mut taken = Choices::default();
        analysis.taken.iter().filter(|one| one.rule == rule && one.model == model).for_each(|one| taken.add(one));
        let of_pair = |one: &&Sample| one.rule_label == rule && one.model_label == model;
        let samples = analysis.samples.iter().filter(of_pair).take(SAMPLES).cloned().collect();
        let share = items as f64 / all as f64;
        Disagreement { rule: rule.to_owned(), model: model.to_owned(), items, share, taken, samples }
    };
    most.into_iter().take(PAIRS).map(line).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use contract::evidence::Users;

    pub(in super::super) fn analysis() -> Analysis {
        let pair = |rule: &str, model: &str, served, items| Pair {
            rule: Some(rule.to_owned()).filter(|label| !label.is_empty()),
            model: Some(model.to_owned()).filter(|label| !label.is_empty()),
            served,
            items,
        };
        let clusters = |of: &[(u64, u64)]| {
            let mut clusters = Clusters::default();
            (0..100).flat_map(|_| of).for_each(|(given, accepted)| clusters.add(*given, *accepted));
            clusters
        };
        let taken =
            |served, took, times| PairFeedback { rule: "travel".into(), model: "fuel".into(), served, took, times };
        Analysis {
            version: contract::analysis::VERSION,
            since_ms: 1_700_000_000_000,
            until_ms: 1_700_003_600_000,
            left_out: vec![Cohort::Beta],
            pairs: vec![
                pair("coffee", "coffee", Arm::Baseline, 500),
                pair("coffee", "coffee", Arm::Candidate, 60),
                pair("travel", "fuel", Arm::Baseline, 120),
                pair("travel", "travel", Arm::Baseline, 300),
                pair("coffee", "travel", Arm::Baseline, 20),
                pair("", "pets", Arm::Baseline, 400),
                pair("travel", "", Arm::Baseline, 7),
            ],
            agreement: clusters(&[(5, 4), (5, 5)]),
            users: Some(Users { rule: 900, model: 100, sampled_one_in: 1 }),
            feedback: Feedback { rule: clusters(&[(2, 1), (3, 2)]), model: clusters(&[(2, 2), (3, 2)]) },
            disputed: Feedback { rule: clusters(&[(1, 0)]), model: Clusters::default() },
            taken: vec![
                taken(Arm::Baseline, Took::Model, 30),
                taken(Arm::Baseline, Took::Rule, 10),
                taken(Arm::Candidate, Took::Nothing, 1),
            ],
            samples: vec![Sample {
                at_ms: 5,
                user: Some("00000000000000ab".into()),
                item: "88".into(),
                served: Arm::Baseline,
                rule_label: "travel".into(),
                model_label: "fuel".into(),
                model_confidence: Some(0.9),
                model_version: "v1".into(),
            }],
            disputes_dropped: 0,
        }
    }

    #[test]
    fn items_are_counted_by_the_arms_that_gave_a_label() {
        let report = Report::of(analysis(), None);
        assert_eq!(report.items, Items { agree: 860, disagree: 140, only_rule: 7, only_model: 400, neither: 0 });
        let coffee = report.labels.iter().find(|label| label.label == "coffee").unwrap();
        assert_eq!((coffee.both, coffee.only_rule, coffee.only_model, coffee.neither), (560, 20, 0, 827));
        let travel = report.labels.iter().find(|label| label.label == "travel").unwrap();
        assert_eq!((travel.both, travel.only_rule, travel.only_model), (300, 127, 20));
    }

    #[test]
    fn frequent_disagreements_come_first_with_what_users_accepted() {
        let report = Report::of(analysis(), None);
        let first = &report.disagreements[0];
        assert_eq!((first.rule.as_str(), first.model.as_str(), first.items), ("travel", "fuel", 120));
        assert_eq!((first.taken.model, first.taken.rule, first.taken.nothing, first.samples.len()), (30, 10, 1, 1));
        assert_eq!(report.taken[0], Choices { rule: 10, model: 30, another: 0, nothing: 0 });
        assert_eq!(report.taken[1].nothing, 1);
    }

    #[test]
    fn an_effect_lies_inside_its_intervals_and_the_confidence_sequence_is_wider() {
        let effect = Report::of(analysis(), None).accept.effect.unwrap();
        assert!((effect.value - 0.2).abs() < 1e-12, "{effect:?}");
        let [low, high] = effect.interval;
        let [lowest, highest] = effect.anytime_ci;
        assert!(lowest < low && low < effect.value && effect.value < high && high < highest, "{effect:?}");
        assert_eq!(Report::of(analysis(), None).disputed.effect, None, "there is no feedback on the candidate");
    }

    #[test]
    fn a_split_of_users_that_differs_from_the_share_is_a_mismatch() {
        let of = |wanted| Report::of(analysis(), Some(wanted)).ratio.unwrap();
        assert!(!of(0.1).mismatch);
        assert!(of(0.2).mismatch);
        assert_eq!(Report::of(analysis(), None).ratio, None);
        assert_eq!(Report::of(Analysis { users: None, ..analysis() }, Some(0.1)).ratio, None);
    }

    #[test]
    fn users_habits_widen_kappas_interval() {
        let width = |analysis: Analysis| {
            let kappa = Report::of(analysis, None).kappa.unwrap();
            assert!(kappa.interval[0] < kappa.value && kappa.value < kappa.interval[1]);
            kappa.interval[1] - kappa.interval[0]
        };
        let mut habits = Clusters::default();
        (0..100).for_each(|at| habits.add(10, if at % 10 == 0 { 0 } else { 10 }));
        let with_habits = Analysis { agreement: habits, ..analysis() };
        assert!(width(with_habits) > 2.0 * width(analysis()));
    }
}
