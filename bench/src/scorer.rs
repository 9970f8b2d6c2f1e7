//! The scorer of the benchmarks: the real program with a small store of its own.

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
    /// Ends the scorer when it is dropped.
    _stack: Stack,
}

/// Starts one with the champion of `registry`, with idle priority, on the cores that the gateway does not use.
///
/// # Errors
/// When it does not start.
pub(crate) async fn start(application: SocketAddr, registry: Option<PathBuf>, cores: &Cores) -> Result<Scorer> {
    let builder = Stack::builder()?.no_gateway().rules_at(application).env(Part::Scorer, "PERCH_OBSERVE_THREADS", "1");
    let checkout = builder.checkout().clone();
    let registry = registry.unwrap_or_else(|| checkout.file("models/registry"));
    let mut stack = builder.registry(registry).prepare()?;
    let data = stack.dir().join("data");
    std::fs::create_dir_all(&data)?;
    let store = format!("sqlite://{}", data.join("perch.sqlite").display());
    let seeding = Command::new(checkout.program("rules-backend"))
        .args(["seed", "--users", USERS, "--store", &store])
        .output()
        .context("seeding a store: run `make build`")?;
    ensure!(seeding.status.success(), "seeding a store: {}", String::from_utf8_lossy(&seeding.stderr));
    stack.start().await.context("starting the scorer: run `make model` if there is no model")?;
    let pid = stack.pid(Part::Scorer).context("no scorer")?;
    machine::pin(pid, &cores.rest)?;
    machine::lower_priority(pid)?;
    let address = stack.url(Part::Scorer).trim_start_matches("http://").parse()?;
    Ok(Scorer { address, pid, _stack: stack })
}
