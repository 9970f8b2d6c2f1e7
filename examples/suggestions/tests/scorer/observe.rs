//! Observations: every item ends as True, False or None with a reason, whatever happens.

use std::time::Duration;

use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use bytes::Bytes;
use contract::batch_result::BatchResult;
use contract::frame::{self, Encoding};
use contract::names::{Arm, NotCompared};
use http::StatusCode;
use serde_json::json;
use shadow_scorer::store::{LabelSource, NewLabel};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::batch::{Batch, ObservationSpec, response};
use crate::scorer::{HttpResponse, Place, Scorer};
use crate::small_model::{SWAPPED, Version, alias, edit_manifest};

async fn observe(scorer: &Scorer, batch: Batch) -> BatchResult {
    let answer = scorer.post(frame::PATH, batch.bytes()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    read(&answer)
}

fn read(answer: &HttpResponse) -> BatchResult {
    serde_json::from_slice(&answer.body).unwrap()
}

/// Agree, disagree, not compared by reason.
fn counts(result: &BatchResult) -> (u32, u32, Vec<(NotCompared, u32)>) {
    (result.agree_true, result.agree_false, result.not_compared.iter().map(|(reason, n)| (*reason, *n)).collect())
}

#[tokio::test]
async fn baseline_responses_are_compared_with_the_model_item_by_item() {
    let scorer = Scorer::start(&[]).await;
    // The model says: 3 coffee, 4 groceries, 5 transfers, and does not know 999.
    let batch = Batch::new()
        .with(&ObservationSpec::baseline(&[(3, Some("coffee")), (4, Some("travel")), (5, Some("unknown"))]))
        .with(&ObservationSpec::baseline(&[(999, Some("coffee")), (6, None)]))
        .with(&ObservationSpec::fallback(&[(4, Some("groceries"))]));
    let result = observe(&scorer, batch).await;
    assert_eq!(counts(&result), (2, 1, vec![(NotCompared::NoLabel, 1), (NotCompared::MissingItem, 1)]));
    assert_eq!(result.abstained, [(Arm::Baseline, 1)].into());
    assert_eq!((result.observations, result.available, result.unavailable), (3, 2, 0), "the fallback is left out");
    let coffee: u32 = result.labels.iter().filter(|cell| cell.label == "coffee").map(|cell| cell.items).sum();
    assert_eq!(coffee, 2);

    assert_eq!(scorer.metric("perch_scorer_items_total{agree=\"True\"}").await, 2.0);
    assert_eq!(scorer.metric("perch_scorer_pair_items_total{baseline=\"travel\",candidate=\"groceries\"}").await, 1.0);
    assert_eq!(scorer.metric("perch_scorer_observations_total{result=\"compared\"}").await, 3.0);
    assert_eq!(scorer.metric("perch_scorer_gateway_latency_seconds_count{arm=\"fallback\"}").await, 1.0);
}

#[tokio::test]
async fn both_responses_of_a_canary_are_compared_and_nobody_is_asked() {
    let scorer = Scorer::start_in(Place::new().await, &[]).await;
    let items = [(3, Some("coffee")), (4, Some("groceries")), (5, Some("transfers")), (6, Some("coffee"))];
    let baseline = [(3, Some("coffee")), (4, Some("travel")), (5, Some("unknown")), (7, Some("travel"))];
    let result = observe(&scorer, Batch::new().with(&ObservationSpec::candidate_beside(&items, &baseline))).await;
    assert_eq!(counts(&result), (1, 1, vec![(NotCompared::MissingItem, 1)]), "there is no model to ask");
    assert_eq!(result.abstained, [(Arm::Candidate, 1)].into());
    assert_eq!((result.available, result.unavailable), (0, 0), "the filter counts its own calls");
    assert_eq!(scorer.metric("perch_scorer_response_latency_seconds_count{side=\"candidate\"}").await, 1.0);

    let event = async { scorer.app.store.event("event-4").await.unwrap() };
    let mut stored = event.await;
    while stored.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        stored = scorer.app.store.event("event-4").await.unwrap();
    }
    let stored = stored.unwrap();
    assert_eq!(
        (stored.arm.as_str(), stored.model_version.as_str(), stored.label.as_str()),
        ("candidate", "v1", "groceries")
    );
    assert_eq!(stored.bucket, "000000000000feed");
}

