//! How many gateway cores one scorer core can serve, with what memory, and how its cost grows.
//!
//! A gateway core sends as many observations as Perch at 0% handles requests when it does nothing else. The scorer has
//! a core of its own and is sent what so many gateways would send, by a program that speaks their protocol, since a
//! machine of two cores cannot run several gateways beside it. Gateway and scorer take turns on the same core: other
//! load on the machine changes its speed by half from one minute to the next.

mod cases;
mod feed;
mod results;
mod write;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use filter::config::Module;
use filter::config::raw::Limits;
use stack::checkout::Checkout;

use self::cases::{Case, Model};
use self::feed::FeedResult;
use self::results::{Reach, Results, STEADY_SHARE, Saturated};
use crate::figures::Rounds;
use crate::gateway::GatewayCore;
use crate::machine::{self, Cores};
use crate::scorer::{self, Scorer};
use crate::traffic;

#[derive(Args)]
pub(crate) struct Options {
    /// Take a fraction of the time, to try something out; the table is not written
    #[arg(long)]
    quick: bool,
    /// Observations of the run over which memory is measured; the default is an hour of 500 requests a second
    #[arg(long, default_value_t = 1_800_000)]
    observations: u64,
}

/// Rounds of a case beside the first.
const ROUNDS: usize = 7;

/// Rounds in which a gateway core and a scorer core take turns.
const ALTERNATING_ROUNDS: usize = 7;

pub(crate) async fn run(options: &Options) -> Result<()> {
    let cores = Cores::split()?;
    machine::pin(std::process::id(), &cores.rest)?;
    let gateway = GatewayCore::start(&cores).await?;
    let rate = gateway.requests_a_second().await?;
    let record = cases::BYTES + contract::frame::RECORD_OVERHEAD;
    let gathered = rate * f64::from(Limits::default().flush_ms) / 1e3;
    let batch = (gathered as usize).min(Module::Native.batch_bytes() / record);
    let (rounds, length) =
        if options.quick { (1, Duration::from_millis(1_500)) } else { (ROUNDS, Duration::from_millis(2_500)) };

    let first = cases::first(batch);
    let scorer = start(first.model, &cores).await?;
    let before = machine::memory(scorer.pid)?;
    let bench = Bench { first, scorer, rounds, length };
    let mut cases = vec![bench.saturated(&bench.scorer, first).await?];
    let reach = bench.reach(&gateway, if options.quick { 1 } else { ALTERNATING_ROUNDS }).await?;
    drop(gateway);
    let most = reach.scorer.median();
    let (sent, steady) = feed::open_loop(bench.scorer.address, first.load, STEADY_SHARE * most, length * 2).await?;
    let observations = if options.quick { options.observations / 20 } else { options.observations };
    let (memory, long) = watch_memory(&bench.scorer, first, observations).await?;
    let mut other: Option<(Model, usize, Scorer)> = None;
    for case in cases::others(batch) {
        // A scorer keeps what it knows of a million users: it must not be compared with the first case after that.
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
    write::all(&Results { reach, cases, sent, steady, memory, long }, !options.quick)
}

/// The first case with its scorer, with which every other is compared.
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
            let scorer = feed::closed_loop(self.scorer.address, self.first.load, self.length).await?.rate();
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
        // Until every transaction is cached and every user known.
        let mut sent = 0;
        while sent < case.load.users.max(case.load.transactions) as u64 {
            sent += feed::closed_loop(scorer.address, case.load, self.length / 2).await?.observations;
        }
        let (mut rate, mut cpu, mut over_first) = (Rounds::default(), Rounds::default(), Rounds::default());
        let (mut before, mut last) = (turn(&self.scorer, self.first, self.length).await?.0, FeedResult::default());
        for _ in 0..self.rounds {
            let (used, result) = turn(scorer, case, self.length).await?;
            let after = turn(&self.scorer, self.first, self.length).await?.0;
            rate.push(result.rate());
            cpu.push(used);
            over_first.push(used / f64::midpoint(before, after));
            (before, last) = (after, result);
        }
        Ok(Saturated { case, rate, cpu, over_first, last })
    }
}

/// µs of CPU an observation, and the sum of the batch results.
async fn turn(scorer: &Scorer, case: Case, length: Duration) -> Result<(f64, FeedResult)> {
    let used = machine::cpu_ns(scorer.pid)?;
    let result = feed::closed_loop(scorer.address, case.load, length).await?;
    let used = machine::cpu_ns(scorer.pid)?.saturating_sub(used) as f64;
    Ok((used / 1e3 / result.observations.max(1) as f64, result))
}

/// Runs for long, and returns the scorer's memory at twelve points of it.
async fn watch_memory(scorer: &Scorer, case: Case, observations: u64) -> Result<(Vec<u64>, FeedResult)> {
    eprintln!("memory over {observations} observations");
    let (mut memory, mut all) = (Vec::new(), FeedResult::default());
    while all.observations < observations {
        let step = feed::closed_loop(scorer.address, case.load, Duration::from_secs(1)).await?;
        all.merge(&step);
        if all.observations >= observations * (memory.len() as u64 + 1) / 12 {
            memory.push(machine::memory(scorer.pid)?);
        }
    }
    Ok((memory, all))
}

/// Starts a scorer with a model of that size on the gateway's core.
async fn start(model: Model, cores: &Cores) -> Result<Scorer> {
    let registry = registry(model)?;
    let application = traffic::application(&[]).await?;
    let scorer = scorer::start(application, Some(registry), cores).await?;
    machine::pin(scorer.pid, &cores.gateway)?;
    machine::restore_priority(scorer.pid)?;
    Ok(scorer)
}

/// The registry with a model of that size, which is made if there is none.
fn registry(model: Model) -> Result<PathBuf> {
    let checkout = Checkout::find()?;
    let folder = checkout.file("target/bench/models").join(format!("{}-{}", model.trees, model.labels));
    if !folder.join("champion").is_file() {
        eprintln!("making a model of {} trees and {} labels", model.trees, model.labels);
        make(&checkout, &folder, model)?;
    }
    Ok(folder)
}

fn make(checkout: &Checkout, folder: &Path, model: Model) -> Result<()> {
    let python = checkout.state().join("venv/bin/python");
    let made = Command::new(&python)
        .arg(checkout.file("bench/python/model.py"))
        .arg(checkout.file("models/registry"))
        .arg(folder)
        .args([model.trees.to_string(), model.labels.to_string()])
        .output()
        .with_context(|| format!("running {}: `setup/run training` installs it", python.display()))?;
    ensure!(made.status.success(), "bench/python/model.py: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}
