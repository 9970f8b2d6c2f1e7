//! What of the scorer's API clients reach through the gateway, and what they do not.

use anyhow::{Context as _, ensure};
use contract::headers;
use contract::series::{ABSTAINED, COMPARE};
use contract::share::Share;
use e2e::client::{get, post, request_body, suggest};
use e2e::eventually::eventually;
use e2e::real_stack::RealStack;
use serde_json::json;
use stack::Part;

#[tokio::test]
async fn feedback_goes_to_the_arm_that_served_and_counts_once() -> anyhow::Result<()> {
    for (share, arm) in [(Share::OFF, "baseline"), (Share::ALL, "candidate")] {
        let real = RealStack::start(|builder| builder.share(share)).await?;
        let before = real.scrape().await?;
        let response = real.send(suggest("ann", request_body([1]))?).await?.json()?;
        eventually("the observation", || async {
            let after = real.scrape().await?;
            let items = |scrape: &stack::Scrape| scrape.sum(COMPARE, &[]) + scrape.sum(ABSTAINED, &[]);
            ensure!(items(&after) - items(&before) == 1.0);
            Ok(())
        })
        .await?;
        let event = response.pointer("/items/0/event_id").context("an event")?;
        let body = json!({"txn_id": 1, "action": "accept", "label": "groceries", "event_id": event}).to_string();
        for new in [true, false] {
            let said = real.send(post("/ml/suggestions/feedback", body.clone())?).await?;
            assert_eq!((said.status.as_u16(), said.header(headers::SCORER)), (200, "1"), "{}", said.json()?);
            assert_eq!((&said.json()?["arm"], &said.json()?["new"]), (&json!(arm), &json!(new)));
        }
        let page = real.send_to(Part::Scorer, get("/metrics")?).await?;
        let page = stack::Scrape::parse(&String::from_utf8(page.body.to_vec())?);
        assert_eq!(page.sum("lm_ml_predictions_total", &[]), f64::from(u8::from(arm == "candidate")));
    }
    Ok(())
}

#[tokio::test]
async fn nothing_that_moves_models_or_is_for_operators_is_reached_through_the_gateway() -> anyhow::Result<()> {
    let real = RealStack::start(|builder| builder).await?;
    let named = json!({"version": "v1", "force": true}).to_string();
    for request in [
        post("/ml/v2/model/deploy", named.clone())?,
        post("/ml/v2/model/rollback", "")?,
        post("/ml/v2/model/challenge", named)?,
        post("/ml/v2/model/status/../rollback", "")?,
        get("/perch/v1/evidence")?,
        get("/perch/v1/disagreements")?,
    ] {
        let path = request.uri().path().to_owned();
        let response = real.send(request).await?;
        // The application is called, as for any path that is not ours, and knows no such thing.
        ensure!(response.status == 404, "{path}: {}", response.status);
        ensure!(response.header(headers::SCORER).is_empty(), "{path} was answered by the scorer");
    }
    let status = real.send(get("/ml/v2/model/status")?).await?;
    assert_eq!((status.status.as_u16(), &status.json()?["available"]), (200, &json!(true)));
    Ok(())
}
