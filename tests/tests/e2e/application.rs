//! The application responds to every request: it is sent each exactly once, as its client sent it, whatever becomes of
//! the candidate, and what it says about a request holds in the canary too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use contract::series::{FALLBACK, PASSED_THROUGH, PREDICT_REQUESTS, SOURCE};
use contract::share::{RUNTIME_KEY, Share};
use e2e::client::{Client, PATH, Protocol, post, request_body, suggest};
use e2e::eventually::eventually;
use e2e::scripted_stack::{
    BASELINE_LABEL, CANDIDATE_LABEL, ScriptedStack, candidate_script, good_response, items, with_observer,
};
use e2e::upstream::{Received, Script, Upstream, compress};
use http::{Method, Request};
use serde_json::json;

const BOTH: [Protocol; 2] = [Protocol::H1, Protocol::H2];
const NUMBER: &str = "x-number";

/// Request `number` of a load: most are intercepted, and no two are alike.
fn numbered(number: u64) -> anyhow::Result<Request<e2e::channel_body::ChannelBody>> {
    let first = i64::try_from(number % 500)? + 1;
    let body = Bytes::from(json!({"txn_ids": [first, first + 1], "nonce": number}).to_string());
    let (method, path) = match number % 10 {
        7 => (Method::PUT, "/labels"),
        8 => (Method::DELETE, PATH),
        _ => (Method::POST, PATH),
    };
    let mut request = post(&format!("{path}?number={number}&a=%2F"), body)?;
    *request.method_mut() = method;
    for (name, value) in [
        ("x-user-id", format!("user-{number}")),
        (NUMBER, number.to_string()),
        ("authorization", format!("Bearer {number}")),
        ("cookie", "a=b; c=d".to_owned()),
        ("accept-encoding", "gzip, br".to_owned()),
        ("accept", "application/json".to_owned()),
    ] {
        request.headers_mut().insert(http::HeaderName::from_bytes(name.as_bytes())?, value.parse()?);
    }
    Ok(request)
}

