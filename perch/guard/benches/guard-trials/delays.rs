//! Detection delay: the sample that the guard needs to detect a fault, compared with the smallest sample of a test of
//! fixed size.
//!
//! The optimum is a one-sided test (two-sided for the split) of the true value before against the true value after, with
//! the plan's whole error rate of 1% and a power of 90%, evaluated once, with known values and variances:
//! `n = ((z₀·σ₀ + z₁·σ₁)/δ)²`. The guard knows neither, evaluates after every few requests, spends only a part of its error
//! rate on each check, and compares agreement with a measured baseline minus the tolerated drop.

use guard::decision::Check;
use guard::plan::Plan;
use serde_json::{Value, json};

use crate::parallel::in_parallel;
use crate::rollout::{RolloutEnd, Scenario, TrialResult, UserTable, run};
use crate::traffic::{Agreement, Habits};

/// Upper quantiles of the normal distribution: 1%, 0.5% and 10%.
const Z_ONE_SIDED: f64 = 2.326_347_874;
const Z_TWO_SIDED: f64 = 2.575_829_304;
const Z_POWER: f64 = 1.281_551_566;

const MEASURED: &str = "
minimum_time: 10m
minimum_requests: 1000000
baseline: {minimum_time: 10m, minimum_requests: 50000}
";
const HALF: &str = "
steps: [50%, 100%]
minimum_time: 10m
minimum_requests: 1000000
baseline: {minimum_time: 10m, minimum_requests: 2000}
";

/// A trial of one fault.
struct Trial<'a> {
    name: &'a str,
    unit: &'a str,
    optimum: f64,
    expected: fn(&RolloutEnd) -> bool,
    sample: fn(&TrialResult) -> u64,
    /// Its delay counts for the reported ratio.
    counts: bool,
}

pub(crate) fn rows(trials: u64, seed: u64) -> Result<Vec<Value>, String> {
    let parse = |text| Plan::parse(text).map_err(|error| error.to_string());
    let (measured, half) = (parse(MEASURED)?, parse(HALF)?);
    let (good, bad) = (Agreement::of_mean(0.9), Agreement::of_mean(0.8));
    let (liked, disliked) = (Habits::of_mean(0.6), Habits::of_mean(0.5));
    let quiet = Scenario {
        plan: &measured,
        users: 200_000,
        agreement: &good,
        changed: None,
        change_after: 0,
        rule_habits: &liked,
        model_habits: &liked,
        feedback: 0.0,
        feedback_once: true,
        fallback: 0.0,
        slow: 0.0,
        lost: 0.0,
        requests_per_evaluation: 5,
        until_complete: false,
        at_most: 500_000,
    };
    let agreement_optimum = fixed(Z_ONE_SIDED, good.variance, bad.variance, good.mean - bad.mean);
    let agreement = |name, counts| Trial {
        name,
        unit: "requests",
        optimum: agreement_optimum,
        expected: |end| *end == RolloutEnd::RolledBack(Check::Agreement),
        sample: |result| result.since_change,
        counts,
    };
    let accept = Trial {
        name: "accept rate 0.60 -> 0.50 at 50%",
        unit: "users with feedback",
        // Two arms of equal size: twice the sample of one, whose variance is that of both.
        optimum: 2.0 * fixed(Z_ONE_SIDED, 2.0 * 0.6 * 0.4, 0.6 * 0.4 + 0.5 * 0.5, 0.1),
        expected: |end| *end == RolloutEnd::RolledBack(Check::AcceptRate),
        sample: |result| result.feedback_users,
        counts: true,
    };
    let (wanted, lost) = (0.5, 0.2);
    let share = wanted * (1.0 - lost) / (1.0 - wanted * lost);
    let ratio = Trial {
        name: "a fifth of the candidate arm's events lost at 50%",
        unit: "users",
        optimum: fixed(Z_TWO_SIDED, wanted * (1.0 - wanted), share * (1.0 - share), wanted - share),
        expected: |end| *end == RolloutEnd::Frozen,
        sample: |result| result.seen_users,
        counts: true,
    };
    let dropped = Scenario { changed: Some(&bad), ..quiet };
    Ok(vec![
        row(&agreement("agreement 0.90 -> 0.80 with the first step", true), &dropped, trials, seed),
        row(
            &agreement("agreement 0.90 -> 0.80 in the middle of a step", false),
            &Scenario { change_after: 3_000, ..dropped },
            trials,
            seed ^ 0xadd1,
        ),
        row(&accept, &Scenario { plan: &half, model_habits: &disliked, feedback: 0.3, ..quiet }, trials, seed ^ 0xacce),
        row(&ratio, &Scenario { plan: &half, users: 2_000_000, lost, ..quiet }, trials, seed ^ 0x5a71),
    ])
}

fn fixed(z: f64, variance_before: f64, variance_after: f64, difference: f64) -> f64 {
    ((z * variance_before.sqrt() + Z_POWER * variance_after.sqrt()) / difference).powi(2).ceil()
}

fn row(trial: &Trial<'_>, scenario: &Scenario<'_>, trials: u64, seed: u64) -> Value {
    let results = in_parallel(
        trial.name,
        trials,
        || UserTable::new(scenario.users),
        |user_table, index| run(scenario, seed ^ (index << 20), user_table),
    );
    let detected = results.iter().filter(|result| (trial.expected)(&result.end)).count();
    let mut delays: Vec<u64> = results.iter().map(trial.sample).collect();
    delays.sort_unstable();
    let at = |part: f64| delays.get((part * delays.len() as f64) as usize).copied().unwrap_or(0);
    let mean = delays.iter().map(|delay| *delay as f64).sum::<f64>() / trials as f64;
    json!({
        "trial": trial.name,
        "unit": trial.unit,
        "trials": trials,
        "detected": detected as f64 / trials as f64,
        "mean": mean,
        "median": at(0.5),
        "p10": at(0.1),
        "p90": at(0.9),
        "fixed_sample_optimum": trial.optimum,
        "delay_vs_optimum": mean / trial.optimum,
        "counts": trial.counts,
    })
}
