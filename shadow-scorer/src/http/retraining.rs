//! What the program does by itself every so often: it judges the models on what users said, and, when that is enabled,
//! trains anew once what the champion is asked, or its agreement, has moved away from its training.
//!
//! A training asked for by drift is like any other, one at a time and bounded, but for what comes of it: only the
//! operator's own training may deploy, this one makes a challenger, since the labels it learnt may be anybody's.
//! Another one is not asked for before the cool-down is over, whatever came of the first: if training does not help,
//! training again does not help either, and a person should look.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::app::App;
use super::ml_v2::seconds;
use super::training;
use crate::observer::Observer;

/// Trainings that drift asks for.
#[derive(Debug)]
pub(super) struct Retraining {
    /// Shortest time between two; `None` when drift asks for none.
    cool_down: Option<Duration>,
    /// Seconds since 1970; 0 before the first.
    asked: AtomicU64,
}

impl Retraining {
    pub(super) fn new(cool_down: Option<Duration>) -> Self {
        Self { cool_down, asked: AtomicU64::new(0) }
    }

    /// Takes the turn at `now` (seconds since 1970), if there is one.
    fn take_turn(&self, now: u64) -> bool {
        let Some(cool_down) = self.cool_down else { return false };
        let asked = self.asked.load(Ordering::Relaxed);
        let over = asked == 0 || now.saturating_sub(asked) >= cool_down.as_secs();
        over && self.asked.compare_exchange(asked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) fn status(&self) -> Value {
        let asked = Some(self.asked.load(Ordering::Relaxed)).filter(|at| *at > 0);
        json!({ "enabled": self.cool_down.is_some(), "asked_at": asked })
    }
}

/// Seconds of the past that drift looks at.
const DRIFT_WINDOW: u64 = 7 * 86_400;

/// How many distinct users are behind what drift at `now` (seconds since 1970) is judged by; `None` where no user is
/// known. Who moved between the arms counts in both.
pub(super) fn drift_users(observer: &Observer, now: u64) -> Option<u64> {
    let (_, users) = observer.users(now.saturating_sub(DRIFT_WINDOW).saturating_mul(1_000));
    let known = users.rule.saturating_add(users.model).saturating_mul(users.sampled_one_in);
    (known > 0).then_some(known)
}

impl App {
    /// Judges and looks at drift every so often, until the program ends.
    pub async fn keep_judging(self: Arc<Self>) {
        let Some(every) = self.settings.judge_every else { return };
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(observer) = &self.observer {
                observer.judge().await;
            }
            self.retrain_if_moved(seconds(SystemTime::now())).await;
        }
    }

    /// Trains anew if drift at `now` (seconds since 1970) asks for it and may.
    pub async fn retrain_if_moved(self: &Arc<Self>, now: u64) {
        let report =
            self.observer.as_ref().and_then(|observer| observer.drift().report(now, drift_users(observer, now)));
        let Some(report) = report.filter(|report| report.asks_for_training()) else { return };
        if !self.retraining.take_turn(now) {
            return;
        }
        log::warn!("training anew: moved are {:?}, agreement fell: {}", report.moved, report.agreement_fell);
        match training::run(Arc::clone(self), &self.trainer.judged_only(), None).await {
            Ok(result) => log::info!("trained anew: {result}"),
            Err(error) => log::error!("drift asked for a training, and it failed: {}", error.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_training_per_cool_down_and_none_when_it_is_off() {
        let on = Retraining::new(Some(Duration::from_secs(100)));
        assert_eq!([1_000, 1_001, 1_099, 1_100, 1_150].map(|now| on.take_turn(now)), [true, false, false, true, false]);
        assert!(!on.take_turn(500), "a clock that is set back asks for nothing");
        let off = Retraining::new(None);
        assert!(!off.take_turn(1_000));
        assert_eq!(off.status()["asked_at"], Value::Null);
    }
}
