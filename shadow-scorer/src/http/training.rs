//! `POST /ml/v2/train?limit=N`: trains on the labels in the store, on the newest `N` of them if given.
//!
//! The response is the output of `models/train.py` (`run_id`, `metrics`, `deployed`, `reason`, …) once it has finished,
//! which takes minutes. `deployed` is true only if the new version passed this scorer's own checks and serves; if it
//! was refused, `refused` has the reason. The training continues if the client disconnects.

use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;
use tracing::Instrument as _;

use super::app::{App, blocking};
use super::call::{Call, Route};
use super::error::HttpError;
use super::response::{Response, json_response};
use crate::feedback::{TrainError, Trainer, TrainingOutcome};
use crate::metrics;
use crate::model::Registry;

pub(super) fn routes() -> [Route; 1] {
    [Route::post("/ml/v2/train", "train", |call| Box::pin(train(call)))]
}

async fn train(call: Call) -> Result<Response, HttpError> {
    let limit = limit(call.head.uri.query().unwrap_or_default())?;
    let result = run(Arc::clone(&call.app), &call.app.trainer, limit).await?;
    Ok(json_response(StatusCode::OK, &result))
}

/// Trains with `trainer`, loads the new model, and returns the output of `models/train.py`.
pub(super) async fn run(app: Arc<App>, trainer: &Trainer, limit: Option<u32>) -> Result<Value, HttpError> {
    let trainer = trainer.clone();
    // A task of its own, so that the training is counted and its model loaded even if the client has disconnected.
    let run = async move {
        let done = trainer.train(&app.store, limit).await;
        finish(&app, done).await
    };
    let run = tokio::spawn(run.in_current_span());
    run.await.map_err(HttpError::internal)?
}

/// The parameter `limit`: a number of rows, at least 1.
fn limit(query: &str) -> Result<Option<u32>, HttpError> {
    let given = query.split('&').find_map(|pair| pair.strip_prefix("limit="));
    given
        .map(|text| {
            text.parse::<u32>().ok().filter(|rows| *rows > 0).ok_or_else(|| {
                HttpError::bad_request(format!(
                    "limit is {text:?}: give a number of rows, at least 1, e.g. ?limit=3000"
                ))
            })
        })
        .transpose()
}

/// Counts a training and loads its model.
async fn finish(app: &App, done: Result<TrainingOutcome, TrainError>) -> Result<Value, HttpError> {
    let trained = match done {
        Ok(trained) => trained,
        // No training was started, so none is counted.
        Err(error @ (TrainError::Busy | TrainError::NoData(_))) => return Err(error.into()),
        Err(error) => {
            app.metrics.train_runs.with_label_values(&["failed"]).inc();
            return Err(error.into());
        }
    };
    blocking(&app.registry, Registry::reload_if_moved).await;
    let version = trained.run_id.as_str();
    let deployed = app.registry.champion().is_some_and(|champion| champion.version() == version);
    app.metrics.train_runs.with_label_values(&[if deployed { "deployed" } else { "rejected" }]).inc();
    if let Some(f1) = trained.val_f1_macro {
        metrics::set(&app.metrics.train_f1, f1);
    }
    let mut result = trained.result;
    if let Value::Object(result) = &mut result {
        result.insert("deployed".into(), deployed.into());
        if let Some(refused) = app.registry.refused().iter().find(|refused| refused.version == version) {
            result.insert("refused".into(), refused.message.clone().into());
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_of_rows() {
        assert_eq!(limit("").unwrap(), None);
        assert_eq!(limit("a=b&limit=3000").unwrap(), Some(3_000));
        for bad in ["limit=0", "limit=", "limit=-5", "limit=lots"] {
            assert!(limit(bad).unwrap_err().message.starts_with("limit is \""), "{bad}");
        }
    }
}
