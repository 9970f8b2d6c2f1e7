//! The gateway compared with others.
//!
//! Every variant is an Envoy of its own with one worker, all pinned to one core; load, application and scorer run on
//! the rest. [`turns`] says how their turns are taken so that what the machine does meanwhile hits all alike. "No
//! filter" runs twice: the difference between the two is the resolution of the bench.
//!
//! The scorer runs with idle priority. In production it has a core of its own; here it would otherwise delay the load
//! and the application, which share its core, and that would count as the gateway's latency.

mod case;
mod extras;
mod observation_counts;
mod results;
mod turns;
mod variants;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;

use self::case::Case;
use self::results::{CaseResults, Extras, Results};
use self::turns::{Figures, Turns};
use self::variants::{Upstreams, Variant};
use crate::load::Protocol;
use crate::machine::{self, Cores};
use crate::scorer::{self, Scorer};
use crate::traffic::{self, Kind};

#[derive(Args)]
pub(crate) struct Options {
    /// Measure only what a request costs at saturation, to try something out; tables and chart are not written
    #[arg(long)]
    quick: bool,
    /// Measure only these gateways, by their names in the JSON, and only the first case
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Compare with the gateways of another checkout that has been built, e.g. of the commit before a change
    /// (`before_…`)
    #[arg(long, value_name = "CHECKOUT")]
    before: Option<PathBuf>,
    /// Rounds, each with new Envoys; fewer are faster and less precise
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(3..=99))]
    rounds: u32,
}

const FIRST: Case = Case { kind: Kind { bytes: 1024, items: 1, work_ms: 0 }, protocol: Protocol::H1 };

/// One axis at a time around the first case; the whole matrix would take hours and say little more.
const OTHERS: [Case; 5] = [
    Case { kind: Kind { bytes: 100, items: 1, work_ms: 0 }, protocol: Protocol::H1 },
    Case { kind: Kind { bytes: 16 * 1024, items: 1, work_ms: 0 }, protocol: Protocol::H1 },
    Case { kind: Kind { bytes: 1024, items: 10, work_ms: 0 }, protocol: Protocol::H1 },
    Case { kind: Kind { bytes: 1024, items: 100, work_ms: 0 }, protocol: Protocol::H1 },
    Case { kind: Kind { bytes: 1024, items: 1, work_ms: 0 }, protocol: Protocol::H2 },
];

/// The first case with an application that takes its time, as most do: the latencies that a client notices.
const WITH_WORK: Case = Case { kind: Kind { work_ms: 2, ..FIRST.kind }, protocol: Protocol::H1 };

/// The gateways that promises are about; measured in [`WITH_WORK`] too.
const PROMISED: [&str; 8] =
    ["none", "none_again", "mirror", "perch_0", "perch_10", "perch_wasm_0", "before_0", "before_wasm_0"];

/// Measured too in the case with an application that takes its time.
const NO_SCORER: &str = "perch_refused";

/// Slower than the deadline for the candidate.
const SLOW: Kind = Kind { work_ms: 400, ..FIRST.kind };

/// The gateways that are measured in the other cases.
const IN_OTHERS: [&str; 3] = ["none", "mirror", "perch_0"];

impl Options {
    /// Further rounds, which measure only the CPU of a request, and only of the gateways in [`PROMISED`]: one Envoy
    /// differs from the next of the same configuration by more than a turn does from another, so it is their number
    /// that tells a few percent. Latencies stay those of the rounds before, since a spread grows with its rounds.
    const fn rounds_of_cost(&self) -> u32 {
        self.rounds + self.rounds / 3
    }
}

