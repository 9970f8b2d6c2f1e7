//! The model API `/ml/v2/…`: status, predict, reload, train, and operations on models.
//!
//! | request | body | reachable through the gateway |
//! |---|---|---|
//! | `GET /ml/v2/model/status` | – | yes |
//! | `POST /ml/v2/predict` | raw features, or `{"txn_id": ID}` | yes |
//! | `POST /ml/v2/model/reload` | – | yes |
//! | `POST /ml/v2/train?limit=N` (see [`super::training`]) | – | yes |
//! | `POST /ml/v2/model/deploy` | `{"version": NAME, "force": false}` | no |
//! | `POST /ml/v2/model/rollback` | – | no |
//! | `POST /ml/v2/model/challenge` | `{"version": NAME}`, `null` for no challenger | no |
//!
//! All but status and predict require the operator's token (see [`super::operator`]), whichever way they are reached.
//!
//! All but predict and train respond with the status after the request: `{"available", "meta", "challenger",
//! "previous", "rolled_back_to", "versions", "refused", "comparison", "drift", "retraining"}`, where `meta` and
//! `challenger` have one shape (`run_id`, `version`, `val_f1_macro`, …) or are `null`. A change that fails is 409 with
//! a `reason`: `policy`, `no_previous`, `locked` (the registry was locked for ten seconds), `registry` (its folder
//! cannot be written), or why the model was refused: `missing`, `manifest`, `hash`, `schema`, `graph`, `reference`,
//! `changed`, `name`. The models that serve are unchanged then. A client that disconnects before its change starts has
//! changed nothing. A repeated rollback changes nothing more: only a deployment brings a rolled back version back.

use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::app::{App, blocking};
use super::call::{Call, Route};
use super::error::HttpError;
use super::response::{Response, json_response};
use super::retraining::drift_users;
use super::time::seconds;
use crate::model::{Alias, Caller, ChangeError, Client, LoadedModel, Registry, Scores};
use crate::suggestions::request;

const REQUEST_BYTES: usize = 64 * 1024;

pub(super) fn routes() -> [Route; 6] {
    [
        Route::get("/ml/v2/model/status", "model_status", |call| Box::pin(status(call))),
        Route::post("/ml/v2/model/reload", "model_reload", |call| Box::pin(reload(call))),
        Route::post("/ml/v2/model/deploy", "model_deploy", |call| Box::pin(deploy(call))),
        Route::post("/ml/v2/model/rollback", "model_rollback", |call| Box::pin(roll_back(call))),
        Route::post("/ml/v2/model/challenge", "model_challenge", |call| Box::pin(challenge(call))),
        Route::post("/ml/v2/predict", "predict", |call| Box::pin(predict(call))),
    ]
}

async fn status(call: Call) -> Result<Response, HttpError> {
    Ok(json_response(StatusCode::OK, &status_of(&call.app)))
}

/// The models that serve and are compared, and those that were refused.
fn status_of(app: &App) -> Value {
    let registry = &app.registry;
    let now = seconds(SystemTime::now());
    let champion = registry.champion();
    let refused: Vec<Value> = registry
        .refused()
        .iter()
        .map(|refused| {
            json!({
                "alias": refused.alias.as_str(),
                "version": refused.version,
                "reason": refused.reason,
                "message": refused.message,
                "at": seconds(refused.at),
            })
        })
        .collect();
    json!({
        "available": champion.is_some(),
        "meta": champion.as_deref().map(meta),
        "challenger": registry.challenger().as_deref().map(meta),
        "previous": registry.folder().alias(Alias::Previous).ok().flatten(),
        "rolled_back_to": registry.folder().rolled_back_to().ok().flatten(),
        "versions": registry.folder().versions().unwrap_or_default(),
        "refused": refused,
        "comparison": app.observer.as_ref().map(|observer| observer.champion_challenger().status()),
        "retraining": app.retraining.status(),
        "drift": app.observer.as_ref().map(|observer| observer.drift().status(now, drift_users(observer, now))),
    })
}

