//! The overview: the state of the rollout, the reasons, an operator's actions, and the history.

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Html;
use clients::prometheus::{Alert, Points, Span};
use clients::{ClientError, Prometheus};
use contract::names;
use contract::series::{self, GUARD_AGREEMENT, GUARD_CHECK_THRESHOLD, GUARD_CHECK_VALUE};
use guard::decision::Check;
use guard::format::percent;
use guard::state::Phase;
use guard_runtime::audit_log::{Entry, Event};
use guard_runtime::clock::now_ms;
use guard_runtime::control_loop::EvaluationReport;
use guard_runtime::status::GuardStatus;
use serde::{Deserialize, Serialize};

use super::status::{self, CheckRow, EntryRow, Step};
use super::{Chip, PageError, Window};
use crate::chart::{self, Chart, Line, Scale, chart};
use crate::{Console, access};

/// Recording rules of `prometheus/rules/slo.yml`.
pub(super) const SHARE_SEEN: &str = "perch:share_measured:ratio_10m";
pub(super) const SHARE_WANTED: &str = "perch:share_configured:ratio";
pub(super) const MODEL_AVAILABLE: &str = "perch:model_available:ratio_5m";

/// Points in a chart.
const POINTS: u64 = 180;
/// Entries of the audit log shown.
const RECENT: usize = 6;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Parameters {
    window: Option<String>,
    /// An entry that was just made.
    entry: Option<u64>,
}

