//! Counters across restarts.
//!
//! A counter starts again at 0 when its program does. Here it goes on: what was counted is added up per series, a value
//! smaller than the last one counts from 0 (as Prometheus' `increase` has it), and a series that appears while the guard
//! runs starts at what it shows, since that was counted before. Stored with the guard's state, so that what happened
//! while the guard was down is counted too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stack::scrape::Sample;

/// What was counted, by series.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    series: BTreeMap<String, Counter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Counter {
    last: f64,
    total: f64,
}

impl Totals {
    /// Takes in the samples of one look. A value that is not a finite number is left out.
    pub fn take(&mut self, samples: &[Sample]) {
        for sample in samples.iter().filter(|sample| sample.value.is_finite()) {
            let counter = self.series.entry(key(sample)).or_insert(Counter { last: sample.value, total: 0.0 });
            let restarted = sample.value < counter.last;
            counter.total += if restarted { sample.value } else { sample.value - counter.last };
            counter.last = sample.value;
        }
    }

    /// What the series of `sample` has counted; 0 for one that was never taken in.
    #[must_use]
    pub fn of(&self, sample: &Sample) -> f64 {
        self.series.get(&key(sample)).map_or(0.0, |counter| counter.total)
    }
}

fn key(sample: &Sample) -> String {
    let mut key = sample.name.clone();
    for (name, value) in &sample.labels {
        key.push('\u{1}');
        key.push_str(name);
        key.push('\u{2}');
        key.push_str(value);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(instance: &str, value: f64) -> Sample {
        Sample { name: "c".into(), labels: [("instance".to_owned(), instance.to_owned())].into(), value }
    }

    #[test]
    fn a_restart_loses_nothing_and_counts_nothing_twice() {
        let mut totals = Totals::default();
        for value in [100.0, 110.0, 5.0, 8.0] {
            totals.take(&[sample("a", value)]);
        }
        assert_eq!(totals.of(&sample("a", 0.0)), 18.0);
    }

    #[test]
    fn what_a_new_target_counted_before_is_not_ours() {
        let mut totals = Totals::default();
        totals.take(&[sample("a", 1.0)]);
        totals.take(&[sample("a", 2.0), sample("b", 5000.0)]);
        totals.take(&[sample("b", 5001.0), sample("a", f64::NAN)]);
        assert_eq!((totals.of(&sample("a", 0.0)), totals.of(&sample("b", 0.0))), (1.0, 1.0));
    }

    #[test]
    fn stored_it_goes_on() {
        let mut totals = Totals::default();
        totals.take(&[sample("a", 1.0)]);
        let mut stored: Totals = serde_json::from_str(&serde_json::to_string(&totals).unwrap()).unwrap();
        stored.take(&[sample("a", 4.0)]);
        assert_eq!(stored.of(&sample("a", 0.0)), 3.0);
    }
}
