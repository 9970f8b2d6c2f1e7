//! The routes, and the headers of every response.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::alerts::HOOK_PATH;
use guard_runtime::clock::now_ms;
use serde_json::json;

use super::pages::PageError;
use super::{Console, access, forms, hook, pages};

/// Path of the console's state as JSON.
pub const STATE_PATH: &str = "/perch/v1/state";
/// Largest body of a request, in bytes, unless a route sets its own limit.
const BODY_BYTES: usize = 8 * 1024;
/// Timeout of a request, its body included.
const TIME: Duration = Duration::from_secs(60);
/// Entries of the audit log in the state.
const ENTRIES: usize = 20;

/// Allows only the console's own content: no inline script or style, no other host, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // With no-referrer browsers would hide the origin of the console's own forms, by which forged ones are recognised.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

const STYLE: &str = include_str!("../assets/console.css");
const SCRIPT: &str = include_str!("../assets/console.js");
const ICON: &str = include_str!("../assets/icon.svg");

pub(super) fn router(console: Console) -> Router {
    // Pages and actions are for browsers, whose host name is checked. Programs call the other routes by any name.
    let pages = Router::new()
        .route("/", get(pages::overview::show))
        .route("/labels", get(pages::labels::show))
        .route("/ramp", get(pages::ramp::show))
        .route("/model", get(pages::model::show))
        .route("/audit", get(pages::audit::show))
        .route("/login", get(forms::login).post(forms::sign_in))
        .route("/logout", post(forms::sign_out))
        .route("/set", get(forms::preview))
        .route("/act", post(forms::act))
        .route(STATE_PATH, get(state))
        .route("/assets/console.css", get(|| asset("text/css; charset=utf-8", STYLE)))
        .route("/assets/console.js", get(|| asset("text/javascript; charset=utf-8", SCRIPT)))
        .route("/assets/icon.svg", get(|| asset("image/svg+xml", ICON)))
        .layer(middleware::from_fn_with_state(console.clone(), access::known_host));
    Router::new()
        .merge(pages)
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .route(HOOK_PATH, post(hook::take).layer(DefaultBodyLimit::max(hook::BODY_BYTES)))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn(frame))
        .with_state(console)
}

/// Adds the timeout and the headers to every response.
async fn frame(request: Request, next: Next) -> Response {
    let mut response = match tokio::time::timeout(TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn metrics(State(console): State<Console>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], console.metrics())
}

async fn state(State(console): State<Console>) -> Result<Json<serde_json::Value>, PageError> {
    let now_ms = now_ms();
    let mut entries = console.entries()?;
    entries.truncate(ENTRIES);
    Ok(Json(json!({ "at_ms": now_ms, "guard": console.status(now_ms)?, "entries": entries })))
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    // Small, and revalidated with each page, so that a new version never has an old style sheet.
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text)
}
