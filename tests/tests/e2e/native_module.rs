//! Tests of what only the native module does. The other tests in this folder run with both modules.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use contract::names::Outcome;
use contract::series::{FAILURES, INTERCEPTED, OBSERVATION};
use contract::share::{OBSERVE_KEY, Share};
use e2e::client::{request_body, suggest};
use e2e::eventually::eventually;
use e2e::load::Load;
use e2e::real_stack::{RealStack, TRANSACTIONS};
use e2e::scripted_stack::ScriptedStack;
use serde_json::{Value, json};

async fn native(change: impl FnOnce(stack::Builder) -> stack::Builder) -> anyhow::Result<ScriptedStack> {
    ScriptedStack::start(|builder| {
        let module = builder.checkout().native_filter();
        change(builder.module(module))
    })
    .await
}

/// Every user gets the baseline, as if Perch were not there, and Envoy's log has the fix.
async fn is_refused(config: &Value, fix: &str) -> anyhow::Result<()> {
    let gateway = native(|builder| builder.share(Share::ALL).filter_config(config)).await?;
    let response = gateway.send(suggest("ann", request_body([88]))?).await?;
    assert_eq!((response.status.as_u16(), response.arm()), (200, ""), "as if Perch were not there");
    let log = gateway.stack.log(stack::Part::Gateway);
    ensure!(log.contains(fix), "the fix is not in Envoy's log: {log}");
    Ok(())
}

#[tokio::test]
async fn a_claim_that_it_cannot_read_is_refused_and_every_user_gets_the_baseline() -> anyhow::Result<()> {
    is_refused(&json!({"identity": [{"jwt": {"payload": "jwt_payload", "claim": "sub"}}]}), "claim_to_headers").await
}

#[tokio::test]
async fn a_share_that_it_cannot_read_is_off_and_the_log_names_what_is_missing() -> anyhow::Result<()> {
    // One that is not there, and one that responds, but is not an admin interface.
    for cluster in ["nowhere", "rules"] {
        without_share(cluster).await?;
    }
    Ok(())
}

async fn without_share(cluster: &str) -> anyhow::Result<()> {
    let config = json!({"scorer": {"admin_cluster": cluster}});
    let gateway = native(|builder| builder.share(Share::ALL).filter_config(&config)).await?;
    assert_eq!(
        gateway.send(suggest("ann", request_body([88]))?).await?.arm(),
        "candidate",
        "a whole percentage needs no call"
    );
    gateway.stack.set_share(Share::from_percent("99.9999%")?).await?;
    eventually("nobody is in the canary", || async {
        let response = gateway.send(suggest("ann", request_body([88]))?).await?;
        ensure!((response.status.as_u16(), response.arm()) == (200, "baseline"), "the arm is {}", response.arm());
        let log = gateway.stack.log(stack::Part::Gateway);
        ensure!(log.contains("scorer.admin_cluster") && log.contains(cluster), "the fix is not in Envoy's log: {log}");
        Ok(())
    })
    .await?;
    gateway.stack.set_share(Share::ALL).await?;
    assert_eq!(
        gateway.send(suggest("ann", request_body([88]))?).await?.arm(),
        "candidate",
        "and a whole one holds again"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_that_is_moved_holds_from_the_next_request_on_under_load() -> anyhow::Result<()> {
    let gateway = native(|builder| builder.concurrency(2).access_log(false)).await?;
    gateway.rules.forget_received();
    gateway.scorer.forget_received();
    for turn in 0..200 {
        let (share, arm) = if turn % 2 == 0 { (Share::ALL, "candidate") } else { (Share::OFF, "baseline") };
        gateway.stack.set_share(share).await?;
        for user in ["ann", "ben"] {
            let response = gateway.send(suggest(user, request_body([88]))?).await?;
            assert_eq!(response.arm(), arm, "{user} in turn {turn}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn it_begins_again_with_each_worker_and_counts_for_all() -> anyhow::Result<()> {
    let gateway = native(|builder| builder.concurrency(4).share(Share::percent(50))).await?;
    for user in 0..200 {
        let response = gateway.send(suggest(&format!("user-{user}"), request_body([88]))?).await?;
        ensure!(
            response.status == 200 && response.fallback().is_empty(),
            "{}: {}",
            response.status,
            response.fallback()
        );
    }
    eventually("all are counted", || async {
        let scrape = gateway.scrape().await?;
        ensure!(scrape.sum(INTERCEPTED, &[]) == 200.0, "{} are", scrape.sum(INTERCEPTED, &[]));
        assert_eq!(scrape.get(FAILURES, &[]), Some(0.0));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_sample_that_is_a_fraction_is_drawn_too() -> anyhow::Result<()> {
    let gateway = native(|builder| builder).await?;
    let share = Share::from_percent("12.5%")?;
    gateway.stack.admin().set_runtime(OBSERVE_KEY, &share.to_runtime()).await?;
    eventually("some are left out, and some are not", || async {
        gateway.send(suggest("ann", request_body([88]))?).await?;
        let scrape = gateway.scrape().await?;
        let of = |outcome: Outcome| scrape.sum(OBSERVATION, &[("outcome", outcome.as_str())]);
        let (out, seen) = (of(Outcome::SkippedSampling), of(Outcome::Observed));
        ensure!(out > 2.0 * seen && seen > 0.0, "{out} left out, {seen} observed");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_pays_for_a_failure_in_it() -> anyhow::Result<()> {
    const REQUESTS: u64 = 4_000;
    let real = RealStack::start(|builder| {
        let module = builder.checkout().fault_injection_filter();
        builder.module(module).share(Share::percent(50)).concurrency(2).access_log(false)
    })
    .await
    .context("with target/libperch_filter_fault_injection.so, which `setup/build-filter fault-injection` makes")?;
    let tally = Load::start(real.address(), REQUESTS, 16, TRANSACTIONS).finish().await?;
    assert_eq!(tally.responses, REQUESTS, "a client got no whole response");
    ensure!(tally.model > 0, "nobody got the candidate: {tally:?}");
    let failures = || async { anyhow::Ok(real.scrape().await?.sum(FAILURES, &[])) };
    eventually("failures are counted, what did not fail is observed, and then the module rests", || async {
        let counted = failures().await?;
        let observed = real.scrape().await?.sum(OBSERVATION, &[("outcome", Outcome::Observed.as_str())]);
        // A request has some ten callbacks, and one in 53 fails.
        ensure!(counted > 200.0 && observed > 0.0, "{counted} failures, {observed} observed");
        // Ticks would fail too, every few seconds.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let later = failures().await?;
        ensure!(later == counted, "{counted} failures, and then {later} without traffic");
        Ok(())
    })
    .await
}
