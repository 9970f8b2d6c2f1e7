//! Training by request: what it answers, what it leaves serving. The child is a script of the test's.

use http::StatusCode;
use serde_json::json;
use shadow_scorer::store::{LabelSource, NewLabel, Options};
use suggestions::transactions::NewTransaction;
use suggestions::{open_store, transactions};

use crate::scorer::{Place, Scorer};

/// A scorer with a champion "v1", a version "v2" that nobody names yet, and `labels` labelled transactions, whose
/// training runs `script` with the registry's folder as `$4`.
async fn with_labels(labels: i64, script: &str, flags: &[&str]) -> Scorer {
    let place = Place::new().await.with_champion();
    place.version("v2").write(&place.registry());
    let store = open_store(&place.store_url(), &Options::default()).await.unwrap();
    let new: Vec<NewTransaction> = (1_000..1_000 + labels).map(transaction).collect();
    transactions::add(&store, &new).await.unwrap();
    let label = |t: &NewTransaction| NewLabel {
        txn_id: t.id,
        source: LabelSource::Feedback,
        label: "coffee".into(),
        labelled_at: t.occurred_at,
    };
    store.put_labels(&new.iter().map(label).collect::<Vec<_>>()).await.unwrap();
    let (program, work) = (place.path().join("train.sh"), place.path().join("train"));
    std::fs::write(&program, script).unwrap();
    let own = ["--train-python", "/bin/sh", "--train-script", program.to_str().unwrap()];
    let own = [&own[..], &["--train-folder", work.to_str().unwrap()], flags].concat();
    Scorer::start_in(place, &own).await
}

fn transaction(id: i64) -> NewTransaction {
    NewTransaction {
        id,
        user_id: "user".into(),
        occurred_at: 1_790_000_000 + id,
        merchant: "CORNER SHOP 12".into(),
        memo: String::new(),
        amount_cents: -467,
        channel: "card".into(),
        mcc: None,
        subscription: None,
        p2p: None,
    }
}

async fn runs(scorer: &Scorer) -> [f64; 3] {
    let mut runs = [0.0; 3];
    for (place, status) in runs.iter_mut().zip(["deployed", "rejected", "failed"]) {
        *place = scorer.metric(&format!("lm_ml_train_runs_total{{status=\"{status}\"}}")).await;
    }
    runs
}

const DEPLOYS_V2: &str = r#"
    printf 'v2\n' >"$4/champion"
    echo '{"run_id":"v2","deployed":true,"reason":"good","metrics":{"val_f1_macro":0.81}}'
"#;

#[tokio::test]
async fn a_model_that_was_trained_and_deployed_serves_by_the_time_of_the_answer() {
    let scorer = with_labels(100, DEPLOYS_V2, &["--registry-poll-ms", "0"]).await;
    let answer = scorer.post("/ml/v2/train?limit=100", "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let said = answer.json();
    assert_eq!((&said["run_id"], &said["deployed"]), (&json!("v2"), &json!(true)));
    assert_eq!(said["metrics"]["val_f1_macro"], 0.81);
    let live = scorer.suggest(r#"{"txn_ids":[3]}"#).await;
    assert_eq!(live.header("x-perch-model-version"), Some("v2"));
    assert_eq!(runs(&scorer).await, [1.0, 0.0, 0.0]);
    assert_eq!(scorer.metric("lm_ml_train_val_f1_macro").await, 0.81);
}

#[tokio::test]
async fn a_model_that_the_scorer_refuses_is_not_deployed_whatever_the_training_says() {
    let script = format!("head -c 100 \"$4/v1/model.onnx\" >\"$4/v2/model.onnx\"{DEPLOYS_V2}");
    let scorer = with_labels(100, &script, &["--registry-poll-ms", "0"]).await;
    let said = scorer.post("/ml/v2/train", "").await.json();
    assert_eq!(said["deployed"], json!(false));
    assert!(said["refused"].as_str().unwrap().contains("cut short"), "{said}");
    let live = scorer.suggest(r#"{"txn_ids":[3]}"#).await;
    assert_eq!(live.header("x-perch-model-version"), Some("v1"));
    assert_eq!(runs(&scorer).await, [0.0, 1.0, 0.0]);
}

#[tokio::test]
async fn too_few_labels_are_no_data_and_no_run() {
    let scorer = with_labels(99, DEPLOYS_V2, &[]).await;
    let answer = scorer.post("/ml/v2/train", "").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::BAD_REQUEST, &json!("no_data")));
    assert!(answer.text().contains("no data: 99 labels"), "{}", answer.text());
    assert_eq!(runs(&scorer).await, [0.0; 3]);
    let answer = scorer.post("/ml/v2/train?limit=some", "").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::BAD_REQUEST, &json!("bad_request")));
}