fn meta(model: &LoadedModel) -> Value {
    let manifest = &model.manifest;
    let mut meta = Map::new();
    // A run makes one version, so the version's name is the run's.
    meta.insert("run_id".into(), manifest.version.clone().into());
    for shown in ["data_span", "model"] {
        meta.extend(manifest.rest.get(shown).map(|value| (shown.to_owned(), value.clone())));
    }
    meta.insert("version".into(), manifest.version.clone().into());
    meta.insert("created".into(), manifest.created.clone().into());
    meta.insert("val_f1_macro".into(), manifest.metrics.val_f1_macro.into());
    meta.insert("class_count".into(), manifest.classes.len().into());
    meta.insert("classes".into(), manifest.classes.clone().into());
    meta.insert("metrics".into(), json!(manifest.metrics));
    meta.insert("feature_schema".into(), json!(manifest.feature_schema));
    meta.insert("model_sha256".into(), manifest.model_sha256.clone().into());
    meta.insert("loaded_at".into(), seconds(model.loaded).into());
    Value::Object(meta)
}

/// Loads the models that the aliases name. 409 if one was refused; the body tells which models serve.
async fn reload(call: Call) -> Result<Response, HttpError> {
    let app = Arc::clone(&call.app);
    on_registry(&app, Registry::reload).await?;
    let status = if app.registry.refused().is_empty() { StatusCode::OK } else { StatusCode::CONFLICT };
    Ok(json_response(status, &status_of(&app)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionRequest {
    version: Option<String>,
    #[serde(default)]
    force: bool,
}

/// `{"version": NAME, "force": false}`: `force` skips the policy, never the checks.
async fn deploy(mut call: Call) -> Result<Response, HttpError> {
    let named: VersionRequest = call.json(REQUEST_BYTES).await?;
    let version = named
        .version
        .ok_or_else(|| HttpError::bad_request("version is missing: send an object like {\"version\": \"NAME\"}"))?;
    change(&call.app, move |registry, caller| registry.deploy(&version, named.force, caller).map(drop)).await
}

async fn roll_back(call: Call) -> Result<Response, HttpError> {
    change(&call.app, |registry, caller| registry.roll_back(caller).map(drop)).await
}

/// `{"version": null}` removes the challenger.
async fn challenge(mut call: Call) -> Result<Response, HttpError> {
    let named: VersionRequest = call.json(REQUEST_BYTES).await?;
    change(&call.app, move |registry, caller| registry.challenge(named.version.as_deref(), caller)).await
}

async fn change(
    app: &Arc<App>,
    work: impl FnOnce(&Registry, &Caller) -> Result<(), ChangeError> + Send + 'static,
) -> Result<Response, HttpError> {
    on_registry(app, work).await?;
    Ok(json_response(StatusCode::OK, &status_of(app)))
}

/// Runs `work` on behalf of the client of this request. If the client disconnects, this future is dropped, and `Caller`
/// tells the work that nobody waits for it.
async fn on_registry(
    app: &Arc<App>,
    work: impl FnOnce(&Registry, &Caller) -> Result<(), ChangeError> + Send + 'static,
) -> Result<(), HttpError> {
    let (_client, caller) = Client::new();
    match blocking(&app.registry, move |registry| work(registry, &caller)).await {
        Some(done) => Ok(done?),
        None => Err(HttpError::internal("work on the registry panicked")),
    }
}

/// Predicts for raw features, or for a stored transaction.
async fn predict(mut call: Call) -> Result<Response, HttpError> {
    let document: Map<String, Value> = call.json(REQUEST_BYTES).await?;
    let app = Arc::clone(&call.app);
    let Some(model) = app.registry.champion() else {
        return Ok(json_response(StatusCode::OK, &json!({ "available": false, "reason": "no_model" })));
    };
    let found = match document.get("txn_id") {
        Some(value) => {
            let id = request::id(value).ok_or_else(|| {
                let shown = request::shown(value);
                HttpError::bad_request(format!("txn_id is {shown}: an id is an integer or a numeric string"))
            })?;
            let found = app.entities(&[id]).await?;
            if found.is_empty() {
                return Err(HttpError::not_found(format!("there is no transaction {id}")));
            }
            found
        }
        None => vec![app.application.entity(&document).map_err(HttpError::bad_request)?],
    };
    let scores = Scores::of(&[&model], &found, &app.metrics).await.pop().transpose()?;
    let scores = scores.ok_or_else(|| HttpError::internal("the model gave no scores"))?;
    let top = scores.top(0, 0.0).ok_or_else(|| HttpError::internal("the model gave no classes"))?;
    let classes = model.manifest.classes.iter().cloned();
    let probs: Map<String, Value> = classes.zip(scores.row(0).iter().map(|p| json!(p))).collect();
    Ok(json_response(
        StatusCode::OK,
        &json!({
            "available": true,
            "label": top.label,
            "confidence": top.confidence,
            "probs": probs,
            "model_meta": meta(&model),
        }),
    ))
}
