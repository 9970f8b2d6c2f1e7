//! Which counters move. Increments gather in a [`Ledger`] and go to Envoy together, when the root context's tick comes:
//! a tick is due whenever something waits here, so nothing stays longer than the flush time, and a request costs no host
//! call for its counters.
//!
//! An observation's items are counted once its batch is answered, from the scorer's result. The filter counts the items
//! that it sent by the same rule by which the scorer reads responses: a result that has more or fewer is refused, and
//! where none comes they count as not compared. So each item is in True, False, None or abstained, whatever becomes of
//! the scorer.

use contract::response;
use contract::batch_result::{self, BatchResult};
use contract::frame::{self, Encoding};
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

    /// A batch was answered with `status` and `body`. What is not a result of this batch counts as none.
    pub fn answered(&mut self, batch: &Batch, from_scorer: bool, status: u16, body: &[u8]) {
        let result = (from_scorer && status == 200)
            .then(|| serde_json::from_slice::<BatchResult>(body).ok())
            .flatten()
            .filter(|result| result.version == batch_result::VERSION);
        match result {
            Some(result) if Sent::of(batch).is_some_and(|sent| sent.fits(&result)) => self.result(&result),
            Some(_) => self.without_result(batch, BatchOutcome::Mismatched),
            None => self.without_result(batch, BatchOutcome::Failed),
        }
    }

    /// No result came for a batch.
    pub fn failed(&mut self, batch: &Batch) {
        self.without_result(batch, BatchOutcome::Failed);
    }

    fn result(&mut self, result: &BatchResult) {
        self.count(Stat::Batch(BatchOutcome::Answered));
        self.add(Stat::Compare(Agree::True), result.agree_true.into());
        self.add(Stat::Compare(Agree::False), result.agree_false.into());
        for (reason, items) in &result.not_compared {
            self.not_compared(*reason, (*items).into());
        }
        for (arm, items) in &result.abstained {
            self.add(Stat::Abstained(*arm), (*items).into());
        }
        self.add(Stat::Predict(true), result.available.into());
        self.add(Stat::Predict(false), result.unavailable.into());
        for cell in &result.labels {
            let place = self.labels.iter().position(|label| *label == cell.label).unwrap_or(self.labels.len());
            self.add(Stat::Label(place, cell.agree), cell.items.into());
        }
    }

    fn without_result(&mut self, batch: &Batch, outcome: BatchOutcome) {
        self.count(Stat::Batch(outcome));
        // The batch is the filter's own, so it parses; were it otherwise, an item per observation keeps the sums whole.
        let Some(sent) = Sent::of(batch) else {
            self.not_compared(NotCompared::ObserverFailed, batch.observations.into());
            return;
        };
        self.not_compared(NotCompared::ObserverFailed, sent.items + sent.unread);
        self.add(Stat::Predict(false), sent.asked_for);
    }

    fn not_compared(&mut self, reason: NotCompared, items: u64) {
        self.add(Stat::Compare(Agree::None), items);
        self.add(Stat::NotCompared(reason), items);
    }
}

/// What a batch holds, as the filter itself reads it.
#[derive(Debug, Default)]
struct Sent {
    observations: u32,
    /// Items of the responses that can be read here; one for each that cannot.
    items: u64,
    /// Responses whose items are not known here, since they are packed.
    unread: u64,
    /// Observations for which the scorer asks the candidate on behalf of the baseline's arm.
    asked_for: u64,
}

impl Sent {
    fn of(batch: &Batch) -> Option<Self> {
        let parsed = frame::Batch::parse(&batch.bytes).ok()?;
        let mut sent = Self { observations: batch.observations, ..Self::default() };
        for observation in parsed.observations.iter().filter(|observation| observation.success()) {
            match observation.given() {
                (Encoding::Identity, body) => {
                    sent.items += response::count(body, &parsed.schema).map_or(1, |items| items as u64);
                }
                _ => sent.unread += 1,
            }
            sent.asked_for += u64::from(observation.assigned == Arm::Baseline);
        }
        Some(sent)
    }

