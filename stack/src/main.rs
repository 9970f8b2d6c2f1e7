//! `stack`: Perch on one machine.
#![allow(clippy::print_stderr, reason = "a command line program talks to its terminal")]

/// A line to standard output. It is not an error if the reader has gone (`… | head`).
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($argument)*);
    }};
}

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs Perch on one machine: renders the configurations, starts and stops the parts, shows the demo.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    log: logging::LogOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print Envoy's configuration, or write every part's with --all
    Render(commands::render::Options),
    /// Check every configuration with the program that reads it; starts nothing
    Check,
    /// Start what does not run, wait until everything is ready, and leave it running
    Up(commands::up::Options),
    /// Stop what `up` started
    Down,
    /// Show each part that `up` was told to start, whether it is ready, and the share; exit code 1 if one does not run
    /// or is not ready
    Status,
    /// Run a whole rollout on the real stack: 0 → 10% → 50% → 100%, a scorer killed under load, back to 0%; then the same
    /// rollout driven by the guard, with a good and with a bad model
    Demo(commands::demo::Options),
    /// Run everything under load, with some ill-behaved clients, and fail if an alert fires or the guard stops the
    /// rollout
    Soak(commands::soak::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.log.start();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "runtime_not_started");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments.command)) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "failed");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Render(options) => commands::render::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Check => commands::check::run().map(|()| ExitCode::SUCCESS),
        Command::Up(options) => commands::up::run(&options).await.map(|()| ExitCode::SUCCESS),
        Command::Down => commands::down::run().map(|()| ExitCode::SUCCESS),
        Command::Status => commands::status::run().await,
        Command::Demo(options) => commands::demo::run(options).await,
        Command::Soak(options) => commands::soak::run(options).await,
    }
}
