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
        OnBreach::Rollback => "rolls back",
        OnBreach::Hold => "holds",
    };
    let mut gates = Vec::new();
    if let Some(rule) = &plan.agreement {
        let mut text = format!("{} below the agreement at 0% {}", below(rule.tolerated_drop), action(rule.on_breach));
        if let Some(floor) = rule.floor {
            text.push_str(&format!(", and so does agreement below {}", percent(floor)));
        }
        gates.push(("Agreement", text));
    }
    if let Some(rule) = &plan.accept_rate {
        let text = format!("{} below the baseline arm’s {}", below(rule.tolerated_drop), action(rule.on_breach));
        gates.push(("Accept rate", text));
    }
    if let Some(rule) = &plan.fallback {
        gates.push(("Fallbacks", format!("more than {} {}", percent(rule.at_most), action(rule.on_breach))));
    }
    if let Some(rule) = &plan.latency {
        let text = format!(
            "more than {} of responses slower than {} {}",
            percent(rule.slow_at_most),
            in_time(rule.budget_seconds),
            action(rule.on_breach)
        );
        gates.push(("Slow responses", text));
    }
    gates.push(("Sample ratio", "a split of users that differs from the share freezes the rollout".to_owned()));
    gates
}

fn below(share: f64) -> String {
    format!("more than {:.1} points", share * 100.0)
}

fn in_time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1_000.0) } else { format!("{seconds} s") }
}
