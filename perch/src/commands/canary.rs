//! `perch canary`: read, move and explain the share.

use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use contract::bucket::{Bucket, Salt};
use contract::names::Cohort;
use contract::switch::{RUNTIME_KEY, Share, arm};
use perch::canary::change::{Change, joins_at};
use perch::guard::clock::now_ms;
use serde_json::json;
use stack::admin::Admin;

use super::cohort;
use super::gateways::{Gateways, MEND};
use super::operator::Moving;

/// Where `make up` keeps the salt, from the repository's root.
const SALT_FILE: &str = ".perch/salt";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The share that each gateway holds
    Get {
        #[command(flatten)]
        gateways: Gateways,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Move the share: `10%`, `0.5%`, `off`
    Set {
        /// Percents of the users from 0% to 100%, or `off`
        #[arg(value_parser = share)]
        share: Share,
        #[command(flatten)]
        moving: Moving,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// A user's pseudonym, and the share at which the user joins
    Explain {
        /// The identity as the filter reads it, e.g. the value of the identity header
        user: String,
        #[command(flatten)]
        gateways: Gateways,
        /// The deployment's salt
        #[arg(long, value_name = "FILE", env = "PERCH_SALT_FILE", default_value = SALT_FILE)]
        salt: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn share(text: &str) -> Result<Share, String> {
    if text == "off" { Ok(Share::OFF) } else { Share::from_percent(text).map_err(|error| error.to_string()) }
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Get { gateways, json } => get(&gateways, json).await,
        Command::Set { share, moving, json } => set(share, &moving, json).await,
        Command::Explain { user, gateways, salt, json } => explain(&user, &gateways, &salt, json).await,
    }
}

/// What a gateway holds.
struct Held {
    text: Option<String>,
}

impl Held {
    async fn by(url: &str, admin: &Admin) -> anyhow::Result<Self> {
        let text = admin.runtime(RUNTIME_KEY).await.with_context(|| format!("gateway {url}: {MEND}"))?;
        Ok(Self { text })
    }

    /// The share by which Envoy decides: what it cannot read as one is its default, off.
    fn share(&self) -> Share {
        self.text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF)
    }

    fn words(&self) -> String {
        match &self.text {
            None => format!("{} (no layer sets {RUNTIME_KEY}, so Envoy's default holds)", Share::OFF),
            Some(text) if Share::from_runtime(text).is_none() => {
                format!("{} ({RUNTIME_KEY} is {text:?}, which is no share: `perch canary set` mends it)", Share::OFF)
            }
            Some(_) => self.share().to_string(),
        }
    }
}

async fn get(gateways: &Gateways, json: bool) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (url, admin) in gateways.clients()? {
        let held = Held::by(&url, &admin).await?;
        if json {
            rows.push(json!({"gateway": url, "share": held.share().fraction(), "runtime": held.text}));
        } else {
            println!("{url}  {}", held.words());
        }
    }
    if json {
        println!("{}", json!({"gateways": rows}));
    }
    Ok(())
}

async fn set(wanted: Share, moving: &Moving, json: bool) -> anyhow::Result<()> {
    let urls = moving.urls()?;
    let mut hand = moving.hand()?;
    let before = hand.set(now_ms(), wanted, &moving.voice.reason).await.with_context(|| format!("setting {wanted}"))?;
    let from = before.first().copied().unwrap_or(Share::OFF);
    let change = Change::between(from, wanted);
    if json {
        println!(
            "{}",
            json!({"from": from.fraction(), "to": wanted.fraction(), "change": change, "gateways": urls,
                   "warnings": moving.warnings()})
        );
        return Ok(());
    }
    println!("{from} → {wanted} on {}", many(urls.len(), "gateway"));
    println!("  {:.2}% of all users join the model, {:.2}% leave it", change.joins * 100.0, change.leaves * 100.0);
    if change.reshuffles {
        println!(
            "  users were dealt anew: a share over another denominator picks other users (whole percents never do)"
        );
    }
    for warning in moving.warnings() {
        println!("  {warning}");
    }
    Ok(())
}

async fn explain(user: &str, gateways: &Gateways, salt: &PathBuf, json: bool) -> anyhow::Result<()> {
    let secret = std::fs::read_to_string(salt)
        .with_context(|| format!("reading the salt {}: name the deployment's with --salt FILE", salt.display()))?;
    let bucket = Bucket::of(user.as_bytes(), &Salt::new(secret.trim().as_bytes())?);
    let at = joins_at(bucket);
    let mut rows = Vec::new();
    for (url, admin) in gateways.clients()? {
        rows.push((url.clone(), cohort::Held::by(&url, &admin).await?));
    }
    let arm = |held: &cohort::Held, cohort| arm(bucket, cohort, held.share, held.beta).as_str();
    let listed = |held: &cohort::Held| held.configured.as_ref().and_then(|configured| configured.lists(bucket));
    if json {
        let arms: Vec<_> = rows
            .iter()
            .map(|(url, held)| {
                let listed = listed(held);
                json!({"gateway": url, "share": held.share.fraction(), "beta": held.beta.fraction(), "listed": listed,
                       "arm": arm(held, listed.unwrap_or(Cohort::Ordinary)), "arm_in_beta": arm(held, Cohort::Beta)})
            })
            .collect();
        println!("{}", json!({"bucket": bucket.to_string(), "joins_at_percent": at, "arms": arms}));
        return Ok(());
    }
    println!("bucket {bucket}, joins at {at}%");
    for (url, held) in &rows {
        println!("{url}  {} at {}", arm(held, listed(held).unwrap_or(Cohort::Ordinary)), held.share);
        match listed(held) {
            Some(Cohort::OptOut) => println!("  has opted out, so the rules answer at every share"),
            Some(Cohort::Beta) => println!("  is listed in the beta cohort, whose own share is {}", held.beta),
            _ => println!(
                "  if a header or claim names the user: {} in the beta cohort (its share is {}), rule when opted out",
                arm(held, Cohort::Beta),
                held.beta
            ),
        }
    }
    Ok(())
}

fn many(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
