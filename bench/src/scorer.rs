//! The scorer that the benchmarks use: the real one, with a small store of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use contract::ports::Part;
use stack::Stack;

use crate::machine::{self, Cores};

/// Users in the store, some dozens of transactions each.
const USERS: &str = "200";

/// A running scorer.
pub(crate) struct Scorer {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    /// It ends with this.
    _stack: Stack,
}

/// Starts one with the champion of `registry`, on the cores that the gateway does not have, behind everybody else there.
///
/// # Errors
/// When it does not start.
pub(crate) async fn start(application: SocketAddr, registry: Option<PathBuf>, cores: &Cores) -> Result<Scorer> {
    let builder = Stack::builder()?.no_gateway().rules_at(application).env(Part::Scorer, "PERCH_OBSERVE_THREADS", "1");
    let place = builder.place().clone();
    let registry = registry.unwrap_or_else(|| place.file("models/registry"));
    let mut stack = builder.registry(registry).prepare()?;
    let data = stack.dir().join("data");
    std::fs::create_dir_all(&data)?;
    let store = format!("sqlite://{}", data.join("perch.sqlite").display());
    let seeded = Command::new(place.program("rules-backend"))
        .args(["seed", "--users", USERS, "--store", &store])
        .output()
        .context("seeding a store: `make build` makes the program")?;
    ensure!(seeded.status.success(), "seeding a store: {}", String::from_utf8_lossy(&seeded.stderr));
    stack.start().await.context("starting the scorer: `make model` makes the model that it needs")?;
    let pid = stack.pid(Part::Scorer).context("no scorer")?;
    machine::pin(pid, &cores.rest)?;
    machine::step_back(pid)?;
    let address = stack.url(Part::Scorer).trim_start_matches("http://").parse()?;
    Ok(Scorer { address, pid, _stack: stack })
}
