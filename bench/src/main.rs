//! What Perch costs, measured: `bench gateway` sets the gateway beside others, `bench system` asks how far one scorer
//! reaches. Each writes `target/bench/NAME.json` and a table of `docs/benchmarks.md`; `bench chart` draws README's chart.
//!
//! | module | what it is |
//! |---|---|
//! | [`traffic`] | requests and answers of a given size, and the application that gives the answers |
//! | [`load`] | clients: as fast as they can, or at a constant rate |
//! | [`machine`] | cores, processes' CPU time and memory, where and when |
//! | [`figures`] | medians, spreads, percentiles, ratios |
//! | [`gateway`], [`system`] | the two benchmarks |
//! | [`chart`] | the gateway's costs as README shows them |

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints what it found")]

mod chart;
mod figures;
mod gateway;
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
enum What {
    /// The gateway beside others: no filter, a filter that does nothing, Envoy's mirror, a Lua filter.
    Gateway(gateway::Options),
    /// How far one scorer reaches, with what memory, and how its cost grows.
    System(system::Options),
    /// README's chart, from a result of `bench gateway`.
    Chart(chart::Options),
}

fn main() -> Result<()> {
    let what = What::parse();
    machine::many_files()?;
    // One thread: load and application share the core that the gateway does not have.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match what {
        What::Gateway(options) => runtime.block_on(gateway::run(&options)),
        What::System(options) => runtime.block_on(system::run(&options)),
        What::Chart(options) => chart::run(&options),
    }
}
