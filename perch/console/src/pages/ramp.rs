//! The page `/ramp`: the rollout plan and its current step, the guard's last decision with its reasons, and the checks.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Html;
use guard::format::percent;
use guard::plan::{OnBreach, Plan};
use guard_runtime::clock::now_ms;
use serde::Serialize;

use super::status::{self, CheckRow, Step};
use super::{Chip, PageError};
use crate::Console;

#[derive(Serialize)]
struct Ramp {
    since: String,
    chip_of: Chip,
    summary: String,
    reasons: Vec<String>,
    steps: Vec<Step>,
    gates: Vec<(&'static str, String)>,
    checks: Vec<CheckRow>,
}

pub(crate) async fn show(State(console): State<Console>, headers: HeaderMap) -> Result<Html<String>, PageError> {
    let now_ms = now_ms();
    let status = console.status(now_ms)?;
    let (chip_of, summary) = status::summary(&status, now_ms);
    let view = Ramp {
        since: status::since(&status),
        reasons: status::reasons(&status, &summary),
        chip_of,
        summary,
        steps: status::steps(&status),
        gates: status::plan(&status).map(|plan| gates(&plan)).unwrap_or_default(),
        checks: status::checks(&status),
    };
    console.page(&headers, "ramp.html", "Rollout", view)
}

/// The conditions under which the plan rolls back, freezes or holds.
fn gates(plan: &Plan) -> Vec<(&'static str, String)> {
    let action = |on_breach: OnBreach| match on_breach {
        OnBreach::Rollback => "Rolls back",
        OnBreach::Hold => "Holds",
    };
    let mut gates = Vec::new();
    if let Some(rule) = &plan.agreement {
        let drop = more_than_points(rule.tolerated_drop);
        let mut text = format!("{} if agreement is {drop} below that at 0%", action(rule.on_breach));
        if let Some(floor) = rule.floor {
            text.push_str(&format!(", or below {}", percent(floor)));
        }
        gates.push(("Agreement", text));
    }
    if let Some(rule) = &plan.accept_rate {
        let drop = more_than_points(rule.tolerated_drop);
        let text = format!("{} if the accept rate is {drop} below the baseline arm’s", action(rule.on_breach));
        gates.push(("Accept rate", text));
    }
    if let Some(rule) = &plan.fallback {
        let text =
            format!("{} if more than {} of canary requests fall back", action(rule.on_breach), percent(rule.at_most));
        gates.push(("Fallbacks", text));
    }
    if let Some(rule) = &plan.latency {
        let text = format!(
            "{} if more than {} of responses are slower than {}",
            action(rule.on_breach),
            percent(rule.slow_at_most),
            in_time(rule.budget_seconds)
        );
        gates.push(("Slow responses", text));
    }
    gates.push(("Sample ratio", "Freezes the rollout if the split of users differs from the share".to_owned()));
    let signals = "Model availability, dropped observations, noise, F1 and drift hold the step while past their limit";
    gates.push(("Signals", signals.to_owned()));
    gates
}

fn more_than_points(drop: f64) -> String {
    format!("more than {:.1} points", drop * 100.0)
}

fn in_time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1_000.0) } else { format!("{seconds} s") }
}
