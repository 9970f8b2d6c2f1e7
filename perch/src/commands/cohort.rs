//! `perch cohort`: users whom the share does not deal.

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
use super::gateways::{Gateways, MEND};
use super::operator::Moving;

const EXAMPLES: &str = "\
Examples:
  perch cohort get                     the beta cohort's share, and who is in which cohort
  perch cohort set beta 100%           the whole beta cohort gets the model's answer, at any share
  perch cohort set beta off            the cohort is dealt by the share like everybody
  perch canary explain user-42         what a cohort changes for one user

Who is in a cohort is configuration of the filter (`cohorts`, see envoy/README.md): a header that your authentication sets,
a verified claim, or a list of pseudonyms. A user of the beta cohort is in as soon as the share or the cohort's own share
has the user; who has opted out never is. `perch canary set off` and `perch rollback` take the beta share to 0% as well.

Exit codes: 0 done, 1 it could not be done, or holds only on some gateways, 2 the command line is wrong";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Shares that each gateway holds, and who is in which cohort
    Get {
        #[command(flatten)]
        gateways: Gateways,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a cohort's own share: `100%`, `0.5%`, `off`
    Set {
        /// Which cohort; who has opted out has no share
        cohort: WithShare,
        /// Percents of the cohort's users from 0% to 100%, or `off`
        #[arg(value_parser = share)]
        share: Share,
        #[command(flatten)]
        moving: Moving,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Cohorts with a share of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WithShare {
    /// Users who try the model first
    Beta,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Get { gateways, json } => get(&gateways, json).await?,
        Command::Set { cohort: WithShare::Beta, share, moving, json } => set(share, &moving, json).await?,
    }
    Ok(0)
}

/// What a gateway holds about its users.
pub(crate) struct Held {
    /// The share for everybody.
    pub(crate) share: Share,
    /// The beta cohort's own.
    pub(crate) beta: Share,
    /// Who is in which; `None` where the filter is not there.
    pub(crate) configured: Option<Cohorts>,
    /// What its filter makes pseudonyms with; `None` where the filter is not there.
    pub(crate) salt: Option<Salt>,
}

impl Held {
    /// Asks a gateway.
    pub(crate) async fn by(url: &str, admin: &Admin) -> anyhow::Result<Self> {
        let fault = || format!("gateway {url}: {MEND}");
        let share = |text: Option<String>| text.as_deref().and_then(Share::from_runtime).unwrap_or(Share::OFF);
        let dump: Value = serde_json::from_str(&admin.get("/config_dump").await.with_context(fault)?)
            .with_context(|| format!("gateway {url}: its configuration cannot be read"))?;
        let configured = cohort::of_config_dump(&dump).transpose().with_context(|| {
            format!("gateway {url}: its filter's `cohorts` cannot be read: run perch and filter of one release")
        })?;
        Ok(Self {
            share: share(admin.runtime(RUNTIME_KEY).await.with_context(fault)?),
            beta: share(admin.runtime(BETA_KEY).await.with_context(fault)?),
            configured,
            salt: configuration::salt(&dump).and_then(Result::ok),
        })
    }
}

async fn get(gateways: &Gateways, json: bool) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (url, admin) in gateways.clients()? {
        let held = Held::by(&url, &admin).await?;
        if json {
            rows.push(json!({"gateway": url, "share": held.share.fraction(), "beta": held.beta.fraction(),
                             "cohorts": held.configured}));
            continue;
        }
        println!("{url}  share {}, beta {}", held.share, held.beta);
        match held.configured {
            None => println!("  the filter is not configured there"),
            Some(configured) => {
                println!("  beta     {}", words(&configured.beta));
                println!("  opt_out  {}", words(&configured.opt_out));
            }
        }
    }
    if json {
        println!("{}", json!({"gateways": rows}));
    }
    Ok(())
}

fn words(members: &[Member]) -> String {
    if members.is_empty() {
        return "nobody is named (`cohorts` in the filter's configuration)".to_owned();
    }
    members.iter().map(Member::to_string).collect::<Vec<_>>().join("; ")
}

async fn set(share: Share, moving: &Moving, json: bool) -> anyhow::Result<()> {
    let urls = moving.urls()?;
    let before = moving
        .hand()?
        .set_beta(now_ms(), share, &moving.voice.reason)
        .await
        .with_context(|| format!("setting the beta cohort's share to {share}"))?;
    let from = before.first().copied().unwrap_or(Share::OFF);
    if json {
        println!(
            "{}",
            json!({"cohort": "beta", "from": from.fraction(), "to": share.fraction(), "gateways": urls,
                   "warnings": moving.warnings()})
        );
        return Ok(());
    }
    println!("beta {from} → {share} on {} gateways", urls.len());
    for warning in moving.warnings() {
        println!("  {warning}");
    }
    Ok(())
}
