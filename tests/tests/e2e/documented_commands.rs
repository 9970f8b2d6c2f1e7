//! Commands and queries that are older than Perch (docs/names.md), against the running stack.

use std::process::Command;

use anyhow::{Context as _, ensure};
use contract::share::Share;
use e2e::client::{request_body, suggest};
use e2e::eventually::eventually;
use e2e::monitoring::server::{Prometheus, run_query};
use e2e::real_stack::RealStack;
use serde_json::Value;
use stack::Part;
use stack::ports::Ports;

/// A command of the document, run by a shell as it stands but for the address, which is `localhost:8000` there.
fn shell(real: &RealStack, command: &str) -> anyhow::Result<String> {
    let command = command.replace("http://localhost:8000", &real.stack.gateway_url());
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &command]).output().context("bash is missing")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command}: {said}{}", String::from_utf8_lossy(&output.stdout));
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quick_verification_works_word_for_word() -> anyhow::Result<()> {
    let real = RealStack::start(|builder| builder.share(Share::percent(10))).await?;
    let status: Value = serde_json::from_str(&shell(&real, "curl -s http://localhost:8000/ml/v2/model/status")?)?;
    assert_eq!(status.get("available"), Some(&Value::Bool(true)), "{status}");
    ensure!(status.pointer("/meta/run_id").is_some_and(Value::is_string), "{status}");
    let suggestions = shell(
        &real,
        "curl -s -X POST http://localhost:8000/ml/suggestions \
           -H 'Content-Type: application/json' \
           -d '{\"txn_ids\": [88], \"mode\": \"auto\"}'",
    )?;
    let suggestions: Value = serde_json::from_str(&suggestions)?;
    assert_eq!(suggestions.pointer("/items/0/txn_id"), Some(&Value::String("88".into())), "{suggestions}");
    eventually("the metric moves", || async {
        let metrics = shell(&real, r#"curl -s http://localhost:8000/metrics | grep -E "lm_ml_|lm_suggest_""#)?;
        for name in ["lm_suggest_compare_total", "lm_suggest_source_total", "lm_ml_predict_requests_total"] {
            ensure!(metrics.contains(name), "{name} is missing:\n{metrics}");
        }
        ensure!(metrics.contains(r#"lm_suggest_source_total{source="rule"} 1"#), "{metrics}");
        ensure!(stack::Scrape::parse(&metrics).sum("lm_suggest_compare_total", &[]) == 1.0, "{metrics}");
        Ok(())
    })
    .await?;
    let sources =
        shell(&real, "curl -s http://localhost:8000/metrics | grep 'lm_suggest_source_total' | awk '{print $1, $2}'")?;
    ensure!(sources.contains("lm_suggest_source_total{source=\"rule\"} 1"), "{sources}");
    Ok(())
}

const AGREEMENT: &str = r#"sum(rate(lm_suggest_compare_total{agree="True"}[30m])) /
clamp_min(sum(rate(lm_suggest_compare_total[30m])), 1e-9)"#;
const SOURCES: &str = "sum by (source) (rate(lm_suggest_source_total[5m]))";
const AVAILABILITY: &str = r#"sum(rate(lm_ml_predict_requests_total{available="True"}[5m])) /
clamp_min(sum(rate(lm_ml_predict_requests_total[5m])), 1e-9)"#;

fn value(series: &Value) -> Option<f64> {
    series.pointer("/value/1")?.as_str()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_three_grafana_queries_give_sensible_results() -> anyhow::Result<()> {
    let ports = Ports::free()?;
    let listen = ports.clone();
    let real = RealStack::start(|builder| builder.share(Share::percent(50)).ports(listen)).await?;
    let prometheus =
        Prometheus::start(real.stack.checkout().root(), ports.address(Part::Prometheus), |part| ports.address(part))
            .await?;
    // A rate needs two scrapes with traffic between them: it goes on until the queries see it.
    eventually("the queries have values", || async {
        for user in 0..20 {
            real.send(suggest(&format!("user-{user}"), request_body([1, 2, 3, 4, 5]))?).await?;
        }
        let only = |series: Vec<Value>| series.first().and_then(value).context("no value yet");
        let agreement = only(run_query(prometheus.address(), AGREEMENT).await?)?;
        ensure!(agreement > 0.0 && agreement <= 1.0, "agreement {agreement}");
        let availability = only(run_query(prometheus.address(), AVAILABILITY).await?)?;
        ensure!((availability - 1.0).abs() < 1e-9, "availability {availability}");
        let sources = run_query(prometheus.address(), SOURCES).await?;
        let rates: Vec<f64> = sources.iter().filter_map(value).collect();
        ensure!(rates.len() == 2 && rates.iter().all(|rate| *rate > 0.0), "{sources:?}");
        Ok(())
    })
    .await
}
