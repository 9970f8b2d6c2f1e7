//! Drift, with a model as `make model` trains it: its own reference, real features and predictions, and users that it was
//! not trained on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use contract::frame;
use http::StatusCode;
use shadow_scorer::demo::{self, Payment, Plan};
use shadow_scorer::features::WIDTH;
use shadow_scorer::features::drift::{Patience, Reference, Report, Watch};
use shadow_scorer::metrics::Metrics;
use shadow_scorer::model::{Alias, Folder, Loaded, Scores};
use shadow_scorer::store::{Options, Store};

use crate::batch::{Batch, Seen};
use crate::scorer::{Place, Scorer};

/// The folder of the model that `make model` trained.
fn trained() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/registry");
    let champion = Folder::new(&root).alias(Alias::Champion).unwrap();
    root.join(champion.expect("no model is trained: run `make model`"))
}

/// Payments of users that the training did not see.
fn others() -> Vec<Payment> {
    demo::generate(&Plan { seed: 7, users: 600, ..Plan::default() })
}

const DAY: u64 = 86_400;
/// Some Monday.
const START: u64 = 1_790_553_600;

/// A week in which the payments of the last `days` are asked about, evenly spread, as the champion sees it at its end.
async fn week(store: &Store, payments: &[Payment], days: i64) -> Report {
    let model = Arc::new(Loaded::load(&trained(), &Loaded::wanted_schema()).unwrap());
    let manifest = &model.manifest;
    let agreement = manifest.metrics.rest["agreement_with_rules"].as_f64();
    let reference = Reference::of(&manifest.rest["drift"], agreement, manifest.classes.len());
    let watch = Watch::new(reference.expect("run `make ml-train`"), Patience { rows: 500, span: DAY });

    let until = payments.last().unwrap().transaction.occurred_at;
    let recent = payments.iter().map(|payment| &payment.transaction);
    let ids: Vec<i64> = recent.filter(|payment| payment.occurred_at > until - days * 86_400).map(|p| p.id).collect();
    let mut found = Vec::new();
    for ids in ids.chunks(500) {
        found.extend(store.transactions(ids).await.unwrap());
    }
    let (mut at, metrics) = (0, Metrics::new().unwrap());
    let seen = |rows: &[f32], classes: &[usize]| {
        for (row, class) in rows.chunks_exact(WIDTH).zip(classes) {
            watch.add(row, [*class], START + at * 7 * DAY / found.len() as u64);
            at += 1;
        }
    };
    Scores::watched(&[&model], &found, &metrics, seen).await;
    watch.report(START + 7 * DAY - 1)
}

#[tokio::test]
async fn a_week_of_the_same_world_moves_nothing() {
    let payments = others();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("perch.sqlite").display());
    let store = Store::create(&url, &Options::default()).await.unwrap();
    demo::write(&store, &payments, |_, _| {}).await.unwrap();
    // All of the past is looked at again, or what has just happened.
    for days in [180, 7] {
        let report = week(&store, &payments, days).await;
        assert!(!report.collecting, "{report:?}");
        println!("{:?}", report.psi);
        assert!(report.psi.iter().any(|(feature, _)| feature == "dow"), "the whole week is judged");
        assert!(report.moved.is_empty() && !report.asks_for_training(), "{days} days: {report:?}");
    }
}

/// A scorer with the trained model that has seen 900 payments, their amounts `times` as large.
async fn having_seen(times: i64) -> Scorer {
    let place = Place::new().await;
    let folder = trained();
    let version = folder.file_name().unwrap().to_str().unwrap();
    std::fs::create_dir_all(place.registry().join(version)).unwrap();
    for file in ["manifest.json", "model.onnx", "reference.json"] {
        std::fs::copy(folder.join(file), place.registry().join(version).join(file)).unwrap();
    }
    crate::small_model::alias(&place.registry(), "champion", version);
    let store = Store::open(&place.store_url(), &Options::default()).await.unwrap();
    let mut payments = others();
    // The place has some of its own, which are not asked about.
    payments
        .retain(|payment| !crate::scorer::IDS.contains(&payment.transaction.id) && payment.transaction.id % 16 == 0);
    for payment in &mut payments {
        payment.transaction.amount_cents *= times;
    }
    demo::write(&store, &payments, |_, _| {}).await.unwrap();
    store.close().await;

    let scorer = Scorer::start_in(place, &["--drift-rows", "900", "--drift-hours", "0"]).await;
    let ids: Vec<i64> = payments.iter().map(|payment| payment.transaction.id).take(900).collect();
    for (batch, ids) in ids.chunks(90).enumerate() {
        assert_ne!(scorer.drift().await["state"], "moved", "nothing is said of {batch} batches");
        let items: Vec<_> = ids.iter().map(|id| (*id, Some("unknown"))).collect();
        // Whoever answered: at a share of 100 % it is all the model's.
        let seen = if batch % 2 == 0 { Seen::rules(&items) } else { Seen::model(&items) };
        let answer = scorer.post(frame::PATH, Batch::new().with(&seen).bytes()).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    scorer
}

#[tokio::test]
async fn amounts_three_times_as_large_are_named_by_status_and_metrics() {
    let usual = having_seen(1).await;
    let drift = usual.drift().await;
    assert_eq!((&drift["state"], &drift["report"]["moved"]), (&"stable".into(), &serde_json::json!([])), "{drift}");
    assert!(usual.metric("perch_scorer_drift_psi{feature=\"abs_amount\"}").await < 0.1);

    let moved = having_seen(3).await;
    let drift = moved.drift().await;
    let named: Vec<&str> =
        drift["report"]["moved"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    assert_eq!(drift["state"], "moved", "{drift}");
    assert!(named.contains(&"abs_amount") && drift["line"].as_str().unwrap().contains("abs_amount moved"), "{drift}");
    assert!(moved.metric("perch_scorer_drift_psi{feature=\"abs_amount\"}").await > 0.25);
    println!("{drift}");
    let innocent = ["dow", "merchant_gram", "channel.card", "share"];
    assert!(innocent.iter().all(|name| !named.contains(name)), "{drift}");
}
