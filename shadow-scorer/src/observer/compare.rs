//! Compares two responses item by item, without I/O.
//!
//! The unit is the served item: the client's response determines the items, and each is counted exactly once: agree,
//! disagree, abstained, or not compared with a reason. Items that only the other response has are not counted, since no
//! client saw them.
//!
//! Of several reasons the one that tells most about the system wins: no other response, then a missing item, then a
//! missing label, then an abstention. An abstention is neither a disagreement nor a failure to compare: a response of
//! `unknown` has no opinion to agree with, and counting it would make a careful model look bad.

use std::collections::BTreeMap;

use contract::batch_result::{self, BatchResult, LabelCount};
use contract::names::{Agree, Arm, NotCompared};
use contract::response::ResponseSchema;

/// The other response's part for one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counterpart<'a> {
    /// Its label; `None` if it has the item but no label for it.
    Label(Option<&'a str>),
    /// It does not have the item.
    MissingItem,
    /// There is no other response, or it cannot be read.
    Unavailable(NotCompared),
}

/// The result for one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Both responses have the same label.
    Agree,
    /// The labels differ.
    Disagree,
    /// At least one response abstains.
    Abstained,
    /// The item was not compared.
    NotCompared(NotCompared),
}

impl Comparison {
    /// The value of the label `agree`; `None` for an abstention, which has none.
    #[must_use]
    pub const fn agree(self) -> Option<Agree> {
        match self {
            Self::Agree => Some(Agree::True),
            Self::Disagree => Some(Agree::False),
            Self::NotCompared(_) => Some(Agree::None),
            Self::Abstained => None,
        }
    }
}

/// Compares one item by its top labels.
#[must_use]
pub fn compare(served: Option<&str>, other: Counterpart<'_>, schema: &ResponseSchema) -> Comparison {
    let other = match other {
        Counterpart::Unavailable(reason) => return Comparison::NotCompared(reason),
        Counterpart::MissingItem => return Comparison::NotCompared(NotCompared::MissingItem),
        Counterpart::Label(label) => label,
    };
    match (served, other) {
        (Some(a), Some(b)) if schema.abstains(a) || schema.abstains(b) => Comparison::Abstained,
        (Some(a), Some(b)) if a == b => Comparison::Agree,
        (Some(_), Some(_)) => Comparison::Disagree,
        (None, _) | (_, None) => Comparison::NotCompared(NotCompared::NoLabel),
    }
}

/// How far baseline and candidate agree on one request. The items of a request are not independent of each other, so
/// statistics over requests count each request once, whatever its number of items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agreement {
    same: u32,
    differ: u32,
}

impl Agreement {
    /// Adds one item.
    pub fn add(&mut self, comparison: Comparison) {
        match comparison {
            Comparison::Agree => add(&mut self.same, 1),
            Comparison::Disagree => add(&mut self.differ, 1),
            Comparison::Abstained | Comparison::NotCompared(_) => {}
        }
    }

    /// Share of the compared items that agree, `0.0..=1.0`; `None` if none was compared.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        let judged = f64::from(self.same) + f64::from(self.differ);
        (judged > 0.0).then(|| f64::from(self.same) / judged)
    }
}

/// Counts over a batch, for its result.
#[derive(Debug, Default)]
pub struct Tally {
    observations: u32,
    agree_true: u32,
    agree_false: u32,
    not_compared: BTreeMap<NotCompared, u32>,
    abstained: BTreeMap<Arm, u32>,
    available: u32,
    unavailable: u32,
    /// By label: items that agree, that disagree, that were not compared.
    labels: BTreeMap<String, [u32; 3]>,
}

impl Tally {
    /// Counts an observation.
    pub fn observation(&mut self) {
        add(&mut self.observations, 1);
    }

    /// Counts one item with the arm and the label that were served.
    pub fn item(&mut self, arm: Arm, served: Option<&str>, comparison: Comparison) {
        match comparison {
            Comparison::Agree => add(&mut self.agree_true, 1),
            Comparison::Disagree => add(&mut self.agree_false, 1),
            Comparison::Abstained => return add(self.abstained.entry(arm).or_default(), 1),
            Comparison::NotCompared(reason) => self.not_compared(reason, 1),
        }
        let Some(label) = served else { return };
        if !self.labels.contains_key(label) {
            self.labels.insert(label.to_owned(), [0; 3]);
        }
        if let Some([same, differ, nothing]) = self.labels.get_mut(label) {
            add(
                match comparison {
                    Comparison::Agree => same,
                    Comparison::Disagree => differ,
                    Comparison::Abstained | Comparison::NotCompared(_) => nothing,
                },
                1,
            );
        }
    }

    /// Counts items that were not compared and of which nothing else is known.
    pub fn not_compared(&mut self, reason: NotCompared, items: u32) {
        add(self.not_compared.entry(reason).or_default(), items);
    }

    /// Counts whether a candidate was available for an observation of the baseline's arm.
    pub fn candidate_available(&mut self, available: bool) {
        add(if available { &mut self.available } else { &mut self.unavailable }, 1);
    }

    /// The result of the batch.
    #[must_use]
    pub fn into_result(self) -> BatchResult {
        let mut labels = Vec::with_capacity(self.labels.len());
        for (label, counts) in self.labels {
            for (agree, items) in [Agree::True, Agree::False, Agree::None].into_iter().zip(counts) {
                if items > 0 {
                    labels.push(LabelCount { label: label.clone(), agree, items });
                }
            }
        }
        BatchResult {
            version: batch_result::VERSION,
            observations: self.observations,
            agree_true: self.agree_true,
            agree_false: self.agree_false,
            not_compared: self.not_compared,
            abstained: self.abstained,
            available: self.available,
            unavailable: self.unavailable,
            labels,
        }
    }
}

