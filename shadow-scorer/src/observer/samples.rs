//! A bounded sample of disagreements, for people to inspect.
//!
//! Reservoir sampling (Vitter's algorithm R): each disagreement since the last change of the champion is kept with the
//! same probability, whatever their number. A new champion starts a new reservoir, since the old one's mistakes no
//! longer matter. Users are pseudonyms ([`contract::bucket`]); no body is kept.

use std::sync::{Mutex, PoisonError};

use contract::bucket::Bucket;
use contract::names::Arm;
use serde::Serialize;

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Time of the comparison, in milliseconds since 1970.
    pub at_ms: u64,
    /// The user's pseudonym; `None` if the request had no identity.
    #[serde(serialize_with = "pseudonym")]
    pub user: Option<Bucket>,
    /// The item's id.
    pub item: String,
    /// The arm that was served.
    pub served: Arm,
    /// The baseline's label.
    pub rule_label: String,
    /// The candidate's label.
    pub model_label: String,
    /// The candidate's confidence, if known.
    pub model_confidence: Option<f64>,
    /// The candidate's version; empty if unknown.
    pub model_version: String,
}

fn pseudonym<S: serde::Serializer>(bucket: &Option<Bucket>, out: S) -> Result<S::Ok, S::Error> {
    match bucket {
        Some(bucket) => out.collect_str(bucket),
        None => out.serialize_none(),
    }
}

/// The samples, and the number of disagreements that they were drawn from.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Disagreements {
    /// Disagreements since the champion changed.
    pub seen: u64,
    /// The sample.
    pub samples: Vec<Sample>,
}

/// The reservoir.
#[derive(Debug)]
pub(super) struct Samples {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    version: String,
    disagreements: Disagreements,
    random: SplitMix,
}

impl Samples {
    /// Keeps up to `capacity` samples; `seed` starts the random numbers.
    #[must_use]
    pub(super) fn new(capacity: usize, seed: u64) -> Self {
        let state = State { version: String::new(), disagreements: Disagreements::default(), random: SplitMix(seed) };
        Self { capacity, state: Mutex::new(state) }
    }

    /// Offers disagreements that occurred while `champion` serves.
    pub(super) fn offer(&self, champion: &str, disagreements: Vec<Sample>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if state.version != champion {
            champion.clone_into(&mut state.version);
            state.disagreements = Disagreements::default();
        }
        for sample in disagreements {
            state.disagreements.seen = state.disagreements.seen.saturating_add(1);
            if state.disagreements.samples.len() < self.capacity {
                state.disagreements.samples.push(sample);
            } else {
                let place = usize::try_from(state.random.below(state.disagreements.seen)).unwrap_or(usize::MAX);
                if let Some(old) = state.disagreements.samples.get_mut(place) {
                    *old = sample;
                }
            }
        }
    }

    /// A copy of the current sample, in no particular order.
    #[must_use]
    pub(super) fn snapshot(&self) -> Disagreements {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).disagreements.clone()
    }
}

/// Steele, Lea and Flood's SplitMix64: small, and good enough to draw samples.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    /// A uniform number from `0..bound`, up to a bias of `bound / 2^64`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The high half of a product of two 64-bit numbers is below the bound.
        u64::try_from((u128::from(z) * u128::from(bound)) >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(item: usize) -> Sample {
        Sample {
            at_ms: 0,
            user: Some(Bucket(0xab)),
            item: item.to_string(),
            served: Arm::Baseline,
            rule_label: "a".into(),
            model_label: "b".into(),
            model_confidence: Some(0.5),
            model_version: "v1".into(),
        }
    }

    #[test]
    fn it_stays_within_its_capacity_and_counts_all() {
        let samples = Samples::new(10, 1);
        samples.offer("v1", (0..500).map(sample).collect());
        let snapshot = samples.snapshot();
        assert_eq!((snapshot.seen, snapshot.samples.len()), (500, 10));
        assert!(snapshot.samples.iter().any(|sample| sample.item.parse::<usize>().unwrap() >= 10), "not the first ten");
    }

    #[test]
    fn each_has_the_same_chance() {
        // 10 of 100 kept, 2,000 times: each is kept 200 times on average, with a deviation of 13.4.
        let mut counts = [0_u32; 100];
        for seed in 0..2_000 {
            let samples = Samples::new(10, seed);
            samples.offer("v1", (0..100).map(sample).collect());
            for kept in samples.snapshot().samples {
                counts[kept.item.parse::<usize>().unwrap()] += 1;
            }
        }
        assert!(counts.iter().all(|count| (130..270).contains(count)), "{counts:?}");
    }

    #[test]
    fn another_champion_starts_a_new_sample() {
        let samples = Samples::new(10, 1);
        samples.offer("v1", vec![sample(1)]);
        samples.offer("v2", vec![sample(2)]);
        let snapshot = samples.snapshot();
        assert_eq!((snapshot.seen, snapshot.samples[0].item.as_str()), (1, "2"));
    }

    #[test]
    fn users_are_shown_as_pseudonyms() {
        let text = serde_json::to_string(&sample(1)).unwrap();
        assert!(text.contains("\"user\":\"00000000000000ab\""), "{text}");
    }

    #[test]
    fn without_capacity_only_the_number_is_kept() {
        let samples = Samples::new(0, 1);
        samples.offer("v1", vec![sample(1)]);
        assert_eq!(samples.snapshot(), Disagreements { seen: 1, samples: vec![] });
    }
}
