//! False alarms: how many rollouts are stopped although nothing is wrong.

use guard::plan::Plan;
use serde_json::{Value, json};

use crate::parallel::in_parallel;
use crate::rollout::{RolloutEnd, Scenario, TrialResult, UserTable, run};
use crate::traffic::{Agreement, Habits};

/// The default plan with shorter times, since simulated traffic does not depend on them.
const ORDINARY: &str = "
minimum_time: 10m
baseline: {minimum_time: 10m}
";

/// Everything exactly at its threshold for 20,000 requests: agreement at the baseline without tolerance, the accept
/// rate lower by exactly the tolerated drop, as many fallbacks and slow responses as allowed.
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
    let ordinary = Scenario {
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
        requests_per_evaluation: 20,
        until_complete: true,
        at_most: 300_000,
    };
    let edge_plan = Plan::parse(EDGE).map_err(|error| error.to_string())?;
    let edge = Scenario {
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

fn row(name: &str, scenario: &Scenario<'_>, rollouts: u64, seed: u64) -> Value {
    let results = in_parallel(
        name,
        rollouts,
        || UserTable::new(scenario.users),
        |user_table, index| run(scenario, seed ^ (index << 20), user_table),
    );
    let count = |wanted: fn(&TrialResult) -> bool| results.iter().filter(|result| wanted(result)).count();
    let rolled_back = count(|result| matches!(result.end, RolloutEnd::RolledBack(_)));
    let rate = |count: usize| count as f64 / rollouts as f64;
    let mean =
        |of: fn(&TrialResult) -> u64| results.iter().map(|result| of(result) as f64).sum::<f64>() / rollouts as f64;
    json!({
        "trial": name,
        "rollouts": rollouts,
        "false_rollback_rate": rate(rolled_back),
        "nominal": scenario.plan.raw().false_rollback_at_most,
        "false_freeze_rate": rate(count(|result| result.end == RolloutEnd::Frozen)),
        "freeze_nominal": scenario.plan.sample_ratio.alpha,
        "completed": rate(count(|result| result.end == RolloutEnd::Complete)),
        "by_check": by_check(&results),
        "mean_requests": mean(|result| result.requests),
        "mean_evaluations": mean(|result| result.evaluations),
    })
}

fn by_check(results: &[TrialResult]) -> Value {
    let mut counts = serde_json::Map::new();
    for result in results {
        if let RolloutEnd::RolledBack(check) = result.end {
            let held = counts.get(check.as_str()).and_then(Value::as_u64).unwrap_or(0);
            counts.insert(check.as_str().to_owned(), json!(held + 1));
        }
    }
    Value::Object(counts)
}