fn add(count: &mut u32, more: u32) {
    *count = count.saturating_add(more);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schema() -> ResponseSchema {
        ResponseSchema::default()
    }

    #[test]
    fn two_labels_are_compared() {
        assert_eq!(compare(Some("coffee"), Counterpart::Label(Some("coffee")), &schema()), Comparison::Agree);
        assert_eq!(compare(Some("coffee"), Counterpart::Label(Some("travel")), &schema()), Comparison::Disagree);
        assert_eq!(
            compare(Some("transportation"), Counterpart::Label(Some("transportation.fuel")), &schema()),
            Comparison::Disagree,
            "a part is not the whole"
        );
    }

    #[test]
    fn an_abstention_of_either_is_not_a_disagreement() {
        let abstained = Comparison::Abstained;
        assert_eq!(compare(Some("unknown"), Counterpart::Label(Some("coffee")), &schema()), abstained);
        assert_eq!(compare(Some("coffee"), Counterpart::Label(Some("unknown")), &schema()), abstained);
        assert_eq!(compare(Some("unknown"), Counterpart::Label(Some("unknown")), &schema()), abstained);
        let none_abstains = ResponseSchema { abstain: vec![], ..schema() };
        assert_eq!(
            compare(Some("unknown"), Counterpart::Label(Some("coffee")), &none_abstains),
            Comparison::Disagree,
            "as a deployment without abstentions counts"
        );
    }

    #[test]
    fn of_several_reasons_the_one_that_tells_most_wins() {
        let shed = NotCompared::Shed;
        assert_eq!(compare(None, Counterpart::Unavailable(shed), &schema()), Comparison::NotCompared(shed));
        assert_eq!(
            compare(None, Counterpart::MissingItem, &schema()),
            Comparison::NotCompared(NotCompared::MissingItem)
        );
        assert_eq!(
            compare(Some("unknown"), Counterpart::Label(None), &schema()),
            Comparison::NotCompared(NotCompared::NoLabel)
        );
        assert_eq!(
            compare(None, Counterpart::Label(Some("unknown")), &schema()),
            Comparison::NotCompared(NotCompared::NoLabel)
        );
    }

    #[test]
    fn a_request_counts_by_the_share_of_its_compared_items() {
        let mut agreement = Agreement::default();
        assert_eq!(agreement.share(), None);
        agreement.add(Comparison::Abstained);
        assert_eq!(agreement.share(), None, "an abstention is not an agreement of 0");
        for comparison in [Comparison::Agree, Comparison::Disagree, Comparison::Agree, Comparison::Agree] {
            agreement.add(comparison);
        }
        assert_eq!(agreement.share(), Some(0.75));
    }

    fn label() -> impl Strategy<Value = Option<String>> {
        proptest::option::of(prop_oneof![Just("unknown".to_owned()), "[a-c]"])
    }

    #[derive(Debug, Clone)]
    enum AnyCounterpart {
        Label(Option<String>),
        MissingItem,
        Unavailable(NotCompared),
    }

    fn any_counterpart() -> impl Strategy<Value = AnyCounterpart> {
        prop_oneof![
            4 => label().prop_map(AnyCounterpart::Label),
            1 => Just(AnyCounterpart::MissingItem),
            1 => proptest::sample::select(NotCompared::ALL).prop_map(AnyCounterpart::Unavailable),
        ]
    }

    fn borrow(counterpart: &AnyCounterpart) -> Counterpart<'_> {
        match counterpart {
            AnyCounterpart::Label(label) => Counterpart::Label(label.as_deref()),
            AnyCounterpart::MissingItem => Counterpart::MissingItem,
            AnyCounterpart::Unavailable(reason) => Counterpart::Unavailable(*reason),
        }
    }

    proptest! {
        #[test]
        fn every_item_is_counted_exactly_once(
            items in proptest::collection::vec((label(), any_counterpart()), 0..60),
            unreadable in 0_u32..5,
        ) {
            let mut tally = Tally::default();
            for (served, other) in &items {
                tally.item(Arm::Baseline, served.as_deref(), compare(served.as_deref(), borrow(other), &schema()));
            }
            tally.not_compared(NotCompared::Unreadable, unreadable);
            let result = tally.into_result();
            prop_assert_eq!(result.items(), u64::try_from(items.len()).unwrap() + u64::from(unreadable));
            prop_assert!(result.labels_fit());

            let labelled = u32::try_from(items.iter().filter(|(served, _)| served.is_some()).count()).unwrap();
            let abstained: u32 = result.abstained.values().sum();
            prop_assert_eq!(result.labels.iter().map(|cell| cell.items).sum::<u32>() + abstained, labelled);
            let same = result.labels.iter().filter(|cell| cell.agree == Agree::True).map(|cell| cell.items).sum::<u32>();
            prop_assert_eq!(same, result.agree_true);
        }

        #[test]
        fn it_does_not_matter_which_arm_was_served(a in label(), b in label()) {
            let one = compare(a.as_deref(), Counterpart::Label(b.as_deref()), &schema());
            let other = compare(b.as_deref(), Counterpart::Label(a.as_deref()), &schema());
            prop_assert_eq!(one, other);
        }

        #[test]
        fn a_result_survives_the_wire(items in proptest::collection::vec((label(), any_counterpart()), 0..20)) {
            let mut tally = Tally::default();
            for (served, other) in &items {
                tally.observation();
                tally.item(Arm::Candidate, served.as_deref(), compare(served.as_deref(), borrow(other), &schema()));
            }
            let result = tally.into_result();
            let text = serde_json::to_string(&result).unwrap();
            prop_assert_eq!(serde_json::from_str::<BatchResult>(&text).unwrap(), result);
        }
    }
}
