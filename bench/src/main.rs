//! Measures what Perch costs: `bench gateway` compares the gateway with others, `bench system` finds how many gateways
//! one scorer can serve. Each writes `target/bench/NAME.json` and a table of `docs/benchmarks.md`; `bench chart` draws
//! README's chart.
//!
//! | module | what it is |
//! |---|---|
//! | [`traffic`] | requests and responses of a given size, and the application that gives the responses |
//! | [`load`] | clients: as fast as they can, or at a constant rate |
//! | [`machine`] | cores, processes' CPU time and memory, machine, date and commit |
//! | [`latencies`] | latencies as histograms |
//! | [`figures`] | medians, spreads, ratios |
//! | [`gateway`], [`system`] | the two benchmarks |
//! | [`chart`] | the gateway's costs as README shows them |

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints what it found")]

mod chart;
mod figures;
mod gateway;
mod latencies;
mod load;
mod machine;
mod report;
mod scorer;
mod system;
mod traffic;

use anyhow::Result;
use clap::Parser;

/// Measures what Perch costs.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
enum Command {
    /// Compare the gateway with others: no filter, a filter that does nothing, Envoy's mirror, a Lua filter
    Gateway(gateway::Options),
    /// Find how many gateway cores one scorer core can serve, its memory, and how its cost grows
    System(system::Options),
    /// Draw README's chart from a result of `bench gateway`
    Chart(chart::Options),
}

fn main() -> Result<()> {
    let command = Command::parse();
    machine::raise_open_file_limit()?;
    // One thread: load and application share the core that the gateway does not use.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Command::Gateway(options) => runtime.block_on(gateway::run(&options)),
        Command::System(options) => runtime.block_on(system::run(&options)),
        Command::Chart(options) => chart::run(&options),
    }
}
