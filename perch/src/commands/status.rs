//! `perch status`: how the rollout stands, from the gateways' own counters and the guard's folder.

use anyhow::Context;
use contract::names;
use contract::switch::{RUNTIME_KEY, Share};
use perch::guard::clock::now_ms;
use perch::guard::standing::Standing;
use serde_json::{Map, Value, json};
use stack::scrape::Scrape;

use super::gateways::{Gateways, MEND};
use super::operator::Folder;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    gateways: Gateways,
    #[command(flatten)]
    folder: Folder,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Counts of one label over the gateways, in the order of the label's values.
type Counts = Vec<(&'static str, f64)>;

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let mut shares = Vec::new();
    let mut scrapes = Vec::new();
    for (url, admin) in options.gateways.clients()? {
        let held = admin.runtime(RUNTIME_KEY).await.with_context(|| format!("gateway {url}: {MEND}"))?;
        shares.push((url.clone(), held.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF)));
        scrapes.push(admin.scrape().await.with_context(|| format!("gateway {url}: {MEND}"))?);
    }
    let counts = |name: &'static str, label: &'static str, values: &[&'static str]| -> Counts {
        values.iter().map(|value| (*value, total(&scrapes, name, label, value))).collect()
    };
    let source = counts(names::SOURCE, "source", &strings(names::Arm::ALL, names::Arm::as_str));
    let agree = counts(names::COMPARE, "agree", &strings(names::Agree::ALL, names::Agree::as_str));
    let available = counts(names::PREDICT_REQUESTS, "available", &["True", "False"]);
    let fallback =
        counts(names::FALLBACK, "reason", &strings(names::FallbackReason::ALL, names::FallbackReason::as_str));
    let outcome = counts(names::OBSERVATION, "outcome", &strings(names::Outcome::ALL, names::Outcome::as_str));
    let intercepted: f64 = scrapes.iter().map(|scrape| scrape.sum(names::INTERCEPTED, &[])).sum();

    let now = now_ms();
    let guard = options.folder.path().map(|folder| Standing::read(&folder, now)).transpose()?;
    if options.json {
        let wanted: Vec<Value> =
            shares.iter().map(|(url, share)| json!({"gateway": url, "share": share.fraction()})).collect();
        println!(
            "{}",
            json!({
                "wanted": wanted, "seen": part(&source, "model"), "agreement": agreement(&agree),
                "availability": part(&available, "True"), "source": object(&source), "compare": object(&agree),
                "fallback": object(&fallback), "observation": object(&outcome), "intercepted": intercepted,
                "guard": guard,
            })
        );
        return Ok(());
    }
    for (url, share) in &shares {
        println!("share wanted   {share}  {url}");
    }
    println!("share seen     {}  of answers came from the model", percent(part(&source, "model")));
    println!("agreement      {}  {}", percent(agreement(&agree)), list(&agree));
    println!("available      {}  of requests on which the model was asked", percent(part(&available, "True")));
    println!("fallbacks      {}", non_zero(&fallback));
    println!("observations   {intercepted} requests: {}", non_zero(&outcome));
    for (label, line) in guard.iter().flat_map(|guard| guard.words(now)) {
        println!("{label:<14} {line}");
    }
    Ok(())
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
    value.map_or_else(|| "no data".into(), |value| format!("{:.2}%", value * 100.0))
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
