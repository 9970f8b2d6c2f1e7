//! The overview: how it stands, why, what may be done, and how it came to be so.

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Html;
use contract::names;
use contract::series::{GUARD_AGREEMENT, GUARD_CHECK_THRESHOLD, GUARD_CHECK_VALUE};
use serde::{Deserialize, Serialize};

use super::standing::{self, Judged, Step, Told};
use super::{Chip, PageError, Window};
use crate::console::chart::{self, Chart, Line, Scale, Span, chart};
use crate::console::prometheus::{Alert, Points, Prometheus};
use crate::console::{Console, access};
use crate::guard::clock::now_ms;
use crate::guard::decision::Check;
use crate::guard::ledger::{Entry, What};
use crate::guard::source::SourceError;
use crate::guard::standing::Standing;
use crate::guard::words::percent;

/// Recording rules of `prometheus/rules/slo.yml`.
pub(super) const SHARE_SEEN: &str = "perch:share_measured:ratio_10m";
pub(super) const SHARE_WANTED: &str = "perch:share_configured:ratio";
pub(super) const MODEL_AVAILABLE: &str = "perch:model_available:ratio_5m";

/// Points of a chart.
const POINTS: u64 = 180;
/// Entries shown.
const RECENT: usize = 6;

#[derive(Debug, Default, Deserialize)]
pub(in crate::console) struct Asked {
    window: Option<String>,
    /// An entry that was just made.
    entry: Option<u64>,
}

