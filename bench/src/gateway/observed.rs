//! What became of the requests that a Perch gateway was sent: a figure for cost means little beside lost observations.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use contract::names::{COMPARE, INTERCEPTED, OBSERVATION, Outcome};
use serde_json::{Value, json};

use super::variants::Variant;

/// How long the last batches may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until nothing is under way, and reads the counts of every Perch gateway.
///
/// # Errors
/// When observations are still missing in the end.
pub(crate) async fn all(variants: &[Variant]) -> Result<Vec<(&'static str, Value)>> {
    let mut found = Vec::new();
    for variant in variants.iter().filter(|variant| variant.key.starts_with("perch")) {
        let begin = Instant::now();
        let scrape = loop {
            let scrape = variant.stack.scrape().await?;
            if scrape.sum(INTERCEPTED, &[]) > 0.0 && scrape.sum(INTERCEPTED, &[]) == scrape.sum(OBSERVATION, &[]) {
                break scrape;
            }
            if begin.elapsed() > PATIENCE {
                bail!("{}: intercepted and observed do not add up", variant.key);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let outcomes = Outcome::ALL.iter().filter_map(|outcome| {
            let count = scrape.sum(OBSERVATION, &[("outcome", outcome.as_str())]);
            (count > 0.0).then(|| (outcome.as_str().to_owned(), json!(count)))
        });
        let none = contract::names::NoneReason::ALL.iter().filter_map(|reason| {
            let count = scrape.sum(contract::names::NONE, &[("reason", reason.as_str())]);
            (count > 0.0).then(|| (reason.as_str().to_owned(), json!(count)))
        });
        let counts = json!({
            "intercepted": scrape.sum(INTERCEPTED, &[]),
            "outcomes": outcomes.collect::<serde_json::Map<_, _>>(),
            "compared": scrape.sum(COMPARE, &[]),
            "none": none.collect::<serde_json::Map<_, _>>(),
        });
        found.push((variant.key, counts));
    }
    Ok(found)
}
