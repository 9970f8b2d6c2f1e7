//! The ramp: its plan, where it is, and why.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Html;
use serde::Serialize;

use super::standing::{self, Judged, Step};
use super::{Chip, PageError};
use crate::console::Console;
use crate::guard::clock::now_ms;
use crate::guard::format::percent;
use crate::guard::plan::{OnBreach, Plan};

#[derive(Serialize)]
struct Ramp {
    since: String,
    chip_of: Chip,
    words: String,
    reasons: Vec<String>,
    steps: Vec<Step>,
    rules: Vec<(&'static str, String)>,
    judged: Vec<Judged>,
}

pub(in crate::console) async fn show(
    State(console): State<Console>,
    headers: HeaderMap,
) -> Result<Html<String>, PageError> {
    let now_ms = now_ms();
    let standing = console.standing(now_ms)?;
    let (chip_of, words) = standing::in_short(&standing, now_ms);
    let view = Ramp {
        since: standing::since(&standing),
        reasons: standing::reasons(&standing, &words),
        chip_of,
        words,
        steps: standing::steps(&standing),
        rules: standing::plan(&standing).map(|plan| rules(&plan)).unwrap_or_default(),
        judged: standing::judged(&standing),
    };
    console.page(&headers, "ramp.html", "Ramp", view)
}

/// What the plan rolls back, freezes or holds for.
fn rules(plan: &Plan) -> Vec<(&'static str, String)> {
    let does = |on_breach: OnBreach| match on_breach {
        OnBreach::Rollback => "rolls back",
        OnBreach::Hold => "holds",
    };
    let mut rules = Vec::new();
    if let Some(rule) = &plan.agreement {
        let mut text = format!("{} below its baseline {}", below(rule.tolerated_drop), does(rule.on_breach));
        if let Some(floor) = rule.floor {
            text.push_str(&format!(", and so does less than {}", percent(floor)));
        }
        rules.push(("Agreement", text));
    }
    if let Some(rule) = &plan.accept_rate {
        let text = format!("{} below the rules’ {}", below(rule.tolerated_drop), does(rule.on_breach));
        rules.push(("Accept rate", text));
    }
    if let Some(rule) = &plan.fallback {
        rules.push(("Fallbacks", format!("more than {} {}", percent(rule.at_most), does(rule.on_breach))));
    }
    if let Some(rule) = &plan.latency {
        let text = format!(
            "more than {} slower than {} {}",
            percent(rule.slow_at_most),
            in_time(rule.budget_seconds),
            does(rule.on_breach)
        );
        rules.push(("Slow answers", text));
    }
    rules.push(("Sample ratio", "users that do not split as the share says freeze it".to_owned()));
    rules
}

fn below(share: f64) -> String {
    format!("more than {:.1} points", share * 100.0)
}

fn in_time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1_000.0) } else { format!("{seconds} s") }
}
