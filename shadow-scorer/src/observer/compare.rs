//! Whether the two responses say the same of an item. Pure, so that it can be tested to the last corner.
//!
//! The unit is the served item: what the client was given decides how many items there are, and each of them is counted
//! exactly once: agree, disagree, abstained, or not compared with a reason. Items that only the other response has are not
//! counted, since no client saw them.
//!
//! Of several reasons the one that says most about the system wins: no other response at all, then no such item there,
//! then no label, then an abstention. An abstention is not a disagreement, nor a failure to compare: a response that says
//! `unknown` has no opinion to agree with, and counting it would make a careful model look bad.

use std::collections::BTreeMap;

use contract::batch_result::{self, BatchResult, LabelCount};
use contract::names::{Agree, Arm, NotCompared};
use contract::response::ResponseSchema;

/// What the other response says of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other<'a> {
    /// It says this; `None` when it knows the item but gives no label.
    Says(Option<&'a str>),
    /// It lacks the item.
    Lacks,
    /// There is no other response, or none that can be read.
    Absent(NotCompared),
}

/// The verdict on one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Both have the same opinion.
    Same,
    /// Both have an opinion and they differ.
    Differ,
    /// One of them says that it has no opinion.
    Abstained,
    /// There is nothing to compare.
    Nothing(NotCompared),
}

impl Outcome {
    /// As the label value `agree`; `None` for an abstention, which has none.
    #[must_use]
    pub const fn agree(self) -> Option<Agree> {
        match self {
            Self::Same => Some(Agree::True),
            Self::Differ => Some(Agree::False),
            Self::Nothing(_) => Some(Agree::None),
            Self::Abstained => None,
        }
    }
}

/// Judges one item by its top labels.
#[must_use]
pub fn judge(served: Option<&str>, other: Other<'_>, schema: &ResponseSchema) -> Outcome {
    let other = match other {
        Other::Absent(reason) => return Outcome::Nothing(reason),
        Other::Lacks => return Outcome::Nothing(NotCompared::MissingItem),
        Other::Says(label) => label,
    };
    match (served, other) {
        (Some(a), Some(b)) if schema.abstains(a) || schema.abstains(b) => Outcome::Abstained,
        (Some(a), Some(b)) if a == b => Outcome::Same,
        (Some(_), Some(_)) => Outcome::Differ,
        (None, _) | (_, None) => Outcome::Nothing(NotCompared::NoLabel),
    }
}

/// How far the two sides agree on one request. The items of a request are not independent of each other, so what is judged
/// over many requests counts each of them once, whatever its number of items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agreement {
    same: u32,
    differ: u32,
}

impl Agreement {
    /// Takes in one item.
    pub fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Same => add(&mut self.same, 1),
            Outcome::Differ => add(&mut self.differ, 1),
            Outcome::Abstained | Outcome::Nothing(_) => {}
        }
    }

    /// Share of the judged items that agree, 0.0..=1.0; `None` when none is judged.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        let judged = f64::from(self.same) + f64::from(self.differ);
        (judged > 0.0).then(|| f64::from(self.same) / judged)
    }
}

/// Counts over a batch, as they go into its verdict.
#[derive(Debug, Default)]
pub struct Tally {
    observations: u32,
    agree_true: u32,
    agree_false: u32,
    not_compared: BTreeMap<NotCompared, u32>,
    abstained: BTreeMap<Arm, u32>,
    available: u32,
    unavailable: u32,
    /// By label: items that are the same, that differ, that have no verdict.
    labels: BTreeMap<String, [u32; 3]>,
}

impl Tally {
    /// Counts an observation.
    pub fn observation(&mut self) {
        add(&mut self.observations, 1);
    }

    /// Counts one item with the arm and the label that the client was given.
    pub fn item(&mut self, arm: Arm, served: Option<&str>, outcome: Outcome) {
        match outcome {
            Outcome::Same => add(&mut self.agree_true, 1),
            Outcome::Differ => add(&mut self.agree_false, 1),
            Outcome::Abstained => return add(self.abstained.entry(arm).or_default(), 1),
            Outcome::Nothing(reason) => self.none(reason, 1),
        }
        let Some(label) = served else { return };
        if !self.labels.contains_key(label) {
            self.labels.insert(label.to_owned(), [0; 3]);
        }
        if let Some([same, differ, nothing]) = self.labels.get_mut(label) {
            add(
                match outcome {
                    Outcome::Same => same,
                    Outcome::Differ => differ,
                    Outcome::Abstained | Outcome::Nothing(_) => nothing,
                },
                1,
            );
        }
    }

    /// Counts items that could not be compared, of which nothing else is known.
    pub fn none(&mut self, reason: NotCompared, items: u32) {
        add(self.not_compared.entry(reason).or_default(), items);
    }

