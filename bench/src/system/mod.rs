//! How far one scorer reaches: how many gateway cores it can observe, with what memory, and how its cost grows.
//!
//! What a gateway's core sends is how many requests a second Perch at 0% handles when it does nothing else. The scorer has
//! a core of its own and is fed what so many gateways would send, by a program that speaks their protocol, since a machine
//! of two cores cannot hold several gateways beside it. The two take turns on one and the same core: what others do on
//! the machine changes its speed by half from one minute to the next.

mod feed;
mod size;
mod write;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use filter::config::Module;
use filter::config::raw::Limits;
use stack::place::Place;

use self::feed::Fed;
use self::size::{Case, Model};
use crate::figures::Rounds;
use crate::gateway::GatewayCore;
use crate::machine::{self, Cores};
use crate::scorer::{self, Scorer};
use crate::traffic;

#[derive(Args)]
pub(crate) struct Options {
    /// A fraction of the time, for trying something out: the table stays as it is
    #[arg(long)]
    quick: bool,
    /// Observations of the run that memory is watched over; the default is an hour of 500 requests a second
    #[arg(long, default_value_t = 1_800_000)]
    observations: u64,
}

/// Part of what it can do at most, at which nothing may be dropped.
const STEADY_SHARE: f64 = 0.8;

/// Rounds of a case beside the first.
const ROUNDS: usize = 7;

/// Rounds in which a gateway core and a scorer core take turns.
const IN_TURNS: usize = 7;

/// The scorer at saturation.
pub(crate) struct Saturated {
    case: Case,
    /// Observations a second.
    rate: Rounds,
    /// µs of CPU an observation.
    cpu: Rounds,
    /// That, as a multiple of what the first case took just before and just after: what the machine does to both goes
    /// away.
    over_first: Rounds,
    last: Fed,
}

/// A gateway's core and a scorer's, in turns.
#[derive(Default)]
pub(crate) struct Reach {
    /// Requests a second of a gateway core.
    gateway: Rounds,
    /// Observations a second of a scorer core.
    scorer: Rounds,
    /// The latter, as a multiple of what the former was just before and just after.
    cores: Rounds,
}

/// All that was found.
pub(crate) struct Found {
    reach: Reach,
    cases: Vec<Saturated>,
    sent: u64,
    steady: Fed,
    /// Bytes of the scorer's memory before anything came, and during the long run at even steps.
    memory: Vec<u64>,
    long: Fed,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let cores = Cores::split()?;
    machine::pin(std::process::id(), &cores.rest)?;
    let gateway = GatewayCore::start(&cores).await?;
    let rate = gateway.requests_a_second().await?;
    let record = size::BYTES + contract::frame::RECORD_OVERHEAD;
    let gathered = rate * f64::from(Limits::default().flush_ms) / 1e3;
    let batch = (gathered as usize).min(Module::Native.batch_bytes() / record);
    let (rounds, length) =
        if options.quick { (1, Duration::from_millis(1_500)) } else { (ROUNDS, Duration::from_millis(2_500)) };

    let first = size::first(batch);
    let scorer = start(first.model, &cores).await?;
    let before = machine::memory(scorer.pid)?;
    let bench = Bench { first, scorer, rounds, length };
    let mut cases = vec![bench.saturated(&bench.scorer, first).await?];
    let reach = bench.reach(&gateway, if options.quick { 1 } else { IN_TURNS }).await?;
    drop(gateway);
    let most = reach.scorer.median();
    let (sent, steady) = feed::steady(bench.scorer.address, first.load, STEADY_SHARE * most, length * 2).await?;
    let observations = if options.quick { options.observations / 20 } else { options.observations };
    let (memory, long) = watched(&bench.scorer, first, observations).await?;
    let mut other: Option<(Model, usize, Scorer)> = None;
    for case in size::others(batch) {
        // What a scorer knows of a million users it keeps: it must not stand beside the first case with that.
        let (model, users) = (case.model, case.load.users);
        if (model, users) == (first.model, first.load.users) {
            cases.push(bench.saturated(&bench.scorer, case).await?);
            continue;
        }
        let scorer = match other.take() {
            Some((of, seen, scorer)) if (of, seen) == (model, users) => scorer,
            _ => start(model, &cores).await?,
        };
        cases.push(bench.saturated(&scorer, case).await?);
        other = Some((model, users, scorer));
    }
    let memory = [before].into_iter().chain(memory).collect();
    write::all(&Found { reach, cases, sent, steady, memory, long }, !options.quick)
}

