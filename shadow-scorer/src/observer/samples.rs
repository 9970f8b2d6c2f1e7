//! A bounded sample of the disagreements, for people to look at.
//!
//! A reservoir (Vitter's algorithm R): of all disagreements seen since the model changed, each is kept with the same
//! probability, whatever their number. A new champion starts a new reservoir, as the old one's mistakes are of no use
//! any more. Users are pseudonyms ([`contract::bucket`]); no body is kept.

use std::sync::{Mutex, PoisonError};

use contract::bucket::Bucket;
use contract::names::Arm;
use serde::Serialize;

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// When it was seen, milliseconds since 1970.
    pub at_ms: u64,
    /// The user's pseudonym, if the request had an identity.
    #[serde(serialize_with = "pseudonym")]
    pub user: Option<Bucket>,
    /// The item's id.
    pub item: String,
    /// Who answered the client.
    pub served: Arm,
    /// What the rules say.
    pub rule_label: String,
    /// What the model says.
    pub model_label: String,
    /// The model's confidence, where it is known.
    pub model_confidence: Option<f64>,
    /// The model's version, empty where it is not known.
    pub model_version: String,
}

fn pseudonym<S: serde::Serializer>(bucket: &Option<Bucket>, out: S) -> Result<S::Ok, S::Error> {
    match bucket {
        Some(bucket) => out.collect_str(bucket),
        None => out.serialize_none(),
    }
}

/// The samples with the number of disagreements that they stand for.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Kept {
    /// Disagreements seen since the model changed.
    pub seen: u64,
    /// Some of them.
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
    kept: Kept,
    random: SplitMix,
}

impl Samples {
    /// Room for `capacity` samples; `seed` starts the dice.
    #[must_use]
    pub(super) fn new(capacity: usize, seed: u64) -> Self {
        let state = State { version: String::new(), kept: Kept::default(), random: SplitMix(seed) };
        Self { capacity, state: Mutex::new(state) }
    }

    /// Offers disagreements seen while `champion` serves.
    pub(super) fn offer(&self, champion: &str, disagreements: Vec<Sample>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if state.version != champion {
            champion.clone_into(&mut state.version);
            state.kept = Kept::default();
        }
        for sample in disagreements {
            state.kept.seen = state.kept.seen.saturating_add(1);
            if state.kept.samples.len() < self.capacity {
                state.kept.samples.push(sample);
            } else {
                let place = usize::try_from(state.random.below(state.kept.seen)).unwrap_or(usize::MAX);
                if let Some(old) = state.kept.samples.get_mut(place) {
                    *old = sample;
                }
            }
        }
    }

    /// What is kept at present, in no order.
    #[must_use]
    pub(super) fn kept(&self) -> Kept {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).kept.clone()
    }
}

/// Steele, Lea and Flood's SplitMix64: small, and good enough to draw samples.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    /// Evenly from `0..bound`, up to a bias of `bound / 2^64`.
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
    fn it_never_outgrows_its_room_and_knows_how_many_there_were() {
        let samples = Samples::new(10, 1);
        samples.offer("v1", (0..500).map(sample).collect());
        let kept = samples.kept();
        assert_eq!((kept.seen, kept.samples.len()), (500, 10));
        assert!(kept.samples.iter().any(|sample| sample.item.parse::<usize>().unwrap() >= 10), "not the first ten");
    }

    #[test]
    fn each_has_the_same_chance() {
        // 10 of 100 kept, 2,000 times: each is kept 200 times on average, with a deviation of 13.4.
        let mut counts = [0_u32; 100];
        for seed in 0..2_000 {
            let samples = Samples::new(10, seed);
            samples.offer("v1", (0..100).map(sample).collect());
            for kept in samples.kept().samples {
                counts[kept.item.parse::<usize>().unwrap()] += 1;
            }
        }
        assert!(counts.iter().all(|count| (130..270).contains(count)), "{counts:?}");
    }

    #[test]
    fn another_model_starts_anew() {
        let samples = Samples::new(10, 1);
        samples.offer("v1", vec![sample(1)]);
        samples.offer("v2", vec![sample(2)]);
        let kept = samples.kept();
        assert_eq!((kept.seen, kept.samples[0].item.as_str()), (1, "2"));
    }

    #[test]
    fn users_are_shown_as_pseudonyms() {
        let text = serde_json::to_string(&sample(1)).unwrap();
        assert!(text.contains("\"user\":\"00000000000000ab\""), "{text}");
    }

    #[test]
    fn no_room_keeps_nothing_but_the_number() {
        let samples = Samples::new(0, 1);
        samples.offer("v1", vec![sample(1)]);
        assert_eq!(samples.kept(), Kept { seen: 1, samples: vec![] });
    }
}