/// Many rounds with few turns rather than the other way round, since an Envoy stays as fast or slow as it has started,
/// and since a median of few rounds lies above the spread of as few others by chance alone (of five rounds once in
/// twelve comparisons, of nine once in sixty-eight).
pub(crate) async fn run(options: &Options) -> Result<()> {
    let cores = Cores::split()?;
    machine::pin(std::process::id(), &cores.rest)?;
    let short = options.quick || !options.only.is_empty();
    let mut cases = vec![FIRST];
    if !short {
        cases.push(WITH_WORK);
        cases.extend(OTHERS);
    }
    let kinds: Vec<Kind> = cases.iter().map(|case| case.kind).chain([SLOW]).collect();
    let application = traffic::application(&kinds).await?;
    let scorer = scorer::start(application, None, &cores).await?;
    let upstreams = Upstreams { application, scorer: scorer.address };
    let before = options.before.as_deref();

    let frozen =
        if short { Vec::new() } else { extras::frozen(upstreams, &cores, &[FIRST.kind, WITH_WORK.kind, SLOW]).await? };

    let mut measured: Vec<CaseResults> =
        cases.into_iter().map(|case| CaseResults { case, figures: Vec::new() }).collect();
    let mut observed = observation_counts::ObservationCounts::default();
    let mut idle = extras::Idle::default();
    let rounds = options.rounds;
    for round in 0..rounds {
        let variants = variants::start(upstreams, &cores, &options.only, before).await?;
        for measured in &mut measured {
            let Case { kind, protocol } = measured.case;
            eprintln!("round {} of {rounds}: {} bytes, {} items, {protocol:?}", round + 1, kind.bytes, kind.items);
            let (taken, turns): (fn(&str) -> bool, _) = match measured.case {
                FIRST if options.quick => (|_| true, Turns { saturated: 5, steady: 0 }),
                FIRST => (|_| true, Turns { saturated: 3, steady: 3 }),
                WITH_WORK => (|key| PROMISED.contains(&key) || key == NO_SCORER, Turns { saturated: 1, steady: 3 }),
                _ => (|key| IN_OTHERS.contains(&key), Turns { saturated: 2, steady: 0 }),
            };
            let taking: Vec<_> = variants.iter().filter(|variant| taken(variant.key)).collect();
            measured.round(&taking, turns).await?;
        }
        observed.add(&variants).await?;
        if !short {
            idle.add(&variants).await?;
        }
    }
    if !short && let Some(first) = measured.first_mut() {
        let promised = PROMISED.map(str::to_owned);
        let rounds = options.rounds_of_cost();
        for round in 0..rounds {
            eprintln!("round {} of {rounds}: what a request costs", round + 1);
            let variants = variants::start(upstreams, &cores, &promised, before).await?;
            first.round(&variants.iter().collect::<Vec<_>>(), Turns { saturated: 3, steady: 0 }).await?;
            observed.add(&variants).await?;
        }
    }
    if short {
        return write::all(&Results { measured, observed, extras: None }, false);
    }
    // As many as a gateway sends with a tenth of the users in the canary.
    let rate = measured
        .first()
        .and_then(|first| first.of("perch_10"))
        .map_or(0.0, |figures| 0.1 * figures.steady[0].rate.median());
    let candidate_alone = extras::candidate_alone(scorer.address, &Arc::new(FIRST.kind.exchanges()), rate).await?;
    write::all(&Results { measured, observed, extras: Some(Extras { candidate_alone, idle, frozen }) }, true)
}

impl CaseResults {
    /// Adds a round of `variants`, which may be fewer than in the rounds before.
    async fn round(&mut self, variants: &[&Variant], turns: Turns) -> Result<()> {
        let exchanges = Arc::new(self.case.kind.exchanges());
        let before = |variant: &&Variant| self.of(variant.key).cloned().unwrap_or_default();
        let mut figures: Vec<Figures> = variants.iter().map(before).collect();
        turns::round(self.case, &exchanges, variants, turns, &mut figures).await?;
        for (variant, new) in variants.iter().zip(figures) {
            match self.figures.iter_mut().find(|(key, _, _)| *key == variant.key) {
                Some((_, _, old)) => *old = new,
                None => self.figures.push((variant.key, variant.label, new)),
            }
        }
        Ok(())
    }
}

/// A gateway core with Perch at 0%, with its application and scorer.
pub(crate) struct GatewayCore {
    variants: Vec<Variant>,
    _scorer: Scorer,
}

impl GatewayCore {
    /// # Errors
    /// When something does not start.
    pub(crate) async fn start(cores: &Cores) -> Result<Self> {
        let application = traffic::application(&[FIRST.kind]).await?;
        let scorer = scorer::start(application, None, cores).await?;
        let upstreams = Upstreams { application, scorer: scorer.address };
        let variants = variants::start(upstreams, cores, &["perch_0".to_owned()], None).await?;
        Ok(Self { variants, _scorer: scorer })
    }

    /// Requests a second that it handles when it does nothing else: some turns of the first case at saturation.
    ///
    /// # Errors
    /// When a response is missing or is not a 200.
    pub(crate) async fn requests_a_second(&self) -> Result<f64> {
        let mut measured = CaseResults { case: FIRST, figures: Vec::new() };
        measured.round(&self.variants.iter().collect::<Vec<_>>(), Turns { saturated: 5, steady: 0 }).await?;
        let figures = measured.figures.first().map(|(_, _, figures)| figures);
        Ok(figures.map_or(f64::NAN, |figures| figures.saturated.median()))
    }
}
