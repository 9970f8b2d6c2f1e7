//! The gateway's counters, and what the `lm_*` dashboard queries show.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use contract::names::{Agree, FallbackReason, NotCompared, Outcome};
use contract::ports::Part;
use contract::series;
use serde_json::Value;
use stack::{Scrape, Stack};

const SETTLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Above the filter's `scorer.observe_timeout_ms`.
const LONGEST_BATCH: Duration = Duration::from_millis(2_500);

/// The counters that each step is checked by.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Counts {
    /// Intercepted requests.
    pub(crate) intercepted: f64,
    /// By outcome.
    pub(crate) outcomes: BTreeMap<&'static str, f64>,
    /// Items by agreement.
    pub(crate) agree: BTreeMap<&'static str, f64>,
    /// Items that were not compared, by reason.
    pub(crate) not_compared: BTreeMap<&'static str, f64>,
    /// Fallbacks by reason.
    pub(crate) fallbacks: BTreeMap<&'static str, f64>,
    batches_open: f64,
}

impl Counts {
    fn read(scrape: &Scrape) -> Self {
        let by = |name: &str, label: &str, value: &'static str| (value, scrape.sum(name, &[(label, value)]));
        let batches = |result: &str| scrape.sum(series::BATCH, &[("result", result)]);
        Self {
            intercepted: scrape.sum(series::INTERCEPTED, &[]),
            outcomes: Outcome::ALL.iter().map(|o| by(series::OBSERVATION, "outcome", o.as_str())).collect(),
            agree: Agree::ALL.iter().map(|a| by(series::COMPARE, "agree", a.as_str())).collect(),
            not_compared: NotCompared::ALL.iter().map(|r| by(series::NOT_COMPARED, "reason", r.as_str())).collect(),
            fallbacks: FallbackReason::ALL.iter().map(|r| by(series::FALLBACK, "reason", r.as_str())).collect(),
            batches_open: batches("sent") - batches("answered") - batches("failed"),
        }
    }

    /// What was counted since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let less = |now: &BTreeMap<&'static str, f64>, then: &BTreeMap<&'static str, f64>| {
            now.iter().map(|(key, value)| (*key, value - then.get(key).copied().unwrap_or(0.0))).collect()
        };
        Self {
            intercepted: self.intercepted - earlier.intercepted,
            outcomes: less(&self.outcomes, &earlier.outcomes),
            agree: less(&self.agree, &earlier.agree),
            not_compared: less(&self.not_compared, &earlier.not_compared),
            fallbacks: less(&self.fallbacks, &earlier.fallbacks),
            batches_open: self.batches_open,
        }
    }

    /// All items, compared or not.
    pub(crate) fn items(&self) -> f64 {
        self.agree.values().sum()
    }

    /// Agreement among the compared items, in words; "no data" where nothing was compared.
    pub(crate) fn agreement(&self) -> String {
        let of = |key| self.agree.get(key).copied().unwrap_or(0.0);
        let (same, other, none) = (of("True"), of("False"), of("None"));
        if same + other == 0.0 {
            return format!("no data ({none:.0} items not compared)");
        }
        let percent = 100.0 * same / (same + other);
        let why = nonzero(&self.not_compared);
        format!("{percent:.1}% of {:.0} compared items; not compared {none:.0}{why}", same + other)
    }

    /// What does not add up; `None` where every request has one outcome and every item that was not compared a reason.
    pub(crate) fn imbalance(&self) -> Option<String> {
        let outcomes: f64 = self.outcomes.values().sum();
        let reasons: f64 = self.not_compared.values().sum();
        let none = self.agree.get("None").copied().unwrap_or(0.0);
        if self.intercepted != outcomes {
            Some(format!("{} requests, {outcomes} outcomes{}", self.intercepted, nonzero(&self.outcomes)))
        } else if none != reasons {
            Some(format!("{none} items not compared, {reasons} reasons"))
        } else {
            None
        }
    }
}

/// ` (a 1, b 2)`, leaving out zeros; empty when all are zero.
pub(crate) fn nonzero(counts: &BTreeMap<&'static str, f64>) -> String {
    let some: Vec<String> =
        counts.iter().filter(|(_, count)| **count > 0.0).map(|(what, count)| format!("{what} {count:.0}")).collect();
    if some.is_empty() { String::new() } else { format!(" ({})", some.join(", ")) }
}

/// The counters once no observation is in flight: every batch has its result and nothing changes. A batch that could
/// not be sent counts as failed only, so after a dead scorer the difference never returns to zero, and a longer wait
/// decides.
pub(crate) async fn settled(stack: &Stack) -> anyhow::Result<Counts> {
    let end = Instant::now() + SETTLE_TIMEOUT;
    let mut before = Counts::read(&stack.scrape().await?);
    let mut since = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let now = Counts::read(&stack.scrape().await?);
        if now != before {
            since = Instant::now();
        }
        let rest = if now.batches_open == 0.0 { Duration::from_millis(300) } else { LONGEST_BATCH };
        let at_rest = since.elapsed() >= rest && now.imbalance().is_none();
        if at_rest || Instant::now() > end {
            return Ok(now);
        }
        before = now;
    }
}

/// The results of three `lm_*` dashboard queries in the running Prometheus.
pub(crate) async fn dashboards(stack: &Stack) -> anyhow::Result<()> {
    const QUERIES: [(&str, &str); 3] = [
        (
            "agreement, 30 m",
            "sum(rate(lm_suggest_compare_total{agree=\"True\"}[30m])) / \
             clamp_min(sum(rate(lm_suggest_compare_total[30m])), 1e-9)",
        ),
        ("responses a second by source, 5 m", "sum by (source) (rate(lm_suggest_source_total[5m]))"),
        (
            "model availability, 5 m",
            "sum(rate(lm_ml_predict_requests_total{available=\"True\"}[5m])) / \
             clamp_min(sum(rate(lm_ml_predict_requests_total[5m])), 1e-9)",
        ),
    ];
    say!("\nThe `lm_*` dashboard queries now ({})", stack.url(Part::Prometheus));
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    for (title, query) in QUERIES {
        let url = format!("{}/api/v1/query", stack.url(Part::Prometheus));
        let body: Value = http.get(url).query(&[("query", query)]).send().await?.json().await.context(title)?;
        let empty = Vec::new();
        let results = body.pointer("/data/result").and_then(Value::as_array).unwrap_or(&empty);
        let values: Vec<String> = results.iter().filter_map(shown).collect();
        say!("  {title:<32} {}", if values.is_empty() { "no data".into() } else { values.join(", ") });
    }
    Ok(())
}

fn shown(result: &Value) -> Option<String> {
    let value: f64 = result.pointer("/value/1")?.as_str()?.parse().ok()?;
    let source = result.pointer("/metric/source").and_then(Value::as_str);
    Some(source.map_or_else(|| format!("{value:.3}"), |source| format!("{source} {value:.1}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_add_up_is_named() {
        let scrape = Scrape::parse(
            "perch_intercepted_total 3\nperch_observation_total{outcome=\"observed\"} 2\n\
             lm_suggest_compare_total{agree=\"None\"} 1\nperch_not_compared_total{reason=\"abstained\"} 1\n",
        );
        let counts = Counts::read(&scrape);
        assert!(counts.imbalance().unwrap().contains("3 requests, 2 outcomes"));
        assert!(counts.agreement().starts_with("no data"));
    }
}
