//! `perch`: the operator's command.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its terminal")]

mod commands;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Operates a canary of machine-learned responses: sets the share, runs the rollout, compares baseline and candidate.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Words:
  baseline    the application, and its response
  candidate   the model under trial, and its response
  share       percentage of users who are given the candidate
  cohort      users to whom the share does not apply: beta users, with a share of their own, and opt-outs
  rollout     raising the share step by step, by a plan
  gateway     an Envoy with Perch's filter
  guard       the process of `perch guard` that moves the share
  scorer      the service that runs the model and compares both responses

Examples:
  perch status                   state of the rollout
  perch canary set 10%           give the candidate to 10% of the users
  perch rollback --reason WHY    set the share to 0% on every gateway, until an operator resumes
  perch ramp start               let the guard raise the share: 1%, 5%, 10%, 25%, 50%, 100%
  perch canary explain user-42   bucket of a user, and the whole percentage from which the user is in the canary
  perch replay requests.jsonl    compare both on recorded requests, before any canary
  perch analyse --since 2h       compare both on live traffic
  perch doctor                   check this deployment

Exit codes:
  0  success
  1  failure, or success on only some of the gateways; the message names them and the fix
  2  wrong usage
  3  success, with a bad finding (see each command's --help)";

#[derive(Debug, Subcommand)]
enum Command {
    /// Read, set and explain the share of users who are given the candidate
    #[command(subcommand)]
    Canary(commands::canary::Command),
    /// Read the cohorts that bypass the share (beta users and opt-outs), and set the beta cohort's share
    #[command(subcommand)]
    Cohort(commands::cohort::Command),
    /// Run the guard, which evaluates the canary, advances the rollout in steps and rolls it back
    Guard(Box<commands::guard::Options>),
    /// Control the guard's rollout: start, pause, resume, approve, abort
    #[command(subcommand)]
    Ramp(commands::ramp::Command),
    /// Set the share to 0% on every gateway (in force within two seconds), until an operator resumes
    Rollback(commands::rollback::Options),
    /// Compare baseline and candidate on live traffic: agreement, accept rates, sample ratio
    Analyse(commands::analyse::Options),
    /// List the models in the registry, deploy one, or return to the previous one
    #[command(subcommand)]
    Model(commands::model::Command),
    /// List single items on which baseline and candidate disagree
    Disagreements(commands::disagreements::Options),
    /// Compare baseline and candidate on recorded requests, before any canary
    Replay(commands::replay::Options),
    /// Check this deployment, and print each finding with its fix
    Doctor(commands::doctor::Options),
    /// Show the state of the rollout: share, agreement, model, alerts, guard
    Status(commands::status::Options),
    /// Print shell completions, to be sourced by the shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("perch: cannot start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = match arguments.command {
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
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("perch: {error:#}");
            ExitCode::FAILURE
        }
    }
}
