//! Drift, with a model as `make model` trains it: its own reference, real features and predictions, and users that it
//! was not trained on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use contract::frame;
use http::StatusCode;
use serde_json::{Value, json};
use shadow_scorer::features::drift::{Patience, Reference, Report, Watch};
use shadow_scorer::metrics::Metrics;
use shadow_scorer::model::{Alias, Folder, LoadedModel, Scores};
use shadow_scorer::store::{Options, Store};
use suggestions::features::WIDTH;
use suggestions::generator::{self, Payment, Plan};
use suggestions::{application, create_store, open_store};

use crate::batch::{Batch, ObservationSpec};
use crate::scorer::{IDS, Place, Scorer};
use crate::small_model::alias;

/// The folder of the model that `make model` trained.
fn trained() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/registry");
    let champion = Folder::new(&root).alias(Alias::Champion).unwrap();
    root.join(champion.expect("no model is trained: run `make model`"))
}

/// Payments of users that the training did not see.
fn others(users: u64) -> Vec<Payment> {
    generator::generate(&Plan { seed: 7, users, ..Plan::default() })
}

const DAY: u64 = 86_400;
/// Some Monday.
const START: u64 = 1_790_553_600;

/// A week in which the payments of the last `days` are asked about, evenly spread, as the champion sees it at its end.
async fn week(store: &Store, payments: &[Payment], days: i64) -> Report {
    let model = Arc::new(LoadedModel::load(&trained(), &application().schema()).unwrap());
    let manifest = &model.manifest;
    let agreement = manifest.metrics.rest["agreement_with_rules"].as_f64();
    let reference = Reference::of(&model.schema, &manifest.rest["drift"], agreement, manifest.classes.len());
    let watch = Watch::new(reference.expect("run `make ml-train`"), Patience { rows: 500, span: DAY, users: 100 });

    let until = payments.last().unwrap().transaction.occurred_at;
    let recent = payments.iter().map(|payment| &payment.transaction);
    let ids: Vec<i64> = recent.filter(|payment| payment.occurred_at > until - days * 86_400).map(|p| p.id).collect();
    let mut found = Vec::new();
    for ids in ids.chunks(500) {
        found.extend(store.entities(ids).await.unwrap());
    }
    let (mut at, metrics) = (0, Metrics::new().unwrap());
    let seen = |rows: &[f32], classes: &[usize]| {
        for (row, class) in rows.chunks_exact(WIDTH).zip(classes) {
            watch.add(row, [*class], START + at * 7 * DAY / found.len() as u64);
            at += 1;
        }
    };
    Scores::watched(&[&model], &found, &metrics, seen).await;
    watch.report(START + 7 * DAY - 1, None)
}

#[tokio::test]
async fn a_week_of_the_same_world_moves_nothing() {
    let payments = others(600);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("perch.sqlite").display());
    let store = create_store(&url, &Options::default()).await.unwrap();
    generator::write(&store, &payments, |_, _| {}).await.unwrap();
    // All of the past is looked at again, or what has just happened.
    for days in [180, 7] {
        let report = week(&store, &payments, days).await;
        assert!(!report.collecting, "{report:?}");
        assert!(report.psi.iter().any(|(feature, _)| feature == "dow"), "the whole week is judged");
        assert!(report.moved.is_empty() && !report.needs_training(), "{days} days: {report:?}");
    }
}

/// Payments asked about, evenly spread over the time that they span.
const ASKED: usize = 900;

