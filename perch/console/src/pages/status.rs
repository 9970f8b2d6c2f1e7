//! The guard's status, the checks and the audit log, formatted for the pages.

use contract::share::Share;
use guard::decision::{APPROVAL_REQUIRED, Action, Check, CheckOutcome, CheckResult};
use guard::format::{count, percent, points, span};
use guard::plan::Plan;
use guard::state::{Phase, Stop};
use guard_runtime::audit_log::{Actor, Entry};
use guard_runtime::status::GuardStatus;
use serde::Serialize;

use super::Chip;
use crate::clock;

/// The guard's state as a chip, and in a sentence.
pub(super) fn summary(status: &GuardStatus, now_ms: u64) -> (Chip, String) {
    let Some(report) = &status.report else {
        return (Chip::new("", "No data"), "No guard has run with this folder.".to_owned());
    };
    if status.silent {
        let ago = span(now_ms.saturating_sub(report.at_ms));
        return (
            Chip::new("bad", "Silent"),
            format!("The guard last reported {ago} ago. Nothing evaluates the canary."),
        );
    }
    let first = || report.decision.as_ref().and_then(|decision| decision.reasons.first()).cloned().unwrap_or_default();
    let stops = [
        (&report.latched, "bad", "Rolled back"),
        (&report.paused, "warn", "Paused"),
        (&report.frozen, "warn", "Frozen"),
    ];
    // In the guard's order: a pause comes first, since it keeps the guard from acting.
    let paused = report.paused.is_some();
    let stop = stops.into_iter().find(|(stop, _, name)| stop.is_some() && (!paused || *name == "Paused"));
    if let Some((Some(stop), tone, name)) = stop {
        let ago = span(now_ms.saturating_sub(stop.at_ms));
        return (Chip::new(tone, name), format!("{ago} ago: {}", stop.reason));
    }
    let chip = match (report.phase, report.decision.as_ref().map(|decision| decision.action)) {
        (Some(Phase::Watching) | None, _) => Chip::new("", "No rollout"),
        (_, Some(Action::Advance)) => Chip::new("good", "Advancing"),
        (_, Some(Action::Rollback)) => Chip::new("bad", "Rolling back"),
        (_, Some(Action::Freeze)) => Chip::new("warn", "Freezing"),
        (Some(Phase::Baseline), _) => Chip::new("good", "Measuring agreement at 0%"),
        (Some(Phase::Step), _) => Chip::new("good", "Holding"),
    };
    (chip, first())
}

/// The guard's reasons and problems, without those in `summary`.
pub(super) fn reasons(status: &GuardStatus, summary: &str) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(report) = &status.report {
        let stops = [&report.paused, &report.latched, &report.frozen];
        let is_shown = |reason: &str| {
            let of_stop = |stop: &&Option<Stop>| stop.as_ref().is_some_and(|stop| reason.ends_with(&stop.reason));
            reason == summary || stops.iter().any(of_stop)
        };
        let reasons = report.decision.iter().flat_map(|decision| &decision.reasons);
        all.extend(reasons.filter(|reason| !is_shown(reason)).cloned());
        all.extend(report.problems.iter().map(|problem| format!("problem: {problem}")));
    }
    all.extend(status.pending_commands.iter().map(|entry| format!("waiting for the guard: {}", entry.describe())));
    all
}

/// The moment at which the rollout entered its current step; without a rollout, since which the share is unchanged.
pub(super) fn since(status: &GuardStatus) -> String {
    let ms = status.report.as_ref().map_or(0, |report| report.since_ms);
    if ms == 0 { String::new() } else { format!("since {}", clock::stamp(ms)) }
}

/// A step of the plan.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    /// E.g. `10%`.
    share: String,
    /// `done`, `here`, or empty.
    place: &'static str,
    /// Minimum time.
    time: String,
    /// Minimum number of requests.
    requests: String,
    /// `needs approval` if an operator must approve its end, `waits for approval` while nobody has; otherwise empty.
    approval: &'static str,
}

