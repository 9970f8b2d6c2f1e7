//! Which counters move. Increments gather in a [`Ledger`] and go to Envoy together, when the root context's tick comes:
//! a tick is due whenever something waits here, so nothing stays longer than the flush time, and a request costs no host
//! call for its counters.
//!
//! An observation's items are counted once its batch is answered, from the scorer's verdict. Where no verdict comes,
//! the filter counts the items itself, by the same rule by which the scorer reads answers, so that items are
//! True + False + None to the last one whatever becomes of the scorer.

use contract::answer::{self, AnswerSchema};
use contract::batch_result::{self, BatchResult};
use contract::frame::{self, Encoding, Observation};
use contract::names::{Agree, Arm, BatchOutcome, NotCompared};

use super::observation::Batch;
use crate::metrics::{self, Stat};

/// Increments that wait.
#[derive(Debug)]
pub struct Ledger {
    labels: Vec<String>,
    counts: Vec<u64>,
    /// Places of those that are not 0.
    moved: Vec<usize>,
}

impl Ledger {
    /// Empty, for the configured set of labels.
    #[must_use]
    pub fn new(labels: Vec<String>) -> Self {
        let counts = vec![0; metrics::count(labels.len())];
        Self { labels, counts, moved: Vec::new() }
    }

    /// One more.
    pub fn count(&mut self, stat: Stat) {
        self.add(stat, 1);
    }

    /// `by` more.
    pub fn add(&mut self, stat: Stat, by: u64) {
        let place = stat.place(self.labels.len());
        if let Some(count) = self.counts.get_mut(place)
            && by > 0
        {
            if *count == 0 {
                self.moved.push(place);
            }
            *count = count.saturating_add(by);
        }
    }

    /// Something waits.
    #[must_use]
    pub fn moved(&self) -> bool {
        !self.moved.is_empty()
    }

    /// Hands every increment, with its place, to `take`, and forgets those that were taken.
    pub fn flush(&mut self, mut take: impl FnMut(usize, u64) -> bool) {
        let counts = &mut self.counts;
        self.moved.retain(|place| {
            let Some(count) = counts.get_mut(*place) else { return false };
            let taken = take(*place, *count);
            if taken {
                *count = 0;
            }
            !taken
        });
    }

    /// A batch was answered with `status` and `body`. What is no verdict over this batch counts as no answer.
    pub fn answered(&mut self, batch: &Batch, from_scorer: bool, status: u16, body: &[u8]) {
        let verdict = (from_scorer && status == 200)
            .then(|| serde_json::from_slice::<BatchResult>(body).ok())
            .flatten()
            .filter(|verdict| verdict.version == batch_result::VERSION && verdict.observations == batch.observations);
        match verdict {
            Some(verdict) => self.verdict(&verdict),
            None => self.failed(batch),
        }
    }

    fn verdict(&mut self, verdict: &BatchResult) {
        self.count(Stat::Batch(BatchOutcome::Answered));
        self.add(Stat::Compare(Agree::True), verdict.agree_true.into());
        self.add(Stat::Compare(Agree::False), verdict.agree_false.into());
        for (reason, items) in &verdict.none {
            self.none(*reason, (*items).into());
        }
        self.add(Stat::Predict(true), verdict.available.into());
        self.add(Stat::Predict(false), verdict.unavailable.into());
        for cell in &verdict.labels {
            let place = self.labels.iter().position(|label| *label == cell.label).unwrap_or(self.labels.len());
            self.add(Stat::Label(place, cell.agree), cell.items.into());
        }
    }

    /// No verdict came for a batch.
    pub fn failed(&mut self, batch: &Batch) {
        self.count(Stat::Batch(BatchOutcome::Failed));
        // The batch is the filter's own, so it parses; were it otherwise, an item per observation keeps the sums whole.
        let Ok(parsed) = frame::Batch::parse(&batch.bytes) else {
            self.none(NotCompared::ObserverFailed, batch.observations.into());
            return;
        };
        for observation in parsed.observations.iter().filter(|seen| matches!(seen.status, 200..=299)) {
            self.none(NotCompared::ObserverFailed, items(observation, &parsed.schema));
            if observation.arm == Arm::Baseline && !observation.fallback {
                self.count(Stat::Predict(false));
            }
        }
    }

    fn none(&mut self, reason: NotCompared, items: u64) {
        self.add(Stat::Compare(Agree::None), items);
        self.add(Stat::NotCompared(reason), items);
    }
}

