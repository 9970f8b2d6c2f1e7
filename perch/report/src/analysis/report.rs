//! The figures of an analysis.
//!
//! Two kinds of intervals, both at 95 %. `interval` is that of one look, as a report takes it: the estimate ± 1.96 of its
//! standard errors, users (or groups of users) being the units ([`crate::stats::clusters`]). `always` holds however often
//! one looks ([`crate::stats::normal`], [`crate::stats::ratio`]), and is wider: use it when the analysis is run again and
//! again until it says something.

use std::collections::BTreeMap;

use contract::analysis::{Analysis, Pair, Sample, Taken, Took};
use contract::evidence::{Clusters, Feedback};
use contract::names::{Arm, Cohort};
use serde::Serialize;

use super::kappa;
use crate::stats::clusters::{Difference, Rate, rate};
use crate::stats::ratio::{self, Split};

/// Standard errors of a 95 % interval.
const Z: f64 = 1.959_964;
/// `ln(1/α)` for either end of an interval of 95 %.
const REQUIRED: f64 = 3.688_879;
/// `ln(1/α)`, α = 1 %, from which on a split is a mismatch.
const MISMATCH: f64 = 4.605_170;
/// Size of a difference in accept rates that matters, for the bounds that always hold.
const PRIOR: f64 = 0.05;
/// Pairs shown, and samples of each.
const PAIRS: usize = 15;
const SAMPLES: usize = 3;

/// A figure with the interval in which it lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Lower and upper end, at 95 % for one look.
    pub interval: [f64; 2],
    /// Users, or groups of users, behind it.
    pub units: f64,
}

/// A difference, model minus rules.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Effect {
    /// The difference.
    pub value: f64,
    /// At 95 % for one look.
    pub interval: [f64; 2],
    /// At 95 % however often one looks.
    pub always: [f64; 2],
}

/// Accept rates by the side that gave the answer. `None` while a side has fewer than two users with feedback.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Accept {
    /// Of the rules' answers.
    pub rule: Option<Estimate>,
    /// Of the model's answers.
    pub model: Option<Estimate>,
    /// Model minus rules.
    pub effect: Option<Effect>,
    /// Feedbacks behind them: on the rules' and on the model's answers.
    pub feedbacks: [u64; 2],
}

/// Do users split as the share says?
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// The share that should hold, 0 to 1.
    pub wanted: f64,
    /// The share that was seen, 0 to 1.
    pub seen: f64,
    /// Shares not refuted, however often one looks.
    pub always: [f64; 2],
    /// Users counted on the rules' and on the model's side.
    pub users: [u64; 2],
    /// The split cannot be chance (1 %): nothing that compares the two sides means anything.
    pub mismatch: bool,
}

/// One label's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The label.
    pub label: String,
    /// Items to which both sides give it.
    pub both: u64,
    /// Items to which only the rules give it.
    pub only_rule: u64,
    /// Items to which only the model gives it.
    pub only_model: u64,
    /// All other items.
    pub neither: u64,
}

/// One pair of labels on which the sides disagree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disagreement {
    /// What the rules say.
    pub rule: String,
    /// What the model says.
    pub model: String,
    /// How often.
    pub items: u64,
    /// Of all disagreements, 0 to 1.
    pub share: f64,
    /// Whose answer people took.
    pub taken: Choices,
    /// Some of them.
    pub samples: Vec<Sample>,
}

/// How often whose answer was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Choices {
    /// The rules'.
    pub rule: u64,
    /// The model's.
    pub model: u64,
    /// A third label.
    pub another: u64,
    /// What was served was rejected, without another label.
    pub nothing: u64,
}

impl Choices {
    fn add(&mut self, taken: &Taken) {
        let count = match taken.took {
            Took::Rule => &mut self.rule,
            Took::Model => &mut self.model,
            Took::Another => &mut self.another,
            Took::Nothing => &mut self.nothing,
        };
        *count = count.saturating_add(taken.times);
    }

    /// All of them.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.rule.saturating_add(self.model).saturating_add(self.another).saturating_add(self.nothing)
    }
}

/// Items by who had an opinion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Items {
    /// Both sides have one, and it is the same.
    pub agree: u64,
    /// Both sides have one, and they differ.
    pub differ: u64,
    /// Only the rules have one.
    pub only_rule: u64,
    /// Only the model has one.
    pub only_model: u64,
    /// Neither has.
    pub neither: u64,
}

