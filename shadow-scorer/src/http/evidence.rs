//! `GET /perch/v1/evidence?since_ms=MS`: what the guard reads beyond metrics (see [`contract::evidence`]).

use std::time::Duration;

use contract::evidence::{Evidence, PATH, SINCE, VERSION};
use http::StatusCode;

use super::call::{Call, Route};
use super::error::HttpError;
use super::observations::observer;
use super::response::{Response, json_response};

/// Longest wait for the store. The guard evaluates every few seconds, and uses the rest without the feedback.
const DEADLINE: Duration = Duration::from_secs(1);

pub(super) fn routes() -> [Route; 1] {
    [Route::get(PATH, "evidence", |call| Box::pin(evidence(call)))]
}

async fn evidence(call: Call) -> Result<Response, HttpError> {
    let app = &call.app;
    let requested = since(call.head.uri.query().unwrap_or_default())?;
    let (since_ms, users) = observer(&app.observer)?.users(requested);
    // Events are kept by the second: the first whole one, so that nothing from before counts.
    let seconds = i64::try_from(since_ms.div_ceil(1_000)).unwrap_or(i64::MAX);
    let feedback = match tokio::time::timeout(DEADLINE, app.store.feedback_by_arm(seconds)).await {
        Ok(Ok(feedback)) => Some(feedback),
        late_or_failed => {
            app.metrics.store_failures.with_label_values(&["evidence"]).inc();
            if let Ok(Err(error)) = late_or_failed {
                tracing::debug!(%error, "evidence_without_feedback");
            }
            None
        }
    };
    Ok(json_response(StatusCode::OK, &Evidence { version: VERSION, since_ms, users, feedback }))
}

/// The parameter `since_ms`; without it everything since the scorer's start counts.
fn since(query: &str) -> Result<u64, HttpError> {
    let given = query.split('&').find_map(|pair| pair.strip_prefix(SINCE)?.strip_prefix('='));
    given.map_or(Ok(0), |text| {
        text.parse().map_err(|_| {
            HttpError::bad_request(format!(
                "{SINCE} is {text:?}: give milliseconds since 1970, e.g. {SINCE}=1790000000000"
            ))
        })
    })
}
