//! Every contract metric is there, at 0, before anything has happened, and Prometheus' own tool accepts it all.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use contract::names::{Agree, BatchOutcome, FallbackReason, IdentitySource, NotCompared, Outcome, Source};
use contract::series;
use e2e::client::{get, request_body, suggest};
use e2e::scripted_stack::ScriptedStack;
use stack::Scrape;
use stack::checkout::Checkout;

/// What `promtool check metrics` has to say of an exposition, one complaint a line; a wrong form is an error.
pub(crate) fn promtool(text: &str) -> anyhow::Result<Vec<String>> {
    let own = Checkout::find()?.state().join("bin/promtool");
    let program = if own.is_file() { own } else { "promtool".into() };
    let mut promtool = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool is missing: `make setup` installs it")?;
    promtool.stdin.take().context("no stdin")?.write_all(text.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    // 3 is for what its linter would have otherwise.
    ensure!(matches!(output.status.code(), Some(0 | 3)), "promtool: {said}\n{text}");
    Ok(said.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect())
}

/// The lines of the metrics whose names start with one of `prefixes`, comments included.
fn lines_of(text: &str, prefixes: &[&str]) -> String {
    let wanted = |line: &str| {
        let name = line.trim_start_matches("# TYPE ").trim_start_matches("# HELP ");
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    text.lines().filter(|line| wanted(line)).fold(String::new(), |text, line| text + line + "\n")
}

fn at_zero(scrape: &Scrape, name: &str, label: &str, values: impl IntoIterator<Item = &'static str>) {
    for value in values {
        assert_eq!(scrape.get(name, &[(label, value)]), Some(0.0), "{name}{{{label}={value:?}}}");
    }
}

#[tokio::test]
async fn the_first_scrape_has_every_contract_metric_at_0() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder.concurrency(2)).await?;
    let scrape = gateway.scrape().await?;
    at_zero(&scrape, series::COMPARE, "agree", Agree::ALL.iter().map(|value| value.as_str()));
    at_zero(&scrape, series::SOURCE, "source", Source::ALL.iter().map(|value| value.as_str()));
    at_zero(&scrape, series::PREDICT_REQUESTS, "available", ["True", "False"]);
    at_zero(&scrape, series::FALLBACK, "reason", FallbackReason::ALL.iter().map(|value| value.as_str()));
    at_zero(&scrape, series::OBSERVATION, "outcome", Outcome::ALL.iter().map(|value| value.as_str()));
    at_zero(&scrape, series::NOT_COMPARED, "reason", NotCompared::ALL.iter().map(|value| value.as_str()));
    at_zero(&scrape, series::IDENTITY, "source", IdentitySource::ALL.iter().map(|value| value.as_str()));
    at_zero(&scrape, series::BATCH, "result", BatchOutcome::ALL.iter().map(|value| value.as_str()));
    assert_eq!(scrape.get(series::INTERCEPTED, &[]), Some(0.0));
    for agree in Agree::ALL {
        let labels = [("label", "transportation.fuel"), ("agree", agree.as_str())];
        assert_eq!(scrape.get(series::LABEL_COMPARE, &labels), Some(0.0), "{labels:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_contract_metrics_carry_their_own_labels_and_no_other() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder).await?;
    gateway.send(suggest("ann", request_body([88]))?).await?;
    let scrape = gateway.scrape().await?;
    for series in series::GATEWAY {
        let found: Vec<_> = scrape.samples().iter().filter(|sample| sample.name == series.name).collect();
        ensure!(!found.is_empty(), "{} is missing", series.name);
        for sample in found {
            let mut labels: Vec<&str> = sample.labels.keys().map(String::as_str).collect();
            let mut expected = series.labels.to_vec();
            labels.sort_unstable();
            expected.sort_unstable();
            assert_eq!(labels, expected, "{}", series.name);
        }
    }
    Ok(())
}

#[tokio::test]
async fn promtool_accepts_what_envoy_says_of_perch_before_and_after_traffic() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder).await?;
    for _ in 0..2 {
        let text = gateway.stack.admin().get("/stats/prometheus").await?;
        let ours = lines_of(&text, &["lm_", "perch_"]);
        ensure!(ours.lines().count() > 20, "{ours}");
        // Envoy writes no help texts, neither for its own metrics nor for a filter's.
        let complaints: Vec<String> =
            promtool(&ours)?.into_iter().filter(|line| !line.ends_with("no help text")).collect();
        ensure!(complaints.is_empty(), "{complaints:?}");
        gateway.send(suggest("ann", request_body([88]))?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_gateways_metrics_page_shows_the_lm_metrics_only() -> anyhow::Result<()> {
    let gateway = ScriptedStack::start(|builder| builder).await?;
    let page = gateway.send(get("/metrics")?).await?;
    let text = String::from_utf8(page.body.to_vec())?;
    assert_eq!(page.status, 200);
    assert_eq!(Scrape::parse(&text).get(series::COMPARE, &[("agree", "True")]), Some(0.0));
    let others: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("lm_")).collect();
    ensure!(others.is_empty(), "{others:?}");
    for other in ["/metrics?filter=.*", "/metrics/", "/metrics/../stats", "/stats", "/runtime_modify?a=b"] {
        let response = gateway.send(get(other)?).await?;
        ensure!(!String::from_utf8_lossy(&response.body).contains("envoy_"), "{other} shows Envoy's own metrics");
    }
    Ok(())
}