    /// Counts whether there was a candidate to ask about an observation of the baseline's arm.
    pub fn candidate_was(&mut self, there: bool) {
        add(if there { &mut self.available } else { &mut self.unavailable }, 1);
    }

    /// The verdict.
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
    fn two_opinions_are_compared() {
        assert_eq!(judge(Some("coffee"), Other::Says(Some("coffee")), &schema()), Outcome::Same);
        assert_eq!(judge(Some("coffee"), Other::Says(Some("travel")), &schema()), Outcome::Differ);
        assert_eq!(
            judge(Some("transportation"), Other::Says(Some("transportation.fuel")), &schema()),
            Outcome::Differ,
            "a part is not the whole"
        );
    }

    #[test]
    fn an_abstention_of_either_is_not_a_disagreement() {
        let abstained = Outcome::Abstained;
        assert_eq!(judge(Some("unknown"), Other::Says(Some("coffee")), &schema()), abstained);
        assert_eq!(judge(Some("coffee"), Other::Says(Some("unknown")), &schema()), abstained);
        assert_eq!(judge(Some("unknown"), Other::Says(Some("unknown")), &schema()), abstained);
        let none_abstains = ResponseSchema { abstain: vec![], ..schema() };
        assert_eq!(
            judge(Some("unknown"), Other::Says(Some("coffee")), &none_abstains),
            Outcome::Differ,
            "the old count"
        );
    }

    #[test]
    fn of_several_reasons_the_one_that_says_most_wins() {
        let shed = NotCompared::Shed;
        assert_eq!(judge(None, Other::Absent(shed), &schema()), Outcome::Nothing(shed));
        assert_eq!(judge(None, Other::Lacks, &schema()), Outcome::Nothing(NotCompared::MissingItem));
        assert_eq!(judge(Some("unknown"), Other::Says(None), &schema()), Outcome::Nothing(NotCompared::NoLabel));
        assert_eq!(judge(None, Other::Says(Some("unknown")), &schema()), Outcome::Nothing(NotCompared::NoLabel));
    }

    #[test]
    fn a_request_counts_by_the_share_of_its_judged_items() {
        let mut agreement = Agreement::default();
        assert_eq!(agreement.share(), None);
        agreement.add(Outcome::Abstained);
        assert_eq!(agreement.share(), None, "no opinion is no agreement of 0");
        for outcome in [Outcome::Same, Outcome::Differ, Outcome::Same, Outcome::Same] {
            agreement.add(outcome);
        }
        assert_eq!(agreement.share(), Some(0.75));
    }

    fn label() -> impl Strategy<Value = Option<String>> {
        proptest::option::of(prop_oneof![Just("unknown".to_owned()), "[a-c]"])
    }

    #[derive(Debug, Clone)]
    enum Said {
        Says(Option<String>),
        Lacks,
        Absent(NotCompared),
    }

    fn said() -> impl Strategy<Value = Said> {
        prop_oneof![
            4 => label().prop_map(Said::Says),
            1 => Just(Said::Lacks),
            1 => proptest::sample::select(NotCompared::ALL).prop_map(Said::Absent),
        ]
    }

    fn borrow(said: &Said) -> Other<'_> {
        match said {
            Said::Says(label) => Other::Says(label.as_deref()),
            Said::Lacks => Other::Lacks,
            Said::Absent(reason) => Other::Absent(*reason),
        }
    }

    proptest! {
        #[test]
        fn every_item_is_counted_exactly_once(
            items in proptest::collection::vec((label(), said()), 0..60),
            unreadable in 0_u32..5,
        ) {
            let mut tally = Tally::default();
            for (served, other) in &items {
                tally.item(Arm::Baseline, served.as_deref(), judge(served.as_deref(), borrow(other), &schema()));
            }
            tally.none(NotCompared::Unreadable, unreadable);
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
        fn it_does_not_matter_which_side_was_served(a in label(), b in label()) {
            let one = judge(a.as_deref(), Other::Says(b.as_deref()), &schema());
            let other = judge(b.as_deref(), Other::Says(a.as_deref()), &schema());
            prop_assert_eq!(one, other);
        }

        #[test]
        fn a_result_survives_the_wire(items in proptest::collection::vec((label(), said()), 0..20)) {
            let mut tally = Tally::default();
            for (served, other) in &items {
                tally.observation();
                tally.item(Arm::Candidate, served.as_deref(), judge(served.as_deref(), borrow(other), &schema()));
            }
            let result = tally.into_result();
            let text = serde_json::to_string(&result).unwrap();
            prop_assert_eq!(serde_json::from_str::<BatchResult>(&text).unwrap(), result);
        }
    }
}
