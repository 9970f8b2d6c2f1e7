//! What the scorer is told of a request and its response, and what it is never told.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use contract::frame;
use contract::names::{Arm, NotCompared};
use contract::series::{BATCH, COMPARE, INTERCEPTED, NOT_COMPARED, OBSERVATION, PREDICT_REQUESTS};
use contract::share::{OBSERVE_KEY, Share};
use e2e::changes::Change;
use e2e::client::{Client, PATH, Protocol, post, request_body, suggest};
use e2e::eventually::eventually;
use e2e::scripted_stack::{BASELINE_LABEL, ScriptedStack, candidate_script, items, with_observer};
use e2e::upstream::{Cut, Script};
use tokio::task::JoinSet;

async fn observed(
    gateway: &ScriptedStack,
    count: usize,
) -> anyhow::Result<Vec<e2e::scripted_stack::RecordedObservation>> {
    eventually("the observations", || async {
        let seen = gateway.observations()?;
        ensure!(seen.len() == count, "{} of {count} came", seen.len());
        Ok(seen)
    })
    .await
}

#[tokio::test]
async fn what_each_arm_has_to_be_compared_by_arrives_as_it_was() -> anyhow::Result<()> {
    let half = Share::percent(50);
    let gateway = ScriptedStack::start(|builder| builder.share(half)).await?;
    for inside in [false, true] {
        let user = gateway.user(half, inside)?;
        let arm = if inside { Arm::Candidate } else { Arm::Baseline };
        let response = gateway.send(suggest(&user, request_body([88, 89]))?).await?;
        let seen = observed(&gateway, 1 + usize::from(inside)).await?.pop();
        let expected = e2e::scripted_stack::RecordedObservation {
            assigned: arm,
            served: arm,
            fallback: false,
            bucket: Some(gateway.stack.bucket(&user)?.to_string()),
            cohort: contract::names::Cohort::Ordinary,
            status: 200,
            encoding: frame::Encoding::Identity,
            baseline: items(&gateway.rules.last()?, BASELINE_LABEL),
            candidate: inside.then(|| response.body.to_vec()),
        };
        assert_eq!(seen, Some(expected));
    }
    let response = gateway.send(post(PATH, request_body([90]))?).await?;
    let seen = observed(&gateway, 3).await?.pop().map(|seen| (seen.bucket, seen.baseline));
    assert_eq!(seen, Some((None, response.body.to_vec())));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_response_of_the_candidate_is_observed_with_its_own_baseline() -> anyhow::Result<()> {
    const REQUESTS: i64 = 200;
    // Every response counts here, on however busy a machine.
    let patient = serde_json::json!({"scorer": {"deadline_ms": 30_000}});
    let gateway = Arc::new(ScriptedStack::start(|builder| builder.share(Share::ALL).filter_config(&patient)).await?);
    gateway.scorer.respond_with(with_observer(|request| {
        // Not in the order in which they were asked.
        let delay = Duration::from_millis(request.body.len() as u64 * 7 % 20);
        candidate_script(200, items(request, "coffee")).after(delay)
    }));
    let mut sent = JoinSet::new();
    for number in 0..REQUESTS {
        let gateway = Arc::clone(&gateway);
        let protocol = if number % 2 == 0 { Protocol::H1 } else { Protocol::H2 };
        sent.spawn(async move {
            // A few users, so that one has several requests under way.
            let request = suggest(&format!("user-{}", number % 7), request_body(number..=number + number % 5))?;
            Client::once(gateway.address(), protocol, request).await
        });
    }
    while let Some(done) = sent.join_next().await {
        assert_eq!(done??.status, 200);
    }
    let ids = |body: &[u8]| {
        let items = contract::response::read(body, &contract::response::ResponseSchema::default()).unwrap_or_default();
        items.into_iter().map(|item| item.id).collect::<Vec<_>>()
    };
    for seen in observed(&gateway, 200).await? {
        assert_eq!(seen.served, Arm::Candidate, "{seen:?}");
        let baseline = ids(&seen.baseline);
        ensure!(!baseline.is_empty() && baseline == ids(seen.candidate.as_deref().unwrap_or_default()), "{seen:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_fallback_is_observed_as_the_baseline_of_a_canary_user() -> anyhow::Result<()> {
    let gateway = ScriptedStack::all_canary().await?;
    gateway.candidate_responds(candidate_script(500, ""));
    gateway.send(suggest("ann", request_body([88]))?).await?;
    let seen = observed(&gateway, 1).await?;
    let expected = [(Arm::Candidate, Arm::Baseline, true)];
    assert_eq!(seen.iter().map(|seen| (seen.assigned, seen.served, seen.fallback)).collect::<Vec<_>>(), expected);
    Ok(())
}

#[tokio::test]
async fn neither_users_nor_their_secrets_reach_the_scorer_or_the_logs() -> anyhow::Result<()> {
    let half = Share::percent(50);
    let mut gateway = ScriptedStack::start(|builder| builder.share(half)).await?;
    for inside in [true, false] {
        let user = gateway.user(half, inside)?;
        let mut request = suggest(&user, request_body([88]))?;
        request.headers_mut().insert("authorization", "Bearer secret-token".parse()?);
        request.headers_mut().insert("cookie", "sid=secret-cookie".parse()?);
        request.headers_mut().insert("x-api-key", "secret-key".parse()?);
        gateway.send(request).await?;
    }
    observed(&gateway, 2).await?;
    let users = [gateway.user(half, true)?, gateway.user(half, false)?];
    for received in gateway.scorer.received() {
        let text = format!("{:?} {}", received.headers, String::from_utf8_lossy(&received.body));
        ensure!(!text.contains("secret"), "{text}");
        ensure!(users.iter().all(|user| !text.contains(user)), "{text}");
    }
    gateway.stack.stop_part(stack::Part::Gateway);
    let log = gateway.stack.log(stack::Part::Gateway);
    let access = std::fs::read_to_string(gateway.stack.run().join("access.log")).unwrap_or_default();
    for text in [log, access] {
        ensure!(!text.contains("secret") && users.iter().all(|user| !text.contains(user)), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn every_item_of_an_observation_is_counted_once() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder).await?;
    let before = gateway.scrape().await?;
    let mut client = Client::connect(gateway.address(), Protocol::H1).await?;
    for count in 0..40 {
        client.send(suggest("ann", request_body(0..count))?).await?;
    }
    let expected: [Change<'_>; 4] = [
        (INTERCEPTED, &[], 40.0),
        (OBSERVATION, &[("outcome", "observed")], 40.0),
        (COMPARE, &[("agree", "True")], f64::from((0..40).sum::<i32>())),
        (PREDICT_REQUESTS, &[("available", "True")], 40.0),
    ];
    gateway
        .expect_changes(&before, &[INTERCEPTED, OBSERVATION, COMPARE, PREDICT_REQUESTS, NOT_COMPARED], &expected)
        .await?;
    let scrape = gateway.scrape().await?;
    let [sent, answered] = ["sent", "answered"].map(|result| scrape.sum(BATCH, &[("result", result)]));
    ensure!(sent == answered && sent >= 1.0, "{sent} batches sent, {answered} answered");
    Ok(())
}

/// A baseline of about so many bytes; JSON may end in blanks.
fn baseline_response(gateway: &ScriptedStack, bytes: usize) {
    gateway.rules.respond_with(move |request| {
        let mut response = items(request, "coffee");
        response.resize(response.len().max(bytes), b' ');
        Script::json(200, response)
    });
}

/// Larger than what Envoy's main thread sends of a batch at once.
const LARGE: usize = 100_000;

#[tokio::test]
async fn batches_larger_than_one_send_arrive_whole_though_no_request_follows() -> anyhow::Result<()> {
    const REQUESTS: i64 = 9;
    let gateway = ScriptedStack::start(|builder| builder).await?;
    baseline_response(&gateway, LARGE);
    let mut client = Client::connect(gateway.address(), Protocol::H1).await?;
    let mut responses = Vec::new();
    for number in 0..REQUESTS {
        responses.push(client.send(suggest("ann", request_body([number]))?).await?.body.to_vec());
    }
    let seen: Vec<_> = observed(&gateway, 9).await?.into_iter().map(|seen| seen.baseline).collect();
    ensure!(seen == responses, "{:?} bytes arrived", seen.iter().map(Vec::len).collect::<Vec<_>>());
    let batches = gateway.scorer.received();
    ensure!(batches.iter().any(|batch| batch.path == frame::PATH && batch.body.len() > 2 * LARGE));
    Ok(())
}

/// What the observer does when a batch comes.
type Observer = fn(&ScriptedStack);

/// The observations fail, since the observer is as `observer` makes it; each of their items is then counted as None, by
/// the reason. In batches that are sent at once, and in larger ones.
async fn observer_fails(observer: Observer) -> anyhow::Result<()> {
    for bytes in [0, LARGE] {
        let config = serde_json::json!({"scorer": {"observe_timeout_ms": 500}});
        let gateway = ScriptedStack::start(|builder| builder.filter_config(&config)).await?;
        observer(&gateway);
        baseline_response(&gateway, bytes);
        let before = gateway.scrape().await?;
        for _ in 0..3 {
            assert_eq!(gateway.send(suggest("ann", request_body([88, 89]))?).await?.status, 200);
        }
        let expected: [Change<'_>; 4] = [
            (OBSERVATION, &[("outcome", "observed")], 3.0),
            (COMPARE, &[("agree", "None")], 6.0),
            (NOT_COMPARED, &[("reason", NotCompared::ObserverFailed.as_str())], 6.0),
            (PREDICT_REQUESTS, &[("available", "False")], 3.0),
        ];
        gateway.expect_changes(&before, &[OBSERVATION, COMPARE, NOT_COMPARED, PREDICT_REQUESTS], &expected).await?;
    }
    Ok(())
}

#[tokio::test]
async fn observations_that_meet_a_broken_observer_are_counted_as_none() -> anyhow::Result<()> {
    observer_fails(|gateway| gateway.scorer.respond(Script::new(200, "").cut_after(0, Cut::Reset))).await?;
    observer_fails(|gateway| gateway.scorer.respond(candidate_script(500, ""))).await?;
    observer_fails(|gateway| gateway.scorer.respond(candidate_script(200, "not a batch result"))).await?;
    observer_fails(|gateway| gateway.scorer.respond(candidate_script(200, r#"{"version":250,"observations":1}"#)))
        .await?;
    observer_fails(|gateway| gateway.scorer.respond_at_head(candidate_script(503, ""))).await?;
    observer_fails(|gateway| gateway.scorer.respond(Script::never())).await
}

#[tokio::test]
async fn a_result_that_leaves_items_out_or_makes_some_up_is_refused_and_counted() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder).await?;
    let before = gateway.scrape().await?;
    let wrong = serde_json::json!({
        "version": contract::batch_result::VERSION, "observations": 1, "agree_true": 0, "agree_false": 1,
        "not_compared": {"no_label": 3}, "abstained": {}, "available": 1, "unavailable": 0,
        "labels": [{"label": "never heard of.it\"}\n", "agree": "False", "items": 1}],
    });
    gateway.scorer.respond(candidate_script(200, wrong.to_string()));
    gateway.send(suggest("ann", request_body([88, 89]))?).await?;
    let expected: [Change<'_>; 2] =
        [(COMPARE, &[("agree", "None")], 2.0), (NOT_COMPARED, &[("reason", "observer_failed")], 2.0)];
    gateway.expect_changes(&before, &[COMPARE, NOT_COMPARED, contract::series::LABEL_COMPARE], &expected).await?;
    assert_eq!(gateway.scrape().await?.sum(BATCH, &[("result", "mismatched")]), 1.0);
    let right = serde_json::json!({
        "version": contract::batch_result::VERSION, "observations": 1, "agree_true": 0, "agree_false": 1,
        "not_compared": {"no_label": 1}, "abstained": {}, "available": 1, "unavailable": 0,
        "labels": [{"label": "never heard of.it\"}\n", "agree": "False", "items": 1}],
    });
    gateway.scorer.respond(candidate_script(200, right.to_string()));
    let before = gateway.scrape().await?;
    gateway.send(suggest("ann", request_body([88, 89]))?).await?;
    let expected: [Change<'_>; 4] = [
        (COMPARE, &[("agree", "False")], 1.0),
        (COMPARE, &[("agree", "None")], 1.0),
        (NOT_COMPARED, &[("reason", "no_label")], 1.0),
        (contract::series::LABEL_COMPARE, &[("label", "other"), ("agree", "False")], 1.0),
    ];
    gateway.expect_changes(&before, &[COMPARE, NOT_COMPARED, contract::series::LABEL_COMPARE], &expected).await
}

#[tokio::test]
async fn sampling_leaves_requests_out_of_observation_and_nothing_else() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder.share(Share::ALL)).await?;
    gateway.set_runtime(OBSERVE_KEY, "0").await?;
    let before = gateway.scrape().await?;
    let observed_before = gateway.observations()?.len();
    for _ in 0..10 {
        assert_eq!(gateway.send(suggest("ann", request_body([88]))?).await?.arm(), "candidate");
    }
    let skipped = [("outcome", "skipped_sampling")];
    let expected = [(INTERCEPTED, &[][..], 10.0), (OBSERVATION, &skipped[..], 10.0)];
    gateway.expect_changes(&before, &[INTERCEPTED, OBSERVATION, COMPARE, BATCH], &expected).await?;
    assert_eq!(gateway.observations()?.len(), observed_before);
    // A share of the requests, not of the users.
    gateway.set_runtime(OBSERVE_KEY, "50").await?;
    let before = gateway.scrape().await?;
    let mut client = Client::connect(gateway.address(), Protocol::H1).await?;
    for _ in 0..400 {
        client.send(suggest("ann", request_body([88]))?).await?;
    }
    // A request is counted as its stream ends, which may be just after its client has the response.
    let scrape = eventually("all are counted", || async {
        let scrape = gateway.scrape().await?;
        let counted = scrape.sum(INTERCEPTED, &[]) - before.sum(INTERCEPTED, &[]);
        ensure!(counted == 400.0, "{counted} are");
        Ok(scrape)
    })
    .await?;
    let observed = [("outcome", "observed")];
    let seen = scrape.sum(OBSERVATION, &observed) - before.sum(OBSERVATION, &observed);
    ensure!((120.0..280.0).contains(&seen), "{seen} of 400");
    Ok(())
}

#[tokio::test]
async fn a_response_over_the_limit_is_not_observed_and_counted_as_such() -> anyhow::Result<()> {
    let config = serde_json::json!({"limits": {"response_bytes": 2_000}});
    let gateway = ScriptedStack::start(|builder| builder.filter_config(&config)).await?;
    let before = gateway.scrape().await?;
    let padded = serde_json::json!({"txn_ids": [88], "padding": "a".repeat(3_000)}).to_string();
    gateway.send(suggest("ann", padded.clone())?).await?;
    let compared = [("agree", "True")];
    let observed = [("outcome", "observed")];
    let expected = [(INTERCEPTED, &[][..], 1.0), (OBSERVATION, &observed[..], 1.0), (COMPARE, &compared[..], 1.0)];
    gateway.expect_changes(&before, &[INTERCEPTED, OBSERVATION, COMPARE], &expected).await?;
    let before = gateway.scrape().await?;
    gateway.rules.respond(Script::json(200, vec![b' '; 3_000]));
    gateway.send(suggest("ann", request_body([88]))?).await?;
    let limit = [("outcome", "dropped_body_limit")];
    let expected = [(INTERCEPTED, &[][..], 1.0), (OBSERVATION, &limit[..], 1.0)];
    gateway.expect_changes(&before, &[INTERCEPTED, OBSERVATION, COMPARE], &expected).await
}

#[tokio::test]
async fn a_frozen_observer_costs_bounded_memory_and_the_rest_is_dropped_and_counted() -> anyhow::Result<()> {
    let config = serde_json::json!({
        "limits": {
            "response_bytes": 8_192, "candidate_bytes": 8_192, "batch_bytes": 16_384, "pending_bytes": 32_768,
            "in_flight_bytes": 65_536,
        },
        "scorer": {"observe_timeout_ms": 60_000},
    });
    let gateway = ScriptedStack::start(|builder| builder.filter_config(&config)).await?;
    gateway.scorer.respond(Script::never());
    let mut client = Client::connect(gateway.address(), Protocol::H1).await?;
    for _ in 0..100 {
        assert_eq!(client.send(suggest("ann", request_body(0..50))?).await?.status, 200);
    }
    eventually("all are counted", || async {
        let scrape = gateway.scrape().await?;
        let [observed, dropped] =
            ["observed", "dropped_buffer_full"].map(|outcome| scrape.sum(OBSERVATION, &[("outcome", outcome)]));
        ensure!(observed + dropped == 100.0 && observed >= 1.0 && dropped >= 1.0, "{observed} and {dropped} dropped");
        Ok(())
    })
    .await?;
    let held: usize = gateway.scorer.received().iter().map(|batch| batch.body.len()).sum();
    ensure!(held <= 65_536, "{held} bytes are under way");
    ensure!(gateway.scorer.received().iter().all(|batch| batch.path == frame::PATH && batch.body.len() <= 16_384));
    Ok(())
}

#[tokio::test]
async fn compressed_bodies_are_observed_as_they_are() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder).await?;
    let body = e2e::upstream::compress(&request_body([88]), "zstd").await?;
    let response = Script::json(200, br#"{"items":[]}"#.to_vec()).compressed("br").await?;
    gateway.rules.respond(response);
    let mut request = post(PATH, body.clone())?;
    request.headers_mut().insert("content-encoding", "zstd".parse()?);
    let response = gateway.send(request).await?;
    let seen = observed(&gateway, 1).await?;
    ensure!(
        seen.iter().all(|seen| seen.baseline == response.body && seen.encoding == frame::Encoding::Brotli),
        "{seen:?}"
    );
    Ok(())
}
