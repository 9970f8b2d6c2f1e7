//! The listener: routes, limits and the orderly end.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::scorer::{Protocol, Scorer};

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_told_apart() {
    let scorer = Scorer::start(&[]).await;
    let nowhere = scorer.get("/nowhere").await;
    assert_eq!((nowhere.status, nowhere.header("x-perch-scorer")), (StatusCode::NOT_FOUND, Some("1")));
    let wrong = scorer.get("/ml/suggestions").await;
    assert_eq!((wrong.status, wrong.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, Some("POST")));
    assert_eq!(scorer.metric("perch_scorer_http_answers_total{route=\"none\",status=\"404\"}").await, 1.0);
}

#[tokio::test]
async fn the_intercepted_path_is_a_setting() {
    let scorer = Scorer::start(&["--intercept-path", "/api/labels"]).await;
    assert_eq!(scorer.post("/api/labels", r#"{"txn_ids":[3]}"#).await.status, StatusCode::OK);
    assert_eq!(scorer.suggest(r#"{"txn_ids":[3]}"#).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn health_and_metrics_are_served_over_both_protocols() {
    let scorer = Scorer::start(&[]).await;
    for protocol in [Protocol::H1, Protocol::H2c] {
        for path in ["/healthz", "/readyz", "/metrics"] {
            let answer = scorer.send(Method::GET, path, &[], Bytes::new(), protocol).await;
            assert_eq!(answer.status, StatusCode::OK, "{path} {protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let scorer = Scorer::start(&[]).await;
    let mut stream = TcpStream::connect(scorer.address).await.unwrap();
    let head = format!("GET /healthz HTTP/1.1\r\nhost: s\r\nx-long: {}\r\n\r\n", "x".repeat(40_000));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let scorer = Scorer::start(&["--read-timeout-ms", "50"]).await;
    for said in [&b""[..], b"P", b"GET /healthz HTTP/1.1\r\nhost"] {
        let mut stream = TcpStream::connect(scorer.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let scorer = Scorer::start(&["--connections", "1"]).await;
    let first = TcpStream::connect(scorer.address).await.unwrap();
    let mut second = TcpStream::connect(scorer.address).await.unwrap();
    second.write_all(b"GET /healthz HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.read_u8()).await;
    assert!(early.is_err(), "it was served beside the first");
    drop(first);
    let mut answer = String::new();
    second.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Case 1a: who holds every connection, idle or asking again and again, keeps nobody out.
#[tokio::test]
async fn whoever_holds_all_connections_keeps_nobody_out() {
    let scorer = Scorer::start(&["--connections", "8", "--read-timeout-ms", "600000"]).await;
    let mut held = Vec::new();
    for number in 0..8 {
        let mut one = TcpStream::connect(scorer.address).await.unwrap();
        if number % 2 == 0 {
            one.write_all(b"GET /healthz HTTP/1.1\r\nhost: s\r\n\r\n").await.unwrap();
        }
        held.push(one);
    }
    let asking = async { scorer.get("/healthz").await.status };
    let status = tokio::time::timeout(Duration::from_secs(60), asking).await.expect("nobody else is served");
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn at_the_end_readiness_goes_first_and_a_request_under_way_is_answered() {
    let mut scorer = Scorer::start(&["--drain-notice-ms", "500"]).await;
    let mut slow = TcpStream::connect(scorer.address).await.unwrap();
    slow.write_all(b"POST /ml/suggestions HTTP/1.1\r\nhost: s\r\ncontent-length: 15\r\n\r\n{").await.unwrap();
    scorer.metric_becomes("perch_scorer_live_in_flight", 1.0).await;

    scorer.begin_to_stop();
    let ready = loop {
        let ready = scorer.get("/readyz").await;
        if ready.status != StatusCode::OK {
            break ready;
        }
    };
    assert_eq!(ready.json()["ready"], false);
    assert_eq!(scorer.suggest(r#"{"txn_ids":[3]}"#).await.status, StatusCode::OK, "still serving while it drains");

    // The listener closes; what is under way goes on.
    while TcpStream::connect(scorer.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    slow.write_all(br#""txn_ids":[3]}"#).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    scorer.stopped().await;
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut() {
    let mut scorer = Scorer::start(&["--drain-ms", "100"]).await;
    let mut stuck = TcpStream::connect(scorer.address).await.unwrap();
    stuck.write_all(b"POST /ml/suggestions HTTP/1.1\r\nhost: s\r\ncontent-length: 15\r\n\r\n{").await.unwrap();
    scorer.metric_becomes("perch_scorer_live_in_flight", 1.0).await;
    scorer.begin_to_stop();
    scorer.stopped().await;
}