    /// Returns `true` if `result` has a place for each item that was sent, and for nothing else.
    fn fits(&self, result: &BatchResult) -> bool {
        let packed = self.unread.saturating_mul(response::MAX_ITEMS as u64);
        let items = result.items();
        result.observations == self.observations
            && u64::from(result.available) + u64::from(result.unavailable) == self.asked_for
            && (self.items..=self.items.saturating_add(packed)).contains(&items)
            && result.labels_fit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::batch_result::LabelCount;
    use contract::frame::{Observation, append};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn observation<'a>(arm: Arm, fallback: bool, status: u16, answer: &'a [u8]) -> Observation<'a> {
        Observation {
            assigned: if fallback { Arm::Candidate } else { arm },
            served: arm,
            fallback,
            bucket: None,
            cohort: contract::names::Cohort::Ordinary,
            status,
            duration_us: 1,
            baseline_us: 1,
            candidate_us: 1,
            encoding: Encoding::Identity,
            baseline: answer,
            candidate: (arm == Arm::Candidate).then_some(answer),
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

    fn items(count: usize) -> Vec<u8> {
        let items: Vec<String> = (0..count).map(|id| format!(r#"{{"txn_id":{id}}}"#)).collect();
        format!(r#"{{"items":[{}]}}"#, items.join(",")).into_bytes()
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
    fn a_result_moves_its_counters_and_an_unknown_label_is_other() {
        let verdict = BatchResult {
            version: batch_result::VERSION,
            observations: 1,
            agree_true: 3,
            agree_false: 2,
            not_compared: [(NotCompared::MissingItem, 4), (NotCompared::Shed, 1)].into(),
            abstained: [(Arm::Baseline, 2)].into(),
            available: 1,
            unavailable: 0,
            labels: vec![
                LabelCount { label: "coffee".into(), agree: Agree::True, items: 3 },
                LabelCount { label: "from a body".into(), agree: Agree::False, items: 2 },
            ],
        };
        let mut ledger = ledger();
        let body = serde_json::to_vec(&verdict).unwrap();
        ledger.answered(&batch(&[observation(Arm::Baseline, false, 200, &items(12))]), true, 200, &body);
        let expected = expect(&[
            ("lm_suggest_compare_total.agree.True", 3),
            ("lm_suggest_compare_total.agree.False", 2),
            ("lm_suggest_compare_total.agree.None", 5),
            ("perch_not_compared_total.reason.missing_item", 4),
            ("perch_not_compared_total.reason.shed", 1),
            ("perch_compare_abstained_total.arm.baseline", 2),
            ("lm_ml_predict_requests_total.available.True", 1),
            ("perch_label_compare_total.label.coffee.agree.True", 3),
            ("perch_label_compare_total.label.other.agree.False", 2),
            ("perch_batch_total.result.answered", 1),
        ]);
        assert_eq!(counts(&mut ledger), expected);
    }

    #[test]
    fn without_a_result_the_items_are_counted_here() {
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
    fn what_is_not_a_result_of_this_batch_counts_as_none() {
        let good = BatchResult {
            version: batch_result::VERSION,
            observations: 1,
            agree_true: 1,
            available: 1,
            ..BatchResult::default()
        };
        let json = |result: &BatchResult| serde_json::to_vec(result).unwrap();
        let other_version = json(&BatchResult { version: 9, ..good.clone() });
        let cases = [
            (true, 200, other_version),
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
    fn a_result_whose_counts_do_not_fit_what_was_sent_is_refused() {
        let one = items(1);
        let packed = Observation { encoding: Encoding::Gzip, ..observation(Arm::Baseline, false, 200, b"packed") };
        let sent = batch(&[observation(Arm::Baseline, false, 200, &one), packed]);
        let good = BatchResult {
            version: batch_result::VERSION,
            observations: 2,
            agree_true: 8,
            available: 1,
            unavailable: 1,
            ..BatchResult::default()
        };
        let answer = |result: &BatchResult| {
            let mut ledger = ledger();
            ledger.answered(&sent, true, 200, &serde_json::to_vec(result).unwrap());
            counts(&mut ledger)
        };
        assert_eq!(answer(&good).get("perch_batch_total.result.answered"), Some(&1), "a packed response may have many");
        let label = |items| LabelCount { label: "coffee".into(), agree: Agree::True, items };
        for wrong in [
            BatchResult { observations: 1, ..good.clone() },
            BatchResult { agree_true: 0, ..good.clone() },
            BatchResult { agree_true: u32::MAX, agree_false: u32::MAX, ..good.clone() },
            BatchResult { available: 2, ..good.clone() },
            BatchResult { labels: vec![label(9)], ..good.clone() },
        ] {
            let counts = answer(&wrong);
            assert_eq!(counts.get("perch_batch_total.result.mismatched"), Some(&1), "{wrong:?}");
            assert_eq!(counts.get("perch_not_compared_total.reason.observer_failed"), Some(&2));
            assert_eq!(counts.get("lm_suggest_compare_total.agree.True"), None);
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
            let batches = ["answered", "failed", "mismatched"].map(|result| counts.get(&format!("perch_batch_total.result.{result}")));
            prop_assert_eq!(batches.into_iter().flatten().sum::<u64>(), 1);
        }
    }
}
