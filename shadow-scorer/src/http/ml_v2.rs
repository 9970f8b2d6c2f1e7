//! The model API of the replaced system, and what an operator needs to move models: `/ml/v2/…`.
//!
//! | request | body | reachable through the gateway |
//! |---|---|---|
//! | `GET /ml/v2/model/status` | – | yes |
//! | `POST /ml/v2/predict` | raw features, or `{"txn_id": ID}` | yes |
//! | `POST /ml/v2/model/reload` | – | yes |
//! | `POST /ml/v2/train?limit=N` (see [`super::training`]) | – | yes |
//! | `POST /ml/v2/model/deploy` | `{"version": NAME, "force": false}` | no |
//! | `POST /ml/v2/model/rollback` | – | no |
//! | `POST /ml/v2/model/challenge` | `{"version": NAME}`, `null` ends the judging | no |
//!
//! All but status and predict ask for the operator's token (see [`super::operator`]), by whatever way they are reached.
//!
//! All but predict and train answer with the status as it is then: `{"available", "meta", "challenger", "previous",
//! "rolled_back_to", "versions", "refused", "judged", "drift", "retraining"}`, where `meta` and `challenger` are of one shape (`run_id`, `version`, `val_f1_macro`, …) or
//! `null`. A change that did not happen is 409 with `reason` (`policy`, `no_previous`, `locked` when something else held the
//! registry for ten seconds, `registry` when its folder cannot be written, or why the model was refused: `missing`,
//! `manifest`, `hash`, `schema`, `graph`, `reference`, `changed`, `name`), and what served goes on. A client that goes away
//! before its change has its turn has changed nothing. A repeated rollback changes nothing more: what it took away comes
//! back by a deployment only.
//!
//! **Time.** `hour_of_day` and `dow` are those of UTC, as the store computes them from a transaction's time, whatever the
//! user's own clock says. Where the client gives `occurred_at` (seconds since 1970) they follow from it, and others beside it
//! are 400.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::app::{App, blocking};
use super::error::HttpError;
use super::response::{Answer, json_answer};
use super::retraining::drift_users;
use super::routes::{Call, Route};
use crate::features::{History, Transaction, transaction};
use crate::model::{Alias, Caller, ChangeError, Client, Loaded, Registry, Scores};
use crate::rules::request;
use crate::store::TransactionWithHistory;

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

async fn status(call: Call) -> Result<Answer, HttpError> {
    Ok(json_answer(StatusCode::OK, &status_of(&call.app)))
}

/// What serves, what is judged, what was refused and why.
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
        "judged": app.observer.as_ref().map(|observer| observer.contest().status()),
        "retraining": app.retraining.status(),
        "drift": app.observer.as_ref().map(|observer| observer.drift().status(now, drift_users(observer, now))),
    })
}

