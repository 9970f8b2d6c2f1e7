//! `perch status`: how the rollout stands, from the gateways' own counters, the scorer, Prometheus and the guard's folder.
//!
//! The gateways must answer; each of the others is "no data" where it does not.

use std::time::Duration;

use anyhow::Context;
use contract::analysis::{self, Analysis};
use contract::names;
use contract::switch::{BETA_KEY, RUNTIME_KEY, Share};
use perch::analysis::report::{Estimate, Report};
use perch::guard::clock::now_ms;
use perch::guard::status::GuardStatus;
use serde_json::{Map, Value, json};
use stack::scrape::Scrape;

use super::gateways::{Gateways, MEND};
use super::operator::Folder;
use super::prometheus::{Alert, Prometheus};
use super::{analyse, scorer, terminal};

const EXAMPLES: &str = "\
Examples:
  perch status                      once
  perch status --watch              again every two seconds, until interrupted
  perch status --json | jq .seen

Shares and counts are since the gateways started; the interval of agreement is of the last hour, from the scorer.

Exit codes: 0 done, 1 a gateway does not answer, 2 the command line is wrong";

/// How far back the interval of agreement looks, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Longest wait for the scorer, which the gateways' own figures need not wait for.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    gateways: Gateways,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    scorer: scorer::At,
    #[command(flatten)]
    prometheus: Prometheus,
    /// Again and again, so far apart
    #[arg(long, value_name = "SPAN", value_parser = analyse::span_ms, num_args = 0..=1, default_missing_value = "2s")]
    watch: Option<u64>,
    /// Print JSON, with --watch one line a time
    #[arg(long)]
    json: bool,
}

/// Counts of one label over the gateways, in the order of the label's values.
type Counts = Vec<(&'static str, f64)>;

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    loop {
        let status = Status::gather(options).await?;
        let text = if options.json { status.json().to_string() + "\n" } else { status.text(now_ms()) };
        let Some(apart) = options.watch else {
            print!("{text}");
            return Ok(());
        };
        print!("{}{text}", if options.json { "" } else { terminal::clear() });
        tokio::time::sleep(Duration::from_millis(apart.max(100))).await;
    }
}

/// Everything that is known at a moment.
struct Status {
    /// Gateway, the share for everybody, the beta cohort's own.
    shares: Vec<(String, Share, Share)>,
    source: Counts,
    agree: Counts,
    available: Counts,
    fallback: Counts,
    outcome: Counts,
    intercepted: f64,
    lately: Option<Estimate>,
    model: Option<Value>,
    alerts: Option<Vec<Alert>>,
    guard: Option<GuardStatus>,
}