#[derive(Serialize)]
struct Overview {
    flash: Option<Chip>,
    stands: Stands,
    figures: Vec<Figure>,
    windows: [&'static str; 5],
    shown: &'static str,
    charts: [Chart; 3],
    alerts: Option<Vec<ShownAlert>>,
    judged: Vec<Judged>,
    recent: Vec<Told>,
}

#[derive(Serialize)]
struct Stands {
    share: Option<String>,
    chip: Chip,
    words: String,
    since: String,
    steps: Vec<Step>,
    reasons: Vec<String>,
    acts: Vec<Offered>,
}

/// Something that an operator may do.
#[derive(Serialize)]
struct Offered {
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

pub(in crate::console) async fn show(
    State(console): State<Console>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Html<String>, PageError> {
    let now_ms = now_ms();
    let standing = console.standing(now_ms)?;
    let entries = console.entries()?;
    let window = Window::named(asked.window.as_deref(), "6h");
    let (charts, (seen, available), alerts) =
        tokio::join!(charts(&console, window, now_ms), seen(&console), alerts(&console));
    let flash = asked.entry.and_then(|number| entries.iter().find(|entry| entry.number == number)).map(flash);
    let view = Overview {
        flash,
        stands: stands(&console, &headers, &standing, now_ms)?,
        figures: figures(&standing, seen, available),
        windows: Window::names(),
        shown: window.name,
        charts,
        alerts,
        judged: standing::judged(&standing),
        recent: entries.iter().take(RECENT).map(standing::told).collect(),
    };
    console.page(&headers, "overview.html", "Overview", view)
}

fn flash(entry: &Entry) -> Chip {
    let tone = if matches!(entry.what, What::Refused { .. }) { "warn" } else { "" };
    Chip::new(tone, format!("Written down as entry {}: {}", entry.number, entry.words()))
}

fn stands(console: &Console, headers: &HeaderMap, standing: &Standing, now_ms: u64) -> Result<Stands, PageError> {
    let (chip, words) = standing::in_short(standing, now_ms);
    let report = standing.report.as_ref().filter(|_| !standing.silent);
    let steps = standing::steps(standing);
    let stopped =
        report.is_some_and(|report| report.paused.is_some() || report.latched.is_some() || report.frozen.is_some());
    let mut acts = Vec::new();
    if let Some(session) = access::operator(console, headers) {
        let mut offer = |act, text, danger| -> Result<(), PageError> {
            acts.push(Offered { act, text, danger, ticket: console.ticket(&session)? });
            Ok(())
        };
        if stopped {
            offer("resume", "Resume", false)?
        } else {
            offer("pause", "Pause the guard", false)?
        }
        if standing::waits(&steps) {
            offer("approve", "Approve the next step", false)?;
        }
        offer("rollback", "Roll back to 0%", true)?;
    }
    let reasons = standing::reasons(standing, &words);
    let under_way = steps.iter().any(|step| !step.place().is_empty());
    Ok(Stands {
        share: report.and_then(|report| report.share).map(share_in_words),
        chip,
        words,
        since: standing::since(standing),
        steps: if under_way { steps } else { Vec::new() },
        reasons,
        acts,
    })
}

/// `10%`, `0.25%`: a share as people read it.
fn share_in_words(share: f64) -> String {
    let percent = share * 100.0;
    let text = format!("{percent:.4}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn figures(standing: &Standing, seen: Option<f64>, available: Option<f64>) -> Vec<Figure> {
    let decision = standing.report.as_ref().filter(|_| !standing.silent).and_then(|report| report.decision.as_ref());
    let of = |check| decision.and_then(|decision| decision.of(check));
    let check = |name, check, note: &str| {
        let judgement = of(check);
        let sample = judgement.and_then(standing::sample).map(|sample| format!("of {sample}"));
        let note = judgement.and_then(standing::interval).or(sample).unwrap_or_else(|| note.to_owned());
        let value = judgement.and_then(|judgement| judgement.value);
        Figure { name, value: value.map(|value| standing::figure(check, value)), note }
    };
    let wanted = standing.report.as_ref().and_then(|report| report.share).map(share_in_words);
    let wanted = wanted.map_or_else(|| "wanted: no data".to_owned(), |wanted| format!("wanted: {wanted} of users"));
    let ten_minutes = format!("of requests in 10 min, {wanted}");
    vec![
        Figure { name: "Share seen", value: seen.map(percent), note: ten_minutes },
        check("Agreement", Check::Agreement, "of requests compared"),
        check("Accept rate", Check::AcceptRate, "model against rules"),
        check("Fallbacks", Check::Fallback, "of canary requests"),
        Figure { name: "Model available", value: available.map(percent), note: "of requests in 5 min".to_owned() },
        check("Dropped", Check::Dropped, "of observations"),
    ]
}

/// Figures of the moment; `None` without data, and without Prometheus.
async fn seen(console: &Console) -> (Option<f64>, Option<f64>) {
    let Some(prometheus) = &console.0.prometheus else { return (None, None) };
    let (seen, available) = tokio::join!(prometheus.figure(SHARE_SEEN), prometheus.figure(MODEL_AVAILABLE));
    (seen.ok().flatten(), available.ok().flatten())
}

async fn alerts(console: &Console) -> Option<Vec<ShownAlert>> {
    let shown = |alert: Alert| {
        let (state, tone) = if alert.firing { ("firing", "bad") } else { ("pending", "warn") };
        ShownAlert { name: alert.name, summary: alert.summary, state, tone }
    };
    let alerts = console.0.prometheus.as_ref()?.alerts().await.ok()?;
    Some(alerts.into_iter().map(shown).collect())
}

const AGREEMENT: (&str, &str) = ("agreement", "Agreement, with the interval that always holds");
const SHARE: (&str, &str) = ("share", "Share on the model");
const SOURCES: (&str, &str) = ("sources", "Answers a second, by source");

async fn charts(console: &Console, window: Window, now_ms: u64) -> [Chart; 3] {
    let empty = |why: &str| {
        let empty = |(id, title)| chart::nothing(id, title, why.to_owned());
        [empty(AGREEMENT).whole(), empty(SHARE), empty(SOURCES)]
    };
    let Some(prometheus) = &console.0.prometheus else {
        return empty("No history: this guard was started without Prometheus.");
    };
    let step = (window.seconds / POINTS).max(5);
    // Points stay where they are from one look to the next.
    let to = now_ms / 1_000 / step * step;
    let span = Span { from: to - window.seconds, to, step };
    match lines(prometheus, span).await {
        Ok([value, lower, upper, limit, wanted, seen, rule, model]) => {
            let line = |class, name, points| Line { class, name, points };
            let agreement = [line("s0", "agreement", value), line("limit", "limit", limit)];
            let shares = [line("s0", "seen, of requests", seen), line("s1", "wanted, of users", wanted)];
            let sources = [line("s0", "model", model), line("s1", "rules", rule)];
            [
                chart(AGREEMENT.0, AGREEMENT.1, Scale::Share, span, &agreement, Some(("interval", &lower, &upper)))
                    .whole(),
                chart(SHARE.0, SHARE.1, Scale::Share, span, &shares, None),
                chart(SOURCES.0, SOURCES.1, Scale::Rate, span, &sources, None),
            ]
        }
        Err(_) => empty("No history: Prometheus does not answer."),
    }
}

async fn lines(prometheus: &Prometheus, span: Span) -> Result<[Points; 8], SourceError> {
    let of_check = |name: &str| format!("max({name}{{check=\"{}\"}})", Check::Agreement.as_str());
    let bound = |end: &str| format!("max({GUARD_AGREEMENT}{{bound=\"{end}\"}})");
    let source = |arm: names::Source| format!("sum(rate({}{{source=\"{}\"}}[5m]))", names::SOURCE, arm.as_str());
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
    use crate::guard::decision::{Action, Decision, Judgement, Unit};
    use crate::guard::shell::Report;

    #[test]
    fn a_share_is_written_as_people_read_it() {
        let written = [0.0, 0.1, 0.0025, 1.0, 0.000_001].map(share_in_words);
        assert_eq!(written, ["0%", "10%", "0.25%", "100%", "0.0001%"]);
    }

    #[test]
    fn agreement_is_in_the_headline_also_without_a_baseline() {
        let judgement = Judgement {
            value: Some(0.9),
            lower: Some(0.89),
            upper: Some(0.91),
            sample: 15_000.0,
            ..Judgement::no_data(Check::Agreement, Unit::Requests, true, "no baseline to hold agreement against")
        };
        let (action, judgements) = (Action::Hold, vec![judgement]);
        let decision = Decision { at_ms: 0, action, set_share: None, reasons: Vec::new(), judgements };
        let report = Report { decision: Some(decision), ..Report::default() };
        let standing = Standing {
            report: Some(report),
            age_ms: Some(0),
            silent: false,
            last_change: None,
            waiting: Vec::new(),
            damage: None,
        };
        let agreement = figures(&standing, None, None).into_iter().find(|figure| figure.name == "Agreement").unwrap();
        assert_eq!((agreement.value.as_deref(), agreement.note.as_str()), (Some("90.0%"), "89.0% – 91.0%"));
    }

    #[test]
    fn the_rules_that_are_asked_for_are_there() {
        let rules = include_str!("../../../../prometheus/rules/slo.yml");
        for name in [SHARE_SEEN, SHARE_WANTED, MODEL_AVAILABLE] {
            assert!(rules.contains(&format!("record: {name}\n")), "{name}");
        }
    }
}
