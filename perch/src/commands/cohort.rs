//! `perch cohort`: users who bypass the share.

use anyhow::Context;
use canary::cohort;
use canary::configuration;
use clap::{Subcommand, ValueEnum};
use clients::Admin;
use contract::bucket::Salt;
use contract::cohorts::{Cohorts, Member};
use contract::share::{BETA_KEY, RUNTIME_KEY, Share};
use guard_runtime::clock::now_ms;
use serde_json::{Value, json};

use super::args::share;
use super::gateways::{Gateways, unreachable};
use super::operator::ShareOptions;

const EXAMPLES: &str = "\
Examples:
  perch cohort get                     the beta cohort's share, and the members of the cohorts
  perch cohort set beta 100%           give the candidate to the whole beta cohort, at any share
  perch cohort set beta off            treat the beta cohort like all other users
  perch canary explain user-42         arm of one user, inside and outside the cohorts

The filter's configuration (`cohorts`, see envoy/README.md) defines the members: by a header that your authentication
sets, by a verified claim, or by a list of pseudonyms. A beta user is given the candidate if the share or the beta
cohort's share includes the user. A user who opted out is always given the baseline. `perch canary set off` and `perch
rollback` set the beta cohort's share to 0% too.

Exit codes: 0 success, 1 failure, or success on only some of the gateways, 2 wrong usage";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Print the shares that each gateway holds, and the members of the cohorts
    Get {
        #[command(flatten)]
        gateways: Gateways,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a cohort's own share on every gateway, and write it to the audit log
    Set {
        /// The cohort; opted-out users have no share
        cohort: WithShare,
        /// Percentage of the cohort's users, `0%` to `100%` with at most four decimals, or `off`
        #[arg(value_parser = share)]
        share: Share,
        #[command(flatten)]
        change: ShareOptions,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Cohorts with a share of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WithShare {
    /// Users who are given the candidate first
    Beta,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Get { gateways, json } => get(&gateways, json).await?,
        Command::Set { cohort: WithShare::Beta, share, change, json } => set(share, &change, json).await?,
    }
    Ok(0)
}

/// The shares, cohorts and salt of a gateway.
pub(crate) struct GatewayUsers {
    /// The share of all users.
    pub(crate) share: Share,
    /// The beta cohort's own share.
    pub(crate) beta: Share,
    /// The members of the cohorts; `None` if the gateway has no filter of Perch.
    pub(crate) cohorts: Option<Cohorts>,
    /// The salt of its filter's pseudonyms; `None` if the gateway has no filter of Perch.
    pub(crate) salt: Option<Salt>,
}

impl GatewayUsers {
    /// Reads them from a gateway.
    pub(crate) async fn read(url: &str, admin: &Admin) -> anyhow::Result<Self> {
        let fault = || unreachable(url);
        let share = |text: Option<String>| text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF);
        let dump: Value = serde_json::from_str(&admin.get("/config_dump").await.with_context(fault)?)
            .with_context(|| format!("reading the configuration dump of gateway {url}"))?;
        let cohorts = cohort::of_config_dump(&dump).transpose().with_context(|| {
            format!("reading `cohorts` of the filter of gateway {url}; run perch and filter of the same release")
        })?;
        Ok(Self {
            share: share(admin.runtime(RUNTIME_KEY).await.with_context(fault)?),
            beta: share(admin.runtime(BETA_KEY).await.with_context(fault)?),
            cohorts,
            salt: configuration::salt(&dump).and_then(Result::ok),
        })
    }
}

async fn get(gateways: &Gateways, json: bool) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (url, admin) in gateways.clients()? {
        let held = GatewayUsers::read(&url, &admin).await?;
        if json {
            rows.push(json!({"gateway": url, "share": held.share.fraction(), "beta": held.beta.fraction(),
                             "cohorts": held.cohorts}));
            continue;
        }
        println!("{url}  share {}, beta {}", held.share, held.beta);
        match held.cohorts {
            None => println!("  no filter of Perch is configured there"),
            Some(cohorts) => {
                println!("  beta     {}", describe(&cohorts.beta));
                println!("  opt_out  {}", describe(&cohorts.opt_out));
            }
        }
    }
    if json {
        println!("{}", json!({"gateways": rows}));
    }
    Ok(())
}

fn describe(members: &[Member]) -> String {
    if members.is_empty() {
        return "no members (`cohorts` in the filter's configuration)".to_owned();
    }
    members.iter().map(Member::to_string).collect::<Vec<_>>().join("; ")
}

async fn set(share: Share, options: &ShareOptions, json: bool) -> anyhow::Result<()> {
    let urls = options.urls()?;
    let before = options
        .manual_override()?
        .set_beta(now_ms(), share, &options.attribution.reason)
        .await
        .with_context(|| format!("setting the beta cohort's share to {share}"))?;
    let from = before.first().copied().unwrap_or(Share::OFF);
    if json {
        println!(
            "{}",
            json!({"cohort": "beta", "from": from.fraction(), "to": share.fraction(), "gateways": urls,
                   "warnings": options.warnings()})
        );
        return Ok(());
    }
    println!("beta {from} → {share} on {} gateways", urls.len());
    for warning in options.warnings() {
        println!("  {warning}");
    }
    Ok(())
}