#[tokio::test]
async fn a_training_that_fails_or_hangs_says_so_without_this_machines_paths() {
    let scorer = with_labels(100, "exit 7", &[]).await;
    let answer = scorer.post("/ml/v2/train", "").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("failed")));
    assert!(!answer.text().contains(scorer.place.path().to_str().unwrap()), "{}", answer.text());
    assert_eq!(runs(&scorer).await, [0.0, 0.0, 1.0]);

    let scorer = with_labels(100, "exec sleep 600", &["--train-deadline-s", "1"]).await;
    let answer = scorer.post("/ml/v2/train", "").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::GATEWAY_TIMEOUT, &json!("late")));
    assert_eq!(runs(&scorer).await, [0.0, 0.0, 1.0]);
}

#[tokio::test]
async fn a_second_training_is_refused_while_one_runs() {
    let script = format!("while [ ! -f \"$4/go\" ]; do sleep 0.02; done{DEPLOYS_V2}");
    let scorer = with_labels(100, &script, &[]).await;
    let (mut one, mut other) = (Box::pin(scorer.post("/ml/v2/train", "")), Box::pin(scorer.post("/ml/v2/train", "")));
    // Whoever comes second is refused at once; the first goes on once that is seen.
    let (refused, rest) = tokio::select! {
        refused = &mut one => (refused, other),
        refused = &mut other => (refused, one),
    };
    assert_eq!((refused.status, &refused.json()["reason"]), (StatusCode::CONFLICT, &json!("busy")));
    std::fs::write(scorer.place.registry().join("go"), "").unwrap();
    assert_eq!(rest.await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_registry_that_takes_no_version_is_found_out_before_a_training_question_4() {
    let script = "touch \"$0.ran\"";
    let scorer = with_labels(100, script, &["--registry-poll-ms", "0"]).await;
    let registry = scorer.place.registry();
    std::fs::remove_dir_all(&registry).unwrap();
    std::fs::write(&registry, "not a folder").unwrap();
    let answer = scorer.post("/ml/v2/train", "").await;
    assert_eq!(
        (answer.status, &answer.json()["reason"]),
        (StatusCode::CONFLICT, &json!("registry")),
        "{}",
        answer.text()
    );
    assert!(!scorer.place.path().join("train.sh.ran").exists());
}

/// Dropped, as at SIGTERM: the child and what it started are gone, and its rows with them.
#[tokio::test]
async fn a_training_ends_with_the_scorer_case_2b() {
    let script = r#"
        sleep 600 &
        echo "$$ $!" >"$4/pids.new"
        mv "$4/pids.new" "$4/pids"
        wait
    "#;
    let scorer = with_labels(100, script, &["--drain-notice-ms", "0"]).await;
    let pids = scorer.place.registry().join("pids");
    let (app, asked) = (std::sync::Arc::clone(&scorer.app), std::sync::Arc::clone(&scorer.app));
    let training = tokio::spawn(async move { asked.trainer.train(&asked.store, None).await });
    while !pids.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    app.finish().await;
    assert!(matches!(training.await.unwrap(), Err(shadow_scorer::feedback::TrainError::Stopped)));
    for pid in std::fs::read_to_string(&pids).unwrap().split_whitespace() {
        let status = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        while !(status().is_empty() || status().contains("State:\tZ")) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    let runs = std::fs::read_dir(scorer.place.path().join("train")).unwrap();
    assert!(runs.map(|run| run.unwrap().path()).all(|run| !run.join("features").exists()), "rows are not kept");
}
