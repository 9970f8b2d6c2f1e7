//! When drift triggers a training: when the champion's inputs or its agreement with the baseline have moved away from
//! its training.
//!
//! A training that drift triggered never deploys its model: labels from feedback may be anybody's, so the model only
//! becomes the challenger. In all else it is like one on request: one at a time, and bounded. The next one waits for
//! the cool-down, even if the first one failed: if retraining does not help, a person should look.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::observer::Observer;

/// When drift may trigger a training.
#[derive(Debug)]
pub(super) struct Retraining {
    /// Shortest time between two trainings; `None` if drift triggers none.
    cool_down: Option<Duration>,
    /// Seconds since 1970; 0 before the first.
    triggered_at: AtomicU64,
}

impl Retraining {
    pub(super) fn new(cool_down: Option<Duration>) -> Self {
        Self { cool_down, triggered_at: AtomicU64::new(0) }
    }

    /// Returns `true`, and starts the cool-down, if a training may start at `now` (seconds since 1970).
    pub(super) fn try_start(&self, now: u64) -> bool {
        let Some(cool_down) = self.cool_down else { return false };
        let triggered_at = self.triggered_at.load(Ordering::Relaxed);
        let over = triggered_at == 0 || now.saturating_sub(triggered_at) >= cool_down.as_secs();
        over && self.triggered_at.compare_exchange(triggered_at, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) fn status(&self) -> Value {
        let triggered_at = Some(self.triggered_at.load(Ordering::Relaxed)).filter(|at| *at > 0);
        json!({ "enabled": self.cool_down.is_some(), "triggered_at": triggered_at })
    }
}

/// Seconds over which drift is evaluated.
const DRIFT_WINDOW: u64 = 7 * 86_400;

/// The number of distinct users that drift at `now` (seconds since 1970) is based on; `None` if no user is known. A
/// user who moved between the arms counts in both.
pub(super) fn drift_users(observer: &Observer, now: u64) -> Option<u64> {
    let (_, users) = observer.users(now.saturating_sub(DRIFT_WINDOW).saturating_mul(1_000));
    let known = users.rule.saturating_add(users.model).saturating_mul(users.sampled_one_in);
    (known > 0).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_training_per_cool_down_and_none_when_it_is_off() {
        let on = Retraining::new(Some(Duration::from_secs(100)));
        assert_eq!([1_000, 1_001, 1_099, 1_100, 1_150].map(|now| on.try_start(now)), [true, false, false, true, false]);
        assert!(!on.try_start(500), "a clock that is set back starts nothing");
        let off = Retraining::new(None);
        assert!(!off.try_start(1_000));
        assert_eq!(off.status()["triggered_at"], Value::Null);
    }
}
