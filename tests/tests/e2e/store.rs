//! The scorer's store is not on the way of a request: with it gone a client gets the baseline, and nothing worse.

use anyhow::{Context as _, ensure};
use contract::names::FallbackReason;
use contract::series::FALLBACK;
use contract::share::Share;
use e2e::client::{request_body, suggest};
use e2e::eventually::eventually;
use e2e::load::Load;
use e2e::postgres::Postgres;
use e2e::real_stack::{RealStack, TRANSACTIONS, seed};
use e2e::scripted_stack::items;
use e2e::upstream::{Script, Upstream};

const REQUESTS: u64 = 1_200;
const CONNECTIONS: u64 = 16;

/// The whole deployment, with the scorer's store on `postgres` and an application that has a store of its own.
async fn with_store_on(postgres: &Postgres) -> anyhow::Result<(RealStack, Upstream)> {
    seed(postgres.url())?;
    let rules = Upstream::start(|request| Script::json(200, items(request, "groceries"))).await?;
    let real = RealStack::start(|builder| {
        builder.share(Share::ALL).store(postgres.url()).rules_at(rules.address()).concurrency(2).access_log(false)
    })
    .await?;
    Ok((real, rules))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_postgresql_under_load_costs_clients_the_candidate_and_nothing_else() -> anyhow::Result<()> {
    let postgres = Postgres::start()?;
    let (real, _rules) = with_store_on(&postgres).await?;
    let before = real.scrape().await?;
    // Each requests transactions that were not requested before. All of a user's are read together: early in the load
    // most of the users are still to be read, and most of the requests meet no store.
    let mut load = Load::start(real.address(), REQUESTS, CONNECTIONS, TRANSACTIONS);
    load.reaches(1, 8).await?;
    postgres.kill()?;
    let tally = load.finish().await.context("a client saw something else than a whole answer")?;
    assert_eq!(tally.responses, REQUESTS);
    ensure!(tally.model > 0 && tally.fallbacks > 0, "the load met no fault, or nothing but faults: {tally:?}");
    assert_eq!(
        tally.model + tally.fallbacks,
        REQUESTS,
        "a user in the canary gets the candidate or, with a reason, the baseline"
    );

    // The reason is known within the scorer's own deadline, before the gateway's: no client waits for a store that is
    // gone.
    let after = eventually("every fallback is counted", || async {
        let after = real.scrape().await?;
        let counted = after.sum(FALLBACK, &[]) - before.sum(FALLBACK, &[]);
        ensure!(counted as u64 == tally.fallbacks, "{counted} of {}", tally.fallbacks);
        Ok(after)
    })
    .await?;
    let because = |reason: &FallbackReason| {
        let labels = [("reason", reason.as_str())];
        after.sum(FALLBACK, &labels) - before.sum(FALLBACK, &labels)
    };
    let reasons: Vec<_> = FallbackReason::ALL.iter().map(|reason| (reason.as_str(), because(reason))).collect();
    let unavailable = because(&FallbackReason::Unavailable);
    ensure!(
        unavailable > 0.9 * tally.fallbacks as f64,
        "of {} fallbacks not nine tenths say why: {reasons:?}",
        tally.fallbacks
    );

    // What was read before is still served, from the cache.
    let response = real.send(suggest("ann", request_body([1, 2]))?).await?;
    assert_eq!((response.status.as_u16(), response.arm()), (200, "candidate"));
    Ok(())
}

#[tokio::test]
async fn a_postgresql_that_hangs_costs_no_more_until_it_goes_on() -> anyhow::Result<()> {
    let postgres = Postgres::start()?;
    let (real, _rules) = with_store_on(&postgres).await?;
    let response = real.send(suggest("ann", request_body([1, 2]))?).await?;
    assert_eq!((response.status.as_u16(), response.arm()), (200, "candidate"));
    postgres.suspend()?;
    for (first, arm) in [(1, "candidate"), (3, "baseline"), (1, "candidate"), (5, "baseline")] {
        let response = real.send(suggest("ann", request_body([first, first + 1]))?).await?;
        assert_eq!((response.status.as_u16(), response.arm()), (200, arm), "transactions {first} and the next");
    }
    postgres.resume()?;
    eventually("the candidate serves what it could not", || async {
        let response = real.send(suggest("ann", request_body([3, 4]))?).await?;
        ensure!(response.status == 200 && response.arm() == "candidate", "{}", response.fallback());
        Ok(())
    })
    .await
}
