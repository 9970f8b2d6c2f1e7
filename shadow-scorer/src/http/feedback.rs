//! `POST /ml/suggestions/feedback`: users' feedback on suggestions.
//!
//! The response is `{"ok": true, "new": …, "labelled": …, "arm": …, "model_version": …}`, where arm and version are
//! those of the suggestion that was served, `null` if no suggestion of that `event_id` is known. `"changed": true` is
//! added if the user's earlier feedback on this suggestion was different, `"waiting": true` if the suggestion is not
//! stored yet: such feedback is accepted immediately and joined later.
//!
//! Feedback has its own connections to the store and its own limit, so that it never slows live requests down. Its body
//! must arrive within [`BODY_PATIENCE`], so that slow senders do not keep others out.
//!
//! If the gateway puts the sender's pseudonym on the request ([`headers::BUCKET`], which clients cannot send through
//! it), the event must be of the same user.

use std::time::Duration;

use contract::headers;
use contract::names::Unavailable;
use http::StatusCode;
use serde_json::json;

use super::call::{Call, Route};
use super::error::HttpError;
use super::feedback_joining::{count, now};
use super::response::{Response, json_response};
use crate::feedback::{FeedbackRequest, record};
use crate::store::Recorded;

const REQUEST_BYTES: usize = 64 * 1024;
/// Longest time for the body, which has some hundred bytes.
const BODY_PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait for the store: less than the gateway's limit, so that the client gets the reason.
const DEADLINE: Duration = Duration::from_secs(4);

pub(super) fn routes() -> [Route; 1] {
    [Route::post("/ml/suggestions/feedback", "feedback", |call| Box::pin(feedback(call)))]
}

async fn feedback(mut call: Call) -> Result<Response, HttpError> {
    let body = call.decoded_within(REQUEST_BYTES, BODY_PATIENCE).await?;
    let mut request = FeedbackRequest::parse(&body)?;
    request.bucket = bucket(&call)?;
    let app = &call.app;
    let Ok(_permit) = app.feedback_permits.try_acquire() else {
        return Err(HttpError::unavailable(Unavailable::Overloaded));
    };
    let outcome = match tokio::time::timeout(DEADLINE, record(&app.feedback_store, &request, now())).await {
        Ok(outcome) => outcome.map_err(HttpError::from),
        Err(late) => Err(HttpError::unavailable(Unavailable::Store).because(late)),
    };
    let outcome = outcome.inspect_err(|error| {
        if error.reason == Unavailable::Store.as_str() {
            app.metrics.store_failures.with_label_values(&["feedback"]).inc();
        }
    })?;
    count(&app.metrics, request.action, &outcome);
    if outcome.waiting {
        app.metrics.feedback_waited.with_label_values(&["waiting"]).inc();
    }
    let mut document = json!({
        "ok": true,
        "new": outcome.recorded == Recorded::New,
        "labelled": outcome.labelled,
        "arm": outcome.arm,
        "model_version": outcome.model_version,
    });
    // Only if `true`, since most clients know neither.
    for (name, holds) in [("changed", outcome.recorded == Recorded::Changed), ("waiting", outcome.waiting)] {
        if let Some(document) = document.as_object_mut().filter(|_| holds) {
            document.insert(name.to_owned(), true.into());
        }
    }
    Ok(json_response(StatusCode::OK, &document))
}

/// The sender's pseudonym, if the gateway gave one.
fn bucket(call: &Call) -> Result<Option<String>, HttpError> {
    let Some(value) = call.head.headers.get(headers::BUCKET) else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let text = text.ok_or_else(|| HttpError::bad_request(format!("{} is not 16 hex digits", headers::BUCKET)))?;
    Ok(Some(text.to_ascii_lowercase()))
}
