//! The real scorer behind the real gateway: which responses are compared, and what its faults cost.

use anyhow::ensure;
use contract::series::{ABSTAINED, COMPARE, NOT_COMPARED, PREDICT_REQUESTS, SOURCE};
use contract::share::Share;
use e2e::client::{get, request_body, suggest};
use e2e::eventually::eventually;
use e2e::real_stack::RealStack;
use e2e::upstream::{Script, Upstream};
use serde_json::json;
use stack::{Part, Signal};

use crate::exposition::promtool;

#[tokio::test]
async fn promtool_accepts_what_the_scorer_says_before_and_after_traffic() -> anyhow::Result<()> {
    let real = RealStack::start(|builder| builder.share(Share::percent(50))).await?;
    for round in 0..2 {
        let page = real.send_to(Part::Scorer, get("/metrics")?).await?;
        assert_eq!(page.status, 200);
        assert_eq!(promtool(&String::from_utf8(page.body.to_vec())?)?, Vec::<String>::new());
        for user in 0..20 {
            real.send(suggest(&format!("user-{round}-{user}"), request_body([1, 2, 3]))?).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_series_comes_from_both_the_gateway_and_the_scorer() -> anyhow::Result<()> {
    let real = RealStack::start(|builder| builder).await?;
    let scorer = real.send_to(Part::Scorer, get("/metrics")?).await?;
    let scorer = stack::Scrape::parse(&String::from_utf8(scorer.body.to_vec())?);
    let gateway = real.scrape().await?;
    for sample in scorer.samples() {
        ensure!(!gateway.samples().iter().any(|other| other.name == sample.name), "{} comes from both", sample.name);
    }
    Ok(())
}

#[tokio::test]
async fn both_arms_are_compared_item_by_item_and_the_canary_gets_the_candidate() -> anyhow::Result<()> {
    for (share, arm, source) in [(Share::OFF, "baseline", "rule"), (Share::ALL, "candidate", "model")] {
        let real = RealStack::start(|builder| builder.share(share)).await?;
        let before = real.scrape().await?;
        for user in 0..10 {
            let response =
                real.send(suggest(&format!("user-{user}"), request_body(user * 20 + 1..user * 20 + 21))?).await?;
            assert_eq!((response.status.as_u16(), response.arm(), response.fallback()), (200, arm, ""));
            assert_eq!(e2e::scripted_stack::item_count(&response)?, 20);
        }
        eventually("the comparison", || async {
            let after = real.scrape().await?;
            let moved = |name, labels: &[_]| after.sum(name, labels) - before.sum(name, labels);
            let items = moved(COMPARE, &[]) + moved(ABSTAINED, &[]);
            ensure!(items == 200.0, "{items} items");
            ensure!(moved(PREDICT_REQUESTS, &[("available", "True")]) == 10.0);
            ensure!(moved(SOURCE, &[("source", source)]) == 10.0);
            // The rules have an opinion on about half of the items; the other half are abstentions, not disagreements.
            let [agreed, differed] = ["True", "False"].map(|agree| moved(COMPARE, &[("agree", agree)]));
            ensure!(agreed > 0.0 && agreed + differed > 20.0, "{agreed} agreed, {differed} differed");
            ensure!(moved(ABSTAINED, &[("arm", arm)]) > 20.0);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_baseline_in_any_encoding_is_compared() -> anyhow::Result<()> {
    let rules = Upstream::start(|_| Script::new(500, "")).await?;
    let real = RealStack::start(|builder| builder.rules_at(rules.address())).await?;
    let response = json!({"items": [
        {"txn_id": "1", "candidates": [{"label": "groceries"}]},
        {"txn_id": "2", "candidates": [{"label": "unknown"}]},
        {"txn_id": "3", "candidates": []},
    ]});
    for encoding in ["gzip", "br", "zstd", "deflate"] {
        rules.respond(Script::json(200, response.to_string()).compressed(encoding).await?);
        let before = real.scrape().await?;
        let response = real.send(suggest("ann", request_body([1, 2, 3]))?).await?;
        assert_eq!((response.status.as_u16(), response.header("content-encoding")), (200, encoding));
        eventually("the comparison", || async {
            let after = real.scrape().await?;
            let moved = |name, labels: &[_]| after.sum(name, labels) - before.sum(name, labels);
            let [agreed, differed] = ["True", "False"].map(|agree| moved(COMPARE, &[("agree", agree)]));
            ensure!(agreed + differed == 1.0, "{encoding}: {agreed} agreed, {differed} differed");
            ensure!(moved(NOT_COMPARED, &[("reason", "no_label")]) == 1.0, "{encoding}");
            ensure!(moved(ABSTAINED, &[("arm", "baseline")]) == 1.0, "{encoding}");
            ensure!(moved(COMPARE, &[]) == 2.0);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_frozen_scorer_costs_a_canary_user_the_candidate_and_nothing_else() -> anyhow::Result<()> {
    let mut real = RealStack::start(|builder| builder.share(Share::ALL)).await?;
    let body = request_body([1, 2]);
    assert_eq!(real.send(suggest("ann", body.clone())?).await?.arm(), "candidate");
    real.suspend(Part::Scorer).await?;
    let through = real.send(suggest("ann", body.clone())?).await?;
    assert_eq!((through.status.as_u16(), through.fallback()), (200, "deadline"));
    let direct = real.send_to(Part::Rules, suggest("ann", body.clone())?).await?;
    assert_eq!(without_event_ids(&through)?, without_event_ids(&direct)?);
    real.stack.signal(Part::Scorer, Signal::CONT);
    eventually("the candidate serves again", || async {
        let response = real.send(suggest("ann", body.clone())?).await?;
        ensure!(response.arm() == "candidate", "{}", response.fallback());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_killed_scorer_costs_a_canary_user_the_candidate_and_nothing_else() -> anyhow::Result<()> {
    let mut real = RealStack::start(|builder| builder.share(Share::ALL)).await?;
    let body = request_body([1, 2]);
    real.stack.kill(Part::Scorer);
    let through = real.send(suggest("ann", body.clone())?).await?;
    assert_eq!((through.status.as_u16(), through.fallback()), (200, "refused"));
    let direct = real.send_to(Part::Rules, suggest("ann", body.clone())?).await?;
    assert_eq!(without_event_ids(&through)?, without_event_ids(&direct)?);
    real.stack.start_part(Part::Scorer).await?;
    eventually("the candidate serves again", || async {
        let response = real.send(suggest("ann", body.clone())?).await?;
        ensure!(response.arm() == "candidate", "{}", response.fallback());
        Ok(())
    })
    .await
}

/// The baseline without the ids of its events, which are new in each response.
fn without_event_ids(response: &e2e::client::ClientResponse) -> anyhow::Result<serde_json::Value> {
    let mut json = response.json()?;
    for item in json.pointer_mut("/items").and_then(serde_json::Value::as_array_mut).into_iter().flatten() {
        if let Some(item) = item.as_object_mut() {
            ensure!(item.remove("event_id").is_some(), "an item without an event");
        }
    }
    Ok(json)
}
