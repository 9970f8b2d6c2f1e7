//! Periodic work: evaluates the models on feedback and, if that is enabled, retrains when drift is found.

use std::sync::Arc;
use std::time::SystemTime;

use super::app::App;
use super::retraining::drift_users;
use super::time::seconds;
use super::training;

impl App {
    /// Evaluates the models and drift at regular intervals, until the program ends.
    pub async fn keep_evaluating_models(self: Arc<Self>) {
        let Some(every) = self.settings.judge_every else { return };
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(observer) = &self.observer {
                observer.evaluate_models().await;
            }
            self.retrain_on_drift(seconds(SystemTime::now())).await;
        }
    }

    /// Retrains if there is drift at `now` (seconds since 1970) and a training may start.
    pub async fn retrain_on_drift(self: &Arc<Self>, now: u64) {
        let report =
            self.observer.as_ref().and_then(|observer| observer.drift().report(now, drift_users(observer, now)));
        let Some(report) = report.filter(|report| report.needs_training()) else { return };
        if !self.retraining.try_start(now) {
            return;
        }
        let features = report.moved.join(",");
        tracing::warn!(features, agreement_fell = report.agreement_fell, "retraining_triggered_by_drift");
        match training::run(Arc::clone(self), &self.trainer.challenger_only(), None).await {
            Ok(result) => tracing::info!(%result, "retrained"),
            Err(error) => tracing::error!(error = error.message, "retraining_failed"),
        }
    }
}
