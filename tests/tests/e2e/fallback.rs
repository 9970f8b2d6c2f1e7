//! Whatever fails on the candidate, the client gets byte for byte the baseline, and the cause is counted.

use std::time::Duration;

use anyhow::ensure;
use contract::headers;
use contract::names::FallbackReason;
use contract::series::{FALLBACK, PASSED_THROUGH, PREDICT_REQUESTS, SOURCE};
use contract::share::Share;
use e2e::channel_body;
use e2e::client::{Client, PATH, Protocol, request_body, suggest};
use e2e::eventually::eventually;
use e2e::scripted_stack::{
    CANDIDATE_LABEL, MODEL_VERSION, ScriptedStack, candidate_script, good_response, with_observer,
};
use e2e::upstream::{Cut, Gate, Script, compress};
use serde_json::json;

/// Bytes that no other part would write: odd spacing, a letter beyond ASCII, a trailing newline.
const BASELINE_BODY: &str = "{ \"items\" :\t[ {\"txn_id\":\"88\", \"note\":\"Köln\", \"candidates\":[]} ] }\r\n";
const DEADLINE_MS: u64 = 400;

/// A gateway where everybody is in the canary, with rules whose response cannot be mistaken for another's.
async fn gateway() -> anyhow::Result<ScriptedStack> {
    let limits = json!({
        "scorer": {"deadline_ms": DEADLINE_MS},
        "limits": {"body_bytes": 16_384, "candidate_bytes": 65_536},
    });
    let gateway = ScriptedStack::start(|builder| builder.share(Share::ALL).filter_config(&limits)).await?;
    gateway.rules.respond(
        Script::new(200, BASELINE_BODY)
            .header("content-type", "application/json; charset=utf-8")
            .header("x-rules", "are rules"),
    );
    Ok(gateway)
}

/// One canary request: the baseline's bytes come back, the header and the counters name `reason`, and the application
/// got the client's bytes.
async fn expect_baseline(gateway: &ScriptedStack, reason: FallbackReason) -> anyhow::Result<()> {
    let before = gateway.scrape().await?;
    let body = request_body([88]);
    let through = gateway.send(suggest("ann", body.clone())?).await?;
    ensure!(gateway.rules.last()?.body == body, "the application got {:?}", gateway.rules.last()?.body);
    let direct = gateway.send_to_application(suggest("ann", body)?).await?;
    assert_eq!(through.of_the_application(), direct.of_the_application());
    assert_eq!((through.arm(), through.fallback()), ("baseline", reason.as_str()));
    assert_eq!(through.header(headers::MODEL_VERSION), "", "no model answered");
    let labels = [("reason", reason.as_str())];
    let expected = [
        (FALLBACK, &labels[..], 1.0),
        (SOURCE, &[("source", "rule")], 1.0),
        (PREDICT_REQUESTS, &[("available", "False")], 1.0),
    ];
    gateway.expect_changes(&before, &[FALLBACK, SOURCE, PREDICT_REQUESTS], &expected).await
}

/// As [`expect_baseline`], with a candidate that responds by `script`.
async fn falls_back(script: Script, reason: FallbackReason) -> anyhow::Result<()> {
    let gateway = gateway().await?;
    gateway.candidate_responds(script);
    expect_baseline(&gateway, reason).await
}

fn long_response() -> String {
    json!({"items": [{"txn_id": 88, "candidates": [{"label": "a".repeat(50_000)}]}]}).to_string()
}

#[tokio::test]
async fn a_good_response_of_the_candidate_reaches_the_client_unchanged() -> anyhow::Result<()> {
    let gateway = gateway().await?;
    let before = gateway.scrape().await?;
    for protocol in [Protocol::H1, Protocol::H2] {
        let response = Client::once(gateway.address(), protocol, suggest("ann", request_body([88]))?).await?;
        let asked = gateway.candidate_requests();
        let asked = asked.last().ok_or_else(|| anyhow::anyhow!("the candidate was not called"))?;
        assert_eq!(response.body, e2e::scripted_stack::items(asked, CANDIDATE_LABEL));
        assert_eq!(response.status, 200);
        assert_eq!((response.arm(), response.header(headers::MODEL_VERSION)), ("candidate", MODEL_VERSION));
        assert_eq!((response.fallback(), response.header("content-type")), ("", "application/json; charset=utf-8"));
        assert_eq!(response.header("x-rules"), "are rules", "headers are the application's");
    }
    assert_eq!(gateway.rules.hits(), 2, "the application answers each request once");
    let expected = [(SOURCE, &[("source", "model")][..], 2.0), (PREDICT_REQUESTS, &[("available", "True")][..], 2.0)];
    gateway.expect_changes(&before, &[FALLBACK, SOURCE, PREDICT_REQUESTS], &expected).await
}