impl Status {
    async fn gather(options: &Options) -> anyhow::Result<Self> {
        let (mut shares, mut scrapes) = (Vec::new(), Vec::new());
        for (url, admin) in options.gateways.clients()? {
            let fault = || format!("gateway {url}: {MEND}");
            let mut held = [Share::OFF; 2];
            for (share, key) in held.iter_mut().zip([RUNTIME_KEY, BETA_KEY]) {
                let text = admin.runtime(key).await.with_context(fault)?;
                *share = text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF);
            }
            scrapes.push(admin.scrape().await.with_context(fault)?);
            let [share, beta] = held;
            shares.push((url, share, beta));
        }
        let counts = |name: &'static str, label: &'static str, values: &[&'static str]| -> Counts {
            values.iter().map(|value| (*value, total(&scrapes, name, label, value))).collect()
        };
        let scorer = options.scorer.client()?;
        let since = now_ms().saturating_sub(HOUR_MS).to_string();
        let since = [(analysis::SINCE, since)];
        let (lately, model, alerts) = tokio::join!(
            tokio::time::timeout(PATIENCE, scorer.get::<Analysis>(analysis::PATH, &since)),
            tokio::time::timeout(PATIENCE, scorer.get::<Value>(super::model::STATUS, &[])),
            options.prometheus.firing(),
        );
        let (lately, model) = (lately.ok().and_then(Result::ok), model.ok().and_then(Result::ok));
        Ok(Self {
            source: counts(names::SOURCE, "source", &strings(names::Source::ALL, names::Source::as_str)),
            agree: counts(names::COMPARE, "agree", &strings(names::Agree::ALL, names::Agree::as_str)),
            available: counts(names::PREDICT_REQUESTS, "available", &["True", "False"]),
            fallback: counts(
                names::FALLBACK,
                "reason",
                &strings(names::FallbackReason::ALL, names::FallbackReason::as_str),
            ),
            outcome: counts(names::OBSERVATION, "outcome", &strings(names::Outcome::ALL, names::Outcome::as_str)),
            intercepted: scrapes.iter().map(|scrape| scrape.sum(names::INTERCEPTED, &[])).sum(),
            shares,
            lately: lately.and_then(|analysis| Report::of(analysis, None).agreement),
            model,
            alerts,
            guard: options
                .folder
                .path(&options.gateways)
                .map(|folder| GuardStatus::read(&folder, now_ms()))
                .transpose()?,
        })
    }

    /// Intercepted requests that are in no outcome yet: still under way, or lost.
    fn unaccounted(&self) -> f64 {
        self.intercepted - self.outcome.iter().map(|(_, count)| count).sum::<f64>()
    }

    fn json(&self) -> Value {
        let wanted: Vec<Value> = self
            .shares
            .iter()
            .map(|(url, share, beta)| json!({"gateway": url, "share": share.fraction(), "beta": beta.fraction()}))
            .collect();
        json!({
            "wanted": wanted, "seen": part(&self.source, "model"), "agreement": agreement(&self.agree),
            "agreement_last_hour": self.lately, "availability": part(&self.available, "True"),
            "source": object(&self.source), "compare": object(&self.agree), "fallback": object(&self.fallback),
            "observation": object(&self.outcome), "intercepted": self.intercepted, "unaccounted": self.unaccounted(),
            "model": self.model.as_ref().and_then(|status| status.get("meta")), "alerts": self.alerts,
            "guard": self.guard,
        })
    }

    fn text(&self, now: u64) -> String {
        let mut lines = Vec::new();
        for (url, share, beta) in &self.shares {
            let beta = if *beta == Share::OFF { String::new() } else { format!(", beta cohort {beta}") };
            lines.push(format!("share wanted   {share}{beta}  {url}"));
        }
        lines.push(format!("share seen     {}  of answers came from the model", percent(part(&self.source, "model"))));
        lines.push(format!("agreement      {}  {}", percent(agreement(&self.agree)), list(&self.agree)));
        lines.push(format!("  last hour    {}", perch::analysis::text::percent(self.lately)));
        let available = percent(part(&self.available, "True"));
        lines.push(format!("available      {available}  of requests on which the model was asked"));
        lines.push(format!("fallbacks      {}", non_zero(&self.fallback)));
        lines.push(format!("observations   {} requests: {}", self.intercepted, non_zero(&self.outcome)));
        if self.unaccounted() != 0.0 {
            lines.push(format!("  under way    {} of them have no outcome yet", self.unaccounted()));
        }
        lines.push(format!("model          {}", self.model_words()));
        match &self.alerts {
            None => lines.push("alerts         no data (no Prometheus answers: --prometheus URL)".to_owned()),
            Some(alerts) if alerts.is_empty() => lines.push("alerts         none fires".to_owned()),
            Some(alerts) => lines.extend(alerts.iter().map(|alert| {
                terminal::red(&format!("alert          {} ({}): {}", alert.name, alert.severity, alert.summary))
            })),
        }
        match &self.guard {
            None => lines.push("guard          no data (its folder is not known: --folder DIR)".to_owned()),
            Some(guard) => {
                lines.extend(guard.lines(now).into_iter().map(|(label, line)| format!("{label:<14} {line}")))
            }
        }
        lines.join("\n") + "\n"
    }

    fn model_words(&self) -> String {
        let Some(status) = &self.model else { return "no data (the scorer does not answer: --scorer URL)".to_owned() };
        let Some(version) = status.pointer("/meta/version").and_then(Value::as_str) else {
            return terminal::red("none serves: `perch model status` says why");
        };
        let f1 = status.pointer("/meta/val_f1_macro").and_then(Value::as_f64);
        format!("{version}, macro F1 {}", f1.map_or_else(|| "no data".to_owned(), |f1| format!("{f1:.4}")))
    }
}

fn strings<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|value| name(*value)).collect()
}

fn total(scrapes: &[Scrape], name: &str, label: &str, value: &str) -> f64 {
    scrapes.iter().map(|scrape| scrape.sum(name, &[(label, value)])).sum()
}

/// `value`'s share of all; `None` without any, which is not 0.
fn part(counts: &Counts, value: &str) -> Option<f64> {
    let all: f64 = counts.iter().map(|(_, count)| count).sum();
    let of: f64 = counts.iter().filter(|(name, _)| *name == value).map(|(_, count)| count).sum();
    (all > 0.0).then(|| of / all)
}

/// Agreement among the items on which both sides have an opinion.
fn agreement(counts: &Counts) -> Option<f64> {
    let judged: Counts = counts.iter().filter(|(name, _)| *name != names::Agree::None.as_str()).copied().collect();
    part(&judged, names::Agree::True.as_str())
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "no data".into(), |value| format!("{:.2} %", value * 100.0))
}

fn list(counts: &Counts) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

fn non_zero(counts: &Counts) -> String {
    let some: Counts = counts.iter().filter(|(_, count)| *count > 0.0).copied().collect();
    if some.is_empty() { "none".into() } else { list(&some) }
}

fn object(counts: &Counts) -> Value {
    Value::Object(counts.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect::<Map<_, _>>())
}
