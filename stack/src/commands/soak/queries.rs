//! Queries to Prometheus, and the figures of `perch status` for the same time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use contract::ports::Part;
use serde_json::Value;
use stack::Stack;

use crate::commands::demo::guarded_rollout::Guard;
use crate::commands::demo::promises::Promises;

const SAME: &str = "the `lm_*` dashboard queries and `perch status` show the same";
/// Prometheus extrapolates to the edges of a window, and its window and that of two statuses differ by a scrape.
const TOLERATED: f64 = 0.02;

/// Every alert that has fired since the start, inhibited ones too.
pub(crate) async fn fired(stack: &Stack) -> anyhow::Result<Vec<String>> {
    names(&run_query(stack, "count by (alertname) (count_over_time(ALERTS{alertstate=\"firing\"}[1d]))").await?)
}

/// The alerts that are pending now, in words.
pub(crate) async fn pending(stack: &Stack) -> anyhow::Result<String> {
    let names = names(&run_query(stack, "ALERTS{alertstate=\"pending\"}").await?)?;
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}

fn names(results: &[Value]) -> anyhow::Result<Vec<String>> {
    let name = |result: &Value| result.pointer("/metric/alertname").and_then(Value::as_str).map(str::to_owned);
    results.iter().map(|result| name(result).context("an alert without a name")).collect()
}

async fn run_query(stack: &Stack, query: &str) -> anyhow::Result<Vec<Value>> {
    let url = format!("{}/api/v1/query", stack.url(Part::Prometheus));
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let body: Value = http.get(&url).query(&[("query", query)]).send().await?.json().await?;
    let results = body.pointer("/data/result").and_then(Value::as_array).cloned();
    results.with_context(|| format!("querying {url} for {query}: {body}"))
}

/// `perch status` as it was at a time.
struct Status {
    at: Instant,
    report: Value,
}

/// Statuses of the last half hour, so that counts can be taken over a query's own window.
#[derive(Default)]
pub(crate) struct Windows {
    statuses: VecDeque<Status>,
}

impl Windows {
    pub(crate) async fn add(&mut self, stack: &Stack, guard: &Guard) -> anyhow::Result<()> {
        let prometheus = stack.url(Part::Prometheus);
        let scorer = stack.url(Part::Scorer);
        let text = guard.perch(&["status", "--json", "--prometheus", &prometheus, "--scorer", &scorer]).await?;
        let report = serde_json::from_str(&text).context("what `perch status --json` prints")?;
        self.statuses.push_back(Status { at: Instant::now(), report });
        while self.statuses.len() > 2 && self.statuses.get(1).is_some_and(|next| next.at.elapsed() > 1_800 * SECOND) {
            self.statuses.pop_front();
        }
        Ok(())
    }

    /// Prints each query beside the same figure from the counts of `perch status`, and checks that they are equal.
    pub(crate) async fn compare(&self, stack: &Stack, promises: &mut Promises) -> anyhow::Result<()> {
        const AGREEMENT: &str = "sum(rate(lm_suggest_compare_total{agree=\"True\"}[30m])) / \
             clamp_min(sum(rate(lm_suggest_compare_total[30m])), 1e-9)";
        const SOURCE: &str = "sum by (source) (rate(lm_suggest_source_total[5m]))";
        const AVAILABILITY: &str = "sum(rate(lm_ml_predict_requests_total{available=\"True\"}[5m])) / \
             clamp_min(sum(rate(lm_ml_predict_requests_total[5m])), 1e-9)";
        let ratio = |window, counts: &str, part: &str| self.ratio(window, counts, part);
        let number = |result: &Value| result.pointer("/value/1").and_then(Value::as_str)?.parse::<f64>().ok();
        let first = |results: &[Value]| results.first().and_then(number);
        let source = run_query(stack, SOURCE).await?;
        let all: f64 = source.iter().filter_map(number).sum();
        let model = source.iter().find(|result| result.pointer("/metric/source") == Some(&Value::from("model")));
        let model = model.and_then(number).map(|rate| rate / all);
        for (what, query, status) in [
            ("agreement, 30 min", first(&run_query(stack, AGREEMENT).await?), ratio(1_800, "compare", "True")),
            ("candidate responses, 5 min", model, ratio(300, "source", "model")),
            ("availability, 5 min", first(&run_query(stack, AVAILABILITY).await?), self.now("availability")),
        ] {
            let describe =
                |value: Option<f64>| value.map_or("no data".to_owned(), |value| format!("{:.2}%", 100.0 * value));
            say!("  {what:<28} {:>8}  status {:>8}", describe(query), describe(status));
            let same = query.zip(status).is_some_and(|(query, status)| (query - status).abs() <= TOLERATED);
            promises.check(SAME, same, format!("{what}: {} and {}", describe(query), describe(status)));
        }
        Ok(())
    }

    /// `part` of the status's `counts`, over the last so many seconds.
    fn ratio(&self, seconds: u32, counts: &str, part: &str) -> Option<f64> {
        let last = self.statuses.back()?;
        let first = self.statuses.iter().rev().find(|status| status.at.elapsed() >= seconds * SECOND);
        let first = first.or_else(|| self.statuses.front())?;
        let of = |status: &Status, name: &str| status.report.pointer(&format!("/{counts}/{name}"))?.as_f64();
        let names = last.report.get(counts)?.as_object()?.keys();
        let moved = |name: &str| Some(of(last, name)? - of(first, name)?);
        let all: f64 = names.filter_map(|name| moved(name)).sum();
        (all > 0.0).then(|| Some(moved(part)? / all))?
    }

    fn now(&self, field: &str) -> Option<f64> {
        self.statuses.back()?.report.get(field)?.as_f64()
    }
}

const SECOND: Duration = Duration::from_secs(1);
