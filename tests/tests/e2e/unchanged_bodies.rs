//! On the rule arm a body is the same through the gateway and direct, whatever its size, protocol, framing and
//! encoding, and whatever the client does.

use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use contract::series::{INTERCEPTED, OBSERVATION, SOURCE};
use contract::share::Share;
use e2e::channel_body::{self, ChannelBody};
use e2e::client::{Client, ClientResponse, PATH, Protocol, request_body, suggest};
use e2e::eventually::eventually;
use e2e::raw_client::{self, RawClient};
use e2e::scripted_stack::{ScriptedStack, items};
use e2e::upstream::{Received, Script, compress, pieces};
use http::Request;

const BOTH: [Protocol; 2] = [Protocol::H1, Protocol::H2];
const MIB: usize = 1024 * 1024;

/// Bytes of every value, that repeat nowhere near a buffer's size.
fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// Rules that give back what they get.
async fn echo() -> anyhow::Result<ScriptedStack> {
    let gateway = ScriptedStack::start(|builder| builder).await?;
    gateway.rules.respond_with(|request: &Received| Script::new(200, request.body.clone()));
    Ok(gateway)
}

fn chunked(body: &Bytes, size: usize) -> anyhow::Result<Request<ChannelBody>> {
    let (feed, fed) = channel_body::channel();
    let parts = pieces(body, size);
    tokio::spawn(async move {
        for piece in parts {
            if !feed.data(piece).await {
                break;
            }
        }
    });
    let mut request = suggest("ann", "")?;
    *request.body_mut() = fed;
    Ok(request)
}

/// The rules got `body`, and what they served is what the client got. Long bodies are not shown when they differ.
fn same(gateway: &ScriptedStack, response: &ClientResponse, body: &Bytes, what: &str) -> anyhow::Result<()> {
    let received = gateway.rules.last()?.body;
    ensure!(received == body, "{what}: the application got {} bytes, not the {} sent", received.len(), body.len());
    ensure!(
        response.body == body,
        "{what}: the client got {} bytes, not the {} answered",
        response.body.len(),
        body.len()
    );
    assert_eq!((response.status.as_u16(), response.arm()), (200, "baseline"), "{what}");
    Ok(())
}

