//! Counts the distinct users of each arm since some time.
//!
//! For each pseudonym the last time in either arm is kept. Memory is bounded: whenever [`MAX_USERS`] is reached, half
//! of the users is dropped from the sample. A hash with its own seed decides which, so that the sample is independent
//! of the arm and of which requests are observed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use contract::bucket::Bucket;
use contract::evidence;
use contract::frame::Observation;
use contract::names::{Arm, Cohort};
use xxhash_rust::xxh64::xxh64;

/// Most users in memory.
const MAX_USERS: usize = 65_536;
/// Different from the seeds of the arm and of the observation sample (`contract::share`).
const SEED: u64 = 2;

/// When users were last seen in each arm, in milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Users {
    since_ms: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// One in how many users is sampled; a power of two.
    one_in: u64,
    seen: HashMap<Bucket, LastActivity>,
}

/// When a user was last observed in each arm, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default)]
struct LastActivity {
    rule: Option<u64>,
    model: Option<u64>,
}

impl Users {
    /// Without users; nothing before `now_ms` is known.
    pub(super) fn new(now_ms: u64) -> Self {
        Self { since_ms: now_ms, state: Mutex::new(State { one_in: 1, seen: HashMap::new() }) }
    }

    /// Records the users of a batch that arrived at `now_ms`. A canary user counts for the candidate's arm whichever
    /// response was served. Users in a cohort are left out, since the canary share does not assign them.
    pub(super) fn record(&self, observations: &[Observation<'_>], now_ms: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for observation in observations {
            if let (Some(bucket), Cohort::Ordinary) = (observation.bucket, observation.cohort) {
                let model = observation.assigned == Arm::Candidate;
                state.record(bucket, model, now_ms);
            }
        }
    }

    /// The time since which users are known, at least `since_ms`, and their number since then.
    pub(super) fn since(&self, since_ms: u64) -> (u64, evidence::Users) {
        let since = since_ms.max(self.since_ms);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut users = evidence::Users { rule: 0, model: 0, sampled_one_in: state.one_in };
        for seen in state.seen.values() {
            users.rule += u64::from(seen.rule.is_some_and(|last| last >= since));
            users.model += u64::from(seen.model.is_some_and(|last| last >= since));
        }
        (since, users)
    }
}

impl State {
    fn record(&mut self, bucket: Bucket, model: bool, now_ms: u64) {
        if !is_sampled(bucket, self.one_in) {
            return;
        }
        while self.seen.len() >= MAX_USERS && !self.seen.contains_key(&bucket) {
            self.one_in = self.one_in.saturating_mul(2);
            let one_in = self.one_in;
            self.seen.retain(|bucket, _| is_sampled(*bucket, one_in));
            if !is_sampled(bucket, one_in) {
                return;
            }
        }
        let seen = self.seen.entry(bucket).or_default();
        *(if model { &mut seen.model } else { &mut seen.rule }) = Some(now_ms);
    }
}

fn is_sampled(bucket: Bucket, one_in: u64) -> bool {
    one_in == 1 || xxh64(&bucket.digits(), SEED).is_multiple_of(one_in)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::frame::Encoding;

    fn observation(user: u64, arm: Arm, fallback: bool) -> Observation<'static> {
        Observation {
            assigned: if fallback { Arm::Candidate } else { arm },
            served: arm,
            fallback,
            bucket: Some(Bucket(user)),
            cohort: Cohort::Ordinary,
            status: 200,
            duration_us: 1,
            baseline_us: 1,
            candidate_us: 1,
            encoding: Encoding::Identity,
            baseline: b"{}",
            candidate: None,
        }
    }

    #[test]
    fn users_count_once_by_assigned_arm_and_time() {
        let users = Users::new(100);
        users.record(&[observation(1, Arm::Baseline, false), observation(1, Arm::Baseline, false)], 150);
        users.record(&[observation(2, Arm::Candidate, false), observation(3, Arm::Baseline, true)], 200);
        users.record(&[Observation { bucket: None, ..observation(0, Arm::Baseline, false) }], 200);
        users.record(&[Observation { cohort: Cohort::Beta, ..observation(4, Arm::Candidate, false) }], 200);
        let counts = |asked| {
            let (since, users) = users.since(asked);
            (since, users.rule, users.model, users.sampled_one_in)
        };
        assert_eq!(counts(120), (120, 1, 2, 1));
        assert_eq!(counts(0), (100, 1, 2, 1), "before the start nothing is known");
        assert_eq!(counts(151), (151, 0, 2, 1));
        // A change of the share moved this user, who was seen in both arms since.
        users.record(&[observation(1, Arm::Candidate, false)], 220);
        assert_eq!(counts(120), (120, 1, 3, 1));
    }

    #[test]
    fn many_users_are_sampled_and_the_sample_is_representative() {
        let users = Users::new(0);
        let many: Vec<_> = (0..200_000)
            .map(|user| observation(user, if user % 10 == 0 { Arm::Candidate } else { Arm::Baseline }, false))
            .collect();
        users.record(&many, 1);
        let (_, seen) = users.since(0);
        assert_eq!(seen.sampled_one_in, 4);
        assert!(users.state.lock().unwrap().seen.len() <= MAX_USERS);
        // 45,000 of 180,000 and 5,000 of 20,000, give or take five deviations.
        assert!((44_000..46_000).contains(&seen.rule), "{}", seen.rule);
        assert!((4_700..5_300).contains(&seen.model), "{}", seen.model);
        users.record(&many, 2);
        assert_eq!(users.since(0).1, seen, "a user who returns counts once");
    }
}