#[tokio::test]
async fn a_scorer_that_refuses_connections() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder.share(Share::ALL).no_scorer()).await?;
    expect_baseline(&gateway, FallbackReason::Refused).await
}

#[tokio::test]
async fn a_scorer_that_ends_the_connection_before_its_headers() -> anyhow::Result<()> {
    falls_back(candidate_script(200, "").cut_after(0, Cut::Reset), FallbackReason::Reset).await?;
    falls_back(candidate_script(200, "").cut_after(0, Cut::Close), FallbackReason::Reset).await
}

#[tokio::test]
async fn a_scorer_that_ends_the_connection_in_its_headers() -> anyhow::Result<()> {
    falls_back(candidate_script(200, long_response()).cut_after(12, Cut::Reset), FallbackReason::Reset).await
}

#[tokio::test]
async fn a_scorer_that_ends_the_connection_half_way_through_the_body() -> anyhow::Result<()> {
    falls_back(candidate_script(200, long_response()).cut_after(20_000, Cut::Reset), FallbackReason::Reset).await?;
    falls_back(candidate_script(200, long_response()).cut_after(20_000, Cut::Close), FallbackReason::Reset).await
}

#[tokio::test]
async fn a_scorer_that_never_responds() -> anyhow::Result<()> {
    falls_back(Script::never(), FallbackReason::Deadline).await
}

#[tokio::test]
async fn a_scorer_that_sends_headers_and_then_trickles_past_the_deadline() -> anyhow::Result<()> {
    let trickle = candidate_script(200, long_response()).trickled(10, Duration::from_millis(50));
    falls_back(trickle, FallbackReason::Deadline).await
}

