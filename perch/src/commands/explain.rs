//! `perch canary explain`: one user's pseudonym, arm, and the share at which the user joins.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use canary::change::joins_at;
use canary::identity::{self, MAX_IDENTITY_BYTES};
use contract::bucket::{Bucket, Salt};
use contract::names::{Arm, Cohort};
use contract::share::arm;
use canary::cohort;
use serde_json::json;

use super::cohort::Held;
use super::gateways::Gateways;
use super::operator;

/// Where `make up` keeps the salt, in its state.
const SALT_FILE: &str = "salt";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The identity as the filter reads it, e.g. the value of the identity header
    user: OsString,
    #[command(flatten)]
    gateways: Gateways,
    /// The deployment's salt [default: that of `make up`, or what each gateway's filter is configured with]
    #[arg(long, value_name = "FILE", env = "PERCH_SALT_FILE")]
    salt: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What one gateway does with the user.
struct Explained {
    url: String,
    held: Held,
    /// `None` for a user without an identity.
    bucket: Option<Bucket>,
    listed: Option<Cohort>,
}

impl Explained {
    /// The arm of the user, were the user in `cohort`.
    fn arm_in(&self, cohort: Cohort) -> Arm {
        self.bucket.map_or(Arm::Baseline, |bucket| arm(bucket, cohort, self.held.share, self.held.beta))
    }

    fn arm(&self) -> Arm {
        self.arm_in(self.listed.unwrap_or(Cohort::Ordinary))
    }
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let named = match &options.salt {
        Some(file) => Some(read(file)?),
        None => operator::state(&options.gateways)
            .map(|state| state.join(SALT_FILE))
            .filter(|file| file.is_file())
            .map(|file| read(&file))
            .transpose()?,
    };
    let user = identity::usable(options.user.as_bytes());
    let mut gateways = Vec::new();
    for (url, admin) in options.gateways.clients()? {
        let held = Held::by(&url, &admin).await?;
        // What the gateway's filter hashes with goes before what somebody thinks that it does.
        let bucket = user.zip(held.salt.or(named)).map(|(user, salt)| Bucket::of(user, &salt));
        let listed = bucket.and_then(|bucket| cohort::listing(held.configured.as_ref()?, bucket));
        gateways.push(Explained { url, held, bucket, listed });
    }
    let salt = named.or_else(|| gateways.iter().find_map(|gateway| gateway.held.salt));
    let salt = salt.context("which salt? no gateway has the filter: name the deployment's with --salt FILE")?;
    let bucket = user.map(|user| Bucket::of(user, &salt));
    if options.json {
        println!("{}", json(bucket, &gateways));
    } else {
        print(bucket, &gateways);
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Salt> {
    let secret = std::fs::read(file)
        .with_context(|| format!("reading the salt {}: name the deployment's with --salt FILE", file.display()))?;
    Salt::new(secret.trim_ascii()).with_context(|| format!("the salt {}", file.display()))
}

fn json(bucket: Option<Bucket>, gateways: &[Explained]) -> serde_json::Value {
    let arms: Vec<_> = gateways
        .iter()
        .map(|gateway| {
            let Held { share, beta, .. } = &gateway.held;
            json!({"gateway": gateway.url, "share": share.fraction(), "beta": beta.fraction(), "listed": gateway.listed,
                   "bucket": gateway.bucket.map(|bucket| bucket.to_string()),
                   "arm": gateway.arm().as_str(), "arm_in_beta": gateway.arm_in(Cohort::Beta).as_str()})
        })
        .collect();
    json!({"bucket": bucket.map(|bucket| bucket.to_string()), "joins_at_percent": bucket.map(joins_at), "arms": arms})
}

fn print(bucket: Option<Bucket>, gateways: &[Explained]) {
    match bucket {
        Some(bucket) => println!("bucket {bucket}, joins at {}%", joins_at(bucket)),
        None => println!(
            "no identity (it is 1 to {MAX_IDENTITY_BYTES} bytes without the blanks around it): the baseline at every share"
        ),
    }
    for gateway in gateways {
        println!("{}  {} at {}", gateway.url, gateway.arm().as_str(), gateway.held.share);
        let Some(here) = gateway.bucket else { continue };
        if bucket != Some(here) {
            println!("  its filter has another salt: there it is bucket {here}, which joins at {}%", joins_at(here));
        }
        match gateway.listed {
            Some(Cohort::OptOut) => println!("  has opted out, so the baseline answers at every share"),
            Some(Cohort::Beta) => println!("  is listed in the beta cohort, whose own share is {}", gateway.held.beta),
            _ if gateway.held.configured.is_none() => println!("  the filter is not configured there"),
            _ => println!(
                "  if a header or claim names the user: {} in the beta cohort (its share is {}), baseline when opted out",
                gateway.arm_in(Cohort::Beta).as_str(),
                gateway.held.beta
            ),
        }
    }
}
