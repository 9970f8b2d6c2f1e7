//! How many of a Perch gateway's requests were observed: a cost means little if observations were lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use contract::names::{BatchOutcome, NotCompared, Outcome};
use contract::series::{BATCH, COMPARE, INTERCEPTED, NOT_COMPARED, OBSERVATION};
use serde_json::{Value, json};

use super::variants::Variant;

/// How long the last batches may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// By key, the sums over all rounds.
#[derive(Debug, Default)]
pub(crate) struct ObservationCounts(BTreeMap<&'static str, Counts>);

#[derive(Debug, Default)]
struct Counts {
    intercepted: f64,
    compared: f64,
    outcomes: BTreeMap<&'static str, f64>,
    not_compared: BTreeMap<&'static str, f64>,
}

impl ObservationCounts {
    /// Waits until no batch is in flight, and adds the counts of every Perch gateway of a round.
    ///
    /// # Errors
    /// When observations are still missing in the end.
    pub(crate) async fn add(&mut self, variants: &[Variant]) -> Result<()> {
        for variant in variants.iter().filter(|variant| variant.key.starts_with("perch")) {
            let begin = Instant::now();
            let scrape = loop {
                let scrape = variant.stack.scrape().await?;
                let batches = |result: BatchOutcome| scrape.sum(BATCH, &[("result", result.as_str())]);
                let over = [BatchOutcome::Answered, BatchOutcome::Failed, BatchOutcome::Mismatched];
                let answered: f64 = over.into_iter().map(batches).sum();
                if scrape.sum(INTERCEPTED, &[]) > 0.0
                    && scrape.sum(INTERCEPTED, &[]) == scrape.sum(OBSERVATION, &[])
                    && batches(BatchOutcome::Sent) <= answered
                {
                    break scrape;
                }
                if begin.elapsed() > TIMEOUT {
                    bail!("{}: intercepted and observed do not add up", variant.key);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            let counts = self.0.entry(variant.key).or_default();
            counts.intercepted += scrape.sum(INTERCEPTED, &[]);
            counts.compared += scrape.sum(COMPARE, &[]);
            for outcome in Outcome::ALL.iter().map(|outcome| outcome.as_str()) {
                *counts.outcomes.entry(outcome).or_default() += scrape.sum(OBSERVATION, &[("outcome", outcome)]);
            }
            for reason in NotCompared::ALL.iter().map(|reason| reason.as_str()) {
                *counts.not_compared.entry(reason).or_default() += scrape.sum(NOT_COMPARED, &[("reason", reason)]);
            }
        }
        Ok(())
    }

    /// Key and counts.
    pub(crate) fn json(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let some = |counts: &BTreeMap<&'static str, f64>| {
            let some = counts.iter().filter(|(_, count)| **count > 0.0);
            Value::Object(some.map(|(name, count)| ((*name).to_owned(), json!(count))).collect())
        };
        self.0.iter().map(move |(key, counts)| {
            let Counts { intercepted, compared, outcomes, not_compared } = counts;
            let (outcomes, not_compared) = (some(outcomes), some(not_compared));
            let counts = json!({
                "intercepted": intercepted,
                "outcomes": outcomes,
                "compared": compared,
                "not_compared": not_compared,
            });
            (*key, counts)
        })
    }
}