impl Step {
    /// `done`, `here`, or empty.
    pub(super) const fn place(&self) -> &'static str {
        self.place
    }
}

/// The plan's steps from 0% on; empty without a plan.
pub(super) fn steps(status: &GuardStatus) -> Vec<Step> {
    let Some(plan) = plan(status) else { return Vec::new() };
    let report = status.report.as_ref();
    let in_progress = report.and_then(|report| report.phase).is_some_and(|phase| phase != Phase::Watching);
    let held = report.and_then(|report| report.share).filter(|_| in_progress);
    let baseline = Step {
        share: Share::OFF.to_string(),
        place: "",
        time: span(plan.baseline.minimum_ms),
        requests: thousands(plan.baseline.minimum_requests),
        approval: "",
    };
    let mut steps = vec![baseline];
    steps.extend(plan.steps.iter().map(|step| Step {
        share: step.share.to_string(),
        place: "",
        time: span(step.minimum_ms),
        requests: thousands(step.minimum_requests),
        approval: if step.manual { "needs approval" } else { "" },
    }));
    if let Some(held) = held {
        let here = plan.steps.iter().filter(|step| step.share.fraction() <= held).count();
        for (index, step) in steps.iter_mut().enumerate().take(here + 1) {
            step.place = if index == here { "here" } else { "done" };
            if index == here && waits(status) {
                step.approval = "waits for approval";
            }
        }
    }
    steps
}

/// The plan in force.
pub(super) fn plan(status: &GuardStatus) -> Option<Plan> {
    status.report.as_ref()?.plan.clone().and_then(|raw| Plan::check(raw).ok())
}

/// Returns `true` if the current step needs an operator's approval that nobody has given.
pub(super) fn waits(status: &GuardStatus) -> bool {
    let decision = status.report.as_ref().and_then(|report| report.decision.as_ref());
    decision.is_some_and(|decision| decision.reasons.iter().any(|reason| reason == APPROVAL_REQUIRED))
}

/// A row of the table of checks.
#[derive(Debug, Serialize)]
pub(super) struct CheckRow {
    name: &'static str,
    outcome: Chip,
    value: Option<String>,
    interval: Option<String>,
    threshold: Option<String>,
    sample: Option<String>,
    reason: String,
}

pub(super) fn checks(status: &GuardStatus) -> Vec<CheckRow> {
    let decision = status.report.as_ref().and_then(|report| report.decision.as_ref());
    decision.iter().flat_map(|decision| &decision.checks).map(check_row).collect()
}

fn check_row(of: &CheckResult) -> CheckRow {
    let shown = |value: Option<f64>| value.map(|value| figure(of.check, value));
    let outcome = match of.outcome {
        CheckOutcome::Pass => Chip::new("good", "passes"),
        CheckOutcome::Breach => Chip::new("bad", "breached"),
        CheckOutcome::Open => Chip::new("", "not yet decided"),
        CheckOutcome::NoData => Chip::new("", "no data"),
    };
    CheckRow {
        name: name(of.check),
        outcome,
        value: shown(of.value),
        interval: interval(of),
        threshold: shown(of.threshold),
        sample: sample(of),
        reason: of.reason.clone(),
    }
}

/// `12,345 requests`; `None` if the sample is empty, or the check does not have one.
pub(super) fn sample(of: &CheckResult) -> Option<String> {
    let counts = of.sample > 0.0 && !matches!(of.check, Check::F1 | Check::Drift);
    counts.then(|| format!("{} {}", thousands(of.sample), of.unit.as_str()))
}

