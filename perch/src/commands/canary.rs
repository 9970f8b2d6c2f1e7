//! `perch canary`: read, set and explain the share.

use anyhow::Context;
use canary::change::Change;
use clap::Subcommand;
use clients::Admin;
use contract::percent::Percent;
use contract::share::{RUNTIME_KEY, Share};
use guard_runtime::clock::now_ms;
use serde_json::json;

use super::args::share;
use super::explain;
use super::gateways::{Gateways, unreachable};
use super::operator::ShareOptions;

const EXAMPLES: &str = "\
Examples:
  perch canary get                                the share that each gateway holds
  perch canary set 10% --reason 'week one'        give the candidate to 10% of the users
  perch canary set off                            give the baseline to every user
  perch canary explain user-42                    bucket of a user, and the share from which it is in the canary

While the guard runs a rollout, `set` is a manual override: the guard pauses until `perch ramp resume`.

Exit codes: 0 success, 1 failure, or success on only some of the gateways, 2 wrong usage";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Print the share that each gateway holds
    Get {
        #[command(flatten)]
        gateways: Gateways,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set the share on every gateway, and write it to the audit log
    Set {
        /// Percentage of the users, `0%` to `100%` with at most four decimals, or `off`
        #[arg(value_parser = share)]
        share: Share,
        #[command(flatten)]
        change: ShareOptions,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a user's bucket and arm, and the whole percentage from which the user is in the canary (a fraction such as
    /// 0.5% re-buckets users)
    Explain(explain::Options),
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Get { gateways, json } => get(&gateways, json).await,
        Command::Set { share, change, json } => set(share, &change, json).await,
        Command::Explain(options) => explain::run(&options).await,
    }
}

/// The share in a gateway's runtime.
struct RuntimeShare {
    text: Option<String>,
}

impl RuntimeShare {
    async fn read(url: &str, admin: &Admin) -> anyhow::Result<Self> {
        let text = admin.runtime(RUNTIME_KEY).await.with_context(|| unreachable(url))?;
        Ok(Self { text })
    }

    /// The share by which Envoy decides; a value that is not a share is its default, off.
    fn share(&self) -> Share {
        self.text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF)
    }

    fn describe(&self) -> String {
        match &self.text {
            None => format!("{} (Envoy's default: no layer sets {RUNTIME_KEY})", Share::OFF),
            Some(text) => match Share::from_runtime(text) {
                None => format!(
                    "{} ({RUNTIME_KEY} is {text:?}, which is not a share to Envoy: set one with `perch canary set`)",
                    Share::OFF
                ),
                // 12.5 or 010 may have been meant as another share than the one that Envoy reads.
                Some(share) if share.to_runtime() != text.trim() => {
                    format!("{share} (as Envoy reads {RUNTIME_KEY}, which is {text:?})")
                }
                Some(share) => share.to_string(),
            },
        }
    }
}

async fn get(gateways: &Gateways, json: bool) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (url, admin) in gateways.clients()? {
        let held = RuntimeShare::read(&url, &admin).await?;
        if json {
            rows.push(json!({"gateway": url, "share": held.share().fraction(), "runtime": held.text}));
        } else {
            println!("{url}  {}", held.describe());
        }
    }
    if json {
        println!("{}", json!({"gateways": rows}));
    }
    Ok(())
}

async fn set(wanted: Share, options: &ShareOptions, json: bool) -> anyhow::Result<()> {
    let urls = options.urls()?;
    let mut manual_override = options.manual_override()?;
    let before = manual_override
        .set(now_ms(), wanted, &options.attribution.reason)
        .await
        .with_context(|| format!("setting the share to {wanted}"))?;
    let from = before.first().copied().unwrap_or(Share::OFF);
    let change = Change::between(from, wanted);
    if json {
        println!(
            "{}",
            json!({"from": from.fraction(), "to": wanted.fraction(), "change": change, "gateways": urls,
                   "warnings": options.warnings()})
        );
        return Ok(());
    }
    println!("{from} → {wanted} on {}", many(urls.len(), "gateway"));
    println!(
        "  {:.2} of all users join the candidate arm, {:.2} leave it",
        Percent(change.joins),
        Percent(change.leaves)
    );
    if change.rebuckets {
        println!("  users were re-bucketed: the share's denominator changed (between whole percentages it does not)");
    }
    for warning in options.warnings() {
        println!("  {warning}");
    }
    Ok(())
}

fn many(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
