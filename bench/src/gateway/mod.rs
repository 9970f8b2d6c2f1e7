//! The gateway beside others.
//!
//! Every variant is an Envoy of its own with one worker, all pinned to one core; load, application and scorer run on the
//! rest. The variants take short turns, many to a round, and a round's figures are set against the same round's "no filter",
//! so that what the machine does meanwhile hits all alike. "No filter" runs twice: what lies between the two is what the
//! bench cannot tell.
//!
//! The scorer runs only when nobody else wants its core. In production it has a core of its own; here it would otherwise
//! stand in the way of the load and of the application, which share theirs, and count as the gateway's latency.

mod beside;
mod observed;
mod turns;
mod variants;
mod write;

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use self::turns::{Figures, Phases};
use self::variants::Beside;
use crate::load::Protocol;
use crate::machine::{self, Cores};
use crate::scorer;
use crate::traffic::{self, Kind};

#[derive(Args)]
pub(crate) struct Options {
    /// What a request costs at saturation and nothing more, for trying something out: README stays as it is
    #[arg(long)]
    quick: bool,
    /// Only these, by the names in the JSON, and only the first case
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// One way of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) protocol: Protocol,
}

const FIRST: Case = Case { kind: Kind { bytes: 1024, items: 1 }, protocol: Protocol::H1 };

/// One axis at a time around the first case; the whole matrix would take hours and say little more.
const OTHERS: [Case; 5] = [
    Case { kind: Kind { bytes: 100, items: 1 }, protocol: Protocol::H1 },
    Case { kind: Kind { bytes: 16 * 1024, items: 1 }, protocol: Protocol::H1 },
    Case { kind: Kind { bytes: 1024, items: 10 }, protocol: Protocol::H1 },
    Case { kind: Kind { bytes: 1024, items: 100 }, protocol: Protocol::H1 },
    Case { kind: Kind { bytes: 1024, items: 1 }, protocol: Protocol::H2 },
];

/// Whom the other cases are asked of.
const IN_OTHERS: [&str; 3] = ["none", "mirror", "perch_0"];

/// All that was measured of one case.
pub(crate) struct Measured {
    pub(crate) case: Case,
    /// By key, in the order of the variants.
    pub(crate) figures: Vec<(&'static str, &'static str, Figures)>,
}

/// All that a run found.
pub(crate) struct Found {
    pub(crate) measured: Vec<Measured>,
    /// What became of the observations, by key.
    pub(crate) observed: Vec<(&'static str, Value)>,
    pub(crate) besides: Option<Besides>,
}

/// What only a whole run measures.
pub(crate) struct Besides {
    /// p50 and p99 in µs of the scorer's own answers.
    pub(crate) model_alone: [f64; 2],
    /// µs of CPU a second of a gateway with nothing to do, by key.
    pub(crate) idle: Vec<(&'static str, f64)>,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let cores = Cores::split()?;
    machine::pin(std::process::id(), &cores.rest)?;
    let kinds: Vec<Kind> = [FIRST].iter().chain(&OTHERS).map(|case| case.kind).collect();
    let application = traffic::application(&kinds).await?;
    let scorer = scorer::start(application, None, &cores).await?;
    let beside = Beside { application, scorer: scorer.address };
    let variants = variants::start(beside, &cores, &options.only).await?;
    let short = options.quick || !options.only.is_empty();
    let phases = if options.quick { Phases::quick() } else { Phases::full() };
    let everyone: Vec<usize> = (0..variants.len()).collect();
    let mut measured = vec![turns::measure(FIRST, &variants, &everyone, phases).await?];
    if !short {
        let some: Vec<usize> =
            variants.iter().enumerate().filter(|(_, v)| IN_OTHERS.contains(&v.key)).map(|(at, _)| at).collect();
        for case in OTHERS {
            measured.push(turns::measure(case, &variants, &some, Phases::other()).await?);
        }
    }
    let observed = observed::all(&variants).await?;
    if short {
        return write::all(&Found { measured, observed, besides: None }, false);
    }
    // As many as come through a gateway of which a tenth of the users ask the model.
    let rate = measured
        .first()
        .and_then(|first| first.of("perch_10"))
        .map_or(0.0, |figures| 0.1 * figures.steady[0].rate.median());
    let model_alone = beside::model_alone(scorer.address, &Arc::new(FIRST.kind.exchanges()), rate).await?;
    let besides = Some(Besides { model_alone, idle: beside::idle(&variants).await? });
    write::all(&Found { measured, observed, besides }, true)
}

/// Requests a second that a gateway core handles with Perch at 0 % and nothing else to do: the first case at saturation.
///
/// # Errors
/// When something does not start, or a request is not answered as it should be.
pub(crate) async fn requests_a_second(cores: &Cores) -> Result<f64> {
    let application = traffic::application(&[FIRST.kind]).await?;
    let scorer = scorer::start(application, None, cores).await?;
    let beside = Beside { application, scorer: scorer.address };
    let variants = variants::start(beside, cores, &["perch_0".to_owned()]).await?;
    let measured = turns::measure(FIRST, &variants, &[0], Phases::other()).await?;
    let figures = measured.figures.first().map(|(_, _, figures)| figures);
    Ok(figures.map_or(f64::NAN, |figures| figures.saturated.median()))
}
