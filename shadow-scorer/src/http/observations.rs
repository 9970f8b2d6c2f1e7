//! Takes observation batches, and shows sampled disagreements.

use std::sync::Arc;

use contract::frame;
use contract::names::Unavailable;
use http::StatusCode;
use serde_json::json;

use super::call::{Call, Route};
use super::error::HttpError;
use super::response::{Response, json_response};
use crate::observer::{ObserveError, Observer};

pub(super) fn routes() -> [Route; 2] {
    [
        Route::post(frame::PATH, "observations", |call| Box::pin(observe(call))),
        Route::get("/perch/v1/disagreements", "disagreements", |call| Box::pin(disagreements(call))),
    ]
}

/// Responds with the batch result once it is known.
async fn observe(mut call: Call) -> Result<Response, HttpError> {
    let app = Arc::clone(&call.app);
    let observer = observer(&app.observer)?;
    let batch = call.bytes(frame::MAX_BATCH_BYTES).await?;
    match observer.submit(batch).await {
        Ok(result) => Ok(json_response(StatusCode::OK, &result)),
        Err(ObserveError::Malformed(error)) => Err(HttpError::bad_request(error.to_string()).because(error)),
        Err(ObserveError::Refused) => Err(HttpError::unavailable(Unavailable::Overloaded)),
        Err(broken @ ObserveError::Broken) => Err(HttpError::internal(broken)),
    }
}

async fn disagreements(call: Call) -> Result<Response, HttpError> {
    let kept = observer(&call.app.observer)?.samples();
    let champion = call.app.registry.champion().map(|champion| champion.version().to_owned());
    let document = json!({ "model_version": champion, "seen": kept.seen, "samples": kept.samples });
    Ok(json_response(StatusCode::OK, &document))
}

pub(super) fn observer(observer: &Option<Observer>) -> Result<&Observer, HttpError> {
    observer.as_ref().ok_or_else(|| HttpError::unavailable(Unavailable::Role))
}
