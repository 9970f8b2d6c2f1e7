//! Decides which counters are incremented. Increments gather in [`PendingCounts`] and are handed to Envoy together at a tick
//! of the root context, which comes within the flush time whenever an increment waits. So a request costs no host call for
//! its counters.
//!
//! An observation's items are counted when the batch result comes. The filter counts the items that it sent by the same
//! rule by which the scorer reads responses: a result with more or fewer items is refused, and if no result comes the items
//! count as not compared. So each item is counted once, as True, False, None or abstained, whatever happens to the scorer.

use contract::batch_result::{self, BatchResult};
use contract::frame::{self, Encoding};
use contract::names::{Agree, Arm, BatchOutcome, NotCompared};
use contract::response;

use super::observation::Batch;
use crate::metrics::{self, Stat};

/// Increments that have not been handed to Envoy yet.
#[derive(Debug)]
pub struct PendingCounts {
    labels: Vec<String>,
    counts: Vec<u64>,
    /// Places of the counts that are not 0.
    moved: Vec<usize>,
}

impl PendingCounts {
    /// No increments yet, for the configured set of labels.
    #[must_use]
    pub fn new(labels: Vec<String>) -> Self {
        let counts = vec![0; metrics::count(labels.len())];
        Self { labels, counts, moved: Vec::new() }
    }

    /// Adds one to `stat`.
    pub fn count(&mut self, stat: Stat) {
        self.add(stat, 1);
    }

    /// Adds `by` to `stat`.
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

    /// Returns `true` if there are increments.
    #[must_use]
    pub fn moved(&self) -> bool {
        !self.moved.is_empty()
    }

    /// Calls `take` with the place and the value of every increment, and removes those for which it returns `true`.
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

    /// Counts the scorer's response to a batch. A response that is not a result of this batch counts as none.
    pub fn batch_result(&mut self, batch: &Batch, from_scorer: bool, status: u16, body: &[u8]) {
        let result = (from_scorer && status == 200)
            .then(|| serde_json::from_slice::<BatchResult>(body).ok())
            .flatten()
            .filter(|result| result.version == batch_result::VERSION);
        match result {
            Some(result) if BatchContents::of(batch).is_some_and(|contents| contents.fits(&result)) => {
                self.result(&result)
            }
            Some(_) => self.without_result(batch, BatchOutcome::Mismatched),
            None => self.without_result(batch, BatchOutcome::Failed),
        }
    }

    /// Counts a batch for which no result came.
    pub fn batch_failed(&mut self, batch: &Batch) {
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
        // The filter's own batch parses. If it did not, one item per observation would keep the sums consistent.
        let Some(contents) = BatchContents::of(batch) else {
            self.not_compared(NotCompared::ObserverFailed, batch.observations.into());
            return;
        };
        self.not_compared(NotCompared::ObserverFailed, contents.items + contents.encoded);
        self.add(Stat::Predict(false), contents.scorer_calls);
    }

    fn not_compared(&mut self, reason: NotCompared, items: u64) {
        self.add(Stat::Compare(Agree::None), items);
        self.add(Stat::NotCompared(reason), items);
    }
}

/// The contents of a batch, as far as the filter can read them.
#[derive(Debug, Default)]
struct BatchContents {
    observations: u32,
    /// Items of the responses without content encoding; one for each response that cannot be read.
    items: u64,
    /// Responses with a content encoding, whose items are not known here.
    encoded: u64,
    /// Observations of the baseline arm, for which the scorer itself obtains the candidate response.
    scorer_calls: u64,
}

impl BatchContents {
    fn of(batch: &Batch) -> Option<Self> {
        let parsed = frame::Batch::parse(&batch.bytes).ok()?;
        let mut contents = Self { observations: batch.observations, ..Self::default() };
        for observation in parsed.observations.iter().filter(|observation| observation.success()) {
            match observation.given() {
                (Encoding::Identity, body) => {
                    contents.items += response::count(body, &parsed.schema).map_or(1, |items| items as u64);
                }
                _ => contents.encoded += 1,
            }
            contents.scorer_calls += u64::from(observation.assigned == Arm::Baseline);
        }
        Some(contents)
    }

    /// Returns `true` if `result` counts exactly the items of the batch.
    fn fits(&self, result: &BatchResult) -> bool {
        let most_encoded = self.encoded.saturating_mul(response::MAX_ITEMS as u64);
        let items = result.items();
        result.observations == self.observations
            && u64::from(result.available) + u64::from(result.unavailable) == self.scorer_calls
            && (self.items..=self.items.saturating_add(most_encoded)).contains(&items)
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

    fn observation<'a>(arm: Arm, fallback: bool, status: u16, body: &'a [u8]) -> Observation<'a> {
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
            baseline: body,
            candidate: (arm == Arm::Candidate).then_some(body),
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

    fn pending() -> PendingCounts {
        PendingCounts::new(vec!["coffee".into()])
    }

    /// The increments that are not 0, by name.
    fn counts(pending: &mut PendingCounts) -> BTreeMap<String, u64> {
        let names = metrics::names(&pending.labels.clone());
        let mut counts = BTreeMap::new();
        pending.flush(|place, by| {
            counts.insert(names[place].clone(), by);
            true
        });
        assert!(!pending.moved());
        counts
    }

    fn expect(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_result_moves_its_counters_and_an_unknown_label_is_other() {
        let result = BatchResult {
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
        let mut pending = pending();
        let body = serde_json::to_vec(&result).unwrap();
        pending.batch_result(&batch(&[observation(Arm::Baseline, false, 200, &items(12))]), true, 200, &body);
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
        assert_eq!(counts(&mut pending), expected);
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
        let mut pending = pending();
        pending.batch_failed(&batch(&observations));
        assert_eq!(counts(&mut pending), expected);
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
            let mut pending = pending();
            pending.batch_result(&batch(&[observation(Arm::Baseline, false, 200, b"x")]), from_scorer, status, &body);
            let counts = counts(&mut pending);
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
            let mut pending = pending();
            pending.batch_result(&sent, true, 200, &serde_json::to_vec(result).unwrap());
            counts(&mut pending)
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
        let mut pending = pending();
        pending.count(Stat::Intercepted);
        pending.flush(|_, _| false);
        pending.count(Stat::Intercepted);
        assert_eq!(counts(&mut pending), expect(&[("perch_intercepted_total", 2)]));
    }

    proptest! {
        #[test]
        fn whatever_answers_a_batch_it_is_answered_or_failed(
            status: u16, from_scorer: bool, body in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut pending = pending();
            pending.batch_result(&batch(&[observation(Arm::Baseline, false, 200, b"x")]), from_scorer, status, &body);
            let counts = counts(&mut pending);
            let batches = ["answered", "failed", "mismatched"].map(|result| counts.get(&format!("perch_batch_total.result.{result}")));
            prop_assert_eq!(batches.into_iter().flatten().sum::<u64>(), 1);
        }
    }
}