#[derive(Serialize)]
struct Overview {
    flash: Option<Chip>,
    state: RolloutState,
    figures: Vec<Figure>,
    windows: [&'static str; 5],
    shown: &'static str,
    charts: [Chart; 3],
    alerts: Option<Vec<ShownAlert>>,
    checks: Vec<CheckRow>,
    recent: Vec<EntryRow>,
}

#[derive(Serialize)]
struct RolloutState {
    share: Option<String>,
    chip: Chip,
    summary: String,
    since: String,
    steps: Vec<Step>,
    reasons: Vec<String>,
    actions: Vec<Action>,
}

/// An action that is offered to the operator.
#[derive(Serialize)]
struct Action {
    act: &'static str,
    text: &'static str,
    danger: bool,
    ticket: String,
}

#[derive(Serialize)]
struct Figure {
    name: &'static str,
    value: Option<String>,
    note: String,
}

#[derive(Serialize)]
struct ShownAlert {
    name: String,
    summary: String,
    state: &'static str,
    tone: &'static str,
}

pub(crate) async fn show(
    State(console): State<Console>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Html<String>, PageError> {
    let now_ms = now_ms();
    let status = console.status(now_ms)?;
    let entries = console.entries()?;
    let window = Window::named(parameters.window.as_deref(), "6h");
    let (charts, (seen, available), alerts) =
        tokio::join!(charts(&console, window, now_ms), current(&console), alerts(&console));
    let flash = parameters.entry.and_then(|number| entries.iter().find(|entry| entry.number == number)).map(flash);
    let view = Overview {
        flash,
        state: rollout_state(&console, &headers, &status, now_ms)?,
        figures: figures(&status, seen, available),
        windows: Window::names(),
        shown: window.name,
        charts,
        alerts,
        checks: status::checks(&status),
        recent: entries.iter().take(RECENT).map(status::entry_row).collect(),
    };
    console.page(&headers, "overview.html", "Overview", view)
}

fn flash(entry: &Entry) -> Chip {
    let tone = if matches!(entry.event, Event::Rejected { .. }) { "warn" } else { "" };
    Chip::new(tone, format!("Entry {} of the audit log: {}", entry.number, entry.describe()))
}

fn rollout_state(
    console: &Console,
    headers: &HeaderMap,
    status: &GuardStatus,
    now_ms: u64,
) -> Result<RolloutState, PageError> {
    let (chip, summary) = status::summary(status, now_ms);
    let report = status.report.as_ref().filter(|_| !status.silent);
    let steps = status::steps(status);
    let stopped =
        report.is_some_and(|report| report.paused.is_some() || report.latched.is_some() || report.frozen.is_some());
    let mut actions = Vec::new();
    if let Some(session) = access::operator(console, headers) {
        let mut offer = |act, text, danger| -> Result<(), PageError> {
            actions.push(Action { act, text, danger, ticket: console.ticket(&session)? });
            Ok(())
        };
        if stopped {
            offer("resume", resume_text(report), false)?
        } else {
            offer("pause", "Pause the guard", false)?
        }
        if status::waits(status) {
            offer("approve", "Approve leaving the current step", false)?;
        }
        offer("rollback", "Roll back to 0%", true)?;
    }
    let reasons = status::reasons(status, &summary);
    let in_progress = steps.iter().any(|step| !step.place().is_empty());
    Ok(RolloutState {
        share: report.and_then(|report| report.share).map(share_percent),
        chip,
        summary,
        since: status::since(status),
        steps: if in_progress { steps } else { Vec::new() },
        reasons,
        actions,
    })
}

/// What resuming does: a rollout that was rolled back starts again.
fn resume_text(report: Option<&EvaluationReport>) -> &'static str {
    match report {
        Some(report) if report.phase.is_none_or(|phase| phase == Phase::Watching) => "Resume the guard",
        Some(report) if report.latched.is_some() && report.share == Some(0.0) => "Start again from 0%",
        _ => "Resume the rollout",
    }
}

/// `10%`, `0.25%`: a share without trailing zeros.
fn share_percent(share: f64) -> String {
    let percent = share * 100.0;
    let text = format!("{percent:.4}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn figures(status: &GuardStatus, seen: Option<f64>, available: Option<f64>) -> Vec<Figure> {
    let decision = status.report.as_ref().filter(|_| !status.silent).and_then(|report| report.decision.as_ref());
    let of = |check| decision.and_then(|decision| decision.check(check));
    let check = |name, check, note: &str| {
        let check_result = of(check);
        let sample = check_result.and_then(status::sample).map(|sample| format!("of {sample}"));
        let known = check_result.and_then(status::interval).into_iter().chain(sample).collect::<Vec<_>>();
        let note = if known.is_empty() { note.to_owned() } else { known.join(", ") };
        let value = check_result.and_then(|check_result| check_result.value);
        Figure { name, value: value.map(|value| status::figure(check, value)), note }
    };
    let wanted = status.report.as_ref().and_then(|report| report.share).map(share_percent);
    let wanted =
        wanted.map_or_else(|| "configured: no data".to_owned(), |wanted| format!("configured: {wanted} of users"));
    let ten_minutes = format!("of requests; {wanted}");
    let agreement = match status.report.as_ref().and_then(|report| report.phase) {
        Some(Phase::Step) => "Agreement at this step",
        Some(Phase::Baseline) => "Agreement at 0%",
        Some(Phase::Watching) | None => "Agreement",
    };
    vec![
        Figure { name: "Share measured (10 min)", value: seen.map(percent), note: ten_minutes },
        check(agreement, Check::Agreement, "of requests compared"),
        check("Accept rate", Check::AcceptRate, "candidate minus baseline"),
        check("Fallbacks", Check::Fallback, "of canary requests"),
        Figure { name: "Model availability", value: available.map(percent), note: "of requests in 5 min".to_owned() },
        check("Dropped observations", Check::Dropped, "of observations"),
    ]
}

/// The current share seen and availability; `None` without data, and without Prometheus.
async fn current(console: &Console) -> (Option<f64>, Option<f64>) {
    let Some(prometheus) = &console.0.prometheus else { return (None, None) };
    let (seen, available) = tokio::join!(prometheus.figure(SHARE_SEEN), prometheus.figure(MODEL_AVAILABLE));
    (seen.ok().flatten(), available.ok().flatten())
}

/// The alerts, those that fire first.
async fn alerts(console: &Console) -> Option<Vec<ShownAlert>> {
    let shown = |alert: Alert| {
        let (state, tone) = if alert.firing { ("firing", "bad") } else { ("pending", "warn") };
        ShownAlert { name: alert.name, summary: alert.summary, state, tone }
    };
    let mut alerts = console.0.prometheus.as_ref()?.alerts().await.ok()?;
    alerts.sort_by(|a, b| b.firing.cmp(&a.firing).then_with(|| a.name.cmp(&b.name)));
    alerts.dedup();
    Some(alerts.into_iter().map(shown).collect())
}

const AGREEMENT: (&str, &str) = ("agreement", "Agreement, with its confidence sequence");
const SHARE: (&str, &str) = ("share", "Share, configured and measured");
const SOURCES: (&str, &str) = ("sources", "Responses per second, by arm");

async fn charts(console: &Console, window: Window, now_ms: u64) -> [Chart; 3] {
    let empty = |reason: &str| {
        let empty = |(id, title)| chart::empty(id, title, reason.to_owned());
        [empty(AGREEMENT).whole(), empty(SHARE), empty(SOURCES)]
    };
    let Some(prometheus) = &console.0.prometheus else {
        return empty("No history: this guard was started without Prometheus.");
    };
    let step = (window.seconds / POINTS).max(5);
    // Points keep their position from one refresh to the next.
    let to = now_ms / 1_000 / step * step;
    let span = Span { from: to - window.seconds, to, step };
    match lines(prometheus, span).await {
        Ok([value, lower, upper, limit, wanted, seen, rule, model]) => {
            let line = |class, name, points| Line { class, name, points };
            let agreement = [line("s0", "agreement", value), line("limit", "limit", limit)];
            let shares = [line("s0", "measured, of requests", seen), line("s1", "configured, of users", wanted)];
            let sources = [line("s0", "candidate", model), line("s1", "baseline", rule)];
            [
                chart(AGREEMENT.0, AGREEMENT.1, Scale::Share, span, &agreement, Some(("interval", &lower, &upper)))
                    .whole(),
                chart(SHARE.0, SHARE.1, Scale::Share, span, &shares, None),
                chart(SOURCES.0, SOURCES.1, Scale::Rate, span, &sources, None),
            ]
        }
        Err(_) => empty("No history: Prometheus does not respond."),
    }
}

async fn lines(prometheus: &Prometheus, span: Span) -> Result<[Points; 8], ClientError> {
    let of_check = |name: &str| format!("max({name}{{check=\"{}\"}})", Check::Agreement.as_str());
    let bound = |end: &str| format!("max({GUARD_AGREEMENT}{{bound=\"{end}\"}})");
    let source = |arm: names::Source| format!("sum(rate({}{{source=\"{}\"}}[5m]))", series::SOURCE, arm.as_str());
    let queries = [
        of_check(GUARD_CHECK_VALUE),
        bound("lower"),
        bound("upper"),
        of_check(GUARD_CHECK_THRESHOLD),
        SHARE_WANTED.to_owned(),
        SHARE_SEEN.to_owned(),
        source(names::Source::Rule),
        source(names::Source::Model),
    ];
    let [value, lower, upper, limit, wanted, seen, rule, model] = &queries;
    let (value, lower, upper, limit, wanted, seen, rule, model) = tokio::try_join!(
        prometheus.line(value, span),
        prometheus.line(lower, span),
        prometheus.line(upper, span),
        prometheus.line(limit, span),
        prometheus.line(wanted, span),
        prometheus.line(seen, span),
        prometheus.line(rule, span),
        prometheus.line(model, span),
    )?;
    Ok([value, lower, upper, limit, wanted, seen, rule, model])
}

#[cfg(test)]
mod tests {
    use super::*;
    use guard::decision::{Action, CheckResult, Decision, Unit};

    #[test]
    fn a_share_has_no_trailing_zeros() {
        let written = [0.0, 0.1, 0.0025, 1.0, 0.000_001].map(share_percent);
        assert_eq!(written, ["0%", "10%", "0.25%", "100%", "0.0001%"]);
    }

    #[test]
    fn the_button_says_what_resuming_does() {
        let stop = || Some(guard::state::Stop { at_ms: 1, reason: "agreement fell".to_owned() });
        let text = |phase, share, latched| {
            resume_text(Some(&EvaluationReport { phase, share, latched, ..EvaluationReport::default() }))
        };
        assert_eq!(text(Some(Phase::Step), Some(0.1), None), "Resume the rollout");
        assert_eq!(text(Some(Phase::Step), Some(0.0), stop()), "Start again from 0%");
        assert_eq!(text(Some(Phase::Step), Some(0.1), stop()), "Resume the rollout");
        assert_eq!(text(Some(Phase::Watching), Some(0.0), stop()), "Resume the guard");
    }

    #[test]
    fn agreement_is_shown_without_a_baseline_too() {
        let check_result = CheckResult {
            value: Some(0.9),
            lower: Some(0.89),
            upper: Some(0.91),
            sample: 15_000.0,
            ..CheckResult::no_data(Check::Agreement, Unit::Requests, true, "no reference agreement")
        };
        let (action, checks) = (Action::Hold, vec![check_result]);
        let decision = Decision { at_ms: 0, action, set_share: None, reasons: Vec::new(), checks };
        let report = EvaluationReport { decision: Some(decision), ..EvaluationReport::default() };
        let mut status = GuardStatus {
            report: Some(report),
            age_ms: Some(0),
            silent: false,
            last_change: None,
            pending_commands: Vec::new(),
            damage: None,
        };
        let mut shown = |phase, name: &str| {
            status.report.as_mut().unwrap().phase = phase;
            figures(&status, None, None).into_iter().find(|figure| figure.name == name).unwrap()
        };
        let agreement = shown(None, "Agreement");
        let note = "89.0% – 91.0%, of 15,000 requests";
        assert_eq!((agreement.value.as_deref(), agreement.note.as_str()), (Some("90.0%"), note));
        assert_eq!(shown(Some(Phase::Step), "Agreement at this step").note, note);
        assert_eq!(shown(Some(Phase::Baseline), "Agreement at 0%").note, note);
    }

    #[test]
    fn the_recording_rules_exist() {
        let rules = include_str!("../../../../prometheus/rules/slo.yml");
        for name in [SHARE_SEEN, SHARE_WANTED, MODEL_AVAILABLE] {
            assert!(rules.contains(&format!("record: {name}\n")), "{name}");
        }
    }
}
