//! What is the native module's own. Everything else here holds for both: `make test-rust` runs all of it with each.

use anyhow::ensure;
use contract::names::{FAILURES, INTERCEPTED, OBSERVATION, Outcome};
use contract::switch::{OBSERVE_KEY, Share};
use e2e::client::{question, suggest};
use e2e::eventually::eventually;
use e2e::scripted::Scripted;
use serde_json::json;

async fn native(change: impl FnOnce(stack::Builder) -> stack::Builder) -> anyhow::Result<Scripted> {
    Scripted::start(|builder| {
        let module = builder.place().native_filter();
        change(builder.module(module))
    })
    .await
}

#[tokio::test]
async fn a_claim_that_it_cannot_read_is_refused_and_everybody_gets_the_rules() -> anyhow::Result<()> {
    let config = json!({"identity": [{"jwt": {"payload": "jwt_payload", "claim": "sub"}}]});
    let gateway = native(|builder| builder.share(Share::ALL).filter_config(&config)).await?;
    let answer = gateway.send(suggest("ann", question([88]))?).await?;
    assert_eq!((answer.status.as_u16(), answer.arm()), (200, ""), "as if Perch were not there");
    let log = gateway.stack.log(stack::Part::Gateway);
    ensure!(log.contains("claim_to_headers"), "the mend is not in Envoy's log: {log}");
    Ok(())
}

#[tokio::test]
async fn it_begins_again_with_each_worker_and_counts_for_all() -> anyhow::Result<()> {
    let gateway = native(|builder| builder.concurrency(4).share(Share::percent(50))).await?;
    for user in 0..200 {
        let answer = gateway.send(suggest(&format!("user-{user}"), question([88]))?).await?;
        ensure!(answer.status == 200 && answer.fallback().is_empty(), "{}: {}", answer.status, answer.fallback());
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
        gateway.send(suggest("ann", question([88]))?).await?;
        let scrape = gateway.scrape().await?;
        let of = |outcome: Outcome| scrape.sum(OBSERVATION, &[("outcome", outcome.as_str())]);
        let (out, seen) = (of(Outcome::SkippedSampling), of(Outcome::Observed));
        ensure!(out > 2.0 * seen && seen > 0.0, "{out} left out, {seen} observed");
        Ok(())
    })
    .await
}
