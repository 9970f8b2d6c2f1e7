//! What is served where, and the headers of every answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::alerts::HOOK_PATH;
use serde_json::json;

use super::folder::FolderError;
use super::{Console, hook};

/// Path of the console's state as JSON.
pub const STATE_PATH: &str = "/perch/v1/state";
/// Bytes of a request's body, at most, unless a route says otherwise.
const BODY_BYTES: usize = 8 * 1024;
/// How long an answer may take, the request's body included.
const TIME: Duration = Duration::from_secs(60);
/// Entries of the ledger in the state.
const ENTRIES: usize = 20;

/// Nothing but what the console itself serves: no inline script or style, no other host, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // With no-referrer browsers would hide the origin of the console's own forms, by which forged ones are told.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

pub(super) fn router(console: Console) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .route(STATE_PATH, get(state))
        .route(HOOK_PATH, post(hook::take).layer(DefaultBodyLimit::max(hook::BODY_BYTES)))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn(frame))
        .with_state(console)
}

/// Around every answer: its time, its headers.
async fn frame(request: Request, next: Next) -> Response {
    let mut answer = match tokio::time::timeout(TIME, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response(),
    };
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

async fn metrics(State(console): State<Console>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], console.metrics())
}

async fn state(State(console): State<Console>) -> Result<Json<serde_json::Value>, FolderError> {
    let (report, mut entries) = (console.report()?, console.entries()?);
    entries.truncate(ENTRIES);
    Ok(Json(json!({ "at_ms": now_ms(), "guard": report, "entries": entries })))
}

impl IntoResponse for FolderError {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{}\n", crate::guard::in_words(&self))).into_response()
    }
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