#[tokio::test]
async fn a_scorer_that_responds_with_another_status() -> anyhow::Result<()> {
    for status in [500, 502, 404, 302, 204] {
        falls_back(candidate_script(status, good_body()), FallbackReason::Status).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_scorer_without_a_model() -> anyhow::Result<()> {
    let body = r#"{"error":"no model is loaded","reason":"no_model"}"#;
    let script = candidate_script(503, body).header(headers::UNAVAILABLE, "no_model");
    falls_back(script, FallbackReason::Unavailable).await
}

#[tokio::test]
async fn a_response_that_is_not_json() -> anyhow::Result<()> {
    for body in ["<html>it works</html>", "", "{\"items\": [", "{\"items\":[]} trailing"] {
        falls_back(candidate_script(200, body), FallbackReason::NotJson).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_response_in_an_encoding_that_was_not_accepted() -> anyhow::Result<()> {
    let script =
        candidate_script(200, compress(good_body().as_bytes(), "gzip").await?).header("content-encoding", "gzip");
    falls_back(script, FallbackReason::NotJson).await
}

#[tokio::test]
async fn a_response_without_items() -> anyhow::Result<()> {
    for body in ["{}", r#"{"items":[]}"#, r#"{"items":null}"#] {
        falls_back(candidate_script(200, body), FallbackReason::NoItems).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_response_with_a_value_of_the_wrong_type() -> anyhow::Result<()> {
    for body in [
        r#"{"items":{"txn_id":88}}"#,
        r#"{"items":[{"txn_id":8.5,"candidates":[]}]}"#,
        r#"{"items":[{"candidates":[]}]}"#,
        r#"{"items":[{"txn_id":88,"candidates":[{"label":7}]}]}"#,
    ] {
        falls_back(candidate_script(200, body), FallbackReason::WrongType).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_response_over_the_limit() -> anyhow::Result<()> {
    let body = json!({"items": [{"txn_id": 88, "candidates": [{"label": "a".repeat(70_000)}]}]}).to_string();
    falls_back(candidate_script(200, body.clone()), FallbackReason::TooLarge).await?;
    falls_back(candidate_script(200, body).trickled(10_000, Duration::ZERO), FallbackReason::TooLarge).await
}

#[tokio::test]
async fn a_response_that_never_ends_costs_the_client_nothing_and_the_gateway_bounded_memory() -> anyhow::Result<()> {
    let gateway = gateway().await?;
    gateway.candidate_responds(candidate_script(200, vec![b' '; 65_536]).endless());
    let response = gateway.send(suggest("ann", request_body([88]))?).await?;
    assert_eq!((response.status.as_u16(), &response.body[..]), (200, BASELINE_BODY.as_bytes()));
    // Envoy itself stops buffering a call's response at a bound of its own, or the deadline comes first.
    let known = [FallbackReason::TooLarge, FallbackReason::Reset, FallbackReason::Deadline].map(FallbackReason::as_str);
    ensure!(known.contains(&response.fallback()), "{:?}", response.fallback());
    eventually("the scorer's answer is given up", || async {
        ensure!(gateway.scorer.open() == 0, "{} are under way", gateway.scorer.open());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_request_over_the_limit_does_not_count_against_the_candidate() -> anyhow::Result<()> {
    let gateway = gateway().await?;
    let body = json!({"txn_ids": [88], "padding": "a".repeat(40_000)}).to_string();
    for protocol in [Protocol::H1, Protocol::H2] {
        let before = gateway.scrape().await?;
        let through = Client::once(gateway.address(), protocol, suggest("ann", body.clone())?).await?;
        assert_eq!((through.arm(), through.fallback()), ("baseline", ""));
        assert_eq!((through.status.as_u16(), &through.body[..]), (200, BASELINE_BODY.as_bytes()));
        assert_eq!(gateway.rules.last()?.body, body);
        let labels = [("reason", "request_too_large")];
        let expected = [(PASSED_THROUGH, &labels[..], 1.0), (SOURCE, &[("source", "rule")][..], 1.0)];
        gateway.expect_changes(&before, &[FALLBACK, SOURCE, PREDICT_REQUESTS, PASSED_THROUGH], &expected).await?;
    }
    assert_eq!(gateway.candidate_requests().len(), 0, "the candidate was called");
    Ok(())
}

#[tokio::test]
async fn a_request_of_unknown_length_over_the_limit_reaches_the_application_whole() -> anyhow::Result<()> {
    let gateway = gateway().await?;
    let piece = vec![b'a'; 3_000];
    for protocol in [Protocol::H1, Protocol::H2] {
        let (feed, body) = channel_body::channel();
        let mut request = suggest("ann", "")?;
        *request.body_mut() = body;
        let sent = tokio::spawn({
            let piece = piece.clone();
            async move {
                for _ in 0..20 {
                    feed.data(piece.clone()).await;
                }
            }
        });
        let response = Client::once(gateway.address(), protocol, request).await?;
        sent.await?;
        assert_eq!((response.status.as_u16(), &response.body[..]), (200, BASELINE_BODY.as_bytes()));
        assert_eq!((response.arm(), response.fallback()), ("baseline", ""));
        assert_eq!(gateway.rules.last()?.body, piece.repeat(20));
    }
    Ok(())
}

#[tokio::test]
async fn a_response_of_another_server_in_place_of_the_scorer() -> anyhow::Result<()> {
    let gateway = gateway().await?;
    gateway.candidate_responds(Script::json(200, good_body()));
    let response = gateway.send(suggest("ann", request_body([88]))?).await?;
    assert_eq!((response.arm(), &response.body[..]), ("baseline", BASELINE_BODY.as_bytes()));
    ensure!(!response.fallback().is_empty(), "a fallback without a reason");
    Ok(())
}

#[tokio::test]
async fn a_canary_request_keeps_its_headers_and_pieces_on_its_way_to_the_application() -> anyhow::Result<()> {
    let gateway = gateway().await?;
    gateway.candidate_responds(candidate_script(500, ""));
    let (feed, body) = channel_body::channel();
    let mut request = suggest("ann", "")?;
    *request.body_mut() = body;
    request.headers_mut().insert("x-mine", "kept".parse()?);
    request.headers_mut().insert("cookie", "a=b".parse()?);
    request.headers_mut().insert("authorization", "Bearer mine".parse()?);
    tokio::spawn(async move {
        for piece in [&b"{\"txn_ids\""[..], b":[88", b"]}"] {
            feed.data(piece).await;
        }
        let trailers = [("x-end".parse(), "yes".parse())];
        let trailers = trailers.into_iter().filter_map(|(name, value)| Some((name.ok()?, value.ok()?))).collect();
        feed.send(hyper::body::Frame::trailers(trailers)).await;
    });
    let response = Client::once(gateway.address(), Protocol::H2, request).await?;
    assert_eq!(response.fallback(), FallbackReason::Status.as_str());
    let received = gateway.rules.last()?;
    assert_eq!(&received.body[..], b"{\"txn_ids\":[88]}");
    assert_eq!((received.header("x-mine"), received.header("cookie")), ("kept", "a=b"));
    assert_eq!((received.header("authorization"), received.path.as_str()), ("Bearer mine", PATH));
    Ok(())
}

#[tokio::test]
async fn more_concurrent_calls_than_the_circuit_breaker_allows() -> anyhow::Result<()> {
    let limit = |config: String| config.replace("max_pending_requests: 256, max_requests: 512", LOW_LIMIT);
    let deadline = json!({"scorer": {"deadline_ms": 60_000}});
    let gateway =
        ScriptedStack::start(|builder| builder.share(Share::ALL).filter_config(&deadline).edit_config(limit)).await?;
    ensure!(gateway.stack.gateway_config()?.contains(LOW_LIMIT), "the limit is not where it was");
    let gate = Gate::closed();
    gateway.candidate_responds(candidate_script(200, good_body()).gated(&gate));
    let address = gateway.address();
    let request = suggest("ann", request_body([88]))?;
    let first = tokio::spawn(async move { Client::once(address, Protocol::H1, request).await });
    eventually("the first question", || async {
        ensure!(gateway.scorer.open() == 1, "{} are open", gateway.scorer.open());
        Ok(())
    })
    .await?;
    assert_eq!(
        gateway.send(suggest("bob", request_body([88]))?).await?.fallback(),
        FallbackReason::Overloaded.as_str()
    );
    gate.open();
    assert_eq!(first.await??.arm(), "candidate");
    Ok(())
}

const LOW_LIMIT: &str = "max_pending_requests: 1, max_requests: 1";

#[tokio::test]
async fn a_scorer_that_hangs_is_soon_left_out_until_it_is_healthy_again() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder.share(Share::ALL).scorer_checks(true)).await?;
    assert_eq!(gateway.send(suggest("ann", request_body([88]))?).await?.arm(), "candidate");
    gateway.scorer.respond(Script::never());
    let responses = |expected: &'static str| {
        let gateway = &gateway;
        eventually("the next answers", move || async move {
            let response = gateway.send(suggest("ann", request_body([88]))?).await?;
            ensure!(response.status == 200, "{}", response.status);
            let seen = format!("{} {}", response.arm(), response.fallback());
            ensure!(seen == expected, "{seen:?} rather than {expected:?}");
            Ok(())
        })
    };
    responses("baseline refused").await?;
    gateway.scorer.respond_with(with_observer(good_response));
    responses("candidate ").await
}

#[tokio::test]
async fn after_a_fault_the_next_request_gets_the_candidate_again() -> anyhow::Result<()> {
    let gateway = gateway().await?;
    for fault in [
        candidate_script(200, long_response()).cut_after(20_000, Cut::Reset),
        candidate_script(500, ""),
        Script::never(),
        candidate_script(200, "nonsense"),
    ] {
        gateway.candidate_responds(fault);
        assert_eq!(gateway.send(suggest("ann", request_body([88]))?).await?.arm(), "baseline");
        gateway.scorer.respond_with(with_observer(good_response));
        assert_eq!(gateway.send(suggest("ann", request_body([88]))?).await?.arm(), "candidate");
    }
    Ok(())
}

fn good_body() -> String {
    json!({"items": [{"txn_id": "88", "candidates": [{"label": CANDIDATE_LABEL}]}]}).to_string()
}