#[tokio::test]
async fn a_baseline_that_cannot_be_read_leaves_items_that_are_not_compared() {
    let scorer = Scorer::start(&[]).await;
    let seen = ObservationSpec {
        baseline: b"<html>".to_vec(),
        ..ObservationSpec::candidate(&[(3, Some("coffee")), (4, None)])
    };
    let result = observe(&scorer, Batch::new().with(&seen)).await;
    assert_eq!(counts(&result), (0, 0, vec![(NotCompared::Unreadable, 2)]));
}

#[tokio::test]
async fn without_a_model_every_item_says_so() {
    let scorer = Scorer::start_in(Place::new().await, &[]).await;
    let result =
        observe(&scorer, Batch::new().with(&ObservationSpec::baseline(&[(3, Some("coffee")), (4, None)]))).await;
    assert_eq!(counts(&result), (0, 0, vec![(NotCompared::CandidateUnavailable, 2)]));
    assert_eq!((result.available, result.unavailable), (0, 1));
}

#[tokio::test]
async fn errors_of_the_application_have_no_items_and_garbage_has_one() {
    let scorer = Scorer::start(&[]).await;
    let batch = Batch::new()
        .with(&ObservationSpec { status: 500, ..ObservationSpec::baseline(&[]) })
        .with(&ObservationSpec { baseline: b"<html>".to_vec(), ..ObservationSpec::baseline(&[]) })
        .with(&ObservationSpec { encoding: Encoding::Unknown, ..ObservationSpec::baseline(&[(3, None)]) })
        .with(&ObservationSpec::baseline(&[]));
    let result = observe(&scorer, batch).await;
    assert_eq!(counts(&result), (0, 0, vec![(NotCompared::Unreadable, 2)]));
    assert_eq!((result.observations, result.available), (4, 3), "an error is nothing to ask about");
    let series = "perch_scorer_decode_failures_total{encoding=\"unknown\",reason=\"unsupported\"}";
    assert_eq!(scorer.metric(series).await, 1.0);
}

#[tokio::test]
async fn packed_answers_are_unpacked_up_to_the_limit() {
    let scorer = Scorer::start(&["--decoded-bytes", "50000"]).await;
    macro_rules! packed {
        ($encoder:ident, $body:expr) => {{
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all($body).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }};
    }
    let good = response(&[(3, Some("coffee"))]).to_string().into_bytes();
    let bomb = vec![b' '; 50_001];
    for body in [&good, &bomb] {
        let seen = |encoding, baseline| ObservationSpec { encoding, baseline, ..ObservationSpec::baseline(&[]) };
        let batch = Batch::new()
            .with(&seen(Encoding::Gzip, packed!(GzipEncoder, body)))
            .with(&seen(Encoding::Brotli, packed!(BrotliEncoder, body)))
            .with(&seen(Encoding::Zstd, packed!(ZstdEncoder, body)))
            .with(&seen(Encoding::Deflate, packed!(ZlibEncoder, body)));
        let result = observe(&scorer, batch).await;
        let wanted = if body == &good { (4, 0, vec![]) } else { (0, 0, vec![(NotCompared::Unreadable, 4)]) };
        assert_eq!(counts(&result), wanted);
    }
    for encoding in ["gzip", "br", "zstd", "deflate"] {
        let series = format!("perch_scorer_decode_failures_total{{encoding=\"{encoding}\",reason=\"too_large\"}}");
        assert_eq!(scorer.metric(&series).await, 1.0);
    }
}

