//! `POST /ml/suggestions/feedback`: what users say to suggestions.
//!
//! The answer says what it was taken as: `{"ok": true, "new": …, "labelled": …, "arm": …, "model_version": …}`, where arm
//! and version are those of what was served, `null` when no suggestion of that `event_id` is known.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use contract::names::{Arm, Unavailable};
use http::StatusCode;
use serde_json::json;

use super::answer::{Answer, json_answer};
use super::error::HttpError;
use super::routes::{Call, Route};
use crate::feedback::{Action, FeedbackRequest, record};
use crate::store::Recorded;

const REQUEST_BYTES: usize = 64 * 1024;
/// Longest wait for the store: below the gateway's own limit, so that the client learns why.
const DEADLINE: Duration = Duration::from_secs(4);

pub(super) fn routes() -> [Route; 1] {
    [Route::post("/ml/suggestions/feedback", "feedback", |call| Box::pin(feedback(call)))]
}

async fn feedback(mut call: Call) -> Result<Answer, HttpError> {
    let body = call.decoded(REQUEST_BYTES).await?;
    let request = FeedbackRequest::parse(&body)?;
    let app = &call.app;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let outcome = match tokio::time::timeout(DEADLINE, record(&app.store, &request, now)).await {
        Ok(outcome) => outcome.map_err(HttpError::from),
        Err(late) => Err(HttpError::unavailable(Unavailable::Store).because(late)),
    };
    let outcome = outcome.inspect_err(|error| {
        if error.reason == Unavailable::Store.as_str() {
            app.metrics.store_failures.with_label_values(&["feedback"]).inc();
        }
    })?;
    let new = outcome.recorded == Recorded::New;
    if new && outcome.arm.as_deref() == Some(Arm::Candidate.as_str()) {
        let accepted = if request.action == Action::Accept { "True" } else { "False" };
        app.metrics.predictions.with_label_values(&[accepted]).inc();
    }
    let said = json!({
        "ok": true,
        "new": new,
        "labelled": outcome.labelled,
        "arm": outcome.arm,
        "model_version": outcome.model_version,
    });
    Ok(json_answer(StatusCode::OK, &said))
}
