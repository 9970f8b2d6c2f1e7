//! Live requests, for the candidate's arm: `POST /ml/suggestions`.
//!
//! A client waits behind the filter, so everything is limited: requests in progress, the size of the request, and the
//! wait for the store. What cannot be done in time gets 503 immediately, and the filter gives the client the baseline.

use std::sync::Arc;
use std::time::Instant;

use contract::headers;
use contract::names::{Source, Unavailable};
use http::{HeaderName, HeaderValue, StatusCode};
use prometheus::IntGauge;
use uuid::Uuid;

use super::call::{Call, Route};
use super::error::HttpError;
use super::response::{Response, json_response};
use crate::features::Entity;
use crate::model::Scores;
use crate::suggestions::{Candidate, Item, SuggestRequest, Suggestions};

/// Largest request, compressed and decompressed: a thousand ids take less than 32 KiB.
const REQUEST_BYTES: usize = 256 * 1024;

pub(super) fn routes(path: &str) -> [Route; 1] {
    [Route::post(path, "suggestions", |call| Box::pin(suggest(call)))]
}

async fn suggest(call: Call) -> Result<Response, HttpError> {
    let app = Arc::clone(&call.app);
    if !app.settings.role.live() {
        return Err(HttpError::unavailable(Unavailable::Role));
    }
    let started = Instant::now();
    let result = match app.live_permits.try_acquire() {
        Ok(_permit) => {
            let _in_flight = InFlight::new(&app.metrics.live_in_flight);
            respond(call).await
        }
        Err(_) => Err(HttpError::unavailable(Unavailable::Overloaded)),
    };
    let label = match &result {
        Ok(_) => "answered",
        Err(error) if error.reason == Unavailable::Overloaded.as_str() => "overloaded",
        Err(error) if error.status.is_client_error() => "bad_request",
        Err(_) => "unavailable",
    };
    app.metrics.live_responses.with_label_values(&[label]).inc();
    app.metrics.live_seconds.observe(started.elapsed().as_secs_f64());
    result
}

/// Counts a request on a gauge until dropped, which also happens when the client disconnects.
struct InFlight<'a>(&'a IntGauge);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn respond(mut call: Call) -> Result<Response, HttpError> {
    let app = Arc::clone(&call.app);
    // The body first: a client that is still sending may miss an early response.
    let body = call.decoded(REQUEST_BYTES).await?;
    // Read once, so that labels, the version in the body and the version in the header belong to one model.
    let model = app.registry.champion().ok_or_else(|| HttpError::unavailable(Unavailable::NoModel))?;
    let request = SuggestRequest::parse(&body)?;
    let found = app.entities(&request.txn_ids).await?;
    let scores = Scores::of(&[&model], &found, &app.metrics).await.pop().transpose()?;
    let min_confidence = app.settings.live.min_confidence;
    let items: Vec<Item> = match &scores {
        Some(scores) => {
            (0..).zip(&found).map(|(row, one)| item(scores, row, one.as_ref(), request.top_k, min_confidence)).collect()
        }
        None => Vec::new(),
    };
    app.metrics.live_items.inc_by(u64::try_from(items.len()).unwrap_or(u64::MAX));
    let mut response = json_response(StatusCode::OK, &Suggestions { items });
    // Versions consist of letters, digits, '.', '_' and '-'.
    if let Ok(version) = HeaderValue::from_str(model.version()) {
        response.headers_mut().insert(HeaderName::from_static(headers::MODEL_VERSION), version);
    }
    Ok(response)
}

fn item(scores: &Scores, row: usize, one: &dyn Entity, most: usize, min_confidence: f32) -> Item {
    let version = scores.model().version();
    let candidates = scores.candidates(row, most, min_confidence).into_iter().map(|scored| Candidate {
        label: scored.label.to_owned(),
        confidence: rounded(scored.confidence),
        reasons: vec![format!("model_probability:{:.2}", scored.confidence)],
        source: Source::Model,
        model_version: Some(version.to_owned()),
    });
    Item { txn_id: one.id().to_string(), event_id: Uuid::now_v7().to_string(), candidates: candidates.collect() }
}

/// Six decimals: the precision of an f32, without the noise of its conversion to f64.
fn rounded(confidence: f32) -> f64 {
    (f64::from(confidence) * 1e6).round() / 1e6
}
