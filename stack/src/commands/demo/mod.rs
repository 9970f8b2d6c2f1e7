//! `stack demo`: a whole rollout on the real stack, with what an operator would want to see at each step. The exit code
//! says whether every promise held.

pub(super) mod counts;
pub(super) mod guarded_rollout;
mod latency;
mod manual_rollout;
pub(super) mod models;
pub(super) mod promises;
pub(super) mod tally;
pub(super) mod traffic;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use contract::ports::Part;
use contract::share::Share;
use stack::Stack;
use stack::ports::Ports;

use manual_rollout::ManualRollout;
use promises::Promises;
use traffic::Traffic;

pub(super) const NO_ALERT: &str = "no alert fired";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Users in the traffic
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    users: u32,
    /// Requests of each user at each step
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    requests: u32,
    /// Requests a second, at most
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(10..=20_000))]
    rate: u32,
    /// Highest transaction id in the store: requests use the ids 1 to N
    #[arg(long, default_value_t = 89_843, value_parser = clap::value_parser!(u64).range(1..))]
    transactions: u64,
    /// Do not start Prometheus and Alertmanager
    #[arg(long)]
    no_monitoring: bool,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let mut stack = super::isolated("demo")?
        .monitoring(!options.no_monitoring)
        .env(Part::Console, "PERCH_GUARD_INTERVAL", "1")
        .prepare()?;

    let monitoring = if options.no_monitoring { "" } else { ", Prometheus" };
    say!("Starting the rules backend, the scorer, Envoy{monitoring} and the guard");
    stack.start().await?;
    let outcome = tokio::select! {
        outcome = run_rollouts(&mut stack, &options) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    if outcome.is_err() {
        eprintln!("{}", stack.logs());
    }
    say!("Stopping everything");
    stack.stop();
    let promises = outcome?;
    say!("\n{promises}\nThe whole demo took {:.0} s.", began.elapsed().as_secs_f64());
    Ok(if promises.unbroken() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run_rollouts(stack: &mut Stack, options: &Options) -> anyhow::Result<Promises> {
    require_model(stack).await?;
    let traffic = Traffic::new(options.users, options.requests, options.rate, options.transactions)?;
    let mut promises = Promises::default();

    let plain = plain_gateway(stack).await?;
    latency::compare(stack, &plain, &traffic, &mut promises).await?;
    drop(plain);

    let mut rollout = ManualRollout::new(traffic);
    for percent in [0, 10, 50, 100] {
        rollout.step(stack, Share::percent(percent), &mut promises).await?;
    }
    rollout.kill_scorer_under_load(stack, &mut promises).await?;
    rollout.roll_back(stack, &mut promises).await?;
    // Few users in short rounds, at half the rate: the guard's status is read between rounds.
    let few = Traffic::new(options.users.min(400), 1, options.rate.div_ceil(2), options.transactions)?;
    guarded_rollout::run(stack, &few, &mut promises).await?;
    if stack.parts().contains(&Part::Prometheus) {
        counts::dashboards(stack).await?;
        let fired = super::soak::queries::fired(stack).await?;
        promises.check(NO_ALERT, fired.is_empty(), fired.join(", "));
    }
    Ok(promises)
}

/// The same Envoy on the same rules backend, without Perch's filter, to compare with.
async fn plain_gateway(stack: &Stack) -> anyhow::Result<Stack> {
    let rules = Ports::contract()?.address(Part::Rules);
    let plain =
        Stack::builder()?.rules_at(rules).no_scorer().no_filter().concurrency(stack.concurrency()).start().await;
    plain.context("starting a second Envoy without Perch, to compare with")
}

/// Fails without a model: every canary request would fall back, and the run would show nothing.
pub(super) async fn require_model(stack: &Stack) -> anyhow::Result<()> {
    let url = format!("{}/ml/v2/model/status", stack.gateway_url());
    let status: serde_json::Value = reqwest::get(&url).await?.json().await.with_context(|| format!("reading {url}"))?;
    let meta = |key: &str| status.pointer(&format!("/meta/{key}")).cloned().unwrap_or_default();
    anyhow::ensure!(
        status.get("available").and_then(serde_json::Value::as_bool) == Some(true),
        "the scorer serves no model ({status}): `make ml-train` trains one"
    );
    say!(
        "Model {}, macro F1 {} on its validation split, {} classes",
        meta("run_id"),
        meta("val_f1_macro"),
        meta("class_count")
    );
    Ok(())
}
