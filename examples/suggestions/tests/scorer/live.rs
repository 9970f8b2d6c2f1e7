//! Live answers: the contract's shape, and what is said when there is none.

use async_compression::tokio::write::GzipEncoder;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::scorer::{Place, Protocol, Scorer, label_of};

#[tokio::test]
async fn an_answer_has_the_contracts_shape_over_both_protocols() {
    let scorer = Scorer::start(&[]).await;
    for protocol in [Protocol::H1, Protocol::H2c] {
        let body = Bytes::from_static(br#"{"txn_ids":[3,"4",999999,5],"top_k":2,"mode":"auto"}"#);
        let answer = scorer.send(Method::POST, "/ml/suggestions", &[], body, protocol).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.header("x-perch-scorer"), Some("1"));
        assert_eq!(answer.header("x-perch-model-version"), Some("v1"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let document = answer.json();
        let items = document["items"].as_array().unwrap();
        let ids: Vec<&str> = items.iter().map(|item| item["txn_id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["3", "4", "5"], "an unknown id is left out, the others keep their order");
        for item in items {
            assert_eq!(item["event_id"].as_str().unwrap().len(), 36);
            let id: i64 = item["txn_id"].as_str().unwrap().parse().unwrap();
            check_candidates(item["candidates"].as_array().unwrap(), label_of(id));
        }
    }
}

fn check_candidates(candidates: &[Value], top: &str) {
    assert_eq!(candidates[0]["label"], top);
    assert!(candidates.len() <= 2);
    let confidences: Vec<f64> = candidates.iter().map(|one| one["confidence"].as_f64().unwrap()).collect();
    assert!(confidences.iter().all(|confidence| (0.1..=1.0).contains(confidence)), "{confidences:?}");
    assert!(confidences.is_sorted_by(|a, b| a >= b), "{confidences:?}");
    for one in candidates {
        assert_eq!((&one["source"], &one["model_version"]), (&json!("model"), &json!("v1")));
        assert!(!one["reasons"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_is_below_the_minimum_confidence_is_left_out() {
    let scorer = Scorer::start(&["--min-confidence", "1.0"]).await;
    let document = scorer.suggest(r#"{"txn_ids":[3]}"#).await.json();
    assert_eq!(document["items"][0]["candidates"], json!([]));
}

#[tokio::test]
async fn a_bad_id_is_named() {
    let scorer = Scorer::start(&[]).await;
    let answer = scorer.suggest(r#"{"txn_ids":[1,"8x"]}"#).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.json()["error"].as_str().unwrap().contains("\"8x\""), "{}", answer.text());
    assert_eq!(scorer.metric("perch_scorer_live_answers_total{result=\"bad_request\"}").await, 1.0);
}

#[tokio::test]
async fn without_a_model_it_says_so() {
    let scorer = Scorer::start_in(Place::new().await, &[]).await;
    let answer = scorer.suggest(r#"{"txn_ids":[1]}"#).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("x-perch-unavailable"), Some("no_model"));
    assert_eq!(answer.header("x-perch-scorer"), Some("1"));
    assert_eq!(answer.json()["reason"], "no_model");
    assert_eq!(scorer.metric("perch_scorer_model_available").await, 0.0);
}

#[tokio::test]
async fn a_store_that_is_gone_is_named_and_what_was_read_before_is_still_answered() {
    let scorer = Scorer::start(&[]).await;
    assert_eq!(scorer.suggest(r#"{"txn_ids":[3]}"#).await.status, StatusCode::OK);
    scorer.app.store.close().await;
    assert_eq!(scorer.suggest(r#"{"txn_ids":[3]}"#).await.status, StatusCode::OK, "from the cache");
    let answer = scorer.suggest(r#"{"txn_ids":[4]}"#).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("x-perch-unavailable"), Some("store"));
    assert!(!answer.text().contains("sqlite"), "the cause is for the log: {}", answer.text());
    assert_eq!(scorer.metric("perch_scorer_store_failures_total{user=\"live\"}").await, 1.0);
}

#[tokio::test]
async fn a_packed_request_is_unpacked_and_a_bomb_is_not() {
    let scorer = Scorer::start(&[]).await;
    let packed = gzip(br#"{"txn_ids":[3]}"#).await;
    let headers = [("content-encoding", "gzip")];
    let send = |body: Bytes| scorer.send(Method::POST, "/ml/suggestions", &headers, body, Protocol::H1);
    assert_eq!(send(packed).await.json()["items"][0]["candidates"][0]["label"], "coffee");
    let bomb = gzip(&vec![b' '; 10_000_000]).await;
    assert!(bomb.len() < 20_000);
    assert_eq!(send(bomb).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(send(Bytes::from_static(b"no gzip")).await.status, StatusCode::BAD_REQUEST);
    let series = "perch_scorer_decode_failures_total{encoding=\"gzip\",reason=\"too_large\"}";
    assert_eq!(scorer.metric(series).await, 1.0);
}

async fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(body).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner().into()
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let scorer = Scorer::start(&[]).await;
    let answer = scorer.post("/ml/suggestions", vec![b' '; 300_000]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_observer_gives_no_live_answers() {
    let scorer = Scorer::start(&["--role", "observe"]).await;
    let answer = scorer.suggest(r#"{"txn_ids":[1]}"#).await;
    assert_eq!((answer.status, answer.header("x-perch-unavailable")), (StatusCode::SERVICE_UNAVAILABLE, Some("role")));
}

#[tokio::test]
async fn one_too_many_is_refused_at_once() {
    let scorer = Scorer::start(&["--live-in-flight", "1"]).await;
    let mut slow = TcpStream::connect(scorer.address).await.unwrap();
    slow.write_all(b"POST /ml/suggestions HTTP/1.1\r\nhost: s\r\ncontent-length: 15\r\n\r\n{").await.unwrap();
    scorer.metric_becomes("perch_scorer_live_in_flight", 1.0).await;
    let answer = scorer.suggest(r#"{"txn_ids":[3]}"#).await;
    assert_eq!(answer.header("x-perch-unavailable"), Some("overloaded"));

    slow.write_all(br#""txn_ids":[3]}"#).await.unwrap();
    let mut head = [0; 12];
    slow.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200", "the first one is answered");
    scorer.metric_becomes("perch_scorer_live_in_flight", 0.0).await;
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let scorer = Scorer::start(&["--read-timeout-ms", "50"]).await;
    let mut slow = TcpStream::connect(scorer.address).await.unwrap();
    slow.write_all(b"POST /ml/suggestions HTTP/1.1\r\nhost: s\r\ncontent-length: 15\r\n\r\n{").await.unwrap();
    let mut head = [0; 12];
    slow.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 408");
}
