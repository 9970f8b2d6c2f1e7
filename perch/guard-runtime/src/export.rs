//! The guard's own metrics, as Prometheus reads them. Names, kinds and help come from [`contract::series::GUARD`]; a
//! value that is not known has no line, which is not 0.

use std::fmt::Write;

use contract::series::{self, Kind, Series};
use guard::decision::{Action, Check, Judgement, Verdict};

use super::shell::Report;

/// Decisions counted since the program started.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    by_action: [u64; Action::ALL.len()],
}

impl Counts {
    /// Counts one.
    pub fn add(&mut self, action: Action) {
        for (count, of) in self.by_action.iter_mut().zip(Action::ALL) {
            *count += u64::from(of == action);
        }
    }
}

/// The exposition after a look.
#[must_use]
pub fn exposition(report: &Report, counts: &Counts) -> String {
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

fn lines(series: &Series, report: &Report, counts: &Counts, out: &mut String) {
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
    for judgement in report.decision.iter().flat_map(|decision| &decision.judgements) {
        of_check(series.name, judgement, out);
    }
}

fn of_check(name: &str, judgement: &Judgement, out: &mut String) {
    let check = ("check", judgement.check.as_str());
    let value = match name {
        series::GUARD_CHECK_VALUE => judgement.value,
        series::GUARD_CHECK_BOUND => bound(judgement),
        series::GUARD_CHECK_THRESHOLD => judgement.threshold,
        series::GUARD_CHECK_SAMPLE => Some(judgement.sample),
        _ => None,
    };
    if let Some(value) = value {
        line(out, name, &[check], value);
    }
    if name == series::GUARD_CHECK_VERDICT {
        for verdict in Verdict::ALL {
            let value = f64::from(u8::from(verdict == judgement.verdict));
            line(out, name, &[check, ("verdict", verdict.as_str())], value);
        }
    }
    if name == series::GUARD_AGREEMENT && judgement.check == Check::Agreement {
        for (end, value) in [("lower", judgement.lower), ("upper", judgement.upper)] {
            if let Some(value) = value {
                line(out, name, &[("bound", end)], value);
            }
        }
    }
}

/// The end of the interval that was held against the threshold: for what must not fall the lower one until it is
/// breached, for what must not rise the other way round.
fn bound(judgement: &Judgement) -> Option<f64> {
    let must_not_fall = matches!(judgement.check, Check::Agreement | Check::AcceptRate);
    let breached = judgement.verdict == Verdict::Breach;
    if must_not_fall == breached { judgement.upper } else { judgement.lower }
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
    fn every_declared_series_is_there_and_what_is_unknown_has_no_line() {
        let judgement = Judgement {
            verdict: Verdict::Breach,
            value: Some(0.8),
            lower: Some(0.75),
            upper: Some(0.85),
            threshold: Some(0.88),
            sample: 310.0,
            ..Judgement::no_data(Check::Agreement, Unit::Requests, true, "")
        };
        let decision = Decision {
            at_ms: 5_000,
            action: Action::Rollback,
            set_share: Some("0".into()),
            reasons: vec![],
            judgements: vec![judgement, Judgement::no_data(Check::Latency, Unit::Looks, true, "")],
        };
        let report = Report { leading: true, decision: Some(decision), ..Report::default() };
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
            "perch_guard_check_verdict{check=\"latency\",verdict=\"no_data\"} 1",
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
