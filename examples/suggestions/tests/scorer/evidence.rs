//! What the guard judges by: agreement by request, the system's own noise, users and feedback by arm.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use contract::evidence::{Clusters, Evidence, Feedback, PATH, Users};
use contract::{frame, series};
use http::StatusCode;
use serde_json::json;

use crate::batch::{Batch, ObservationSpec};
use crate::scorer::Scorer;

async fn observe(scorer: &Scorer, batch: Batch) {
    let answer = scorer.post(frame::PATH, batch.bytes()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}

#[tokio::test]
async fn agreement_is_counted_by_request_and_only_where_something_was_judged() {
    let scorer = Scorer::start(&[]).await;
    // The model says: 3 coffee, 4 groceries, 5 transfers.
    let batch = Batch::new()
        .with(&ObservationSpec::baseline(&[(3, Some("coffee")), (4, Some("travel")), (5, Some("unknown"))]))
        .with(&ObservationSpec::baseline(&[(3, Some("coffee"))]))
        .with(&ObservationSpec::baseline(&[(5, Some("unknown"))]))
        .with(&ObservationSpec { status: 500, ..ObservationSpec::baseline(&[]) });
    observe(&scorer, batch).await;
    assert_eq!(scorer.metric(series::JUDGED_REQUESTS).await, 2.0);
    assert_eq!(scorer.metric(series::AGREEMENT).await, 1.5);
    assert_eq!(scorer.metric(series::AGREEMENT_SQUARES).await, 1.25);
}

#[tokio::test]
async fn the_latency_histogram_has_the_edges_that_a_budget_may_be() {
    let scorer = Scorer::start(&[]).await;
    observe(&scorer, Batch::new().with(&ObservationSpec::candidate(&[])).with(&ObservationSpec::fallback(&[]))).await;
    for edge in series::GATEWAY_LATENCY_EDGES {
        // Each took 12 ms.
        let within = f64::from(u8::from(edge > 0.012));
        for (arm, seen) in [("baseline", 0.0), ("candidate", within), ("fallback", within)] {
            let bucket = format!("{}_bucket{{arm=\"{arm}\",le=\"{edge}\"}}", series::GATEWAY_LATENCY);
            assert_eq!(scorer.metric(&bucket).await, seen, "{bucket}");
        }
    }
}

fn of(name: &str, side: &str) -> String {
    format!("{name}{{side=\"{side}\"}}")
}

#[tokio::test]
async fn the_candidate_is_asked_again_and_compared_with_itself() {
    let scorer = Scorer::start(&["--noise-percent", "100"]).await;
    let items = [(3, Some("coffee")), (4, Some("groceries"))];
    observe(&scorer, Batch::new().with(&ObservationSpec::candidate(&items)).with(&ObservationSpec::baseline(&items)))
        .await;
    scorer.metric_becomes(&of(series::NOISE_REQUESTS, "candidate"), 2.0).await;
    assert_eq!(scorer.metric(&of(series::NOISE_AGREEMENT, "candidate")).await, 2.0);
    assert_eq!(scorer.metric(&of(series::NOISE_AGREEMENT_SQUARES, "candidate")).await, 2.0);
    assert_eq!(scorer.metric(series::JUDGED_REQUESTS).await, 2.0, "asking again is not a request of its own");

    let scorer = Scorer::start(&["--noise-percent", "0"]).await;
    observe(&scorer, Batch::new().with(&ObservationSpec::baseline(&items))).await;
    assert_eq!(scorer.metric(&of(series::NOISE_REQUESTS, "candidate")).await, 0.0);
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

async fn evidence(scorer: &Scorer, since: u64) -> Evidence {
    serde_json::from_slice(&scorer.get(&format!("{PATH}?since_ms={since}")).await.body).unwrap()
}

#[tokio::test]
async fn users_and_feedback_are_counted_by_arm() {
    let scorer = Scorer::start(&[]).await;
    // Events are kept by the second, and the one in which the scorer started does not count.
    let started = evidence(&scorer, 0).await.since_ms;
    while now_ms() / 1_000 * 1_000 < started {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let batch = Batch::new()
        .with(&ObservationSpec {
            user: 1,
            ..ObservationSpec::candidate_beside(&[(4, Some("groceries"))], &[(4, Some("travel"))])
        })
        .with(&ObservationSpec { user: 1, ..ObservationSpec::candidate(&[(7, Some("groceries"))]) })
        .with(&ObservationSpec { user: 2, ..ObservationSpec::baseline(&[(3, Some("coffee"))]) })
        .with(&ObservationSpec { user: 3, ..ObservationSpec::fallback(&[(6, Some("coffee"))]) });
    observe(&scorer, batch).await;
    for (id, action, label) in
        [(4, "accept", "groceries"), (7, "reject", "groceries"), (3, "accept", "coffee"), (6, "reject", "coffee")]
    {
        let body = json!({ "txn_id": id, "action": action, "label": label, "event_id": format!("event-{id}") });
        let answer = scorer.post("/ml/suggestions/feedback", body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }

    let seen = evidence(&scorer, 0).await;
    assert_eq!(seen.since_ms, started, "what was before the start is not known");
    assert_eq!(seen.users, Users { rule: 1, model: 2, sampled_one_in: 1 });
    let (mut model, mut rule) = (Clusters::default(), Clusters::default());
    model.add(2, 1);
    rule.add(1, 1);
    // The canary user who was given the baseline is in arm model, but the rejected response is the baseline's.
    rule.add(1, 0);
    assert_eq!(seen.feedback, Some(Feedback { rule, model }));

    let later = now_ms() + 60_000;
    let seen = evidence(&scorer, later).await;
    assert_eq!((seen.since_ms, seen.users.rule, seen.users.model), (later, 0, 0));
    assert_eq!(seen.feedback, Some(Feedback::default()));
}

#[tokio::test]
async fn without_the_store_the_rest_is_still_told() {
    let scorer = Scorer::start(&[]).await;
    observe(&scorer, Batch::new().with(&ObservationSpec::baseline(&[(3, Some("coffee"))]))).await;
    scorer.app.store.close().await;
    let seen = evidence(&scorer, 0).await;
    assert_eq!((seen.users.rule, seen.feedback), (1, None));
    assert_eq!(scorer.metric("perch_scorer_store_failures_total{user=\"evidence\"}").await, 1.0);
    let bad = scorer.get(&format!("{PATH}?since_ms=yesterday")).await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert!(bad.text().contains("yesterday"), "{}", bad.text());
}
