//! What users say to suggestions: joined to what was served, counted once, a label where it is one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use contract::frame;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use shadow_scorer::store::{FeedbackRow, Options, SuggestionEvent};
use suggestions::open_store;

use crate::batch::{Batch, ObservationSpec};
use crate::scorer::{HttpResponse, Place, Protocol, Scorer};

async fn say(scorer: &Scorer, body: &str) -> HttpResponse {
    scorer.post_as_stranger("/ml/suggestions/feedback", body.to_owned()).await
}

/// `lm_ml_predictions_total`: accepted, not accepted.
async fn predictions(scorer: &Scorer) -> (f64, f64) {
    let of = |accepted| format!("lm_ml_predictions_total{{accepted=\"{accepted}\"}}");
    (scorer.metric(&of("True")).await, scorer.metric(&of("False")).await)
}

#[tokio::test]
async fn arm_and_version_come_from_what_was_served_and_each_answer_counts_once() {
    let scorer = Scorer::start(&[]).await;
    let batch = Batch::new()
        .with(&ObservationSpec::candidate_beside(
            &[(4, Some("groceries")), (7, Some("groceries"))],
            &[(4, Some("travel"))],
        ))
        .with(&ObservationSpec::baseline(&[(3, Some("coffee"))]))
        .with(&ObservationSpec::fallback(&[(6, Some("coffee"))]));
    assert_eq!(scorer.post(frame::PATH, batch.bytes()).await.status, StatusCode::OK);

    // The client's word on arm and version is not asked for.
    let accept = r#"{"txn_id":4,"action":"accept","label":"groceries","event_id":"event-4","model_version":"v9","arm":"baseline"}"#;
    let first = say(&scorer, accept).await;
    assert_eq!(
        (first.status, first.json()),
        (
            StatusCode::OK,
            json!({ "ok": true, "new": true, "labelled": true, "arm": "candidate", "model_version": "v1" })
        )
    );
    let again = say(&scorer, accept).await.json();
    assert_eq!((&again["new"], &again["labelled"]), (&json!(false), &json!(false)));
    assert_eq!(predictions(&scorer).await, (1.0, 0.0));

    let reject = r#"{"txn_id":"7","action":"reject","label":"groceries","event_id":"event-7"}"#;
    assert_eq!(say(&scorer, reject).await.json()["labelled"], json!(false), "it says only what it is not");
    assert_eq!(predictions(&scorer).await, (1.0, 1.0));

    // Baseline responses, also those to canary users, count for the baseline.
    for (id, label) in [(3, "coffee"), (6, "coffee")] {
        let body = format!(r#"{{"txn_id":{id},"action":"accept","label":"{label}","event_id":"event-{id}"}}"#);
        let said = say(&scorer, &body).await.json();
        assert_eq!((&said["arm"], &said["model_version"]), (&json!("baseline"), &Value::Null));
    }
    assert_eq!(predictions(&scorer).await, (1.0, 1.0));
    assert_eq!(scorer.app.store.count_labels().await.unwrap(), 3);
}

#[tokio::test]
async fn feedback_on_nothing_that_is_known_waits_and_gives_no_label() {
    let scorer = Scorer::start(&[]).await;
    let said = say(&scorer, r#"{"txn_id":4,"action":"accept","label":"pets","event_id":"made-up"}"#).await.json();
    assert_eq!((&said["new"], &said["labelled"], &said["arm"]), (&json!(true), &json!(false), &Value::Null));
    assert_eq!(said["waiting"], json!(true));
    assert_eq!(predictions(&scorer).await, (0.0, 0.0));
}

/// It is joined by itself, wherever the event was stored from, and counted then.
#[tokio::test]
async fn feedback_that_waits_is_joined_and_counted_by_itself() {
    let scorer = Scorer::start(&[]).await;
    let body = r#"{"txn_id":4,"action":"accept","label":"groceries","event_id":"of-another-scorer"}"#;
    assert_eq!(say(&scorer, body).await.json()["waiting"], json!(true));
    assert_eq!(predictions(&scorer).await, (0.0, 0.0));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let event = SuggestionEvent {
        event_id: "of-another-scorer".into(),
        txn_id: 4,
        arm: "candidate".into(),
        model_version: "v1".into(),
        label: "groceries".into(),
        confidence: 0.5,
        bucket: "00000000000000aa".into(),
        cohort: "none".into(),
        created_at: i64::try_from(now).unwrap(),
    };
    scorer.app.store.add_events(&[event]).await.unwrap();
    scorer.metric_becomes("lm_ml_predictions_total{accepted=\"True\"}", 1.0).await;
    assert_eq!(scorer.metric("perch_scorer_feedback_waited_total{outcome=\"joined\"}").await, 1.0);
    assert_eq!(scorer.app.store.count_labels().await.unwrap(), 1);
    let again = say(&scorer, body).await.json();
    assert_eq!((&again["new"], &again["arm"]), (&json!(false), &json!("candidate")));
}

/// Where the gateway says who sends it, feedback on another user's suggestion is refused.
#[tokio::test]
async fn the_gateways_pseudonym_must_be_that_of_the_event() {
    let scorer = Scorer::start(&[]).await;
    let batch =
        Batch::new().with(&ObservationSpec { user: 7, ..ObservationSpec::candidate(&[(4, Some("groceries"))]) });
    assert_eq!(scorer.post(frame::PATH, batch.bytes()).await.status, StatusCode::OK);
    let body = r#"{"txn_id":4,"action":"accept","label":"groceries","event_id":"event-4"}"#;
    for (bucket, status) in [
        ("0000000000000008", StatusCode::FORBIDDEN),
        ("me", StatusCode::BAD_REQUEST),
        ("0000000000000007", StatusCode::OK),
    ] {
        let headers = [("x-perch-bucket", bucket)];
        let path = "/ml/suggestions/feedback";
        let answer = scorer.send(Method::POST, path, &headers, body.into(), Protocol::H1).await;
        assert_eq!(answer.status, status, "{bucket}: {}", answer.text());
    }
}

/// Case N2.
#[tokio::test]
async fn old_feedback_is_forgotten_by_itself() {
    let place = Place::new().await.with_champion();
    let store = open_store(&place.store_url(), &Options::default()).await.unwrap();
    let row = FeedbackRow {
        key: "event:old".into(),
        event_id: Some("old".into()),
        txn_id: 4,
        action: "accept".into(),
        label: "pets".into(),
        arm: "candidate".into(),
        model_version: "v1".into(),
        confidence: None,
        reason: String::new(),
        bucket: String::new(),
        received_at: 86_400,
    };
    store.record_feedback(&row).await.unwrap();
    let _scorer = Scorer::start_in(place, &["--keep-feedback-days", "7"]).await;
    while store.feedback("event:old").await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_cannot_be_taken_says_why() {
    let scorer = Scorer::start(&[]).await;
    for (body, status, named) in [
        ("{", StatusCode::BAD_REQUEST, "not JSON"),
        (r#"{"txn_id":4,"action":"maybe","label":"x"}"#, StatusCode::BAD_REQUEST, "maybe"),
        (r#"{"txn_id":404,"action":"accept","label":"x"}"#, StatusCode::NOT_FOUND, "404"),
    ] {
        let answer = say(&scorer, body).await;
        assert_eq!(answer.status, status);
        assert!(answer.text().contains(named), "{}", answer.text());
    }
    scorer.app.feedback_store.close().await;
    let answer = say(&scorer, r#"{"txn_id":4,"action":"accept","label":"x"}"#).await;
    assert_eq!((answer.status, answer.header("x-perch-unavailable")), (StatusCode::SERVICE_UNAVAILABLE, Some("store")));
    assert_eq!(scorer.metric("perch_scorer_store_failures_total{user=\"feedback\"}").await, 1.0);
}

#[tokio::test]
async fn events_are_forgotten_once_they_are_old() {
    let place = Place::new().await.with_champion();
    let store = open_store(&place.store_url(), &Options::default()).await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let event = |days: u64, number: u64| SuggestionEvent {
        event_id: format!("{days}-{number}"),
        txn_id: 4,
        arm: "baseline".into(),
        model_version: String::new(),
        label: "coffee".into(),
        confidence: 0.5,
        bucket: String::new(),
        cohort: "none".into(),
        created_at: i64::try_from(now - days * 86_400).unwrap(),
    };
    // More than one statement forgets.
    let mut events: Vec<SuggestionEvent> = (0..2_500).map(|number| event(8, number)).collect();
    events.push(event(6, 0));
    store.add_events(&events).await.unwrap();
    let _scorer = Scorer::start_in(place, &["--keep-events-days", "7"]).await;
    for number in [0, 2_499] {
        while store.event(&format!("8-{number}")).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(store.event("6-0").await.unwrap().is_some());
}
