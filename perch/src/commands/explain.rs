//! `perch canary explain`: a user's bucket and arm, and the share from which the user is given the candidate.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use canary::change::joins_at;
use canary::cohort;
use canary::identity::{self, MAX_IDENTITY_BYTES};
use contract::bucket::{Bucket, Salt};
use contract::names::{Arm, Cohort};
use contract::share::arm;
use serde_json::json;

use super::cohort::GatewayUsers;
use super::gateways::Gateways;
use super::operator;

/// The salt in the state of `make up`.
const SALT_FILE: &str = "salt";

const EXAMPLES: &str = "\
Examples:
  perch canary explain user-42
  perch canary explain user-42 --gateway http://10.0.0.4:9901 --salt /etc/perch/salt --json

Exit codes: 0 success, 1 failure, 2 wrong usage";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The user's identity as the filter reads it, e.g. the value of the identity header
    user: OsString,
    #[command(flatten)]
    gateways: Gateways,
    /// File with the deployment's salt [default: that of `make up`, or the one in each gateway's configuration]
    #[arg(long, value_name = "FILE", env = "PERCH_SALT_FILE")]
    salt: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How one gateway treats the user.
struct Explanation {
    url: String,
    users: GatewayUsers,
    /// `None` for a text that is not an identity.
    bucket: Option<Bucket>,
    listed: Option<Cohort>,
}

impl Explanation {
    /// The user's arm if the user is in `cohort`.
    fn arm_in(&self, cohort: Cohort) -> Arm {
        self.bucket.map_or(Arm::Baseline, |bucket| arm(bucket, cohort, self.users.share, self.users.beta))
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
        let users = GatewayUsers::read(&url, &admin).await?;
        // The salt in the gateway's configuration is the one in force, whatever file is named.
        let bucket = user.zip(users.salt.or(named)).map(|(user, salt)| Bucket::of(user, &salt));
        let listed = bucket.and_then(|bucket| cohort::cohort_of_pseudonym(users.cohorts.as_ref()?, bucket));
        gateways.push(Explanation { url, users, bucket, listed });
    }
    let salt = named.or_else(|| gateways.iter().find_map(|gateway| gateway.users.salt));
    let salt =
        salt.context("the salt is not known, since no gateway has a filter of Perch: name its file with --salt FILE")?;
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
        .with_context(|| format!("reading the salt {}; name the deployment's salt with --salt FILE", file.display()))?;
    Salt::new(secret.trim_ascii()).with_context(|| format!("using the salt in {}", file.display()))
}

fn json(bucket: Option<Bucket>, gateways: &[Explanation]) -> serde_json::Value {
    let arms: Vec<_> = gateways
        .iter()
        .map(|gateway| {
            let GatewayUsers { share, beta, .. } = &gateway.users;
            json!({"gateway": gateway.url, "share": share.fraction(), "beta": beta.fraction(), "listed": gateway.listed,
                   "bucket": gateway.bucket.map(|bucket| bucket.to_string()),
                   "arm": gateway.arm().as_str(), "arm_in_beta": gateway.arm_in(Cohort::Beta).as_str()})
        })
        .collect();
    json!({"bucket": bucket.map(|bucket| bucket.to_string()), "joins_at_percent": bucket.map(joins_at), "arms": arms})
}

fn print(bucket: Option<Bucket>, gateways: &[Explanation]) {
    match bucket {
        Some(bucket) => println!(
            "bucket {bucket}, in the canary from {}% on (whole percentages; a fraction such as 0.5% re-buckets users)",
            joins_at(bucket)
        ),
        None => println!(
            "not an identity (1 to {MAX_IDENTITY_BYTES} bytes without surrounding blanks): the baseline at every share"
        ),
    }
    for gateway in gateways {
        println!("{}  {} at {}", gateway.url, gateway.arm().as_str(), gateway.users.share);
        let Some(here) = gateway.bucket else { continue };
        if bucket != Some(here) {
            println!("  its filter has another salt: bucket {here}, in the canary from {}% on", joins_at(here));
        }
        match gateway.listed {
            Some(Cohort::OptOut) => println!("  the user has opted out: the baseline at every share"),
            Some(Cohort::Beta) => {
                println!("  the user is in the beta cohort, whose own share is {}", gateway.users.beta)
            }
            _ if gateway.users.cohorts.is_none() => println!("  no filter of Perch is configured there"),
            _ => println!(
                "  if a header or a claim puts the user in a cohort: {} for beta (share {}), baseline for opt-out",
                gateway.arm_in(Cohort::Beta).as_str(),
                gateway.users.beta
            ),
        }
    }
}