#[tokio::test]
async fn bytes_that_are_no_batch_are_refused_whole() {
    let scorer = Scorer::start(&[]).await;
    let good = Batch::new().with(&ObservationSpec::baseline(&[(3, Some("coffee"))])).bytes();
    for bad in [Bytes::from_static(b"hello"), good.slice(..good.len() - 1)] {
        let answer = scorer.post(frame::PATH, bad).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
    }
    let answer = scorer.post(frame::PATH, vec![0; frame::MAX_BATCH_BYTES + 1]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(scorer.metric("perch_scorer_batches_total{result=\"malformed\"}").await, 2.0);
    assert_eq!(scorer.metric("perch_scorer_items_total{agree=\"True\"}").await, 0.0);
}

/// A scorer whose observation queue is full: one batch has much to unpack.
async fn with_full_queue() -> (Scorer, TcpStream) {
    let scorer = Scorer::start(&["--observe-queue", "1"]).await;
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(&vec![b' '; 8 * 1024 * 1024]).await.unwrap();
    encoder.shutdown().await.unwrap();
    let large =
        ObservationSpec { encoding: Encoding::Gzip, baseline: encoder.into_inner(), ..ObservationSpec::baseline(&[]) };
    let body = (0..100).fold(Batch::new(), |batch, _| batch.with(&large)).bytes();
    let mut waiting = TcpStream::connect(scorer.address).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nhost: s\r\ncontent-length: {}\r\n\r\n", frame::PATH, body.len());
    waiting.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    scorer.metric_becomes("perch_scorer_queue_observations", 100.0).await;
    (scorer, waiting)
}

#[tokio::test]
async fn what_finds_the_queue_full_is_shed_and_counted_while_live_answers_go_on() {
    let (scorer, _waiting) = with_full_queue().await;
    let batch = Batch::new()
        .with(&ObservationSpec::baseline(&[(3, Some("coffee")), (4, None)]))
        .with(&ObservationSpec { baseline: b"<html>".to_vec(), ..ObservationSpec::baseline(&[]) });
    let result = observe(&scorer, batch).await;
    assert_eq!(counts(&result), (0, 0, vec![(NotCompared::Unreadable, 1), (NotCompared::Shed, 2)]));
    assert_eq!(result.observations, 2);
    assert_eq!(scorer.metric("perch_scorer_batches_total{result=\"shed\"}").await, 1.0);
    assert_eq!(scorer.metric("perch_scorer_observations_total{result=\"shed\"}").await, 2.0);
    assert_eq!(scorer.suggest(r#"{"txn_ids":[3]}"#).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_batch_whose_sender_hung_up_makes_room() {
    let (scorer, waiting) = with_full_queue().await;
    drop(waiting);
    scorer.metric_becomes("perch_scorer_queue_observations", 0.0).await;
    assert_eq!(scorer.metric("perch_scorer_batches_total{result=\"abandoned\"}").await, 1.0);
    assert_eq!(scorer.metric("perch_scorer_observations_total{result=\"abandoned\"}").await, 100.0);
}

#[tokio::test]
async fn disagreements_are_kept_up_to_a_bound_with_pseudonymous_users() {
    let scorer = Scorer::start(&["--samples", "5"]).await;
    let items: Vec<(i64, Option<&str>)> = (1..21).map(|id| (id, Some("travel"))).collect();
    let result = observe(&scorer, Batch::new().with(&ObservationSpec::baseline(&items))).await;
    assert_eq!(result.agree_false, 20);
    let document = scorer.get("/perch/v1/disagreements").await.json();
    assert_eq!((&document["seen"], &document["model_version"]), (&20.into(), &"v1".into()));
    let samples = document["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 5);
    assert_eq!((&samples[0]["user"], &samples[0]["rule_label"]), (&"000000000000feed".into(), &"travel".into()));
    assert!(samples[0]["model_confidence"].as_f64().unwrap() > 0.3);
}

#[tokio::test]
async fn a_challenger_is_judged_on_the_same_observations_and_answers_nobody() {
    let place = Place::new().await.with_champion();
    Version { classes: SWAPPED, ..place.version("v2") }.write(&place.registry());
    alias(&place.registry(), "challenger", "v2");
    let scorer = Scorer::start_in(place, &[]).await;
    // Champion: 3 coffee, 4 groceries, 5 transfers. Challenger: 3 groceries, 4 coffee, 5 transfers.
    let batch = Batch::new()
        .with(&ObservationSpec::baseline(&[(3, Some("coffee")), (4, Some("coffee")), (5, Some("transfers"))]))
        .with(&ObservationSpec::candidate(&[(3, Some("coffee"))]));
    let result = observe(&scorer, batch).await;
    assert_eq!(counts(&result), (3, 1, vec![]));
    for (against, agree, wanted) in
        [("champion", "True", 1.0), ("champion", "False", 3.0), ("baseline", "True", 2.0), ("baseline", "False", 2.0)]
    {
        let series = format!("perch_scorer_challenger_items_total{{against=\"{against}\",agree=\"{agree}\"}}");
        // The baseline responses: 3 and 5 of the champion's labels, the challenger agrees on 4 and 5.
        assert_eq!(scorer.metric(&series).await, wanted, "{series}");
    }
    let live = scorer.suggest(r#"{"txn_ids":[3]}"#).await;
    assert_eq!(live.header("x-perch-model-version"), Some("v1"));
    assert_eq!(scorer.metric("perch_scorer_model_info{alias=\"challenger\",version=\"v2\"}").await, 1.0);
}

#[tokio::test]
async fn champion_and_challenger_are_judged_side_by_side_and_on_what_users_said_since() {
    let place = Place::new().await.with_champion();
    let folder = Version { classes: SWAPPED, ..place.version("v2") }.write(&place.registry());
    edit_manifest(&folder, |manifest| manifest["created_unix"] = 2_000.into());
    alias(&place.registry(), "challenger", "v2");
    let scorer = Scorer::start_in(place, &[]).await;
    let judged = scorer.status().await["comparison"].take();
    assert_eq!(judged["challenger"]["agreement_with_champion"], json!({ "items": 0, "agreement": null }), "{judged}");

    // Champion: 3 coffee, 4 groceries, 5 transfers. Challenger: 3 groceries, 4 coffee, 5 transfers.
    let items = [(3, Some("coffee")), (4, Some("coffee")), (5, Some("transfers")), (6, Some("unknown"))];
    observe(&scorer, Batch::new().with(&ObservationSpec::baseline(&items))).await;
    // 3 was said before the challenger was trained, which may have learnt it.
    let said = [(3, "coffee", 1_999), (4, "coffee", 2_000), (5, "transfers", 2_001)];
    let label = |(txn_id, label, labelled_at): (i64, &str, i64)| NewLabel {
        txn_id,
        source: LabelSource::Feedback,
        label: label.to_owned(),
        labelled_at,
    };
    scorer.app.store.put_labels(&said.map(label)).await.unwrap();
    scorer.app.observer.as_ref().unwrap().evaluate_models().await;

    let judged = scorer.status().await["comparison"].take();
    let (champion, challenger) = (&judged["champion"], &judged["challenger"]);
    assert_eq!((&champion["version"], &challenger["version"]), (&json!("v1"), &json!("v2")));
    let of = |agreement: f64, items| json!({ "items": items, "agreement": agreement });
    assert_eq!(champion["agreement_with_baseline"], of(2.0 / 3.0, 3));
    assert_eq!(challenger["agreement_with_baseline"], of(2.0 / 3.0, 3));
    // Of 6 the rules have no opinion, the two models have.
    assert_eq!(challenger["agreement_with_champion"], of(1.0 / 4.0, 4));
    assert_eq!(champion["on_feedback"], json!({ "f1_macro": 0.5, "rows": 2 }));
    assert_eq!(challenger["on_feedback"], json!({ "f1_macro": 1.0, "rows": 2 }));
    assert_eq!(scorer.metric("perch_scorer_feedback_f1_macro{alias=\"challenger\"}").await, 1.0);

    // Another challenger begins anew.
    assert_eq!(scorer.post("/ml/v2/model/challenge", r#"{"version":null}"#).await.status, StatusCode::OK);
    let judged = scorer.status().await["comparison"].take();
    assert_eq!(
        (&judged["challenger"], &judged["champion"]["agreement_with_baseline"]["items"]),
        (&json!(null), &json!(0))
    );
}
