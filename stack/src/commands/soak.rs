//! `stack soak`: the whole stack under load, with some ill-behaved clients, while the guard drives a rollout. It fails
//! if an alert fires, the guard stops the rollout, a well-behaved client meets an error, or the `lm_*` dashboard
//! queries and `perch status` disagree.

mod ill_behaved;
pub(super) mod queries;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use contract::ports::Part;
use stack::Stack;

use self::ill_behaved::IllBehaved;
use super::demo::guarded_rollout::Guard;
use super::demo::promises::Promises;
use super::demo::tally::{Tally, listed, millis};
use super::demo::traffic::Traffic;
use super::demo::{NO_ALERT, require_model};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Duration in minutes
    #[arg(long, default_value_t = 45, value_parser = clap::value_parser!(u32).range(1..=1_440))]
    minutes: u32,
    /// Requests a second by well-behaved clients; ill-behaved ones come on top
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u32).range(10..=20_000))]
    rate: u32,
}

/// Users, and transactions of the demo's store that they request suggestions for.
const USERS: u32 = 2_000;
const TRANSACTIONS: u64 = 89_843;

const NO_ERRORS: &str = "no well-behaved client met an error";
const NOT_STOPPED: &str = "the guard neither rolled back nor froze";
const FINISHED: &str = "the guard took the model to 100%";

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut stack = super::isolated("soak")?.prepare()?;
    say!("Starting everything; then {} minutes of {} requests a second", options.minutes, options.rate);
    stack.start().await?;
    let outcome = tokio::select! {
        outcome = run_checks(&stack, &options) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    if outcome.is_err() {
        eprintln!("{}", stack.logs());
    }
    say!("Stopping everything");
    stack.stop();
    let promises = outcome?;
    say!("\n{promises}");
    Ok(if promises.unbroken() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run_checks(stack: &Stack, options: &Options) -> anyhow::Result<Promises> {
    require_model(stack).await?;
    let mut promises = Promises::default();
    let guard = Guard::of(stack);
    guard.start_by(&plan(options.minutes), "soak").await?;
    let began = Instant::now();
    let end = began + Duration::from_secs(u64::from(options.minutes) * 60);
    let ill_behaved = IllBehaved::start(stack.gateway());
    let mut windows = queries::Windows::default();
    // Rounds of some twenty seconds, each user once at most.
    let users = USERS.min(options.rate * 20).max(100);
    let traffic = Traffic::new(users, 1, options.rate, TRANSACTIONS)?;
    let mut reported = 0;
    while Instant::now() < end {
        let tally = Tally::of(traffic.drive(&stack.gateway_url(), "sending", async |_| Ok(())).await?);
        promises.check(NO_ERRORS, tally.failed() == 0, listed(&tally.errors));
        let fired = queries::fired(stack).await?;
        promises.check(NO_ALERT, fired.is_empty(), fired.join(", "));
        let status = guard.status().await?;
        promises.check(NOT_STOPPED, status.stopped.is_none(), status.describe());
        windows.add(stack, &guard).await?;
        let minute = began.elapsed().as_secs() / 60;
        if minute > reported {
            reported = minute;
            say!(
                "  minute {minute:>3}  {}, baseline {}, candidate {}, fallbacks {}, slowest {} ms, pending alerts {}",
                status.describe(),
                tally.baseline,
                tally.candidate,
                listed(&tally.fallbacks),
                millis(tally.slowest),
                queries::pending(stack).await?
            );
        }
    }
    let status = guard.status().await?;
    promises.check(FINISHED, status.share == Some(1.0), status.describe());
    say!("\nIll-behaved clients  {}", ill_behaved.finish().await);
    say!("The `lm_*` dashboard queries ({}) and `perch status`", stack.url(Part::Prometheus));
    windows.compare(stack, &mut promises).await?;
    Ok(promises)
}

/// The ramp takes about half of the time; the rest is spent at 100%.
fn plan(minutes: u32) -> String {
    let step = (minutes * 60 / 8).max(10);
    format!(
        "steps: [10%, 50%, 100%]\nminimum_time: {step}s\nminimum_requests: 500\nagreement: {{tolerated_drop: 0.05}}\n\
         baseline: {{minimum_time: {step}s, minimum_requests: 500}}\n\
         # The demo's users have transactions of every year, those of the training's first months among them.\n\
         signals: {{drift_at_most: null}}\n"
    )
}