/// A count with separated thousands: `12,345`.
fn thousands(number: f64) -> String {
    let digits = count(number);
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `89.1% – 90.9%`; `None` if an end is not known.
pub(super) fn interval(of: &CheckResult) -> Option<String> {
    // The check counts requests without a model, so that availability has its ends the other way round.
    let (lower, upper) = if of.check == Check::Availability { (of.upper?, of.lower?) } else { (of.lower?, of.upper?) };
    Some(format!("{} – {}", figure(of.check, lower), figure(of.check, upper)))
}

/// A check's value in its unit. The check of availability measures the fraction without a model.
pub(super) fn figure(check: Check, value: f64) -> String {
    match check {
        Check::AcceptRate => points(value),
        Check::Drift | Check::F1 => format!("{value:.2}"),
        Check::Availability => percent(1.0 - value),
        _ => percent(value),
    }
}

fn name(check: Check) -> &'static str {
    match check {
        Check::Agreement => "Agreement",
        Check::AcceptRate => "Accept rate",
        Check::SampleRatio => "Sample ratio",
        Check::Fallback => "Fallbacks",
        Check::Latency => "Slow responses",
        Check::Availability => "Model availability",
        Check::Dropped => "Dropped observations",
        Check::Noise => "Noise (an arm against itself)",
        Check::F1 => "Macro F1",
        Check::Drift => "Drift",
    }
}

/// A row of the audit log.
#[derive(Debug, Serialize)]
pub(super) struct EntryRow {
    number: u64,
    at: String,
    datetime: String,
    kind: &'static str,
    tone: &'static str,
    actor: String,
    what: String,
    reason: String,
}

pub(super) fn entry_row(entry: &Entry) -> EntryRow {
    let (kind, tone, actor) = match &entry.actor {
        Actor::Operator(name) => ("operator", "good", name),
        Actor::Guard(name) => ("guard", "", name),
        Actor::Alert(name) => ("alert", "warn", name),
    };
    let at = clock::stamp(entry.at_ms);
    EntryRow {
        number: entry.number,
        datetime: at.replace(' ', "T") + "Z",
        at,
        kind,
        tone,
        actor: actor.clone(),
        what: entry.event.describe(),
        reason: entry.reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use guard::decision::Decision;
    use guard_runtime::control_loop::EvaluationReport;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_current_step_waits_for_approval_and_only_until_it_is_given() {
        let raw = |share: &str, manual: bool| json!({"share": share, "manual": manual});
        let plan = json!({"steps": [raw("10%", true), raw("50%", true), "100%"]});
        let approvals = |reason: &str| {
            let reasons = vec!["2 min at this step, the plan requires 48 h".to_owned(), reason.to_owned()];
            let decision = Decision { at_ms: 0, action: Action::Hold, set_share: None, reasons, checks: Vec::new() };
            let report = EvaluationReport {
                phase: Some(Phase::Step),
                share: Some(0.1),
                plan: Some(serde_json::from_value(plan.clone()).unwrap()),
                decision: Some(decision),
                ..EvaluationReport::default()
            };
            let status = GuardStatus {
                report: Some(report),
                age_ms: Some(0),
                silent: false,
                last_change: None,
                pending_commands: Vec::new(),
                damage: None,
            };
            steps(&status).iter().map(|step| step.approval).collect::<Vec<_>>()
        };
        assert_eq!(approvals(APPROVAL_REQUIRED), ["", "waits for approval", "needs approval", ""]);
        assert_eq!(approvals("no data"), ["", "needs approval", "needs approval", ""]);
    }

    #[test]
    fn availability_is_shown_as_the_fraction_with_a_model() {
        let unit = guard::decision::Unit::Requests;
        let of = CheckResult {
            value: Some(0.004),
            lower: Some(0.001),
            upper: Some(0.01),
            threshold: Some(0.02),
            ..CheckResult::no_data(Check::Availability, unit, false, "")
        };
        let row = check_row(&of);
        assert_eq!((row.value.as_deref(), row.threshold.as_deref()), (Some("99.6%"), Some("98.0%")));
        assert_eq!(row.interval.as_deref(), Some("99.0% – 99.9%"));
    }

    #[test]
    fn thousands_are_separated() {
        assert_eq!([0.0, 999.0, 1_000.0, 1_234_567.4].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
