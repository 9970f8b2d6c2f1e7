//! The clients' replies of one step, added up.

use std::collections::{BTreeMap, BTreeSet};

use super::traffic::{Reply, Served};

/// Counts and latencies of one step.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// All requests.
    pub(crate) requests: usize,
    /// Baseline responses, fallbacks not counted.
    pub(crate) baseline: usize,
    /// Candidate responses.
    pub(crate) candidate: usize,
    /// Fallbacks by reason.
    pub(crate) fallbacks: BTreeMap<String, usize>,
    /// What went wrong for clients, by kind.
    pub(crate) errors: BTreeMap<String, usize>,
    /// Users in the canary: they got the candidate, or a fallback.
    pub(crate) canary: BTreeSet<u32>,
    /// Users who got the baseline.
    pub(crate) others: BTreeSet<u32>,
    baseline_micros: Vec<u64>,
    candidate_micros: Vec<u64>,
    /// The slowest response of all, in µs.
    pub(crate) slowest: u64,
}

impl Tally {
    pub(crate) fn of(replies: Vec<Reply>) -> Self {
        let mut tally = Self::default();
        for reply in replies {
            tally.requests += 1;
            tally.slowest = tally.slowest.max(reply.micros);
            match reply.outcome {
                Ok(Served::Baseline) => {
                    tally.baseline += 1;
                    tally.baseline_micros.push(reply.micros);
                    tally.others.insert(reply.user);
                }
                Ok(Served::Candidate) => {
                    tally.candidate += 1;
                    tally.candidate_micros.push(reply.micros);
                    tally.canary.insert(reply.user);
                }
                Ok(Served::Fallback(reason)) => {
                    *tally.fallbacks.entry(reason).or_default() += 1;
                    tally.canary.insert(reply.user);
                }
                Err(why) => *tally.errors.entry(why).or_default() += 1,
            }
        }
        tally.baseline_micros.sort_unstable();
        tally.candidate_micros.sort_unstable();
        tally
    }

    /// Users who were in both arms within one step.
    pub(crate) fn users_in_both_arms(&self) -> usize {
        self.canary.intersection(&self.others).count()
    }

    pub(crate) fn fallback_count(&self) -> usize {
        self.fallbacks.values().sum()
    }

    pub(crate) fn failed(&self) -> usize {
        self.errors.values().sum()
    }

    /// p50 and p99 of the baseline responses.
    pub(crate) fn baseline_latency(&self) -> String {
        latency(&self.baseline_micros)
    }

    /// p50 and p99 of the candidate responses.
    pub(crate) fn candidate_latency(&self) -> String {
        latency(&self.candidate_micros)
    }
}

fn latency(sorted: &[u64]) -> String {
    match (percentile(sorted, 50), percentile(sorted, 99)) {
        (Some(p50), Some(p99)) => format!("{} / {} ms", millis(p50), millis(p99)),
        _ => "no data".into(),
    }
}

/// The value that `percent` % of `sorted` do not exceed (nearest rank).
pub(crate) fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Microseconds as milliseconds with two decimals.
pub(crate) fn millis(micros: u64) -> String {
    format!("{}.{:02}", micros / 1_000, micros % 1_000 / 10)
}

/// `a 3, b 1`, or `none`.
pub(crate) fn listed(counts: &BTreeMap<String, usize>) -> String {
    if counts.is_empty() {
        return "none".into();
    }
    counts.iter().map(|(what, times)| format!("{what} {times}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_nearest_rank() {
        let sorted: Vec<u64> = (1..=100).collect();
        assert_eq!((percentile(&sorted, 50), percentile(&sorted, 99)), (Some(50), Some(99)));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn a_user_in_both_arms_is_counted_and_a_fallback_is_in_the_canary() {
        let reply = |user, outcome| Reply { user, micros: 1, outcome: Ok(outcome) };
        let tally = Tally::of(vec![
            reply(1, Served::Candidate),
            reply(1, Served::Fallback("refused".into())),
            reply(2, Served::Candidate),
            reply(2, Served::Baseline),
        ]);
        assert_eq!(tally.users_in_both_arms(), 1);
        assert_eq!(listed(&tally.fallbacks), "refused 1");
    }
}
