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
  perch rollback --reason WHY    everybody gets the rules, from the next request on, and the guard keeps it so
  perch ramp start               1 → 5 → 10 → 25 → 50 → 100 percent, as far as the guard sees no reason to stop
  perch canary explain user-42   that user's bucket, and the share at which the user joins
  perch replay requests.jsonl    both sides on a recorded log, before any canary
  perch analyse --since 2h       which side is better, with proof
  perch doctor                   is this deployment as it should be?

Exit codes:
  0  done
  1  it could not be done, or holds only on some gateways; the message says which and what to do
  2  the command line is wrong
  3  done, and what was found is bad (see each command's --help)";

#[derive(Debug, Subcommand)]
enum Command {
    /// The share of users who get the model's answer
    #[command(subcommand)]
    Canary(commands::canary::Command),
    /// Users whom the share does not deal: a beta cohort, and who has opted out
    #[command(subcommand)]
    Cohort(commands::cohort::Command),
    /// Run the guard: it watches, moves a ramp up step by step, and back when the evidence says so
    Guard(Box<commands::guard::Options>),
    /// Orders to the guard: a ramp, step by step
    #[command(subcommand)]
    Ramp(commands::ramp::Command),
    /// Everybody gets the rules' answers at once
    Rollback(commands::rollback::Options),
    /// Which side is better, with proof: accept rates, agreement, whose answer people took
    Analyse(commands::analyse::Options),
    /// Models: what serves, deploy, go back
    #[command(subcommand)]
    Model(commands::model::Command),
    /// Single cases in which the sides disagree
    Disagreements(commands::disagreements::Options),
    /// A recorded request log against both sides, before any canary
    Replay(commands::replay::Options),
    /// Is this deployment as it should be? Each finding with the mend
    Doctor(commands::doctor::Options),
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
        Command::Canary(command) => runtime.block_on(commands::canary::run(command)).map(|()| 0),
        Command::Guard(options) => runtime.block_on(commands::guard::run(&options)).map(|()| 0),
        Command::Ramp(command) => runtime.block_on(commands::ramp::run(command)).map(|()| 0),
        Command::Rollback(options) => runtime.block_on(commands::rollback::run(&options)).map(|()| 0),
        Command::Cohort(command) => runtime.block_on(commands::cohort::run(command)),
        Command::Analyse(options) => runtime.block_on(commands::analyse::run(&options)),
        Command::Model(command) => runtime.block_on(commands::model::run(command)),
        Command::Disagreements(options) => runtime.block_on(commands::disagreements::run(&options)),
        Command::Replay(options) => runtime.block_on(commands::replay::run(&options)),
        Command::Doctor(options) => runtime.block_on(commands::doctor::run(&options)),
        Command::Status(options) => runtime.block_on(commands::status::run(&options)).map(|()| 0),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "perch", &mut std::io::stdout());
            Ok(0)
        }
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("perch: {error:#}");
            ExitCode::FAILURE
        }
    }
}
