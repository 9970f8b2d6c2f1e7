//! `/healthz`, `/readyz`, `/metrics`.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::json;

use super::call::{Call, Route};
use super::error::HttpError;
use super::response::{Response, json_response, response};
use super::retraining::drift_users;
use super::time::seconds;
use crate::metrics;

pub(super) fn routes() -> [Route; 3] {
    [
        Route::get("/healthz", "healthz", |call| Box::pin(healthz(call))),
        Route::get("/readyz", "readyz", |call| Box::pin(readyz(call))),
        Route::get("/metrics", "metrics", |call| Box::pin(exposition(call))),
    ]
}

/// Liveness: the process runs.
async fn healthz(_: Call) -> Result<Response, HttpError> {
    Ok(response(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"))
}

/// Readiness: whether the scorer should be sent requests, and `reason` if not. A store that takes no writes is a
/// reason, since events and feedback are lost while every response looks well; `store` holds its error, else `null`.
async fn readyz(call: Call) -> Result<Response, HttpError> {
    let not_ready = call.app.not_ready();
    let ready = not_ready.is_none();
    let model = call.app.registry.champion().map(|champion| champion.version().to_owned());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (version, frame) = (env!("CARGO_PKG_VERSION"), contract::frame::VERSION);
    let document = json!({
        "ready": ready, "reason": not_ready, "model": model, "store": call.app.store.trouble(), "version": version,
        "frame": frame,
    });
    Ok(json_response(status, &document))
}

async fn exposition(call: Call) -> Result<Response, HttpError> {
    let metrics = &call.app.metrics;
    metrics.ready.set(i64::from(call.app.not_ready().is_none()));
    if let Some(observer) = &call.app.observer {
        metrics.events_dropped.inc_by(observer.events_dropped().saturating_sub(metrics.events_dropped.get()));
        let now = seconds(SystemTime::now());
        observer.drift().expose(metrics, now, drift_users(observer, now));
    }
    Ok(response(StatusCode::OK, metrics::CONTENT_TYPE, metrics.render()))
}