/// Sends requests `from` to `to` over 16 connections; each is served 200.
async fn send_numbered(gateway: &ScriptedStack, next: Arc<AtomicU64>, to: u64) -> anyhow::Result<()> {
    let mut clients = tokio::task::JoinSet::new();
    for protocol in BOTH.into_iter().cycle().take(16) {
        let (next, address) = (next.clone(), gateway.address());
        clients.spawn(async move {
            let mut client = Client::connect(address, protocol).await?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= to {
                    return anyhow::Ok(());
                }
                let response = client.send(numbered(number)?).await.with_context(|| format!("request {number}"))?;
                ensure!(response.status == 200, "request {number}: {}", response.status);
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}

/// `received` is what [`numbered`] sent, and no more than a proxy adds.
async fn is_as_sent(received: &Received, added: &BTreeSet<String>) -> anyhow::Result<u64> {
    let number: u64 = received.header(NUMBER).parse().with_context(|| format!("nobody sent {received:?}"))?;
    let sent = numbered(number)?;
    ensure!(received.method == sent.method() && received.path == sent.uri().to_string(), "{number}: {received:?}");
    for (name, value) in sent.headers() {
        ensure!(received.headers.get(name) == Some(value), "{number}: {name} of {received:?}");
    }
    let strange = received.headers.keys().find(|name| {
        !sent.headers().contains_key(*name) && !added.contains(name.as_str()) && !name.as_str().starts_with("x-envoy-")
    });
    ensure!(strange.is_none(), "{number}: {strange:?} was added");
    let body = http_body_util::BodyExt::collect(sent.into_body()).await?.to_bytes();
    ensure!(received.whole && received.body == body, "{number}: the body");
    Ok(number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_is_sent_each_request_once_as_it_came_whatever_the_scorer_does() -> anyhow::Result<()> {
    const REQUESTS: u64 = 20_000;
    let plain = ScriptedStack::start(stack::Builder::no_filter).await?;
    plain.send(numbered(0)?).await?;
    let added: BTreeSet<String> =
        plain.rules.last()?.headers.keys().map(|name| name.as_str().to_owned()).chain(["host".to_owned()]).collect();
    drop(plain);
    let mut gateway = ScriptedStack::start(|builder| builder.concurrency(2).access_log(false)).await?;
    let scorer = gateway.scorer.address();
    let next = Arc::new(AtomicU64::new(0));
    let turns: u64 = 16;
    for turn in 0..turns {
        // Also while requests are in flight: none waits for it.
        let share = Share::percent([0, 10, 50, 100][usize::try_from(turn % 4)?]);
        gateway.stack.admin().set_runtime(RUNTIME_KEY, &share.to_runtime()).await?;
        match turn / 4 {
            1 => gateway.scorer.respond_with(with_observer(|request| {
                good_response(request).after(Duration::from_millis(request.body.len() as u64 % 50))
            })),
            2 if turn % 4 == 0 => {
                let elsewhere = Upstream::start(|_| Script::never()).await?;
                drop(std::mem::replace(&mut gateway.scorer, elsewhere));
            }
            3 if turn % 4 == 0 => gateway.scorer = Upstream::start_at(scorer, with_observer(good_response)).await?,
            _ => {}
        }
        // The first ones wake the workers, which know the share a second later.
        for count in [16, REQUESTS / turns] {
            let to = REQUESTS / turns * turn + count;
            send_numbered(&gateway, next.clone(), to).await?;
            next.store(to, Ordering::Relaxed);
            if count == 16 {
                tokio::time::sleep(e2e::scripted_stack::MAX_SHARE_COPY_AGE).await;
            }
        }
    }
    let mut seen = BTreeSet::new();
    for received in gateway.rules.received() {
        let number = is_as_sent(&received, &added).await?;
        ensure!(seen.insert(number), "request {number} was repeated");
    }
    assert_eq!(seen.len() as u64, REQUESTS);
    let scrape = gateway.scrape().await?;
    let model = scrape.sum(SOURCE, &[("source", "model")]);
    let fallbacks = scrape.sum(FALLBACK, &[]);
    ensure!(
        model > 3_000.0 && fallbacks > 1_000.0,
        "{model} candidates, {fallbacks} fallbacks: too few to show anything"
    );
    Ok(())
}

/// Responses of an application that must not be replaced, and how they are counted.
async fn not_to_be_replaced() -> anyhow::Result<Vec<(&'static str, Script)>> {
    let list = r#"{"items":[{"txn_id":"88","candidates":[{"label":"groceries"}]}]}"#;
    let error = |status| Script::json(status, list);
    Ok(vec![
        ("error", error(401).header("www-authenticate", "Bearer")),
        ("error", error(403)),
        ("error", error(404)),
        ("error", error(409)),
        ("error", error(429).header("retry-after", "7")),
        ("error", error(500)),
        ("redirect", error(302).header("location", "/elsewhere")),
        ("no_body", Script::new(204, "")),
        ("no_body", Script::new(304, "").header("etag", "\"a\"")),
        ("no_items", Script::json(200, r#"{"items":[]}"#)),
        // 89 was requested too.
        ("left_out", Script::json(200, list)),
        ("content_type", Script::new(200, "<html></html>").header("content-type", "text/html")),
        ("content_type", Script::new(200, &b"\0\0\0\0\x02ab"[..]).header("content-type", "application/grpc+proto")),
        ("content_type", Script::new(200, "data: a\n\n").header("content-type", "text/event-stream")),
        ("unreadable", Script::json(200, "not JSON")),
        ("unreadable", Script::json(200, list).header("content-encoding", "compress")),
    ])
}

#[tokio::test]
async fn what_the_application_says_of_a_request_holds_in_the_canary() -> anyhow::Result<()> {
    let gateway = ScriptedStack::all_canary().await?;
    for (reason, script) in not_to_be_replaced().await? {
        gateway.rules.respond(script);
        let before = gateway.scrape().await?;
        let direct = gateway.send_to_application(suggest("ann", request_body([88, 89]))?).await?;
        for protocol in BOTH {
            let request = suggest("ann", request_body([88, 89]))?;
            let through = Client::once(gateway.address(), protocol, request).await?;
            assert_eq!(through.of_the_application(), direct.of_the_application(), "{reason}");
            assert_eq!((through.arm(), through.fallback()), ("baseline", ""), "{reason}");
        }
        let labels = [("reason", reason)];
        gateway
            .expect_changes(&before, &[PASSED_THROUGH, FALLBACK, PREDICT_REQUESTS], &[(PASSED_THROUGH, &labels, 2.0)])
            .await
            .with_context(|| format!("{reason}: {direct:?}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_request_is_passed_through_and_is_not_a_fallback() -> anyhow::Result<()> {
    // The application refuses what the candidate refuses too.
    let gateway = ScriptedStack::all_canary().await?;
    gateway.candidate_responds(candidate_script(422, r#"{"error":"txn_ids is empty"}"#));
    gateway.rules.respond(Script::json(422, r#"{"detail":"txn_ids is empty"}"#));
    let before = gateway.scrape().await?;
    for body in [r#"{"txn_ids":[]}"#, r#"{"txn_ids":["bad"]}"#, "not JSON", ""] {
        let response = gateway.send(suggest("ann", body)?).await?;
        assert_eq!((response.status.as_u16(), response.fallback()), (422, ""), "{body}");
    }
    let labels = [("reason", "error")];
    gateway
        .expect_changes(&before, &[PASSED_THROUGH, FALLBACK, PREDICT_REQUESTS], &[(PASSED_THROUGH, &labels, 4.0)])
        .await
}

#[tokio::test]
async fn a_201_with_items_gets_the_candidates_body_and_stays_201() -> anyhow::Result<()> {
    let gateway = ScriptedStack::all_canary().await?;
    gateway.rules.respond_with(|request| Script::json(201, items(request, BASELINE_LABEL)).header("location", "/it"));
    let response = gateway.send(suggest("ann", request_body([88]))?).await?;
    let asked = gateway.candidate_requests().pop().context("the candidate was not called")?;
    assert_eq!((response.status.as_u16(), response.header("location")), (201, "/it"));
    assert_eq!((response.arm(), response.body.to_vec()), ("candidate", items(&asked, CANDIDATE_LABEL)));
    Ok(())
}

#[tokio::test]
async fn headers_are_the_applications_and_what_they_say_of_the_body_is_true() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder.share(Share::percent(50))).await?;
    let users = [gateway.user(Share::percent(50), true)?, gateway.user(Share::percent(50), false)?];
    let kept = [
        ("set-cookie", "sid=1; HttpOnly"),
        ("set-cookie", "theme=dark"),
        ("access-control-allow-origin", "https://shop.example"),
        ("vary", "origin"),
        ("cache-control", "private, max-age=7"),
        ("x-request-cost", "3"),
    ];
    let of_the_body = [
        ("etag", "\"v1\""),
        ("last-modified", "Mon, 30 Nov 2026 20:00:00 GMT"),
        ("content-md5", "abc"),
        ("digest", "sha-256=abc"),
        ("repr-digest", "sha-256=:abc:"),
        ("content-digest", "sha-256=:abc:"),
        ("accept-ranges", "bytes"),
    ];
    for encoding in ["", "gzip", "br", "zstd"] {
        for pieces in [false, true] {
            let body = items(&Received::with_body(request_body([88])), BASELINE_LABEL);
            let mut script = Script::json(200, body);
            for (name, value) in kept.iter().chain(&of_the_body) {
                script = script.header(name, value);
            }
            if !encoding.is_empty() {
                script = script.compressed(encoding).await?;
            }
            if pieces {
                script = script.trickled(7, Duration::ZERO).trailer("x-sum", "1");
            }
            gateway.rules.respond(script);
            for protocol in BOTH {
                let direct = gateway.send_to_application(suggest("ann", request_body([88]))?).await?;
                for (user, arm) in users.iter().zip(["candidate", "baseline"]) {
                    let what = format!("{arm}, {encoding:?}, in pieces: {pieces}, {protocol:?}");
                    let request = suggest(user, request_body([88]))?;
                    let response = Client::once(gateway.address(), protocol, request).await?;
                    assert_eq!(response.arm(), arm, "{what}");
                    for (name, _) in kept {
                        let all = |response: &e2e::client::ClientResponse| {
                            response.headers.get_all(name).iter().cloned().collect::<Vec<_>>()
                        };
                        assert_eq!(all(&response), all(&direct), "{what}: {name}");
                    }
                    if arm == "baseline" {
                        assert_eq!(response.of_the_application(), direct.of_the_application(), "{what}");
                        continue;
                    }
                    let asked = gateway.candidate_requests().pop().context("the candidate was not called")?;
                    assert_eq!(response.body, items(&asked, CANDIDATE_LABEL), "{what}");
                    for (name, _) in of_the_body {
                        assert_eq!(response.header(name), "", "{what}: {name} speaks of another body");
                    }
                    assert_eq!(response.header("content-encoding"), "", "{what}");
                    let length = response.header("content-length");
                    ensure!(length.is_empty() || length == response.body.len().to_string(), "{what}: {length}");
                }
            }
        }
    }
    Ok(())
}

/// A response with items, blanks up to `bytes` bytes.
fn padded(mut body: Vec<u8>, bytes: usize) -> Vec<u8> {
    body.resize(body.len().max(bytes), b' ');
    body
}

#[tokio::test]
async fn responses_of_every_size_pass_or_are_replaced_whole() -> anyhow::Result<()> {
    const MIB: usize = 1024 * 1024;
    const LIMIT: usize = 256 * 1024;
    let (held, candidate) = (LIMIT, LIMIT);
    let config = json!({
        "scorer": {"deadline_ms": 30_000}, "limits": {"held_bytes": held, "candidate_bytes": candidate},
    });
    let gateway = ScriptedStack::start(|builder| builder.share(Share::ALL).filter_config(&config)).await?;
    for protocol in BOTH {
        // A response in one piece and one whose first piece is small: Envoy's buffer gets each piece before the filter
        // does.
        for trickle in [None, Some(1_000), Some(200_000)] {
            for size in [1, 300, 65_537, held - 1, held, held + 1, 3 * MIB, 16 * MIB] {
                gateway.rules.respond_with(move |request| {
                    let script = Script::json(200, padded(items(request, BASELINE_LABEL), size));
                    match trickle {
                        Some(piece) => script.trickled(piece.max(size / 200), Duration::ZERO),
                        None => script,
                    }
                });
                let response = Client::once(gateway.address(), protocol, suggest("ann", request_body([88]))?).await?;
                let what = format!("{size} bytes in pieces of {trickle:?} over {protocol:?}");
                let asked = Received::with_body(request_body([88]));
                if size <= held {
                    assert_eq!((response.status.as_u16(), response.arm()), (200, "candidate"), "{what}");
                    ensure!(response.body == items(&asked, CANDIDATE_LABEL), "{what}");
                } else {
                    assert_eq!((response.status.as_u16(), response.arm()), (200, "baseline"), "{what}");
                    ensure!(
                        response.body == padded(items(&asked, BASELINE_LABEL), size),
                        "{what}: {}",
                        response.body.len()
                    );
                }
            }
        }
        gateway.rules.respond_with(|request| Script::json(200, items(request, BASELINE_LABEL)));
        for (size, arm) in [(candidate, "candidate"), (candidate + 1, "baseline")] {
            gateway.scorer.respond_with(with_observer(move |request| {
                candidate_script(200, padded(items(request, CANDIDATE_LABEL), size))
            }));
            let response = Client::once(gateway.address(), protocol, suggest("ann", request_body([88]))?).await?;
            assert_eq!((response.status.as_u16(), response.arm()), (200, arm), "{size} bytes of the candidate's");
            if arm == "candidate" {
                assert_eq!(response.body.len(), size);
            }
        }
        gateway.scorer.respond_with(with_observer(good_response));
    }
    Ok(())
}

#[tokio::test]
async fn a_packed_response_is_replaced_and_a_fallback_stays_packed() -> anyhow::Result<()> {
    let gateway = ScriptedStack::all_canary().await?;
    for encoding in ["gzip", "br", "zstd"] {
        let body = items(&Received::with_body(request_body([88])), BASELINE_LABEL);
        let packed = compress(&body, encoding).await?;
        gateway.rules.respond(Script::json(200, packed.clone()).header("content-encoding", encoding));
        gateway.scorer.respond_with(with_observer(good_response));
        let response = gateway.send(suggest("ann", request_body([88]))?).await?;
        assert_eq!((response.arm(), response.header("content-encoding")), ("candidate", ""), "{encoding}");
        gateway.candidate_responds(candidate_script(500, ""));
        let response = gateway.send(suggest("ann", request_body([88]))?).await?;
        assert_eq!((response.fallback(), response.header("content-encoding")), ("status", encoding));
        assert_eq!(response.body, packed);
    }
    // A client that takes nothing but gzip cannot be given what is not.
    let mut request = suggest("ann", request_body([88]))?;
    request.headers_mut().insert("accept-encoding", "gzip, identity;q=0".parse()?);
    gateway.scorer.respond_with(with_observer(good_response));
    assert_eq!(gateway.send(request).await?.arm(), "baseline");
    Ok(())
}

#[tokio::test]
async fn the_application_is_told_of_the_canary_only_where_it_wants_to_know() -> anyhow::Result<()> {
    for tell in [false, true] {
        let config = json!({"arm_request_header": tell});
        let gateway = ScriptedStack::start(|builder| builder.share(Share::percent(50)).filter_config(&config)).await?;
        for inside in [true, false] {
            let user = gateway.user(Share::percent(50), inside)?;
            gateway.send(suggest(&user, request_body([88]))?).await?;
            let told = gateway.rules.last()?.header(contract::headers::ARM).to_owned();
            assert_eq!(told, if tell && inside { "candidate" } else { "" }, "asked: {tell}, in the canary: {inside}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_ranking_may_speak_of_other_items_where_the_canary_says_so() -> anyhow::Result<()> {
    for (rule, arm, fallback) in [("of_application", "baseline", "other_items"), ("any", "candidate", "")] {
        let config = json!({"items": rule});
        let gateway = ScriptedStack::start(|builder| builder.share(Share::ALL).filter_config(&config)).await?;
        let other = items(&Received::with_body(request_body([99])), CANDIDATE_LABEL);
        gateway.candidate_responds(candidate_script(200, other));
        let response = gateway.send(suggest("ann", request_body([88]))?).await?;
        assert_eq!((response.status.as_u16(), response.arm(), response.fallback()), (200, arm, fallback), "{rule}");
    }
    Ok(())
}

#[tokio::test]
async fn other_spellings_of_the_path_are_in_the_canary_too() -> anyhow::Result<()> {
    let gateway = ScriptedStack::all_canary().await?;
    for path in ["//ml/suggestions", "/ml%2Fsuggestions", "/ml%2fsuggestions", "/ml//suggestions", "/ml/./suggestions"]
    {
        let mut request = suggest("ann", request_body([88]))?;
        *request.uri_mut() = path.parse()?;
        let response = gateway.send(request).await?;
        ensure!(
            response.arm() == "candidate" || response.status.is_client_error(),
            "{path}: {} {}",
            response.status,
            response.arm()
        );
    }
    Ok(())
}

#[tokio::test]
async fn spellings_with_underscores_of_our_headers_are_refused() -> anyhow::Result<()> {
    let gateway = ScriptedStack::all_canary().await?;
    for name in ["x_perch_arm", "x-perch_bucket", "X_Perch_Cohort"] {
        let request = e2e::raw_client::post(PATH, &[("x-user-id", "ann"), (name, "candidate")], &request_body([88]));
        let mut client = e2e::raw_client::RawClient::connect(gateway.address()).await?;
        client.write(&request).await?;
        let response = String::from_utf8(client.read_to_end().await?)?;
        ensure!(response.starts_with("HTTP/1.1 400"), "{name}: {response}");
    }
    assert_eq!(gateway.rules.hits(), 0);
    Ok(())
}

/// No user gets the candidate once a layer of the runtime is at 0 and the workers' copies of the share are too old; not
/// even a user who has waited for it since before.
async fn rolls_back(disk: bool) -> anyhow::Result<()> {
    let deadline = json!({"scorer": {"deadline_ms": 30_000}});
    let gateway = ScriptedStack::start(|builder| builder.share(Share::ALL).filter_config(&deadline)).await?;
    let gate = e2e::upstream::Gate::closed();
    let held = gate.clone();
    gateway.scorer.respond_with(with_observer(move |request| good_response(request).gated(&held)));
    let (address, request) = (gateway.address(), suggest("ann", request_body([88]))?);
    let waits = tokio::spawn(async move { Client::once(address, Protocol::H2, request).await });
    eventually("the candidate is called", || async {
        ensure!(gateway.scorer.open() >= 1, "the candidate is not called yet");
        Ok(())
    })
    .await?;
    if disk {
        gateway.write_disk_layer("1", Share::OFF)?;
        eventually("Envoy follows the link", || async {
            let share = gateway.stack.share().await?;
            ensure!(share == Some(Share::OFF), "{share:?}");
            Ok(())
        })
        .await?;
    } else {
        gateway.stack.admin().set_runtime(RUNTIME_KEY, &Share::OFF.to_runtime()).await?;
    }
    if disk || !gateway.stack.native() {
        tokio::time::sleep(e2e::scripted_stack::MAX_SHARE_COPY_AGE).await;
    }
    gate.open();
    let waited = waits.await??;
    assert_eq!((waited.status.as_u16(), waited.arm(), waited.fallback()), (200, "baseline", ""));
    assert_eq!(waited.body, items(&Received::with_body(request_body([88])), BASELINE_LABEL));
    for number in 0..200 {
        assert_eq!(gateway.send(suggest(&format!("user-{number}"), request_body([88]))?).await?.arm(), "baseline");
    }
    assert_eq!(gateway.scrape().await?.sum(PASSED_THROUGH, &[("reason", "rolled_back")]), 1.0);
    Ok(())
}

#[tokio::test]
async fn after_a_rollback_nobody_is_given_the_candidate_not_even_who_waits_for_it() -> anyhow::Result<()> {
    rolls_back(false).await
}

#[tokio::test]
async fn after_a_rollback_on_disk_nobody_is_given_the_candidate_not_even_who_waits_for_it() -> anyhow::Result<()> {
    rolls_back(true).await
}
