//! The scorer when its store is odd: what it says, and what goes on.

use std::time::{Duration, Instant};

use contract::analysis::{self, Analysis};
use contract::frame;
use http::StatusCode;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::batch::{Batch, ObservationSpec};
use crate::scorer::{Place, Scorer};

/// Case A6: one NUL in a label, and ids that no index takes, on the store where they stop a whole statement.
#[tokio::test]
async fn one_odd_label_does_not_stop_the_analysis() {
    for place in [Some(Place::new().await), Place::on_postgres().await].into_iter().flatten() {
        let scorer = Scorer::start_in(place.with_champion(), &[]).await;
        let odd = Batch::new().with(&ObservationSpec::baseline(&[(3, Some("cof\0fee")), (6, Some("coffee"))]));
        assert_eq!(scorer.post(frame::PATH, odd.bytes()).await.status, StatusCode::OK);
        let long: String = (0..3_000_u32).map(|at| char::from(b'a' + u8::try_from(at * at % 26).unwrap())).collect();
        for event_id in ["od\0d", long.as_str()] {
            let item = json!({ "txn_id": "4", "event_id": event_id, "candidates": [{ "label": "travel", "confidence": 0.7 }] });
            let baseline = json!({ "items": [item] }).to_string().into_bytes();
            let batch = Batch::new().with(&ObservationSpec { baseline, ..ObservationSpec::baseline(&[]) });
            assert_eq!(scorer.post(frame::PATH, batch.bytes()).await.status, StatusCode::OK);
        }
        let begun = Instant::now();
        let pairs = loop {
            let answer = scorer.get(analysis::PATH).await;
            let analysis: Analysis = serde_json::from_slice(&answer.body).unwrap();
            if analysis.pairs.iter().map(|pair| pair.items).sum::<u64>() == 4 {
                break analysis.pairs;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{analysis:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let rules: Vec<&str> = pairs.iter().filter_map(|pair| pair.rule.as_deref()).collect();
        assert!(
            rules.contains(&"cof\u{fffd}fee") && rules.contains(&"coffee") && rules.contains(&"travel"),
            "{rules:?}"
        );
        let said =
            scorer.post_as_stranger("/ml/suggestions/feedback", r#"{"txn_id":3,"action":"accept","label":"a\u0000"}"#);
        assert_eq!(said.await.status, StatusCode::BAD_REQUEST);
    }
}

/// Case A17: the same for a file that others own, a full disk and a standby: it is readiness that says it.
#[tokio::test]
async fn a_store_that_takes_no_writes_is_named_by_readiness_and_metrics_until_it_does() {
    let Some(place) = Place::on_postgres().await else { return };
    let url = place.store_url();
    let scorer = Scorer::start_in(place.with_champion(), &[]).await;
    assert_eq!(scorer.get("/readyz").await.json()["store"], Value::Null);
    let mut admin = sqlx::AnyConnection::connect(&url).await.unwrap();
    let name = url.rsplit('/').next().unwrap().to_owned();
    let mut say = async |statement: String| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut admin).await.unwrap();
    };
    say(format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    say(format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    ))
    .await;
    scorer.metric_becomes("perch_scorer_store_writable", 0.0).await;
    let ready = scorer.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        ready.text().contains("takes no writes") && ready.text().contains("read-only transaction"),
        "{}",
        ready.text()
    );
    assert_eq!(scorer.suggest(r#"{"txn_ids":[3]}"#).await.status, StatusCode::OK, "reads go on");
    let said =
        scorer.post_as_stranger("/ml/suggestions/feedback", r#"{"txn_id":3,"action":"accept","label":"pets"}"#).await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said.text().contains("takes no writes") && !said.text().contains("in time"), "{}", said.text());

    say(format!("ALTER DATABASE {name} SET default_transaction_read_only = off")).await;
    scorer.metric_becomes("perch_scorer_store_writable", 1.0).await;
    assert_eq!(scorer.get("/readyz").await.status, StatusCode::OK);
}

/// Case 1c: however much feedback asks of the store, live answers have their own connections, and the other way round.
#[tokio::test]
async fn feedback_and_live_answers_share_no_connection() {
    let scorer = Scorer::start(&[]).await;
    scorer.app.store.close().await;
    let body = r#"{"txn_id":3,"action":"accept","label":"pets","event_id":"made-up"}"#;
    let said = scorer.post_as_stranger("/ml/suggestions/feedback", body).await;
    assert_eq!((said.status, &said.json()["waiting"]), (StatusCode::OK, &json!(true)), "{}", said.text());
}
