//! Ramps on which nothing is wrong: how many are stopped all the same?

use guard::plan::Plan;
use serde_json::{Value, json};

use crate::many::many;
use crate::rollout::{End, Memory, Outcome, World, run};
use crate::traffic::{Agreement, Habits};

/// The default plan, but for time: the trials have none to lose.
const ORDINARY: &str = "
minimum_time: 10m
baseline: {minimum_time: 10m}
";

/// Everything exactly at its threshold for 20,000 requests: agreement at the baseline without tolerance, the accept rate
/// lower by just what is tolerated, as many fallbacks and slow answers as allowed.
const EDGE: &str = "
steps: [50%]
minimum_time: 10m
minimum_requests: 1000000
baseline: {agreement: 0.9, minimum_time: 10m}
agreement: {tolerated_drop: 0.0}
accept_rate: {tolerated_drop: 0.02}
fallback: {at_most: 0.05}
latency: {slow_at_most: 0.05}
";

const USERS: usize = 20_000;

pub(crate) fn rows(rollouts: u64, seed: u64) -> Result<Vec<Value>, String> {
    let (agreement, same, lower) = (Agreement::of_mean(0.9), Habits::of_mean(0.6), Habits::of_mean(0.58));
    let plan = Plan::parse(ORDINARY).map_err(|error| error.to_string())?;
    let ordinary = World {
        plan: &plan,
        users: USERS,
        agreement: &agreement,
        changed: None,
        change_after: 0,
        rule_habits: &same,
        model_habits: &same,
        feedback: 0.2,
        feedback_once: false,
        fallback: 0.01,
        slow: 0.01,
        lost: 0.0,
        per_look: 20,
        until_complete: true,
        at_most: 300_000,
    };
    let edge_plan = Plan::parse(EDGE).map_err(|error| error.to_string())?;
    let edge = World {
        plan: &edge_plan,
        model_habits: &lower,
        fallback: 0.05,
        slow: 0.05,
        until_complete: false,
        at_most: 25_000,
        ..ordinary
    };
    Ok(vec![
        row("nothing wrong, default plan", &ordinary, rollouts, seed),
        row("everything just at its threshold", &edge, rollouts, seed ^ 0xed6e),
    ])
}

fn row(name: &str, world: &World<'_>, rollouts: u64, seed: u64) -> Value {
    let outcomes =
        many(name, rollouts, || Memory::new(world.users), |memory, index| run(world, seed ^ (index << 20), memory));
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count();
    let rolled_back = count(|outcome| matches!(outcome.end, End::RolledBack(_)));
    let rate = |count: usize| count as f64 / rollouts as f64;
    let mean =
        |of: fn(&Outcome) -> u64| outcomes.iter().map(|outcome| of(outcome) as f64).sum::<f64>() / rollouts as f64;
    json!({
        "trial": name,
        "rollouts": rollouts,
        "false_rollback_rate": rate(rolled_back),
        "nominal": world.plan.raw().false_rollback_at_most,
        "false_freeze_rate": rate(count(|outcome| outcome.end == End::Froze)),
        "freeze_nominal": world.plan.sample_ratio.alpha,
        "completed": rate(count(|outcome| outcome.end == End::Complete)),
        "by_check": by_check(&outcomes),
        "mean_requests": mean(|outcome| outcome.requests),
        "mean_looks": mean(|outcome| outcome.looks),
    })
}

fn by_check(outcomes: &[Outcome]) -> Value {
    let mut counts = serde_json::Map::new();
    for outcome in outcomes {
        if let End::RolledBack(check) = outcome.end {
            let held = counts.get(check.as_str()).and_then(Value::as_u64).unwrap_or(0);
            counts.insert(check.as_str().to_owned(), json!(held + 1));
        }
    }
    Value::Object(counts)
}
