//! The guard's own metrics in Prometheus' text format. Names, kinds and help come from [`contract::series::GUARD`]. A
//! value that is not known has no sample, since 0 would be wrong.

use std::fmt::Write;

use contract::series::{self, Kind, Series};
use guard::decision::{Action, Check, CheckOutcome, CheckResult};

use super::control_loop::EvaluationReport;

/// Decisions counted since the program started.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    by_action: [u64; Action::ALL.len()],
}

impl Counts {
    /// Counts one decision.
    pub fn add(&mut self, action: Action) {
        for (count, of) in self.by_action.iter_mut().zip(Action::ALL) {
            *count += u64::from(of == action);
        }
    }
}

/// The exposition after an evaluation.
#[must_use]
pub fn exposition(report: &EvaluationReport, counts: &Counts) -> String {
    let mut out = String::new();
    for series in series::GUARD {
        let kind = match series.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {kind}", series.name, series.help, series.name);
        lines(series, report, counts, &mut out);
    }
    out
}

fn lines(series: &Series, report: &EvaluationReport, counts: &Counts, out: &mut String) {
    let flag = |set: bool| Some(f64::from(u8::from(set)));
    #[allow(clippy::cast_precision_loss)]
    let single = match series.name {
        series::GUARD_LAST_DECISION => report.decision.as_ref().map(|decision| decision.at_ms as f64 / 1000.0),
        series::GUARD_SHARE_WANTED => report.share,
        series::GUARD_LATCHED => flag(report.latched.is_some()),
        series::GUARD_PAUSED => flag(report.paused.is_some()),
        series::GUARD_FROZEN => flag(report.frozen.is_some()),
        series::GUARD_LEADER => flag(report.leading),
        _ => None,
    };
    if let Some(value) = single {
        line(out, series.name, &[], value);
    }
    if series.name == series::GUARD_DECISIONS {
        for (action, count) in Action::ALL.into_iter().zip(counts.by_action) {
            #[allow(clippy::cast_precision_loss)]
            line(out, series.name, &[("decision", action.as_str())], count as f64);
        }
    }
    for result in report.decision.iter().flat_map(|decision| &decision.checks) {
        of_check(series.name, result, out);
    }
}

fn of_check(name: &str, result: &CheckResult, out: &mut String) {
    let check = ("check", result.check.as_str());
    let value = match name {
        series::GUARD_CHECK_VALUE => result.value,
        series::GUARD_CHECK_BOUND => bound(result),
        series::GUARD_CHECK_THRESHOLD => result.threshold,
        series::GUARD_CHECK_SAMPLE => Some(result.sample),
        _ => None,
    };
    if let Some(value) = value {
        line(out, name, &[check], value);
    }
    if name == series::GUARD_CHECK_OUTCOME {
        for outcome in CheckOutcome::ALL {
            let value = f64::from(u8::from(outcome == result.outcome));
            line(out, name, &[check, ("outcome", outcome.as_str())], value);
        }
    }
    if name == series::GUARD_AGREEMENT && result.check == Check::Agreement {
        for (end, value) in [("lower", result.lower), ("upper", result.upper)] {
            if let Some(value) = value {
                line(out, name, &[("bound", end)], value);
            }
        }
    }
}

/// The end of the interval that was compared with the threshold: for a value that must not fall, the lower end until it
/// is breached and then the upper one; for a value that must not rise, the other way round.
fn bound(result: &CheckResult) -> Option<f64> {
    let must_not_fall = matches!(result.check, Check::Agreement | Check::AcceptRate);
    let breached = result.outcome == CheckOutcome::Breach;
    if must_not_fall == breached { result.upper } else { result.lower }
}

fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use guard::decision::{Decision, Unit};

    #[test]
    fn every_declared_series_is_exposed_and_an_unknown_value_has_no_sample() {
        let result = CheckResult {
            outcome: CheckOutcome::Breach,
            value: Some(0.8),
            lower: Some(0.75),
            upper: Some(0.85),
            threshold: Some(0.88),
            sample: 310.0,
            ..CheckResult::no_data(Check::Agreement, Unit::Requests, true, "")
        };
        let decision = Decision {
            at_ms: 5_000,
            action: Action::Rollback,
            set_share: Some("0".into()),
            reasons: vec![],
            checks: vec![result, CheckResult::no_data(Check::Latency, Unit::Evaluations, true, "")],
        };
        let report = EvaluationReport { leading: true, decision: Some(decision), ..EvaluationReport::default() };
        let mut counts = Counts::default();
        counts.add(Action::Rollback);
        let text = exposition(&report, &counts);
        for series in series::GUARD {
            assert!(text.contains(&format!("# TYPE {} ", series.name)));
        }
        for line in [
            "perch_guard_last_decision_timestamp_seconds 5",
            "perch_guard_decisions_total{decision=\"rollback\"} 1",
            "perch_guard_decisions_total{decision=\"hold\"} 0",
            "perch_guard_leader 1",
            "perch_guard_check_value{check=\"agreement\"} 0.8",
            "perch_guard_check_bound{check=\"agreement\"} 0.85",
            "perch_guard_check_outcome{check=\"latency\",outcome=\"no_data\"} 1",
            "perch_guard_agreement_bound_ratio{bound=\"lower\"} 0.75",
        ] {
            assert!(text.lines().any(|held| held == line), "{line}\n{text}");
        }
        assert!(
            !text.contains("perch_guard_share_wanted_ratio ") || !text.contains("perch_guard_share_wanted_ratio 0")
        );
        assert!(!text.contains("perch_guard_check_value{check=\"latency\"}"));
    }
}
