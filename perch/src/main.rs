//! `perch`: the operator's command.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its terminal")]

mod commands;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Watch and move a canary of machine-learned answers.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  perch status                   how the rollout stands
  perch canary set 10%           a tenth of the users get the model's answer
  perch canary set off           everybody gets the rules, from the next request on
  perch canary explain user-42   that user's bucket, and the share at which the user joins

Exit codes:
  0  done
  1  it could not be done, or holds only on some gateways; the message says which and what to do
  2  the command line is wrong";

#[derive(Debug, Subcommand)]
enum Command {
    /// The share of users who get the model's answer
    #[command(subcommand)]
    Canary(commands::canary::Command),
    /// How the rollout stands, read from the gateways
    Status(commands::status::Options),
    /// Completions for a shell, to be sourced
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("perch: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = match arguments.command {
        Command::Canary(command) => runtime.block_on(commands::canary::run(command)),
        Command::Status(options) => runtime.block_on(commands::status::run(&options)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "perch", &mut std::io::stdout());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("perch: {error:#}");
            ExitCode::FAILURE
        }
    }
}
