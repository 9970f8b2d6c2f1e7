//! `perch status`: the state of the rollout, from the gateways' counters, the scorer, Prometheus and the guard's
//! folder.
//!
//! The gateways must respond; each of the other sources is "no data" if it does not.

use std::time::Duration;

use anyhow::Context;
use clients::Scrape;
use clients::scorer::STATUS_PATH;
use contract::analysis;
use contract::names;
use contract::percent::Percent;
use contract::series;
use contract::share::{BETA_KEY, RUNTIME_KEY, Share};
use guard::plan::duration::TimeSpan;
use guard_runtime::clock::now_ms;
use guard_runtime::standing::Standing;
use report::analysis::report::{Estimate, Report};
use serde_json::{Map, Value, json};

use super::gateways::{Gateways, unreachable};
use super::operator::Folder;
use super::prometheus::{Alert, Prometheus};
use super::{scorer, terminal};

const EXAMPLES: &str = "\
Examples:
  perch status                      print the state once
  perch status --watch              print it every two seconds, until interrupted
  perch status --json | jq .seen

Counts are since the gateways started; the agreement of the last hour with its 95% interval comes from the scorer.

Exit codes: 0 success, 1 failure (a gateway does not respond), 2 wrong usage";

/// Period of the agreement's interval, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Timeout of the scorer: the gateways' figures do not wait longer for it.
const SCORER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    gateways: Gateways,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    scorer: scorer::ScorerUrl,
    #[command(flatten)]
    prometheus: Prometheus,
    /// Repeat at this interval
    #[arg(long, value_name = "SPAN", num_args = 0..=1, default_missing_value = "2s")]
    watch: Option<TimeSpan>,
    /// Print JSON, with --watch one line each time
    #[arg(long)]
    json: bool,
}

/// Counts of one label over the gateways, in the order of the label's values.
type Counts = Vec<(&'static str, f64)>;

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    loop {
        let status = Status::gather(options).await?;
        let text = if options.json { status.json().to_string() + "\n" } else { status.text(now_ms()) };
        let Some(interval) = options.watch else {
            print!("{text}");
            return Ok(());
        };
        print!("{}{text}", if options.json { "" } else { terminal::clear() });
        tokio::time::sleep(Duration::from_millis(interval.as_ms().max(100))).await;
    }
}

/// The state of the rollout.
struct Status {
    /// Gateway, the share, the beta cohort's share.
    shares: Vec<(String, Share, Share)>,
    source: Counts,
    agree: Counts,
    available: Counts,
    fallback: Counts,
    outcome: Counts,
    intercepted: f64,
    last_hour: Option<Estimate>,
    model: Option<Value>,
    alerts: Option<Vec<Alert>>,
    guard: Option<Standing>,
}

impl Status {
    async fn gather(options: &Options) -> anyhow::Result<Self> {
        let (mut shares, mut scrapes) = (Vec::new(), Vec::new());
        for (url, admin) in options.gateways.clients()? {
            let fault = || unreachable(&url);
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
        let (last_hour, model, alerts) = tokio::join!(
            tokio::time::timeout(SCORER_TIMEOUT, scorer.analysis(&since)),
            tokio::time::timeout(SCORER_TIMEOUT, scorer.get::<Value>(STATUS_PATH, &[])),
            options.prometheus.firing(),
        );
        let (last_hour, model) = (last_hour.ok().and_then(Result::ok), model.ok().and_then(Result::ok));
        Ok(Self {
            source: counts(series::SOURCE, "source", &strings(names::Source::ALL, names::Source::as_str)),
            agree: counts(series::COMPARE, "agree", &strings(names::Agree::ALL, names::Agree::as_str)),
            available: counts(series::PREDICT_REQUESTS, "available", &["True", "False"]),
            fallback: counts(
                series::FALLBACK,
                "reason",
                &strings(names::FallbackReason::ALL, names::FallbackReason::as_str),
            ),
            outcome: counts(series::OBSERVATION, "outcome", &strings(names::Outcome::ALL, names::Outcome::as_str)),
            intercepted: scrapes.iter().map(|scrape| scrape.sum(series::INTERCEPTED, &[])).sum(),
            shares,
            last_hour: last_hour.and_then(|analysis| Report::of(analysis, None).agreement),
            model,
            alerts,
            guard: options
                .folder
                .path(&options.gateways)
                .map(|folder| Standing::read(&folder, now_ms()))
                .transpose()?,
        })
    }

    /// Intercepted requests without an outcome: in progress, or lost.
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
            "agreement_last_hour": self.last_hour, "availability": part(&self.available, "True"),
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
        lines.push(format!(
            "share seen     {}  of responses came from the candidate",
            percent(part(&self.source, "model"))
        ));
        lines.push(format!("agreement      {}  {}", percent(agreement(&self.agree)), list(&self.agree)));
        lines.push(format!("  last hour    {}", report::analysis::text::percent(self.last_hour)));
        let available = percent(part(&self.available, "True"));
        lines.push(format!("available      {available}  of the calls to the candidate"));
        lines.push(format!("fallbacks      {}", non_zero(&self.fallback)));
        lines.push(format!("observations   {} requests: {}", self.intercepted, non_zero(&self.outcome)));
        if self.unaccounted() != 0.0 {
            lines.push(format!("  in progress  {} of them have no outcome yet", self.unaccounted()));
        }
        lines.push(format!("model          {}", self.model_line()));
        match &self.alerts {
            None => lines.push("alerts         no data (Prometheus does not respond: --prometheus URL)".to_owned()),
            Some(alerts) if alerts.is_empty() => lines.push("alerts         none firing".to_owned()),
            Some(alerts) => lines.extend(alerts.iter().map(|alert| {
                terminal::red(&format!("alert          {} ({}): {}", alert.name, alert.severity, alert.summary))
            })),
        }
        match &self.guard {
            None => lines.push("guard          no data (its folder is not known: --folder DIR)".to_owned()),
            Some(guard) => {
                lines.extend(guard.words(now).into_iter().map(|(label, line)| format!("{label:<14} {line}")))
            }
        }
        lines.join("\n") + "\n"
    }

    fn model_line(&self) -> String {
        let Some(status) = &self.model else { return "no data (the scorer does not respond: --scorer URL)".to_owned() };
        let Some(version) = status.pointer("/meta/version").and_then(Value::as_str) else {
            return terminal::red("none is serving: `perch model status` shows the reason");
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

/// The fraction of `value` in all counts; `None` if all are 0.
fn part(counts: &Counts, value: &str) -> Option<f64> {
    let all: f64 = counts.iter().map(|(_, count)| count).sum();
    let of: f64 = counts.iter().filter(|(name, _)| *name == value).map(|(_, count)| count).sum();
    (all > 0.0).then(|| of / all)
}

/// Fraction of the compared items on which both arms agree.
fn agreement(counts: &Counts) -> Option<f64> {
    let judged: Counts = counts.iter().filter(|(name, _)| *name != names::Agree::None.as_str()).copied().collect();
    part(&judged, names::Agree::True.as_str())
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "no data".into(), |value| format!("{:.2}", Percent(value)))
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
