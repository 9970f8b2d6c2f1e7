//! `perch ramp`: orders to the guard, by way of the ledger, and what became of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use perch::guard::audit_log::{AuditLog, Event};
use perch::guard::clock::now_ms;
use perch::guard::plan::Plan;
use perch::guard::status::GuardStatus;
use serde_json::json;

use super::operator::{Folder, Voice};

const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
#[command(after_help = AFTER_HELP)]
pub(crate) enum Command {
    /// Start a ramp from 0%: 1 → 5 → 10 → 25 → 50 → 100 unless a plan says otherwise
    Start {
        /// A plan file (YAML or JSON); `perch ramp plan` prints one to begin with
        #[arg(long, value_name = "FILE")]
        plan: Option<PathBuf>,
        #[command(flatten)]
        order: Order,
    },
    /// Let the guard do nothing until it is resumed; it goes on judging
    Pause(Order),
    /// Let the guard go on, after a pause, a freeze, a rollback or a change by hand
    Resume(Order),
    /// Let the ramp leave a step that waits for a human
    Approve(Order),
    /// End the ramp; the share stays where it is
    Abort(Order),
    /// Where the ramp is, and why
    Status {
        #[command(flatten)]
        folder: Folder,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check a plan file and print it with everything that it leaves out; without one the default plan
    Plan {
        /// The file (YAML or JSON)
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

const AFTER_HELP: &str = "\
Examples:
  perch ramp plan > plan.yaml                       the default plan, to be changed
  perch ramp start --plan plan.yaml --reason 'model 2026-11-20'
  perch ramp status                                 where it is, and why it does not move
  perch ramp approve --reason 'samples looked at'   leave a step that is marked `manual: true`
  perch ramp pause --reason 'release freeze'
  perch ramp resume

Exit codes:
  0  the guard took the order
  1  it refused it, or none took it in time (it is written down, and carried out when one runs)";

/// Options of every order.
#[derive(Debug, clap::Args)]
pub(crate) struct Order {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    voice: Voice,
    /// Wait so many seconds for a guard to take the order; 0: do not wait
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Start { plan, order } => {
            let plan = read(plan.as_deref())?;
            give(&order, Event::Start { plan: Box::new(plan.raw().clone()) }, "started").await
        }
        Command::Pause(order) => give(&order, Event::Pause, "paused").await,
        Command::Resume(order) => give(&order, Event::Resume, "resumed").await,
        Command::Approve(order) => give(&order, Event::Approve, "approved").await,
        Command::Abort(order) => give(&order, Event::Abort, "ended").await,
        Command::Status { folder, json } => status(&folder, json),
        Command::Plan { file, json } => plan(file.as_deref(), json),
    }
}

fn read(file: Option<&Path>) -> anyhow::Result<Plan> {
    let Some(file) = file else { return Ok(Plan::parse("")?) };
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    Plan::parse(&text).with_context(|| format!("the plan {}", file.display()))
}

async fn give(order: &Order, what: Event, done: &str) -> anyhow::Result<()> {
    let folder = order.folder.required()?;
    let ledger = AuditLog::in_folder(&folder)?;
    let number = {
        let mut held = ledger.lock().await.context("the order was not given")?;
        held.append(now_ms(), order.voice.by(), what, order.voice.reason.as_str()).context("the order was not given")?
    };
    let end = tokio::time::Instant::now() + Duration::from_secs(order.wait);
    while !GuardStatus::read(&folder, now_ms())?.is_processed(number) {
        if order.wait == 0 {
            return say(order, json!({"entry": number, "taken": null}), "written down for the guard's next look");
        }
        if tokio::time::Instant::now() >= end {
            bail!(
                "no guard took the order within {} s: it is written down as entry {number}, and will be carried out when \
                 one looks (is `perch guard` running with this folder?)",
                order.wait
            );
        }
        tokio::time::sleep(POLL).await;
    }
    let refused = format!("entry {number}");
    let answer = ledger.read()?.into_iter().find(|entry| match &entry.event {
        Event::Rejected { requested } => *requested == refused,
        _ => false,
    });
    match answer {
        Some(answer) => bail!("the guard refused: {}", answer.reason),
        None => say(order, json!({"entry": number, "taken": true}), done),
    }
}

fn say(order: &Order, json: serde_json::Value, words: &str) -> anyhow::Result<()> {
    println!("{}", if order.json { json.to_string() } else { words.to_owned() });
    Ok(())
}

fn status(folder: &Folder, json: bool) -> anyhow::Result<()> {
    let now = now_ms();
    let standing = GuardStatus::read(&folder.required()?, now)?;
    if json {
        println!("{}", serde_json::to_string(&standing)?);
        return Ok(());
    }
    for (label, line) in standing.lines(now) {
        println!("{label:<14} {line}");
    }
    for judgement in standing.report.iter().filter_map(|report| report.decision.as_ref()).flat_map(|d| &d.checks) {
        println!("  {:<12} {:<8} {}", judgement.check.as_str(), judgement.outcome.as_str(), judgement.reason);
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