fn meta(model: &Loaded) -> Value {
    let manifest = &model.manifest;
    let mut meta = Map::new();
    // A run makes one version, so its name is the run's.
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

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Loads what the aliases name. What was refused makes it a 409, with what goes on serving in the body.
async fn reload(call: Call) -> Result<Answer, HttpError> {
    let app = Arc::clone(&call.app);
    on_registry(&app, Registry::reload).await?;
    let status = if app.registry.refused().is_empty() { StatusCode::OK } else { StatusCode::CONFLICT };
    Ok(json_answer(status, &status_of(&app)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    version: Option<String>,
    #[serde(default)]
    force: bool,
}

/// `{"version": NAME, "force": false}`: forced, it passes over the policy, never over the checks.
async fn deploy(mut call: Call) -> Result<Answer, HttpError> {
    let named: Named = call.json(REQUEST_BYTES).await?;
    let version = named
        .version
        .ok_or_else(|| HttpError::bad_request("version is missing: send an object like {\"version\": \"NAME\"}"))?;
    change(&call.app, move |registry, caller| registry.deploy(&version, named.force, caller).map(drop)).await
}

async fn roll_back(call: Call) -> Result<Answer, HttpError> {
    change(&call.app, |registry, caller| registry.roll_back(caller).map(drop)).await
}

/// `{"version": null}` ends the judging.
async fn challenge(mut call: Call) -> Result<Answer, HttpError> {
    let named: Named = call.json(REQUEST_BYTES).await?;
    change(&call.app, move |registry, caller| registry.challenge(named.version.as_deref(), caller)).await
}

async fn change(
    app: &Arc<App>,
    work: impl FnOnce(&Registry, &Caller) -> Result<(), ChangeError> + Send + 'static,
) -> Result<Answer, HttpError> {
    on_registry(app, work).await?;
    Ok(json_answer(StatusCode::OK, &status_of(app)))
}

/// Runs `work` for the client of this request: when it goes away, this future is dropped, and with it the client that
/// the work asks whether it is still wanted.
async fn on_registry(
    app: &Arc<App>,
    work: impl FnOnce(&Registry, &Caller) -> Result<(), ChangeError> + Send + 'static,
) -> Result<(), HttpError> {
    let (_client, caller) = Client::new();
    match blocking(&app.registry, move |registry| work(registry, &caller)).await {
        Some(done) => Ok(done?),
        None => Err(HttpError::internal("work on the registry failed")),
    }
}

/// A prediction for raw features, or for a stored transaction.
async fn predict(mut call: Call) -> Result<Answer, HttpError> {
    let asked: Map<String, Value> = call.json(REQUEST_BYTES).await?;
    let app = Arc::clone(&call.app);
    let Some(model) = app.registry.champion() else {
        return Ok(json_answer(StatusCode::OK, &json!({ "available": false, "reason": "no_model" })));
    };
    let found = match asked.get("txn_id") {
        Some(value) => {
            let id = request::id(value).ok_or_else(|| {
                let shown = request::shown(value);
                HttpError::bad_request(format!("txn_id is {shown}: an id is an integer or a numeric string"))
            })?;
            let found = app.transactions(&[id]).await?;
            if found.is_empty() {
                return Err(HttpError::not_found(format!("there is no transaction {id}")));
            }
            found
        }
        None => {
            let transaction = raw_features(&asked)?;
            vec![Arc::new(TransactionWithHistory { id: 0, transaction, history: History::default() })]
        }
    };
    let scores = Scores::of(&[&model], &found, &app.metrics).await.pop().transpose()?;
    let scores = scores.ok_or_else(|| HttpError::internal("the model gave no scores"))?;
    let top = scores.top(0, 0.0).ok_or_else(|| HttpError::internal("the model gave no classes"))?;
    let classes = model.manifest.classes.iter().cloned();
    let probs: Map<String, Value> = classes.zip(scores.row(0).iter().map(|p| json!(p))).collect();
    Ok(json_answer(
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

/// The raw features of the replaced system, as a transaction. `abs_amount` counts only where `amount` is missing, as
/// money spent; `is_weekend` follows from `dow`.
fn raw_features(asked: &Map<String, Value>) -> Result<Transaction, HttpError> {
    let fault = |name: &str, value: &Value, rule: &str| {
        HttpError::bad_request(format!("{name} is {}: {rule}", request::shown(value)))
    };
    let given = |name: &str| asked.get(name).filter(|value| !value.is_null());
    let text = |name: &str| match given(name) {
        None => Ok(String::new()),
        Some(value) => value.as_str().map(str::to_owned).ok_or_else(|| fault(name, value, "give a text")),
    };
    let number = |name: &str| match given(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| fault(name, value, "give a number")),
    };
    let whole = |name: &str, most: u16, rule: &str| match given(name) {
        None => Ok(None),
        Some(value) => request::id(value)
            .and_then(|n| u16::try_from(n).ok())
            .filter(|n| *n <= most)
            .map(Some)
            .ok_or_else(|| fault(name, value, rule)),
    };
    let flag = |name: &str| match given(name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(Value::Number(n)) if n.as_u64().is_some_and(|n| n < 2) => Ok(Some(n.as_u64() == Some(1))),
        Some(value) => Err(fault(name, value, "give true or false")),
    };
    let time = match given("occurred_at") {
        None => None,
        Some(value) => {
            Some(request::id(value).ok_or_else(|| fault("occurred_at", value, "give whole seconds since 1970"))?)
        }
    };
    let small = |n: Option<u16>| n.and_then(|n| u8::try_from(n).ok());
    // One base of time: that of the store.
    let clock = |name: &str, most: u16, rule: &str, of: fn(i64) -> u8| {
        let said = small(whole(name, most, rule)?);
        let computed = time.map(of);
        match (said, computed, given(name)) {
            (Some(said), Some(computed), Some(value)) if said != computed => {
                let rule = format!("occurred_at makes it {computed}, as UTC; leave {name} out, or give that");
                Err(fault(name, value, &rule))
            }
            _ => Ok(computed.or(said)),
        }
    };
    let spent = number("abs_amount")?.map(|size| -size.abs());
    Ok(Transaction {
        merchant: text("merchant")?,
        memo: text("norm_desc")?,
        amount: number("amount")?.or(spent),
        mcc: whole("mcc", 9_999, "give a merchant category code from 0 to 9999")?,
        channel: text("channel")?,
        hour: clock("hour_of_day", 23, "give an hour from 0 to 23, as UTC", transaction::hour)?,
        weekday: clock("dow", 6, "give a day from 0 (Monday) to 6, as UTC", transaction::weekday)?,
        subscription: flag("is_subscription")?,
        p2p: flag("is_p2p")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(document: Value) -> Result<Transaction, String> {
        let Value::Object(asked) = document else { panic!("no object") };
        raw_features(&asked).map_err(|error| error.message)
    }

    #[test]
    fn the_raw_features_of_the_replaced_system_are_taken() {
        let transaction = raw(json!({
            "amount": -12.5, "abs_amount": 12.5, "merchant": "STARBUCKS #12", "mcc": "5814", "channel": "card",
            "hour_of_day": 8, "dow": 0, "is_weekend": false, "is_subscription": 0, "norm_desc": "coffee",
        }))
        .unwrap();
        assert_eq!((transaction.amount, transaction.mcc, transaction.weekday), (Some(-12.5), Some(5814), Some(0)));
        assert_eq!((transaction.subscription, transaction.memo.as_str()), (Some(false), "coffee"));
    }

    #[test]
    fn what_is_missing_is_not_known() {
        assert_eq!(raw(json!({ "merchant": null })).unwrap(), Transaction::default());
        assert_eq!(raw(json!({ "abs_amount": 3 })).unwrap().amount, Some(-3.0));
    }

    /// Friday 20:30 in Denver is Saturday 02:30 in UTC, which is what the store and so the training go by.
    #[test]
    fn the_time_of_a_payment_means_what_it_means_in_the_store_case_a14() {
        let friday_evening_in_denver = 1_793_500_200;
        let transaction = raw(json!({ "occurred_at": friday_evening_in_denver })).unwrap();
        assert_eq!((transaction.hour, transaction.weekday), (Some(2), Some(6)));
        let same = json!({ "occurred_at": friday_evening_in_denver, "hour_of_day": 2, "dow": 6 });
        assert_eq!(raw(same).unwrap(), transaction);
        let local = json!({ "occurred_at": friday_evening_in_denver, "hour_of_day": 20 });
        let error = raw(local).unwrap_err();
        assert!(error.starts_with("hour_of_day is 20") && error.contains("makes it 2, as UTC"), "{error}");
        assert!(raw(json!({ "occurred_at": "now" })).unwrap_err().starts_with("occurred_at is \"now\""));
    }

    #[test]
    fn the_offending_value_is_named() {
        for (document, named) in [
            (json!({ "amount": "12" }), "amount is \"12\""),
            (json!({ "hour_of_day": 24 }), "hour_of_day is 24"),
            (json!({ "dow": -1 }), "dow is -1"),
            (json!({ "mcc": 123_456 }), "mcc is 123456"),
            (json!({ "merchant": 5 }), "merchant is 5"),
            (json!({ "is_subscription": "yes" }), "is_subscription is \"yes\""),
        ] {
            let error = raw(document).unwrap_err();
            assert!(error.starts_with(named), "{error}");
        }
    }
}
