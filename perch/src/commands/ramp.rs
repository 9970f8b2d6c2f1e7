//! `perch ramp`: sends commands to the guard through the audit log, and reports whether the guard accepted them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use guard::plan::Plan;
use guard_runtime::audit_log::{AuditLog, Event};
use guard_runtime::clock::now_ms;
use guard_runtime::status::GuardStatus;
use serde_json::json;

use super::operator::{Attribution, Folder};

/// Time between two readings of the guard's report.
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
#[command(after_help = AFTER_HELP)]
pub(crate) enum Command {
    /// Start a rollout. The share must be 0%; the guard first measures agreement there, then follows the plan's steps
    /// (default: 1%, 5%, 10%, 25%, 50%, 100%)
    Start {
        /// The rollout plan, a YAML or JSON file; `perch ramp plan` prints the default one
        #[arg(long, value_name = "FILE")]
        plan: Option<PathBuf>,
        #[command(flatten)]
        options: CommandOptions,
    },
    /// Pause the rollout; the guard keeps evaluating, but changes no share until it is resumed
    Pause(CommandOptions),
    /// Resume after a pause, a freeze or a manual override, from the present share; after a rollback from 0%: the guard
    /// measures agreement again, then follows the plan
    Resume(CommandOptions),
    /// Approve leaving the current step, which waits for an operator
    Approve(CommandOptions),
    /// End the rollout, and keep the share
    Abort(CommandOptions),
    /// Show the step of the rollout, the guard's last decision and its checks
    Status {
        #[command(flatten)]
        folder: Folder,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check a rollout plan, and print it with all defaults filled in
    Plan {
        /// The rollout plan, a YAML or JSON file [default: the default plan]
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

const AFTER_HELP: &str = "\
Examples:
  perch ramp plan > plan.yaml                       write the default plan to a file, to edit it
  perch ramp start --plan plan.yaml --reason 'model 2026-11-20'
  perch ramp status                                 step of the rollout, and the reasons of the last decision
  perch ramp approve --reason 'samples reviewed'    approve leaving a step that is marked `manual: true`
  perch ramp pause --reason 'release freeze'
  perch ramp resume

Exit codes:
  0  success: the guard accepted the command (with --wait 0: it was recorded)
  1  failure: the guard rejected the command, or no guard accepted it in time (it stays in the audit log, and the next
     guard carries it out)
  2  wrong usage";

/// Options of every command to the guard.
#[derive(Debug, clap::Args)]
pub(crate) struct CommandOptions {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    attribution: Attribution,
    /// Seconds to wait until a guard accepts the command; 0: do not wait
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Start { plan, options } => {
            let plan = read(plan.as_deref())?;
            send(&options, Event::Start { plan: Box::new(plan.raw().clone()) }, "started").await
        }
        Command::Pause(options) => send(&options, Event::Pause, "paused").await,
        Command::Resume(options) => send(&options, Event::Resume, "resumed").await,
        Command::Approve(options) => send(&options, Event::Approve, "approved").await,
        Command::Abort(options) => send(&options, Event::Abort, "ended").await,
        Command::Status { folder, json } => status(&folder, json),
        Command::Plan { file, json } => plan(file.as_deref(), json),
    }
}

fn read(file: Option<&Path>) -> anyhow::Result<Plan> {
    let Some(file) = file else { return Ok(Plan::parse("")?) };
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    Plan::parse(&text).with_context(|| format!("checking the plan {}", file.display()))
}

async fn send(options: &CommandOptions, what: Event, done: &str) -> anyhow::Result<()> {
    let folder = options.folder.required()?;
    let audit_log = AuditLog::in_folder(&folder)?;
    let number = {
        let mut held = audit_log.lock().await.context("the command was not written to the audit log")?;
        held.append(now_ms(), options.attribution.by(), what, options.attribution.reason.as_str())
            .context("the command was not written to the audit log")?
    };
    let end = tokio::time::Instant::now() + Duration::from_secs(options.wait);
    while !GuardStatus::read(&folder, now_ms())?.is_processed(number) {
        if options.wait == 0 {
            return print(
                options,
                json!({"entry": number, "accepted": null}),
                "written to the audit log; the guard reads it at its next evaluation",
            );
        }
        if tokio::time::Instant::now() >= end {
            bail!(
                "no guard accepted the command within {} s; it is entry {number} of the audit log, and the next guard \
                 carries it out (start `perch guard` with this folder)",
                options.wait
            );
        }
        tokio::time::sleep(POLL).await;
    }
    let requested_entry = format!("entry {number}");
    let rejection = audit_log.read()?.into_iter().find(|entry| match &entry.event {
        Event::Rejected { requested } => *requested == requested_entry,
        _ => false,
    });
    match rejection {
        Some(entry) => bail!("the guard rejected the command: {}", entry.reason),
        None => print(options, json!({"entry": number, "accepted": true}), done),
    }
}

fn print(options: &CommandOptions, json: serde_json::Value, text: &str) -> anyhow::Result<()> {
    println!("{}", if options.json { json.to_string() } else { text.to_owned() });
    Ok(())
}

fn status(folder: &Folder, json: bool) -> anyhow::Result<()> {
    let now = now_ms();
    let status = GuardStatus::read(&folder.required()?, now)?;
    if json {
        println!("{}", serde_json::to_string(&status)?);
        return Ok(());
    }
    for (label, line) in status.lines(now) {
        println!("{label:<14} {line}");
    }
    for check_result in status.report.iter().filter_map(|report| report.decision.as_ref()).flat_map(|d| &d.checks) {
        println!("  {:<12} {:<8} {}", check_result.check.as_str(), check_result.outcome.as_str(), check_result.reason);
    }
    Ok(())
}

fn plan(file: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let plan = read(file)?;
    if json {
        println!("{}", serde_json::to_string(plan.raw())?);
    } else {
        print!("{}", serde_yaml_ng::to_string(plan.raw())?);
    }
    Ok(())
}