/// The first case with its scorer, which every other is set beside.
struct Bench {
    first: Case,
    scorer: Scorer,
    rounds: usize,
    length: Duration,
}

impl Bench {
    /// The first case and `gateway`, in turns.
    async fn reach(&self, gateway: &GatewayCore, rounds: usize) -> Result<Reach> {
        let mut reach = Reach::default();
        let mut before = gateway.requests_a_second().await?;
        for round in 0..rounds {
            eprintln!("round {} of {rounds}: a gateway core and a scorer core", round + 1);
            let scorer = feed::saturate(self.scorer.address, self.first.load, self.length).await?.rate();
            let after = gateway.requests_a_second().await?;
            reach.gateway.push(after);
            reach.scorer.push(scorer);
            reach.cores.push(scorer / f64::midpoint(before, after));
            before = after;
        }
        Ok(reach)
    }

    async fn saturated(&self, scorer: &Scorer, case: Case) -> Result<Saturated> {
        eprintln!("{} {}", case.axis, case.value);
        // Transactions come into the cache, and every user once.
        let mut seen = 0;
        while seen < case.load.users.max(case.load.transactions) as u64 {
            seen += feed::saturate(scorer.address, case.load, self.length / 2).await?.observations;
        }
        let (mut rate, mut cpu, mut over_first) = (Rounds::default(), Rounds::default(), Rounds::default());
        let (mut before, mut last) = (turn(&self.scorer, self.first, self.length).await?.0, Fed::default());
        for _ in 0..self.rounds {
            let (used, fed) = turn(scorer, case, self.length).await?;
            let after = turn(&self.scorer, self.first, self.length).await?.0;
            rate.push(fed.rate());
            cpu.push(used);
            over_first.push(used / f64::midpoint(before, after));
            (before, last) = (after, fed);
        }
        Ok(Saturated { case, rate, cpu, over_first, last })
    }
}

/// µs of CPU an observation, and what came back.
async fn turn(scorer: &Scorer, case: Case, length: Duration) -> Result<(f64, Fed)> {
    let used = machine::cpu_ns(scorer.pid)?;
    let fed = feed::saturate(scorer.address, case.load, length).await?;
    let used = machine::cpu_ns(scorer.pid)?.saturating_sub(used) as f64;
    Ok((used / 1e3 / fed.observations.max(1) as f64, fed))
}

/// A long run, and the scorer's memory at twelve points of it.
async fn watched(scorer: &Scorer, case: Case, observations: u64) -> Result<(Vec<u64>, Fed)> {
    eprintln!("memory over {observations} observations");
    let (mut memory, mut all) = (Vec::new(), Fed::default());
    while all.observations < observations {
        let step = feed::saturate(scorer.address, case.load, Duration::from_secs(1)).await?;
        all.merge(&step);
        if all.observations >= observations * (memory.len() as u64 + 1) / 12 {
            memory.push(machine::memory(scorer.pid)?);
        }
    }
    Ok((memory, all))
}

/// A scorer with a model of that size and with the gateway's core to itself.
async fn start(model: Model, cores: &Cores) -> Result<Scorer> {
    let registry = registry(model)?;
    let nobody = traffic::application(&[]).await?;
    let scorer = scorer::start(nobody, Some(registry), cores).await?;
    machine::pin(scorer.pid, &cores.gateway)?;
    machine::step_forward(scorer.pid)?;
    Ok(scorer)
}

/// The registry of the model of that size, made if it is not there.
fn registry(model: Model) -> Result<PathBuf> {
    let place = Place::find()?;
    let folder = place.file("target/bench/models").join(format!("{}-{}", model.trees, model.labels));
    if !folder.join("champion").is_file() {
        eprintln!("making a model of {} trees and {} labels", model.trees, model.labels);
        make(&place, &folder, model)?;
    }
    Ok(folder)
}

fn make(place: &Place, folder: &Path, model: Model) -> Result<()> {
    let python = place.state().join("venv/bin/python");
    let made = Command::new(&python)
        .arg(place.file("bench/python/model.py"))
        .arg(place.file("models/registry"))
        .arg(folder)
        .args([model.trees.to_string(), model.labels.to_string()])
        .output()
        .with_context(|| format!("{}: `setup/run training` makes it", python.display()))?;
    ensure!(made.status.success(), "bench/python/model.py: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}
