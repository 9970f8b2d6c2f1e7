//! `perch canary`: read, move and explain the share.

use anyhow::Context;
use canary::change::Change;
use clap::Subcommand;
use clients::Admin;
use contract::share::{RUNTIME_KEY, Share};
use guard_runtime::clock::now_ms;
use contract::percent::Percent;
use serde_json::json;

use super::args::share;
use super::explain;
use super::gateways::{Gateways, MEND};
use super::operator::Moving;

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
    Explain(explain::Options),
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Get { gateways, json } => get(&gateways, json).await,
        Command::Set { share, moving, json } => set(share, &moving, json).await,
        Command::Explain(options) => explain::run(&options).await,
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
            Some(text) => match Share::from_runtime(text) {
                None => format!(
                    "{} ({RUNTIME_KEY} is {text:?}, which Envoy does not take as a share: `perch canary set` one)",
                    Share::OFF
                ),
                // Somebody who wrote 12.5 or 010 may have meant another share than Envoy serves.
                Some(share) if share.to_runtime() != text.trim() => {
                    format!("{share} ({RUNTIME_KEY} is {text:?}, of which Envoy makes that)")
                }
                Some(share) => share.to_string(),
            },
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
    println!(
        "  {:.2} of all users join the candidate's arm, {:.2} leave it",
        Percent(change.joins),
        Percent(change.leaves)
    );
    if change.reshuffles {
        println!(
            "  users were re-bucketed: a share over another denominator picks other users (whole percents never do)"
        );
    }
    for warning in moving.warnings() {
        println!("  {warning}");
    }
    Ok(())
}

fn many(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
