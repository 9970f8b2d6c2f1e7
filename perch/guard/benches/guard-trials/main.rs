//! `make guard-trials`: is the guard as good as it says? Thousands of simulated ramps on which nothing is wrong, and on
//! which something is, looked at all the time, with items, requests and feedback that are not independent.
//!
//! Writes `target/bench/guard-trials.json`, prints a table, and fails when a promise is broken. `--card FILE` writes the
//! table into that document, too. The same seed gives the same numbers on every machine.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    reason = "a simulation that prints; its counts are far below 2^53"
)]
#![allow(missing_docs, reason = "a program")]

mod card;
mod coverage;
mod delays;
mod false_alarms;
mod many;
mod random;
mod report;
mod rollout;
mod traffic;

use std::process::ExitCode;

use serde_json::{Value, json};

/// Rollouts per row of false alarms; delays and coverage take a part of that.
const ROLLOUTS: u64 = 10_000;
const SEED: u64 = 20_261_124;
/// What is promised.
const FALSE_ROLLBACK_AT_MOST: f64 = 0.01;
const DELAY_AT_MOST: f64 = 2.5;

fn main() -> ExitCode {
    match trials() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn trials() -> Result<bool, String> {
    let rollouts = report::number_argument("--rollouts")?.unwrap_or(ROLLOUTS);
    let few = (rollouts / 10).max(10);
    let alarms = false_alarms::rows(rollouts, SEED)?;
    let delays = delays::rows(few, SEED ^ 0xde1a)?;
    let coverage = coverage::rows(few * 2, SEED ^ 0xc0fe);
    let worst = |rows: &[Value], key: &str| {
        rows.iter().filter_map(|row| row.get(key)).filter_map(Value::as_f64).fold(0.0, f64::max)
    };
    let counting: Vec<Value> = delays.iter().filter(|row| row.get("counts") == Some(&json!(true))).cloned().collect();
    let false_rollback_rate = worst(&alarms, "false_rollback_rate");
    let delay_vs_optimum = worst(&counting, "delay_vs_optimum");
    let covered = coverage.iter().filter_map(|row| row.get("coverage")).filter_map(Value::as_f64).all(|c| c >= 0.95);
    let caught = delays.iter().filter_map(|row| row.get("caught")).filter_map(Value::as_f64).all(|c| c >= 0.99);
    report::print(&alarms, &delays, &coverage);
    if let Some(document) = report::argument("--card") {
        card::write(&document, &alarms, &delays, &coverage)?;
    }
    report::write(json!({
        "seed": SEED,
        "false_alarms": alarms,
        "delays": delays,
        "coverage": coverage,
        "ratios": { "false_rollback_rate": false_rollback_rate, "delay_vs_optimum": delay_vs_optimum },
    }))?;
    let kept = false_rollback_rate <= FALSE_ROLLBACK_AT_MOST && delay_vs_optimum <= DELAY_AT_MOST && covered && caught;
    report::verdict(kept, false_rollback_rate, delay_vs_optimum);
    Ok(kept)
}
