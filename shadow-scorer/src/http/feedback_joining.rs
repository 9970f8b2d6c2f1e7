//! Feedback in the background: joins what waits for its event, and counts it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use contract::names::Arm;

use crate::feedback::{Action, Ended, Outcome, keep_joining};
use crate::metrics::Metrics;
use crate::store::{Recorded, Store};

/// Feedback requests that use the store at the same time; further ones get 503.
pub(super) const MOST_AT_ONCE: usize = 64;

/// Counts the first feedback on a suggestion of the candidate.
pub(super) fn count(metrics: &Metrics, action: Action, outcome: &Outcome) {
    if outcome.recorded == Recorded::New && outcome.arm.as_deref() == Some(Arm::Candidate.as_str()) {
        let accepted = if action == Action::Accept { "True" } else { "False" };
        metrics.predictions.with_label_values(&[accepted]).inc();
    }
}

/// Joins waiting feedback and deletes old feedback, until the program ends.
pub(super) async fn keep(store: Store, keep: Duration, metrics: Arc<Metrics>) {
    keep_joining(store, keep, now, move |ended| match ended {
        Ended::Joined(action, outcome) => {
            count(&metrics, action, &outcome);
            metrics.feedback_waited.with_label_values(&["joined"]).inc();
        }
        Ended::Refused => metrics.feedback_waited.with_label_values(&["refused"]).inc(),
        Ended::Expired(answers) => metrics.feedback_waited.with_label_values(&["expired"]).inc_by(answers),
    })
    .await;
}

pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
