//! How many distinct users were seen in each arm, from a moment on.
//!
//! For each pseudonym the last time that it was seen in either arm. Memory is bounded: at [`MOST_USERS`] only every second
//! one of them is kept from then on, and so on. Which ones is decided by a hash with a seed of its own, so that the sample
//! has nothing to do with the arm nor with which requests are observed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use contract::bucket::Bucket;
use contract::evidence;
use contract::frame::Observation;
use contract::names::{Arm, Cohort};
use xxhash_rust::xxh64::xxh64;

/// Users held at most.
const MOST_USERS: usize = 65_536;
/// Other than the seeds of the arm and of the observation sample (`contract::share`).
const SEED: u64 = 2;

/// Users by when they were last seen, in milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Users {
    since_ms: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// A power of two.
    one_in: u64,
    seen: HashMap<Bucket, Seen>,
}

/// Last seen in the arms; `None` never.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    rule: Option<u64>,
    model: Option<u64>,
}

impl Users {
    /// Nobody yet; what was before `now_ms` is not known.
    pub(super) fn new(now_ms: u64) -> Self {
        Self { since_ms: now_ms, state: Mutex::new(State { one_in: 1, seen: HashMap::new() }) }
    }

    /// Takes in the users of a batch that arrived at `now_ms`. A canary user is in the candidate's arm whatever
    /// response was given. The share does not decide for a cohort's users, so they are left out.
    pub(super) fn see(&self, observations: &[Observation<'_>], now_ms: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for observation in observations {
            if let (Some(bucket), Cohort::Ordinary) = (observation.bucket, observation.cohort) {
                let model = observation.assigned == Arm::Candidate;
                state.see(bucket, model, now_ms);
            }
        }
    }

    /// From when on users are known when `asked_ms` is asked, and how many there are since then.
    pub(super) fn since(&self, asked_ms: u64) -> (u64, evidence::Users) {
        let since = asked_ms.max(self.since_ms);
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
    fn see(&mut self, bucket: Bucket, model: bool, now_ms: u64) {
        if !is_in(bucket, self.one_in) {
            return;
        }
        while self.seen.len() >= MOST_USERS && !self.seen.contains_key(&bucket) {
            self.one_in = self.one_in.saturating_mul(2);
            let one_in = self.one_in;
            self.seen.retain(|bucket, _| is_in(*bucket, one_in));
            if !is_in(bucket, one_in) {
                return;
            }
        }
        let seen = self.seen.entry(bucket).or_default();
        *(if model { &mut seen.model } else { &mut seen.rule }) = Some(now_ms);
    }
}

fn is_in(bucket: Bucket, one_in: u64) -> bool {
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
    fn users_count_once_by_where_the_switch_put_them_and_by_when() {
        let users = Users::new(100);
        users.see(&[observation(1, Arm::Baseline, false), observation(1, Arm::Baseline, false)], 150);
        users.see(&[observation(2, Arm::Candidate, false), observation(3, Arm::Baseline, true)], 200);
        users.see(&[Observation { bucket: None, ..observation(0, Arm::Baseline, false) }], 200);
        users.see(&[Observation { cohort: Cohort::Beta, ..observation(4, Arm::Candidate, false) }], 200);
        let counts = |asked| {
            let (since, users) = users.since(asked);
            (since, users.rule, users.model, users.sampled_one_in)
        };
        assert_eq!(counts(120), (120, 1, 2, 1));
        assert_eq!(counts(0), (100, 1, 2, 1), "before the start nothing is known");
        assert_eq!(counts(151), (151, 0, 2, 1));
        // Moved by the switch: seen in both arms since then.
        users.see(&[observation(1, Arm::Candidate, false)], 220);
        assert_eq!(counts(120), (120, 1, 3, 1));
    }

    #[test]
    fn a_crowd_is_sampled_and_the_sample_stands_for_it() {
        let users = Users::new(0);
        let crowd: Vec<_> = (0..200_000)
            .map(|user| observation(user, if user % 10 == 0 { Arm::Candidate } else { Arm::Baseline }, false))
            .collect();
        users.see(&crowd, 1);
        let (_, seen) = users.since(0);
        assert_eq!(seen.sampled_one_in, 4);
        assert!(users.state.lock().unwrap().seen.len() <= MOST_USERS);
        // 45,000 of 180,000 and 5,000 of 20,000, give or take five deviations.
        assert!((44_000..46_000).contains(&seen.rule), "{}", seen.rule);
        assert!((4_700..5_300).contains(&seen.model), "{}", seen.model);
        users.see(&crowd, 2);
        assert_eq!(users.since(0).1, seen, "who comes again counts once");
    }
}