/// A scorer with the trained model that has observed payments, their amounts `times` as large.
async fn with_observed_payments(times: i64, flags: &[&str]) -> Scorer {
    let place = Place::new().await;
    let folder = trained();
    let version = folder.file_name().unwrap().to_str().unwrap();
    std::fs::create_dir_all(place.registry().join(version)).unwrap();
    for file in ["manifest.json", "model.onnx", "reference.json"] {
        std::fs::copy(folder.join(file), place.registry().join(version).join(file)).unwrap();
    }
    alias(&place.registry(), "champion", version);
    // The place has some transactions of its own, which keep their ids.
    let mut payments = others(120);
    payments.retain(|payment| !IDS.contains(&payment.transaction.id));
    for payment in &mut payments {
        payment.transaction.amount_cents *= times;
    }
    let store = open_store(&place.store_url(), &Options::default()).await.unwrap();
    generator::write(&store, &payments, |_, _| {}).await.unwrap();
    store.close().await;

    // Every row counts here, however slow the machine, and whichever user it is said to be of.
    let patience = ASKED.to_string();
    let own = ["--drift-rows", &patience, "--drift-hours", "0", "--observe-deadline-ms", "60000"];
    let any_user = if flags.contains(&"--drift-users") { &[][..] } else { &["--drift-users", "0"] };
    let own = [&own[..], any_user].concat();
    let scorer = Scorer::start_in(place, &[&own, flags].concat()).await;
    let step = payments.len() / ASKED;
    let ids: Vec<i64> = payments.iter().step_by(step).map(|payment| payment.transaction.id).take(ASKED).collect();
    for (batch, ids) in ids.chunks(ASKED / 10).enumerate() {
        assert_eq!(scorer.drift().await["state"], "collecting", "after {batch} batches");
        let items: Vec<_> = ids.iter().map(|id| (*id, Some("unknown"))).collect();
        // Whichever arm was served: at a share of 100% all responses are the candidate's.
        let seen = if batch % 2 == 0 { ObservationSpec::baseline(&items) } else { ObservationSpec::candidate(&items) };
        let answer = scorer.post(frame::PATH, Batch::new().with(&seen).bytes()).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    scorer
}

#[tokio::test]
async fn amounts_three_times_as_large_are_named_by_status_and_metrics() {
    let usual = with_observed_payments(1, &[]).await;
    let drift = usual.drift().await;
    assert_eq!((&drift["state"], &drift["report"]["moved"]), (&json!("stable"), &json!([])), "{drift}");
    assert!(usual.metric("perch_scorer_drift_psi{feature=\"abs_amount\"}").await < 0.1);
    assert_eq!(
        usual.metric("perch_scorer_agreement_ratio{over=\"training\"}").await,
        drift["report"]["agreement_baseline"]
    );

    let moved = with_observed_payments(3, &[]).await;
    let drift = moved.drift().await;
    let named: Vec<&str> = drift["report"]["moved"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(drift["state"], "moved", "{drift}");
    assert!(
        named.contains(&"abs_amount") && drift["summary"].as_str().unwrap().contains("abs_amount moved"),
        "{drift}"
    );
    assert!(moved.metric("perch_scorer_drift_psi{feature=\"abs_amount\"}").await > 0.25);
    let innocent = ["dow", "merchant_gram", "channel.card", "share"];
    assert!(innocent.iter().all(|name| !named.contains(name)), "{drift}");
}

#[tokio::test]
async fn drift_asks_for_one_training_per_cool_down_when_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("train.sh");
    let result = r#"{"run_id":"v9","deployed":false,"reason":"too weak","metrics":{"val_f1_macro":0.5}}"#;
    std::fs::write(&script, format!("echo \"$@\" >>\"$0.runs\"; echo '{result}'")).unwrap();
    let runs = || std::fs::read_to_string(folder.path().join("train.sh.runs")).unwrap_or_default().lines().count();
    let work = folder.path().join("work");
    let mut flags = vec!["--train-python", "/bin/sh", "--train-script", script.to_str().unwrap()];
    flags.extend(["--train-folder", work.to_str().unwrap()]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();

    let not_asked = with_observed_payments(3, &flags).await;
    not_asked.app.retrain_on_drift(now).await;
    assert_eq!((runs(), &not_asked.status().await["retraining"]["enabled"]), (0, &json!(false)));

    flags.push("--retrain-on-drift");
    let stable = with_observed_payments(1, &flags).await;
    stable.app.retrain_on_drift(now).await;
    assert_eq!(runs(), 0, "nothing moved");

    let moved = with_observed_payments(3, &flags).await;
    for later in [0, 3_600, 23 * 3_600] {
        moved.app.retrain_on_drift(now + later).await;
        assert_eq!(runs(), 1, "{later} seconds later");
    }
    assert_eq!(moved.status().await["retraining"], json!({ "enabled": true, "triggered_at": now }));
    assert_eq!(moved.metric("lm_ml_train_runs_total{status=\"rejected\"}").await, 1.0);
    moved.app.retrain_on_drift(now + DAY).await;
    assert_eq!(runs(), 2);
    // Case N1: only what the operator asks for may deploy.
    let asked = std::fs::read_to_string(folder.path().join("train.sh.runs")).unwrap();
    assert!(asked.lines().all(|line| line.contains("--deploy challenger")), "{asked}");
}

/// Two users ask about the payments of a hundred and twenty: habits moved, but it is two users' habits.
#[tokio::test]
async fn a_pilot_of_few_users_is_not_a_moved_population_case_a20() {
    let pilot = with_observed_payments(3, &["--drift-users", "50"]).await;
    let drift = pilot.drift().await;
    assert_eq!((&drift["state"], &drift["report"]["moved"]), (&json!("collecting"), &json!([])), "{drift}");
    let line = drift["summary"].as_str().unwrap();
    assert!(line.contains("900 of 900 rows of ") && line.contains(" of 50 users"), "{line}");
    assert_eq!(pilot.metric_if_any("perch_scorer_drift_psi{feature=\"abs_amount\"}").await, None);
}
