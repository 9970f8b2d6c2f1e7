//! What the clients saw at one step.

use std::collections::{BTreeMap, BTreeSet};

use super::traffic::{Answered, Reply};

/// Replies of one step, added up.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// All requests.
    pub(crate) requests: usize,
    /// Answers by the rules, fallbacks not counted.
    pub(crate) rules: usize,
    /// Answers by the model.
    pub(crate) model: usize,
    /// Fallbacks by reason.
    pub(crate) fallbacks: BTreeMap<String, usize>,
    /// What went wrong for clients, by kind.
    pub(crate) errors: BTreeMap<String, usize>,
    /// Users in the share (answered by the model, or fallen back).
    pub(crate) inside: BTreeSet<u32>,
    /// Users outside it.
    pub(crate) outside: BTreeSet<u32>,
    rule_micros: Vec<u64>,
    model_micros: Vec<u64>,
    /// The slowest answer of all, in µs.
    pub(crate) slowest: u64,
}

impl Tally {
    pub(crate) fn of(replies: Vec<Reply>) -> Self {
        let mut tally = Self::default();
        for reply in replies {
            tally.requests += 1;
            tally.slowest = tally.slowest.max(reply.micros);
            match reply.outcome {
                Ok(Answered::Rules) => {
                    tally.rules += 1;
                    tally.rule_micros.push(reply.micros);
                    tally.outside.insert(reply.user);
                }
                Ok(Answered::Model) => {
                    tally.model += 1;
                    tally.model_micros.push(reply.micros);
                    tally.inside.insert(reply.user);
                }
                Ok(Answered::Fallback(reason)) => {
                    *tally.fallbacks.entry(reason).or_default() += 1;
                    tally.inside.insert(reply.user);
                }
                Err(why) => *tally.errors.entry(why).or_default() += 1,
            }
        }
        tally.rule_micros.sort_unstable();
        tally.model_micros.sort_unstable();
        tally
    }

    /// Users who were seen on both sides within one step.
    pub(crate) fn wavering(&self) -> usize {
        self.inside.intersection(&self.outside).count()
    }

    pub(crate) fn fallen_back(&self) -> usize {
        self.fallbacks.values().sum()
    }

    pub(crate) fn failed(&self) -> usize {
        self.errors.values().sum()
    }

    /// p50 and p99 of the rules' answers.
    pub(crate) fn rule_latency(&self) -> String {
        latency(&self.rule_micros)
    }

    /// p50 and p99 of the model's answers.
    pub(crate) fn model_latency(&self) -> String {
        latency(&self.model_micros)
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
    fn a_user_on_both_sides_wavers_and_a_fallback_counts_as_inside() {
        let reply = |user, outcome| Reply { user, micros: 1, outcome: Ok(outcome) };
        let tally = Tally::of(vec![
            reply(1, Answered::Model),
            reply(1, Answered::Fallback("refused".into())),
            reply(2, Answered::Model),
            reply(2, Answered::Rules),
        ]);
        assert_eq!(tally.wavering(), 1);
        assert_eq!(listed(&tally.fallbacks), "refused 1");
    }
}
