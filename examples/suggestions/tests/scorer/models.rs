//! The model API: what serves, what is refused, how models are moved.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use shadow_scorer::model::{Caller, Lock};

use crate::scorer::{Place, Scorer};
use crate::small_model::{Version, alias};

#[tokio::test]
async fn status_says_what_serves() {
    let scorer = Scorer::start(&[]).await;
    let status = scorer.get("/ml/v2/model/status").await.json();
    assert_eq!(status["available"], true);
    let meta = &status["meta"];
    assert_eq!((&meta["run_id"], &meta["val_f1_macro"], &meta["class_count"]), (&json!("v1"), &json!(0.8), &json!(3)));
    assert_eq!(meta["data_span"]["from"], "2026-01-01");
    assert_eq!((&status["challenger"], &status["refused"]), (&Value::Null, &json!([])));
}

#[tokio::test]
async fn without_a_model_status_and_prediction_say_so() {
    let scorer = Scorer::start_in(Place::new().await, &[]).await;
    let status = scorer.get("/ml/v2/model/status").await.json();
    assert_eq!((&status["available"], &status["meta"]), (&json!(false), &Value::Null));
    let prediction = scorer.post("/ml/v2/predict", r#"{"txn_id":1}"#).await;
    assert_eq!(prediction.json(), json!({ "available": false, "reason": "no_model" }));
}

#[tokio::test]
async fn a_model_file_cut_in_half_is_refused_by_name_and_the_last_good_one_goes_on() {
    let scorer = Scorer::start(&["--registry-poll-ms", "0"]).await;
    let registry = scorer.place.registry();
    let folder = scorer.place.version("v2").write(&registry);
    let whole = fs::read(folder.join("model.onnx")).unwrap();
    fs::write(folder.join("model.onnx"), &whole[..whole.len() / 2]).unwrap();
    alias(&registry, "champion", "v2");

    let answer = scorer.post("/ml/v2/model/reload", "").await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    let status = answer.json();
    assert_eq!((&status["available"], &status["meta"]["version"]), (&json!(true), &json!("v1")));
    let refused = &status["refused"][0];
    assert_eq!((&refused["version"], &refused["reason"]), (&json!("v2"), &json!("hash")));
    assert!(refused["message"].as_str().unwrap().contains("cut short"), "{refused}");
    assert_eq!(scorer.metric("perch_scorer_model_refusals_total{reason=\"hash\"}").await, 1.0);
    let live = scorer.suggest(r#"{"txn_ids":[3]}"#).await;
    assert_eq!(live.header("x-perch-model-version"), Some("v1"));
}

#[tokio::test]
async fn a_first_model_that_is_refused_leaves_a_scorer_that_says_so_until_it_is_fixed() {
    let place = Place::new().await.with_champion();
    let model = place.registry().join("v1/model.onnx");
    let whole = fs::read(&model).unwrap();
    fs::write(&model, &whole[..100]).unwrap();
    let scorer = Scorer::start_in(place, &[]).await;
    assert_eq!(scorer.get("/ml/v2/model/status").await.json()["refused"][0]["reason"], "hash");
    // Not ready, or it would replace a scorer that has a model (case A5).
    let answer = scorer.get("/readyz").await;
    let readyz = answer.json();
    assert_eq!(
        (answer.status, &readyz["ready"], &readyz["model"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!(false), &json!(null))
    );
    assert!(readyz["reason"].as_str().unwrap().contains("cut short"), "{readyz}");
    assert_eq!(scorer.metric("perch_scorer_ready").await, 0.0);

    fs::write(&model, &whole).unwrap();
    let answer = scorer.post("/ml/v2/model/reload", "").await;
    assert_eq!((answer.status, &answer.json()["available"]), (StatusCode::OK, &json!(true)));
    assert_eq!(scorer.get("/readyz").await.status, StatusCode::OK);
    assert_eq!(scorer.metric("perch_scorer_ready").await, 1.0);
}

/// As a registry that is synchronised file by file looks, the alias first; nothing is asked of the scorer meanwhile.
#[tokio::test]
async fn a_first_model_that_is_copied_after_its_alias_serves_by_itself_case_a5() {
    let place = Place::new().await;
    fs::create_dir(place.registry()).unwrap();
    alias(&place.registry(), "champion", "v1");
    let whole = tempfile::tempdir().unwrap();
    let from = place.version("v1").write(whole.path());
    let scorer = Scorer::start_in(place, &["--registry-poll-ms", "10"]).await;
    assert_eq!(scorer.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    tokio::spawn(Arc::clone(&scorer.app).watch_registry());
    let to = scorer.place.registry().join("v1");
    fs::create_dir(&to).unwrap();
    for file in ["manifest.json", "model.onnx", "reference.json"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    scorer.metric_becomes("perch_scorer_model_info{alias=\"champion\",version=\"v1\"}", 1.0).await;
    assert_eq!(scorer.get("/readyz").await.status, StatusCode::OK);
}

/// The folder is one that nobody can write to, not even the superuser: a file stands where it should be.
#[tokio::test]
async fn a_registry_that_cannot_be_written_says_so_before_anything_is_done_question_4() {
    let scorer = Scorer::start(&["--registry-poll-ms", "0"]).await;
    let registry = scorer.place.registry();
    scorer.place.version("v2").write(&registry);
    fs::create_dir(registry.join(".lock.d")).unwrap();
    let _ = fs::remove_file(registry.join(".lock"));
    fs::rename(registry.join(".lock.d"), registry.join(".lock")).unwrap();
    for path in ["deploy", "challenge", "rollback"] {
        let answer = scorer.post(&format!("/ml/v2/model/{path}"), r#"{"version":"v2"}"#).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::CONFLICT, &json!("registry")), "{path}");
        assert!(answer.text().contains("cannot be written (is a directory)"), "{}", answer.text());
        assert!(!answer.text().contains(scorer.place.path().to_str().unwrap()), "{}", answer.text());
    }
    let live = scorer.suggest(r#"{"txn_ids":[3]}"#).await;
    assert_eq!(live.header("x-perch-model-version"), Some("v1"));
}

#[tokio::test]
async fn a_deployment_by_alias_reaches_the_scorer_by_itself() {
    let scorer = Scorer::start(&["--registry-poll-ms", "10"]).await;
    tokio::spawn(Arc::clone(&scorer.app).watch_registry());
    scorer.place.version("v2").write(&scorer.place.registry());
    alias(&scorer.place.registry(), "champion", "v2");
    scorer.metric_becomes("perch_scorer_model_info{alias=\"champion\",version=\"v2\"}", 1.0).await;
}

#[tokio::test]
async fn models_are_deployed_judged_and_taken_back_by_request() {
    let scorer = Scorer::start(&[]).await;
    scorer.place.version("v2").write(&scorer.place.registry());
    let body = r#"{"version":"v2"}"#;
    assert_eq!(scorer.post("/ml/v2/model/challenge", body).await.json()["challenger"]["version"], "v2");

    let deployed = scorer.post("/ml/v2/model/deploy", body).await.json();
    assert_eq!((&deployed["meta"]["version"], &deployed["previous"]), (&json!("v2"), &json!("v1")));
    assert_eq!(deployed["challenger"], Value::Null);

    let back = scorer.post("/ml/v2/model/rollback", "").await.json();
    assert_eq!((&back["meta"]["version"], &back["previous"]), (&json!("v1"), &json!("v2")));
}

#[tokio::test]
async fn what_cannot_be_deployed_says_why() {
    let scorer = Scorer::start(&[]).await;
    Version { f1: 0.4, ..scorer.place.version("weak") }.write(&scorer.place.registry());
    for (path, body, status, reason) in [
        ("/ml/v2/model/deploy", r#"{"version":"weak"}"#, StatusCode::CONFLICT, "policy"),
        ("/ml/v2/model/deploy", r#"{"version":"v9"}"#, StatusCode::CONFLICT, "missing"),
        ("/ml/v2/model/deploy", r#"{"version":"../v1"}"#, StatusCode::CONFLICT, "name"),
        ("/ml/v2/model/deploy", "{}", StatusCode::BAD_REQUEST, "bad_request"),
        ("/ml/v2/model/rollback", "", StatusCode::CONFLICT, "no_previous"),
    ] {
        let answer = scorer.post(path, body).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (status, &json!(reason)), "{path} {body}");
    }
    assert_eq!(scorer.get("/readyz").await.json()["model"], "v1");
}

#[tokio::test]
async fn a_prediction_of_raw_features_is_that_of_the_stored_transaction() {
    let scorer = Scorer::start(&[]).await;
    let stored = scorer.post("/ml/v2/predict", r#"{"txn_id":"4"}"#).await.json();
    assert_eq!((&stored["available"], &stored["label"]), (&json!(true), &json!("groceries")));
    let raw = r#"{"amount":-53.23,"abs_amount":53.23,"merchant":"CORNER SHOP 12","channel":"card"}"#;
    let raw = scorer.post("/ml/v2/predict", raw).await.json();
    // The small model reads nothing but the amount.
    assert_eq!(raw["probs"], stored["probs"]);
    let sum: f64 = raw["probs"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    assert_eq!(raw["model_meta"]["version"], "v1");
}

#[tokio::test]
async fn a_prediction_that_cannot_be_made_names_the_value() {
    let scorer = Scorer::start(&[]).await;
    let unknown = scorer.post("/ml/v2/predict", r#"{"txn_id":999}"#).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    for (body, named) in [(r#"{"txn_id":"x"}"#, "\"x\""), (r#"{"amount":"a lot"}"#, "a lot"), ("[]", "body")] {
        let answer = scorer.post("/ml/v2/predict", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(
            answer.text().contains(named) || answer.json()["error"].as_str().unwrap().contains(named),
            "{}",
            answer.text()
        );
    }
}

/// How many attempts at the registry's lock this process makes or has made.
fn open_locks(registry: &Path) -> usize {
    let lock = registry.canonicalize().unwrap().join(".lock");
    let open = fs::read_dir("/proc/self/fd").unwrap();
    open.filter(|entry| entry.as_ref().is_ok_and(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == lock))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_whose_client_gave_up_does_not_come_true_later_case_a11() {
    let scorer = Arc::new(Scorer::start(&["--registry-poll-ms", "0"]).await);
    let registry = scorer.place.registry();
    scorer.place.version("v2").write(&registry);
    let held = Lock::take(&registry, &Caller::without_client()).unwrap();
    let asking = Arc::clone(&scorer);
    let client = tokio::spawn(async move { asking.post("/ml/v2/model/deploy", r#"{"version":"v2"}"#).await.status });
    while open_locks(&registry) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    // The attempt ends though the lock is still held, and what is free then changes nothing any more.
    while open_locks(&registry) > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(held);
    assert_eq!(fs::read_to_string(registry.join("champion")).unwrap(), "v1\n");
    assert_eq!(scorer.status().await["meta"]["version"], "v1");
}

#[tokio::test]
async fn a_repeated_rollback_stays_and_says_so_case_b6() {
    let scorer = Scorer::start(&[]).await;
    scorer.place.version("v2").write(&scorer.place.registry());
    scorer.post("/ml/v2/model/deploy", r#"{"version":"v2"}"#).await;
    for _ in 0..3 {
        let answer = scorer.post("/ml/v2/model/rollback", "").await;
        let status = answer.json();
        assert_eq!((answer.status, &status["meta"]["version"]), (StatusCode::OK, &json!("v1")), "{status}");
        assert_eq!((&status["previous"], &status["rolled_back_to"]), (&json!("v2"), &json!("v1")));
    }
}