/// How many items an answer counts for without a verdict: as many as it has, or one where it cannot be read here.
fn items(observation: &Observation<'_>, schema: &AnswerSchema) -> u64 {
    if observation.answer_encoding != Encoding::Identity {
        return 1;
    }
    answer::count(observation.answer, schema).map_or(1, |items| items as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::batch_result::LabelCount;
    use contract::frame::append;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn observation<'a>(arm: Arm, fallback: bool, status: u16, answer: &'a [u8]) -> Observation<'a> {
        Observation {
            arm,
            fallback,
            bucket: None,
            cohort: contract::names::Cohort::Ordinary,
            status,
            duration_us: 1,
            request_encoding: Encoding::Identity,
            answer_encoding: Encoding::Identity,
            request: b"{}",
            answer,
        }
    }

    fn batch(observations: &[Observation<'_>]) -> Batch {
        let mut bytes = Vec::new();
        frame::start(&mut bytes, "");
        for observation in observations {
            append(&mut bytes, observation);
        }
        Batch { bytes: bytes.into(), observations: u32::try_from(observations.len()).unwrap() }
    }

    fn ledger() -> Ledger {
        Ledger::new(vec!["coffee".into()])
    }

    /// The increments that are not 0, by name.
    fn counts(ledger: &mut Ledger) -> BTreeMap<String, u64> {
        let names = metrics::names(&ledger.labels.clone());
        let mut counts = BTreeMap::new();
        ledger.flush(|place, by| {
            counts.insert(names[place].clone(), by);
            true
        });
        assert!(!ledger.moved());
        counts
    }

    fn expect(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_verdict_moves_its_counters_and_an_unknown_label_is_other() {
        let verdict = BatchResult {
            version: batch_result::VERSION,
            observations: 1,
            agree_true: 3,
            agree_false: 2,
            none: [(NotCompared::Abstained, 4), (NotCompared::Shed, 1)].into(),
            available: 1,
            unavailable: 0,
            labels: vec![
                LabelCount { label: "coffee".into(), agree: Agree::True, items: 3 },
                LabelCount { label: "from a body".into(), agree: Agree::False, items: 2 },
            ],
        };
        let mut ledger = ledger();
        let body = serde_json::to_vec(&verdict).unwrap();
        ledger.answered(&batch(&[observation(Arm::Baseline, false, 200, b"")]), true, 200, &body);
        let expected = expect(&[
            ("lm_suggest_compare_total.agree.True", 3),
            ("lm_suggest_compare_total.agree.False", 2),
            ("lm_suggest_compare_total.agree.None", 5),
            ("perch_not_compared_total.reason.abstained", 4),
            ("perch_not_compared_total.reason.shed", 1),
            ("lm_ml_predict_requests_total.available.True", 1),
            ("perch_label_compare_total.label.coffee.agree.True", 3),
            ("perch_label_compare_total.label.other.agree.False", 2),
            ("perch_batch_total.result.answered", 1),
        ]);
        assert_eq!(counts(&mut ledger), expected);
    }

    #[test]
    fn without_a_verdict_the_items_are_counted_here() {
        let two = br#"{"items":[{"txn_id":1,"candidates":[]},{"txn_id":2,"candidates":[{"label":"coffee"}]}]}"#;
        let observations = [
            observation(Arm::Baseline, false, 200, two),
            observation(Arm::Candidate, false, 200, two),
            observation(Arm::Baseline, true, 200, b"no JSON"),
            observation(Arm::Baseline, false, 200, br#"{"items":[]}"#),
            observation(Arm::Baseline, false, 500, two),
        ];
        let expected = expect(&[
            ("lm_suggest_compare_total.agree.None", 5),
            ("perch_not_compared_total.reason.observer_failed", 5),
            ("lm_ml_predict_requests_total.available.False", 2),
            ("perch_batch_total.result.failed", 1),
        ]);
        let mut ledger = ledger();
        ledger.failed(&batch(&observations));
        assert_eq!(counts(&mut ledger), expected);
    }

    #[test]
    fn what_is_no_verdict_over_this_batch_is_no_answer() {
        let good =
            BatchResult { version: batch_result::VERSION, observations: 1, agree_true: 1, ..BatchResult::default() };
        let json = |verdict: &BatchResult| serde_json::to_vec(verdict).unwrap();
        let other_version = json(&BatchResult { version: 9, ..good.clone() });
        let other_batch = json(&BatchResult { observations: 2, ..good.clone() });
        let cases = [
            (true, 200, other_version),
            (true, 200, other_batch),
            (true, 200, b"{}".to_vec()),
            (true, 200, b"\xff".to_vec()),
            (true, 503, json(&good)),
            (false, 200, json(&good)),
        ];
        for (from_scorer, status, body) in cases {
            let mut ledger = ledger();
            ledger.answered(&batch(&[observation(Arm::Baseline, false, 200, b"x")]), from_scorer, status, &body);
            let counts = counts(&mut ledger);
            assert_eq!(counts.get("perch_batch_total.result.failed"), Some(&1), "{status} {body:?}");
            assert_eq!(counts.get("lm_suggest_compare_total.agree.None"), Some(&1));
        }
    }

    #[test]
    fn an_increment_that_the_host_refused_waits_for_the_next_time() {
        let mut ledger = ledger();
        ledger.count(Stat::Intercepted);
        ledger.flush(|_, _| false);
        ledger.count(Stat::Intercepted);
        assert_eq!(counts(&mut ledger), expect(&[("perch_intercepted_total", 2)]));
    }

    proptest! {
        #[test]
        fn whatever_answers_a_batch_it_is_answered_or_failed(
            status: u16, from_scorer: bool, body in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut ledger = ledger();
            ledger.answered(&batch(&[observation(Arm::Baseline, false, 200, b"x")]), from_scorer, status, &body);
            let counts = counts(&mut ledger);
            let batches = ["answered", "failed"].map(|result| counts.get(&format!("perch_batch_total.result.{result}")));
            prop_assert_eq!(batches.into_iter().flatten().sum::<u64>(), 1);
        }
    }
}
