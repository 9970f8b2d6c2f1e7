//! Live answers for the model's arm: `POST /ml/suggestions`.
//!
//! The filter waits with a client behind it, so everything is bounded: answers under way, the request, and the wait for
//! the store. Whatever cannot be done in time is said at once, and the client gets the rules' answer.

use std::sync::Arc;
use std::time::Instant;

use contract::headers;
use contract::names::{Source, Unavailable};
use http::{HeaderName, HeaderValue, StatusCode};
use prometheus::IntGauge;
use uuid::Uuid;

use super::answer::{Answer, json_answer};
use super::error::HttpError;
use super::routes::{Call, Route};
use crate::features::Entity;
use crate::model::Scores;
use crate::suggestions::{Candidate, Item, SuggestRequest, Suggestions};

/// Largest request, packed and unpacked: a thousand ids take less than 32 KiB.
const REQUEST_BYTES: usize = 256 * 1024;

pub(super) fn routes(path: &str) -> [Route; 1] {
    [Route::post(path, "suggestions", |call| Box::pin(suggest(call)))]
}

async fn suggest(call: Call) -> Result<Answer, HttpError> {
    let app = Arc::clone(&call.app);
    if !app.settings.role.live() {
        return Err(HttpError::unavailable(Unavailable::Role));
    }
    let started = Instant::now();
    let result = match app.live.try_acquire() {
        Ok(_turn) => {
            let _under_way = UnderWay::new(&app.metrics.live_in_flight);
            answer(call).await
        }
        Err(_) => Err(HttpError::unavailable(Unavailable::Overloaded)),
    };
    let label = match &result {
        Ok(_) => "answered",
        Err(error) if error.reason == Unavailable::Overloaded.as_str() => "overloaded",
        Err(error) if error.status.is_client_error() => "bad_request",
        Err(_) => "unavailable",
    };
    app.metrics.live_answers.with_label_values(&[label]).inc();
    app.metrics.live_seconds.observe(started.elapsed().as_secs_f64());
    result
}

/// Shows itself on a gauge while it lives, also when the client hangs up.
struct UnderWay<'a>(&'a IntGauge);

impl<'a> UnderWay<'a> {
    fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn answer(mut call: Call) -> Result<Answer, HttpError> {
    let app = Arc::clone(&call.app);
    // The body first, whatever there is to say: a client that still sends may miss an early answer.
    let body = call.decoded(REQUEST_BYTES).await?;
    // Taken once: labels, version in the body and version in the header belong to this one model.
    let model = app.registry.champion().ok_or_else(|| HttpError::unavailable(Unavailable::NoModel))?;
    let request = SuggestRequest::parse(&body)?;
    let found = app.entities(&request.txn_ids).await?;
    let scores = Scores::of(&[&model], &found, &app.metrics).await.pop().transpose()?;
    let least = app.settings.live.min_confidence;
    let items: Vec<Item> = match &scores {
        Some(scores) => {
            (0..).zip(&found).map(|(row, one)| item(scores, row, one.as_ref(), request.top_k, least)).collect()
        }
        None => Vec::new(),
    };
    app.metrics.live_items.inc_by(u64::try_from(items.len()).unwrap_or(u64::MAX));
    let mut answer = json_answer(StatusCode::OK, &Suggestions { items });
    // A version's name is letters, digits, '.', '_' and '-'.
    if let Ok(version) = HeaderValue::from_str(model.version()) {
        answer.headers_mut().insert(HeaderName::from_static(headers::MODEL_VERSION), version);
    }
    Ok(answer)
}

fn item(scores: &Scores, row: usize, one: &dyn Entity, most: usize, least: f32) -> Item {
    let version = scores.model().version();
    let candidates = scores.candidates(row, most, least).into_iter().map(|scored| Candidate {
        label: scored.label.to_owned(),
        confidence: rounded(scored.confidence),
        reasons: vec![format!("model_probability:{:.2}", scored.confidence)],
        source: Source::Model,
        model_version: Some(version.to_owned()),
    });
    Item { txn_id: one.id().to_string(), event_id: Uuid::now_v7().to_string(), candidates: candidates.collect() }
}

/// Six decimals: what an f32 holds, without the noise that it shows as an f64.
fn rounded(confidence: f32) -> f64 {
    (f64::from(confidence) * 1e6).round() / 1e6
}
