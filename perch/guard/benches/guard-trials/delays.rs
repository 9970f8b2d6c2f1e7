//! Something is wrong: how much does it take to say so, beside the smallest sample that a test of fixed size needs?
//!
//! The optimum is a one-sided test (two-sided for the split) of the true value before against the true value after, with
//! the plan's whole error rate of 1% and a power of 90%, looked at once, by someone who knows both values and the
//! variances: `n = ((z₀·σ₀ + z₁·σ₁)/δ)²`. The guard knows neither, looks after every few requests, spends only a part of
//! its error rate on each check, and holds agreement against a baseline that it learnt, less the tolerated drop.

use guard::decision::Check;
use guard::plan::Plan;
use serde_json::{Value, json};

use crate::many::many;
use crate::rollout::{End, Memory, Outcome, World, run};
use crate::traffic::{Agreement, Habits};

/// Upper quantiles of the normal distribution: 1%, 0.5% and 10%.
const Z_ONE_SIDED: f64 = 2.326_347_874;
const Z_TWO_SIDED: f64 = 2.575_829_304;
const Z_POWER: f64 = 1.281_551_566;

const LEARNT: &str = "
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

/// A trial whose delay counts for the ratio that is reported.
struct Trial<'a> {
    name: &'a str,
    unit: &'a str,
    optimum: f64,
    expected: fn(&End) -> bool,
    sample: fn(&Outcome) -> u64,
    /// Is it one of the three that the ratio is about?
    counts: bool,
}

pub(crate) fn rows(trials: u64, seed: u64) -> Result<Vec<Value>, String> {
    let parse = |text| Plan::parse(text).map_err(|error| error.to_string());
    let (learnt, half) = (parse(LEARNT)?, parse(HALF)?);
    let (good, bad) = (Agreement::of_mean(0.9), Agreement::of_mean(0.8));
    let (liked, disliked) = (Habits::of_mean(0.6), Habits::of_mean(0.5));
    let quiet = World {
        plan: &learnt,
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
        per_look: 5,
        until_complete: false,
        at_most: 500_000,
    };
    let agreement_optimum = fixed(Z_ONE_SIDED, good.variance, bad.variance, good.mean - bad.mean);
    let agreement = |name, counts| Trial {
        name,
        unit: "requests",
        optimum: agreement_optimum,
        expected: |end| *end == End::RolledBack(Check::Agreement),
        sample: |outcome| outcome.since_change,
        counts,
    };
    let accept = Trial {
        name: "accept rate 0.60 -> 0.50 at 50%",
        unit: "users with feedback",
        // Two arms of equal size: twice the sample of one, whose variance is that of both.
        optimum: 2.0 * fixed(Z_ONE_SIDED, 2.0 * 0.6 * 0.4, 0.6 * 0.4 + 0.5 * 0.5, 0.1),
        expected: |end| *end == End::RolledBack(Check::AcceptRate),
        sample: |outcome| outcome.feedback_users,
        counts: true,
    };
    let (wanted, lost) = (0.5, 0.2);
    let share = wanted * (1.0 - lost) / (1.0 - wanted * lost);
    let ratio = Trial {
        name: "a fifth of the model arm's events lost at 50%",
        unit: "users",
        optimum: fixed(Z_TWO_SIDED, wanted * (1.0 - wanted), share * (1.0 - share), wanted - share),
        expected: |end| *end == End::Froze,
        sample: |outcome| outcome.seen_users,
        counts: true,
    };
    let dropped = World { changed: Some(&bad), ..quiet };
    Ok(vec![
        row(&agreement("agreement 0.90 -> 0.80 with the first step", true), &dropped, trials, seed),
        row(
            &agreement("agreement 0.90 -> 0.80 in the middle of a step", false),
            &World { change_after: 3_000, ..dropped },
            trials,
            seed ^ 0xadd1,
        ),
        row(&accept, &World { plan: &half, model_habits: &disliked, feedback: 0.3, ..quiet }, trials, seed ^ 0xacce),
        row(&ratio, &World { plan: &half, users: 2_000_000, lost, ..quiet }, trials, seed ^ 0x5a71),
    ])
}

fn fixed(z: f64, variance_before: f64, variance_after: f64, difference: f64) -> f64 {
    ((z * variance_before.sqrt() + Z_POWER * variance_after.sqrt()) / difference).powi(2).ceil()
}

fn row(trial: &Trial<'_>, world: &World<'_>, trials: u64, seed: u64) -> Value {
    let outcomes =
        many(trial.name, trials, || Memory::new(world.users), |memory, index| run(world, seed ^ (index << 20), memory));
    let caught = outcomes.iter().filter(|outcome| (trial.expected)(&outcome.end)).count();
    let mut delays: Vec<u64> = outcomes.iter().map(trial.sample).collect();
    delays.sort_unstable();
    let at = |part: f64| delays.get((part * delays.len() as f64) as usize).copied().unwrap_or(0);
    let mean = delays.iter().map(|delay| *delay as f64).sum::<f64>() / trials as f64;
    json!({
        "trial": trial.name,
        "unit": trial.unit,
        "trials": trials,
        "caught": caught as f64 / trials as f64,
        "mean": mean,
        "median": at(0.5),
        "p10": at(0.1),
        "p90": at(0.9),
        "fixed_sample_optimum": trial.optimum,
        "delay_vs_optimum": mean / trial.optimum,
        "counts": trial.counts,
    })
}
