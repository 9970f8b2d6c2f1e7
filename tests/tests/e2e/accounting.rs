//! Every request and every item is accounted for, to the last one, while the scorer is killed under load.

use anyhow::ensure;
use contract::series::{
    ABSTAINED, COMPARE, FALLBACK, INTERCEPTED, NOT_COMPARED, OBSERVATION, PASSED_THROUGH, PREDICT_REQUESTS, SOURCE,
};
use contract::share::Share;
use e2e::eventually::eventually;
use e2e::load::{ITEMS, Load, Tally};
use e2e::real_stack::{RealStack, TRANSACTIONS};
use stack::{Part, Scrape};

const CONNECTIONS: u64 = 16;

/// Half of the users in the canary; the scorer dies by SIGKILL at a fifth and at three fifths of the load, and is back
/// a fifth later.
async fn load_with_a_dying_scorer(requests: u64) -> anyhow::Result<()> {
    let mut real = RealStack::start(|builder| {
        builder.share(Share::percent(50)).concurrency(2).scorer_checks(true).access_log(false)
    })
    .await?;
    let before = real.scrape().await?;
    let mut load = Load::start(real.address(), requests, CONNECTIONS, TRANSACTIONS);
    for death in [1, 3] {
        load.reaches(death, 5).await?;
        real.stack.kill(Part::Scorer);
        load.reaches(death + 1, 5).await?;
        real.stack.launch(Part::Scorer)?;
    }
    let tally = load.finish().await?;
    assert_eq!(tally.responses, requests, "a client saw no answer");
    ensure!(tally.model > 0 && tally.fallbacks > 0, "the load met no fault, or nothing but faults: {tally:?}");
    eventually("the sums", || async { adds_up(&before, &real.scrape().await?, &tally) }).await
}

fn adds_up(before: &Scrape, after: &Scrape, tally: &Tally) -> anyhow::Result<()> {
    let moved = |name: &str, labels: &[(&str, &str)]| after.sum(name, labels) - before.sum(name, labels);
    #[allow(clippy::cast_precision_loss)]
    let number = |count: u64| count as f64;
    let outcome = |outcome: &str| moved(OBSERVATION, &[("outcome", outcome)]);
    let requests = number(tally.responses);
    let same = |what: &str, expected: f64, seen: f64| {
        ensure!(expected == seen, "{what}: expected {expected}, seen {seen}");
        Ok(())
    };
    same("intercepted", requests, moved(INTERCEPTED, &[]))?;
    same("observed + dropped + skipped", requests, moved(OBSERVATION, &[]))?;
    same("skipped or incomplete", 0.0, requests - outcome("observed") - outcome("dropped_buffer_full"))?;
    same(
        "agree + disagree + not compared + abstained",
        number(ITEMS) * outcome("observed"),
        moved(COMPARE, &[]) + moved(ABSTAINED, &[]),
    )?;
    same("None by reason", moved(COMPARE, &[("agree", "None")]), moved(NOT_COMPARED, &[]))?;
    same("source model", number(tally.model), moved(SOURCE, &[("source", "model")]))?;
    same("source rule", number(tally.responses - tally.model), moved(SOURCE, &[("source", "rule")]))?;
    same("fallbacks", number(tally.fallbacks), moved(FALLBACK, &[]))?;
    same("passed through", 0.0, moved(PASSED_THROUGH, &[]))?;
    let asked = moved(PREDICT_REQUESTS, &[]);
    let unseen = outcome("dropped_buffer_full");
    ensure!(
        (requests - unseen..=requests).contains(&asked),
        "the candidate was called on {asked} of {requests} requests, of which {unseen} were not observed"
    );
    ensure!(moved(COMPARE, &[("agree", "True")]) > 0.0, "nothing was compared");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_and_item_is_counted_once_while_the_scorer_dies_twice() -> anyhow::Result<()> {
    let full = std::env::var_os("PERCH_E2E_FULL").is_some_and(|value| value == "1");
    load_with_a_dying_scorer(if full { 200_000 } else { 20_000 }).await
}
