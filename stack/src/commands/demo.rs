//! `stack demo`.

use std::process::ExitCode;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Users in the traffic
    #[arg(long, default_value_t = 4_000)]
    users: u32,
}

pub(crate) async fn run(_options: Options) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
