//! The guard's status, the checks and the audit log, ready to be shown.

use contract::share::Share;
use guard::decision::{Action, Check, CheckOutcome, CheckResult};
use guard::format::{count, percent, points, span};
use guard::plan::Plan;
use guard::state::{Phase, Stop};
use guard_runtime::audit_log::{Actor, Entry};
use guard_runtime::status::GuardStatus;
use serde::Serialize;

use super::Chip;
use crate::clock;

/// The guard's state as a chip, and in a sentence.
pub(super) fn summary(guard_status: &GuardStatus, now_ms: u64) -> (Chip, String) {
    let Some(report) = &guard_status.report else {
        return (Chip::new("", "No data"), "No guard has run with this folder.".to_owned());
    };
    if guard_status.silent {
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
        (Some(Phase::Watching) | None, _) => Chip::new("", "Watching"),
        (_, Some(Action::Advance)) => Chip::new("good", "Advancing"),
        (_, Some(Action::Rollback)) => Chip::new("bad", "Rolling back"),
        (_, Some(Action::Freeze)) => Chip::new("warn", "Freezing"),
        (Some(Phase::Baseline), _) => Chip::new("good", "Learning the baseline"),
        (Some(Phase::Step), _) => Chip::new("good", "Holding"),
    };
    (chip, first())
}

/// The guard's reasons and problems, without those in `summary`.
pub(super) fn reasons(guard_status: &GuardStatus, summary: &str) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(report) = &guard_status.report {
        let stops = [&report.paused, &report.latched, &report.frozen];
        let is_shown = |reason: &str| {
            let of_stop = |stop: &&Option<Stop>| stop.as_ref().is_some_and(|stop| reason.ends_with(&stop.reason));
            reason == summary || stops.iter().any(of_stop)
        };
        let reasons = report.decision.iter().flat_map(|decision| &decision.reasons);
        all.extend(reasons.filter(|reason| !is_shown(reason)).cloned());
        all.extend(report.problems.iter().map(|trouble| format!("problem: {trouble}")));
    }
    all.extend(guard_status.pending_commands.iter().map(|entry| format!("waiting for the guard: {}", entry.describe())));
    all
}

/// The moment at which the ramp entered its current step.
pub(super) fn since(guard_status: &GuardStatus) -> String {
    let ms = guard_status.report.as_ref().map_or(0, |report| report.since_ms);
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
    /// An operator must approve its end.
    manual: bool,
}

impl Step {
    /// `done`, `here`, or empty.
    pub(super) const fn place(&self) -> &'static str {
        self.place
    }
}

/// The plan's steps from 0% on; empty without a plan.
pub(super) fn steps(guard_status: &GuardStatus) -> Vec<Step> {
    let Some(plan) = plan(guard_status) else { return Vec::new() };
    let report = guard_status.report.as_ref();
    let in_progress = report.and_then(|report| report.phase).is_some_and(|phase| phase != Phase::Watching);
    let held = report.and_then(|report| report.share).filter(|_| in_progress);
    let baseline = Step {
        share: Share::OFF.to_string(),
        place: "",
        time: span(plan.baseline.minimum_ms),
        requests: thousands(plan.baseline.minimum_requests),
        manual: false,
    };
    let mut steps = vec![baseline];
    steps.extend(plan.steps.iter().map(|step| Step {
        share: step.share.to_string(),
        place: "",
        time: span(step.minimum_ms),
        requests: thousands(step.minimum_requests),
        manual: step.manual,
    }));
    if let Some(held) = held {
        let here = plan.steps.iter().filter(|step| step.share.fraction() <= held).count();
        for (index, step) in steps.iter_mut().enumerate().take(here + 1) {
            step.place = if index == here { "here" } else { "done" };
        }
    }
    steps
}

/// The plan in force.
pub(super) fn plan(guard_status: &GuardStatus) -> Option<Plan> {
    guard_status.report.as_ref()?.plan.clone().and_then(|raw| Plan::check(raw).ok())
}

/// Returns `true` if the ramp waits for an operator's approval at this step.
pub(super) fn waits(steps: &[Step]) -> bool {
    steps.iter().any(|step| step.place == "here" && step.manual)
}

/// A row of the table of checks.
#[derive(Debug, Serialize)]
pub(super) struct CheckRow {
    name: &'static str,
    verdict: Chip,
    value: Option<String>,
    interval: Option<String>,
    threshold: Option<String>,
    sample: Option<String>,
    reason: String,
}

pub(super) fn checks(guard_status: &GuardStatus) -> Vec<CheckRow> {
    let decision = guard_status.report.as_ref().and_then(|report| report.decision.as_ref());
    decision.iter().flat_map(|decision| &decision.checks).map(check_row).collect()
}

fn check_row(of: &CheckResult) -> CheckRow {
    let shown = |value: Option<f64>| value.map(|value| figure(of.check, value));
    let verdict = match of.outcome {
        CheckOutcome::Pass => Chip::new("good", "passes"),
        CheckOutcome::Breach => Chip::new("bad", "breached"),
        CheckOutcome::Open => Chip::new("", "open"),
        CheckOutcome::NoData => Chip::new("", "no data"),
    };
    CheckRow {
        name: name(of.check),
        verdict,
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
    let (lower, upper) = (of.lower?, of.upper?);
    Some(format!("{} – {}", figure(of.check, lower), figure(of.check, upper)))
}

/// A check's value in its unit.
pub(super) fn figure(check: Check, value: f64) -> String {
    match check {
        Check::AcceptRate => points(value),
        Check::Drift | Check::F1 => format!("{value:.2}"),
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
        Check::Availability => "Model unavailable",
        Check::Dropped => "Dropped",
        Check::Noise => "Noise",
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
    who: String,
    what: String,
    reason: String,
}

pub(super) fn entry_row(entry: &Entry) -> EntryRow {
    let (kind, tone, who) = match &entry.actor {
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
        who: who.clone(),
        what: entry.event.describe(),
        reason: entry.reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!([0.0, 999.0, 1_000.0, 1_234_567.4].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
