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
use guard_runtime::status::GuardStatus;
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
  perch status --json | jq .candidate_responses

Counts are since the gateways started; the agreement of the last hour with its 95% interval comes from the scorer.

Exit codes: 0 success, 1 failure (a gateway does not respond), 2 wrong usage";

/// Period of the agreement's interval, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// The alerts without Prometheus.
const NO_ALERTS: &str = "no data: Prometheus does not respond; if it is elsewhere, name it with --prometheus URL";
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
    /// Repeat at this interval, e.g. 5s [without a value: 2s]
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
    /// Items compared in the last hour.
    last_hour_items: u64,
    model: Option<Value>,
    alerts: Option<Vec<Alert>>,
    guard: Option<GuardStatus>,
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
        let last_hour = last_hour.ok().and_then(Result::ok).map(|analysis| Report::of(analysis, None));
        let model = model.ok().and_then(Result::ok);
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
            last_hour_items: last_hour.as_ref().map_or(0, |report| report.items.agree + report.items.disagree),
            last_hour: last_hour.and_then(|report| report.agreement),
            model,
            alerts,
            guard: options
                .folder
                .path(&options.gateways)
                .map(|folder| GuardStatus::read(&folder, now_ms()))
                .transpose()?,
        })
    }

    /// Intercepted requests without an outcome: in progress, or lost. Never negative, although a request may end
    /// between the reading of the two counters.
    fn without_outcome(&self) -> f64 {
        (self.intercepted - self.outcome.iter().map(|(_, count)| count).sum::<f64>()).max(0.0)
    }

    fn json(&self) -> Value {
        let configured: Vec<Value> = self
            .shares
            .iter()
            .map(|(url, share, beta)| json!({"gateway": url, "share": share.fraction(), "beta": beta.fraction()}))
            .collect();
        json!({
            "share_configured": configured, "candidate_responses": part(&self.source, "model"),
            "agreement": agreement(&self.agree),
            "agreement_last_hour": self.last_hour, "availability": part(&self.available, "True"),
            "source": object(&self.source), "compare": object(&self.agree), "fallback": object(&self.fallback),
            "observation": object(&self.outcome), "intercepted": self.intercepted,
            "without_outcome": self.without_outcome(),
            "model": self.model.as_ref().and_then(|status| status.get("meta")), "alerts": self.alerts,
            "guard": self.guard,
        })
    }

    fn text(&self, now: u64) -> String {
        let mut lines = Vec::new();
        let mut line = |label: &str, text: String| lines.push(format!("{label:<19} {text}"));
        for (url, share, beta) in &self.shares {
            let beta = if *beta == Share::OFF { String::new() } else { format!(", beta cohort {beta}") };
            line("share configured", format!("{share}{beta}  {url}"));
        }
        let candidate = part(&self.source, "model");
        line("candidate responses", percent_of(candidate, "of responses since the gateways started"));
        line("agreement", self.agreement_line());
        let last_hour = report::analysis::text::percent(self.last_hour);
        let of = if self.last_hour.is_some() { format!(" of {} items", self.last_hour_items) } else { String::new() };
        line("  last hour", last_hour + &of);
        let available = part(&self.available, "True");
        let calls = "of the calls to the candidate got a response, since the gateways started";
        line("candidate available", percent_of(available, calls));
        line("fallbacks", non_zero(&self.fallback));
        line("observations", format!("{} requests: {}", self.intercepted, non_zero(&self.outcome)));
        if self.without_outcome() > 0.0 {
            line("", format!("without an outcome {} (in progress, or lost)", self.without_outcome()));
        }
        line("model", self.model_line());
        match &self.alerts {
            None => line("alerts", NO_ALERTS.to_owned()),
            Some(alerts) if alerts.is_empty() => line("alerts", "none firing".to_owned()),
            Some(alerts) => alerts.iter().for_each(|alert| {
                line("alert", terminal::red(&format!("{} ({}): {}", alert.name, alert.severity, alert.summary)))
            }),
        }
        match &self.guard {
            None => line("guard", "no data: its folder is not known; name it with --folder DIR".to_owned()),
            Some(guard) => guard.lines(now).into_iter().for_each(|(label, text)| line(label, text)),
        }
        lines.join("\n") + "\n"
    }

    fn agreement_line(&self) -> String {
        let count = |agree: names::Agree| {
            self.agree.iter().filter(|(name, _)| *name == agree.as_str()).map(|(_, count)| count).sum::<f64>()
        };
        let [agree, disagree, not_compared] = [names::Agree::True, names::Agree::False, names::Agree::None].map(count);
        let Some(agreement) = agreement(&self.agree) else {
            return format!("no data (nothing compared since the gateways started; not compared {not_compared})");
        };
        format!(
            "{:.2} of {} items since the gateways started: agree {agree}, disagree {disagree}, not compared \
             {not_compared}",
            Percent(agreement),
            agree + disagree
        )
    }

    fn model_line(&self) -> String {
        let Some(status) = &self.model else {
            return "no data: the scorer does not respond; if it is elsewhere, name it with --scorer URL".to_owned();
        };
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

fn percent_of(value: Option<f64>, what: &str) -> String {
    value.map_or_else(|| "no data".into(), |value| format!("{:.2} {what}", Percent(value)))
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
