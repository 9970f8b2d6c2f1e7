//! Training as a child process: one at a time, bounded, its log kept. The child is a script of the test's, so that it
//! fails, hangs and answers as it is told.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use shadow_scorer::feedback::training::{Deploy, Plan};
use shadow_scorer::feedback::{TrainError, Trainer};
use shadow_scorer::store::{LabelSource, NewLabel, Store};
use suggestions::{application, transactions};

use crate::fixture::{day, each, transaction};

async fn with_labels(store: &Store, count: i64) {
    let new: Vec<_> = (1..=count).map(|id| transaction(id, "a", day(id), "COSTCO")).collect();
    transactions::add(store, &new).await.unwrap();
    let label =
        |txn_id| NewLabel { txn_id, source: LabelSource::User, label: "groceries".into(), labelled_at: day(txn_id) };
    store.put_labels(&(1..=count).map(label).collect::<Vec<_>>()).await.unwrap();
}

fn trainer(folder: &Path, script: &str, deadline: Duration) -> Trainer {
    std::fs::write(folder.join("train.sh"), script).unwrap();
    Trainer::new(
        Plan {
            python: "/bin/sh".into(),
            script: folder.join("train.sh"),
            registry: folder.join("registry"),
            work: folder.join("work"),
            deadline,
            deploy: Deploy::Policy,
        },
        application(),
    )
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn rows_are_exported_and_the_result_comes_back() {
    for fresh in each().await {
        with_labels(&fresh.store, 120).await;
        let folder = tempfile::tempdir().unwrap();
        let script = r#"
            echo "progress" >&2
            test -f "$2/schema.json" || exit 1
            echo "$@" > "$4.arguments"
            echo "chatter"
            echo '{"run_id":"v9","deployed":true,"metrics":{"val_f1_macro":0.81}}'
        "#;
        let trained = trainer(folder.path(), script, LONG).train(&fresh.store, Some(110)).await.unwrap();
        assert_eq!((trained.run_id.as_str(), trained.deployed, trained.val_f1_macro), ("v9", true, Some(0.81)));
        assert_eq!(trained.result["metrics"], json!({"val_f1_macro": 0.81}));
        let arguments = std::fs::read_to_string(folder.path().join("registry.arguments")).unwrap();
        assert!(arguments.contains("--limit 110") && arguments.contains("--deploy policy"), "{arguments}");
        let run = std::fs::read_dir(folder.path().join("work")).unwrap().next().unwrap().unwrap().path();
        assert_eq!(std::fs::read_to_string(run.join("train.log")).unwrap(), "progress\n");
        assert!(!run.join("features").exists(), "rows are not kept");
    }
}

#[tokio::test]
async fn fewer_labels_than_a_hundred_are_no_data_and_start_nothing() {
    let fresh = each().await.swap_remove(0);
    with_labels(&fresh.store, 99).await;
    let folder = tempfile::tempdir().unwrap();
    let trainer = trainer(folder.path(), "touch \"$0.ran\"", LONG);
    let error = trainer.train(&fresh.store, None).await.unwrap_err().to_string();
    assert_eq!(error, "no data: 99 labels, at least 100 are needed");
    assert!(!folder.path().join("train.sh.ran").exists());
}

#[tokio::test]
async fn what_the_script_finds_too_little_is_no_data_too() {
    let fresh = each().await.swap_remove(0);
    with_labels(&fresh.store, 120).await;
    let folder = tempfile::tempdir().unwrap();
    let script = r#"echo '{"error":"no data","detail":"no data: 1 labels have at least 5 rows"}'; exit 3"#;
    let error = trainer(folder.path(), script, LONG).train(&fresh.store, None).await.unwrap_err();
    assert!(matches!(&error, TrainError::NoData(detail) if detail.starts_with("1 labels")), "{error:?}");
}

#[tokio::test]
async fn a_training_that_fails_names_its_log_and_one_that_hangs_is_stopped() {
    let fresh = each().await.swap_remove(0);
    with_labels(&fresh.store, 120).await;
    let folder = tempfile::tempdir().unwrap();
    let error = trainer(folder.path(), "echo why >&2; exit 7", LONG).train(&fresh.store, None).await.unwrap_err();
    let TrainError::Failed { status, log } = error else { panic!("{error:?}") };
    assert_eq!((status.code(), std::fs::read_to_string(log).unwrap().as_str()), (Some(7), "why\n"));

    let script = r#"echo $$ > "$4.pid"; exec sleep 600"#;
    let hanging = trainer(folder.path(), script, Duration::from_secs(2));
    let error = hanging.train(&fresh.store, None).await.unwrap_err();
    assert!(matches!(error, TrainError::Late(_)), "{error:?}");
    let pid = std::fs::read_to_string(folder.path().join("registry.pid")).unwrap();
    // Killed, and after a moment gone or waiting to be reaped.
    let mut left = true;
    while left {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
        left = !(status.is_empty() || status.contains("State:\tZ"));
    }
    // The turn is free again.
    let error = hanging.train(&fresh.store, Some(0)).await.unwrap_err();
    assert!(matches!(error, TrainError::Late(_)), "{error:?}");
}

#[tokio::test]
async fn one_at_a_time_and_the_client_may_leave() {
    let fresh = each().await.swap_remove(0);
    with_labels(&fresh.store, 120).await;
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        touch "$4.begun"
        while [ ! -f "$4.go" ]; do sleep 0.02; done
        touch "$4.done"
        echo '{"run_id":"v1","deployed":false}'
    "#;
    let trainer = trainer(folder.path(), script, LONG);
    let (first, store) = (trainer.clone(), fresh.store.clone());
    let asking = tokio::spawn(async move { first.train(&store, None).await });
    let file = |name: &str| folder.path().join(format!("registry.{name}"));
    while !file("begun").exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(trainer.train(&fresh.store, None).await, Err(TrainError::Busy)));
    asking.abort();
    std::fs::write(file("go"), "").unwrap();
    while !file("done").exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_missing_environment_says_how_to_make_it() {
    let fresh = each().await.swap_remove(0);
    with_labels(&fresh.store, 120).await;
    let folder = tempfile::tempdir().unwrap();
    let trainer = Trainer::new(
        Plan {
            python: folder.path().join("no-python"),
            script: folder.path().join("no-script"),
            registry: folder.path().join("registry"),
            work: folder.path().join("work"),
            deadline: LONG,
            deploy: Deploy::Challenger,
        },
        application(),
    );
    let error = trainer.train(&fresh.store, None).await.unwrap_err().to_string();
    assert!(error.contains("no-python") && error.contains("setup/run training"), "{error}");
}
