//! `/healthz`, `/readyz`, `/metrics`.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::json;

use super::answer::{Answer, answer, json_answer};
use super::error::HttpError;
use super::ml_v2::seconds;
use super::routes::{Call, Route};
use crate::metrics;

pub(super) fn routes() -> [Route; 3] {
    [
        Route::get("/healthz", "healthz", |call| Box::pin(healthz(call))),
        Route::get("/readyz", "readyz", |call| Box::pin(readyz(call))),
        Route::get("/metrics", "metrics", |call| Box::pin(exposition(call))),
    ]
}

/// The program runs.
async fn healthz(_: Call) -> Result<Answer, HttpError> {
    Ok(answer(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"))
}

/// The program takes requests. A missing model does not make it unready: observations are counted without one, and
/// live answers say why there are none, which an unready scorer could not. A store that takes no writes does, since
/// every event and all feedback is lost while all answers are well; `store` says why, and is `null` otherwise.
async fn readyz(call: Call) -> Result<Answer, HttpError> {
    let store = call.app.store.trouble();
    let ready = !call.app.is_draining() && store.is_none();
    let model = call.app.registry.champion().map(|champion| champion.version().to_owned());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (version, frame) = (env!("CARGO_PKG_VERSION"), contract::frame::VERSION);
    Ok(json_answer(
        status,
        &json!({ "ready": ready, "model": model, "store": store, "version": version, "frame": frame }),
    ))
}

async fn exposition(call: Call) -> Result<Answer, HttpError> {
    let metrics = &call.app.metrics;
    if let Some(observer) = &call.app.observer {
        metrics.events_dropped.inc_by(observer.events_dropped().saturating_sub(metrics.events_dropped.get()));
        observer.drift().expose(metrics, seconds(SystemTime::now()));
    }
    Ok(answer(StatusCode::OK, metrics::CONTENT_TYPE, metrics.render()))
}