#[tokio::test]
async fn bodies_of_every_size_pass_unchanged_both_ways() -> anyhow::Result<()> {
    let gateway = echo().await?;
    // Around the limits of what is observed, of Envoy's buffer, and of HTTP/2's frames and windows.
    let sizes = [1, 2, 1_000, 16_383, 16_385, 65_535, 65_537, 262_144, 262_145, MIB - 1, MIB + 1, 16 * MIB];
    for protocol in BOTH {
        for size in sizes {
            let body = noise(size);
            let response = Client::once(gateway.address(), protocol, suggest("ann", body.clone())?).await?;
            same(&gateway, &response, &body, &format!("{protocol:?}, {size} bytes"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn bodies_without_a_length_pass_unchanged_both_ways() -> anyhow::Result<()> {
    let gateway = echo().await?;
    gateway.rules.respond_with(|request| Script::new(200, request.body.clone()).trickled(9_999, Duration::ZERO));
    for protocol in BOTH {
        for (size, piece) in [(1, 1), (300, 1), (65_537, 1_000), (MIB + 1, 70_001), (16 * MIB, MIB)] {
            let body = noise(size);
            let response = Client::once(gateway.address(), protocol, chunked(&body, piece)?).await?;
            same(&gateway, &response, &body, &format!("{protocol:?}, {size} bytes in pieces of {piece}"))?;
            ensure!(response.header("content-length").is_empty(), "a length was made up");
        }
    }
    Ok(())
}

#[tokio::test]
async fn compressed_bodies_pass_as_they_are() -> anyhow::Result<()> {
    let gateway = echo().await?;
    for encoding in ["gzip", "br", "zstd", "deflate"] {
        let body = compress(&request_body(1..200), encoding).await?;
        gateway
            .rules
            .respond_with(move |request| Script::json(200, request.body.clone()).header("content-encoding", encoding));
        for protocol in BOTH {
            let mut request = suggest("ann", body.clone())?;
            request.headers_mut().insert("content-encoding", encoding.parse()?);
            request.headers_mut().insert("accept-encoding", "gzip, br, zstd, deflate".parse()?);
            let response = Client::once(gateway.address(), protocol, request).await?;
            same(&gateway, &response, &body, encoding)?;
            assert_eq!(response.header("content-encoding"), encoding);
            assert_eq!(gateway.rules.last()?.header("accept-encoding"), "gzip, br, zstd, deflate");
        }
    }
    Ok(())
}

#[tokio::test]
async fn trailers_of_the_application_arrive() -> anyhow::Result<()> {
    let gateway = echo().await?;
    gateway.rules.respond_with(|request| Script::json(200, items(request, "coffee")).trailer("x-sum", "abc"));
    let mut request = suggest("ann", request_body([88]))?;
    request.headers_mut().insert("te", "trailers".parse()?);
    let response = Client::once(gateway.address(), Protocol::H2, request).await?;
    ensure!(e2e::scripted_stack::item_count(&response)? == 1);
    // The rules are spoken to in HTTP/1.1, whose trailers Envoy drops unless it is told otherwise: with or without
    // Perch.
    let plain = ScriptedStack::start(stack::Builder::no_filter).await?;
    plain.rules.respond_with(|request| Script::json(200, items(request, "coffee")).trailer("x-sum", "abc"));
    let mut request = suggest("ann", request_body([88]))?;
    request.headers_mut().insert("te", "trailers".parse()?);
    let without = Client::once(plain.address(), Protocol::H2, request).await?;
    assert_eq!((response.body, response.trailers), (without.body, without.trailers));
    Ok(())
}

#[tokio::test]
async fn a_client_that_trickles_byte_by_byte_is_served_and_observed() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder).await?;
    let body = request_body([88, 89]);
    let mut client = RawClient::connect(gateway.address()).await?;
    client.trickle(&raw_client::post(PATH, &[], &body), 1, Duration::from_millis(1)).await?;
    let response = client.read_to_end().await?;
    assert_eq!(gateway.rules.last()?.body, body);
    let expected = items(&gateway.rules.last()?, e2e::scripted_stack::BASELINE_LABEL);
    assert_eq!(raw_client::body_of(&response).map(<[u8]>::to_vec), Some(expected.clone()));
    eventually("the observation", || async {
        let seen = gateway.observations()?;
        ensure!(seen.len() == 1 && seen.iter().all(|seen| seen.baseline == expected), "{seen:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_response_that_comes_before_the_request_has_ended_is_passed_on_at_once() -> anyhow::Result<()> {
    let gateway = echo().await?;
    gateway.rules.respond_at_head(Script::new(200, "early"));
    let (feed, fed) = channel_body::channel();
    let mut request = suggest("ann", "")?;
    *request.body_mut() = fed;
    let address = gateway.address();
    let response = tokio::spawn(async move { Client::once(address, Protocol::H2, request).await });
    feed.data("some").await;
    assert_eq!(&response.await??.body[..], b"early", "while the client still sends");
    drop(feed);
    Ok(())
}

/// How many client requests Envoy has under way.
async fn active(gateway: &ScriptedStack) -> anyhow::Result<f64> {
    let clients = [("envoy_http_conn_manager_prefix", "gateway")];
    Ok(gateway.scrape().await?.sum("envoy_http_downstream_rq_active", &clients))
}

/// A stream that ends half way is counted as incomplete, and nothing of it stays: neither in Envoy nor at the
/// application.
async fn nothing_is_left(gateway: &ScriptedStack, before: &stack::Scrape) -> anyhow::Result<()> {
    let incomplete = [("outcome", "incomplete")];
    let expected = [(INTERCEPTED, &[][..], 1.0), (OBSERVATION, &incomplete[..], 1.0)];
    gateway.expect_changes(before, &[INTERCEPTED, OBSERVATION, SOURCE], &expected).await?;
    eventually("nothing is under way", || async {
        let active = active(gateway).await?;
        ensure!(active == 0.0, "{active} in Envoy");
        ensure!(gateway.rules.open() == 0, "{} at the application", gateway.rules.open());
        Ok(())
    })
    .await?;
    let response = gateway.send(suggest("ann", request_body([88]))?).await?;
    ensure!(response.status == 200, "the next request got {}", response.status);
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_half_way_through_its_request_leaves_nothing_behind() -> anyhow::Result<()> {
    for (share, resets) in [(Share::OFF, true), (Share::OFF, false), (Share::ALL, true)] {
        let gateway = ScriptedStack::start(|builder| builder.share(share)).await?;
        let before = gateway.scrape().await?;
        let request = raw_client::post(PATH, &[("x-user-id", "ann")], &noise(10_000));
        let mut client = RawClient::connect(gateway.address()).await?;
        client.write(request.get(..5_000).unwrap_or_default()).await?;
        eventually("the request is there", || async {
            let active = active(&gateway).await?;
            ensure!(active == 1.0, "{active} are");
            Ok(())
        })
        .await?;
        if resets {
            client.reset()?;
        } else {
            drop(client);
        }
        nothing_is_left(&gateway, &before).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_half_way_through_its_response_leaves_nothing_behind() -> anyhow::Result<()> {
    let gateway = echo().await?;
    gateway.rules.respond(Script::new(200, vec![b'a'; 1_000]).endless());
    let before = gateway.scrape().await?;
    let mut client = RawClient::connect(gateway.address()).await?;
    client.write(&raw_client::post(PATH, &[("x-user-id", "ann")], &request_body([88]))).await?;
    ensure!(client.read(100_000).await?.len() >= 100_000);
    client.reset()?;
    gateway.rules.respond_with(|request| Script::json(200, items(request, "coffee")));
    let limit = [("outcome", "dropped_body_limit")];
    // A response over the limit is known to be lost to observation before its client leaves.
    eventually("the request is accounted for", || async {
        let scrape = gateway.scrape().await?;
        let lost = scrape.sum(OBSERVATION, &limit) + scrape.sum(OBSERVATION, &[("outcome", "incomplete")]);
        ensure!(lost == 1.0 && scrape.sum(INTERCEPTED, &[]) - before.sum(INTERCEPTED, &[]) == 1.0, "{lost} lost");
        ensure!(gateway.rules.open() == 0, "{} at the application", gateway.rules.open());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_that_leaves_while_the_candidate_works_leaves_nothing_behind() -> anyhow::Result<()> {
    let deadline = serde_json::json!({"scorer": {"deadline_ms": 30_000}});
    let gateway = ScriptedStack::start(|builder| builder.share(Share::ALL).filter_config(&deadline)).await?;
    gateway.candidate_responds(Script::never());
    let before = gateway.scrape().await?;
    let mut client = RawClient::connect(gateway.address()).await?;
    client.write(&raw_client::post(PATH, &[("x-user-id", "ann")], &request_body([88]))).await?;
    eventually("the candidate is called", || async {
        ensure!(gateway.scorer.open() == 1, "{} questions are open", gateway.scorer.open());
        Ok(())
    })
    .await?;
    client.reset()?;
    eventually("the question is taken back", || async {
        ensure!(gateway.scorer.open() == 0, "{} questions are open", gateway.scorer.open());
        Ok(())
    })
    .await?;
    gateway.candidate_responds(Script::new(500, ""));
    nothing_is_left(&gateway, &before).await?;
    assert_eq!(gateway.rules.hits(), 2, "the application was called both times");
    Ok(())
}