/// The figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// From when on, in milliseconds since 1970; 0 for everything that is kept.
    pub since_ms: u64,
    /// Until when, in milliseconds since 1970.
    pub until_ms: u64,
    /// Cohorts that were left out.
    pub left_out: Vec<Cohort>,
    /// Items by who had an opinion.
    pub items: Items,
    /// Share of equal labels where both have an opinion; units are groups of users.
    pub agreement: Option<Estimate>,
    /// Cohen's kappa.
    pub kappa: Option<Estimate>,
    /// Accept rates.
    pub accept: Accept,
    /// Accept rates where the sides disagree, which is where they can differ.
    pub disputed: Accept,
    /// Whose answer people took where the sides disagree: answered by the rules, by the model.
    pub taken: [Choices; 2],
    /// Sample ratio check; `None` without users, or without one share that holds everywhere.
    pub ratio: Option<Ratio>,
    /// By label, most frequent first.
    pub labels: Vec<Label>,
    /// The pairs that disagree most.
    pub disagreements: Vec<Disagreement>,
    /// Every cell of the matrix, for charts and other programs.
    pub pairs: Vec<Pair>,
    /// Disagreements whose feedback cannot be told.
    pub disputes_dropped: u64,
}

impl Report {
    /// The figures of `analysis`, `wanted` being the share that users should split by, 0 to 1.
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
    let effect = Difference::of(feedback, PRIOR).map(|difference| {
        let width = Z * (difference.rule.variance + difference.model.variance).sqrt();
        let value = difference.value();
        let always = [difference.lower_bound(REQUIRED).max(-1.0), difference.upper_bound(REQUIRED).min(1.0)];
        Effect { value, interval: [(value - width).max(-1.0), (value + width).min(1.0)], always }
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
    Some(Ratio { wanted, seen, always: [lower, upper], users: [users.rule, users.model], mismatch })
}

/// Both opinions of a cell; `None` where a side has none.
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
            (Some(_), Some(_)) => &mut items.differ,
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
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (rule, model, items) in analysis.pairs.iter().filter_map(both).filter(|(rule, model, _)| rule != model) {
        *counts.entry((rule, model)).or_default() += items;
    }
    let all: u64 = counts.values().sum();
    let mut most: Vec<((&str, &str), u64)> = counts.into_iter().collect();
    most.sort_by_key(|(pair, items)| (std::cmp::Reverse(*items), *pair));
    most.truncate(PAIRS);
    let line = |((rule, model), items): ((&str, &str), u64)| {
        let mut taken = Choices::default();
        analysis.taken.iter().filter(|one| one.rule == rule && one.model == model).for_each(|one| taken.add(one));
        let of_pair = |one: &&Sample| one.rule_label == rule && one.model_label == model;
        let samples = analysis.samples.iter().filter(of_pair).take(SAMPLES).cloned().collect();
        let share = items as f64 / all as f64;
        Disagreement { rule: rule.to_owned(), model: model.to_owned(), items, share, taken, samples }
    };
    most.into_iter().map(line).collect()
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
        let taken = |served, took, times| Taken { rule: "travel".into(), model: "fuel".into(), served, took, times };
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
    fn items_are_told_apart_by_who_has_an_opinion() {
        let report = Report::of(analysis(), None);
        assert_eq!(report.items, Items { agree: 860, differ: 140, only_rule: 7, only_model: 400, neither: 0 });
        let coffee = report.labels.iter().find(|label| label.label == "coffee").unwrap();
        assert_eq!((coffee.both, coffee.only_rule, coffee.only_model, coffee.neither), (560, 20, 0, 827));
        let travel = report.labels.iter().find(|label| label.label == "travel").unwrap();
        assert_eq!((travel.both, travel.only_rule, travel.only_model), (300, 127, 20));
    }

    #[test]
    fn the_pairs_that_disagree_most_come_first_with_what_people_took() {
        let report = Report::of(analysis(), None);
        let first = &report.disagreements[0];
        assert_eq!((first.rule.as_str(), first.model.as_str(), first.items), ("travel", "fuel", 120));
        assert_eq!((first.taken.model, first.taken.rule, first.taken.nothing, first.samples.len()), (30, 10, 1, 1));
        assert_eq!(report.taken[0], Choices { rule: 10, model: 30, another: 0, nothing: 0 });
        assert_eq!(report.taken[1].nothing, 1);
    }

    #[test]
    fn an_effect_lies_inside_its_intervals_and_the_one_that_always_holds_is_wider() {
        let effect = Report::of(analysis(), None).accept.effect.unwrap();
        assert!((effect.value - 0.2).abs() < 1e-12, "{effect:?}");
        let [low, high] = effect.interval;
        let [always_low, always_high] = effect.always;
        assert!(always_low < low && low < effect.value && effect.value < high && high < always_high, "{effect:?}");
        assert_eq!(Report::of(analysis(), None).disputed.effect, None, "nobody spoke on the model's side");
    }

    #[test]
    fn users_that_do_not_split_as_wanted_are_a_mismatch() {
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
