//! The figures as tables for a terminal.

use contract::names::Cohort;
use contract::percent::Percent;

use super::report::{Accept, Choices, Estimate, Report};

/// Labels and pairs shown; CSV and JSON have them all.
const LINES: usize = 12;

/// The whole report. `bold` marks headings, e.g. for a terminal.
#[must_use]
pub fn render(report: &Report, bold: impl Fn(&str) -> String) -> String {
    let mut out = format!("{}  {}\n", bold("Analysis"), span(report));
    overview(report, &mut out);
    line(&mut out, format!("sample ratio   {}", ratio(report)));
    heading(&mut out, &bold, "Accept rate by arm");
    rates(&report.accept, &mut out);
    heading(&mut out, &bold, "Accept rate where the arms disagree");
    rates(&report.disputed, &mut out);
    heading(&mut out, &bold, "Labels that users accepted where the arms disagree");
    for (served, choices) in ["baseline served ", "candidate served"].iter().zip(report.taken) {
        line(&mut out, format!("{served}  {}", accepted(choices)));
    }
    if report.disputes_dropped > 0 {
        let dropped = report.disputes_dropped;
        line(&mut out, format!("({dropped} disagreements were not stored, so feedback on them is missing here)"));
    }
    by_label(report, &bold, &mut out);
    out
}

/// The comparison of the labels alone, without users' feedback.
#[must_use]
pub fn compared(report: &Report, bold: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    overview(report, &mut out);
    by_label(report, &bold, &mut out);
    out
}

fn line(out: &mut String, text: impl AsRef<str>) {
    out.push_str(text.as_ref());
    out.push('\n');
}

fn heading(out: &mut String, bold: &impl Fn(&str) -> String, text: &str) {
    line(out, format!("\n{}", bold(text)));
}

fn overview(report: &Report, out: &mut String) {
    let items = report.items;
    let compared = items.agree + items.disagree;
    line(out, format!("items          {compared} compared: {} agree, {} disagree", items.agree, items.disagree));
    let (candidate, baseline, both) = (items.only_rule, items.only_model, items.neither);
    line(out, format!("               no label from: candidate {candidate}, baseline {baseline}, both {both}"));
    line(out, format!("agreement      {}", percent(report.agreement)));
    line(out, format!("kappa          {}", kappa(report.kappa)));
}

fn by_label(report: &Report, bold: &impl Fn(&str) -> String, out: &mut String) {
    heading(out, bold, "Agreement by label");
    let [label, both, baseline, candidate, neither] = ["label", "both", "only baseline", "only candidate", "neither"];
    line(out, format!("{label:<24} {both:>9} {baseline:>13} {candidate:>14} {neither:>9}"));
    for label in report.labels.iter().take(LINES) {
        let (both, baseline, candidate) = (label.both, label.only_rule, label.only_model);
        let (name, neither) = (short(&label.label), label.neither);
        line(out, format!("{name:<24} {both:>9} {baseline:>13} {candidate:>14} {neither:>9}"));
    }
    more(report.labels.len(), "label", out);

    heading(out, bold, "Most frequent disagreements");
    line(out, format!("{:<20} {:<20} {:>8} {:>7}  accepted, and samples", "baseline", "candidate", "items", "share"));
    for pair in report.disagreements.iter().take(LINES) {
        let samples: Vec<&str> = pair.samples.iter().map(|sample| sample.item.as_str()).collect();
        let samples = if samples.is_empty() { String::new() } else { format!("  e.g. {}", samples.join(", ")) };
        let (rule, model) = (short(&pair.rule), short(&pair.model));
        let (share, accepted) = (pair.share * 100.0, accepted(pair.taken));
        line(out, format!("{rule:<20} {model:<20} {:>8} {share:>6.1}%  {accepted}{samples}", pair.items));
    }
    more(report.disagreements.len(), "disagreement", out);
}

/// The period, and the cohorts that are left out.
pub(super) fn span(report: &Report) -> String {
    let minutes = report.until_ms.saturating_sub(report.since_ms) / 60_000;
    let length = match minutes {
        _ if report.since_ms == 0 => "everything that the scorer keeps".to_owned(),
        0..120 => format!("the last {minutes} min"),
        120..2_880 => format!("the last {} h {} min", minutes / 60, minutes % 60),
        _ => format!("the last {} d {} h", minutes / 1_440, minutes % 1_440 / 60),
    };
    let names: Vec<&str> = report.left_out.iter().map(|cohort| Cohort::as_str(*cohort)).collect();
    if names.is_empty() { length } else { format!("{length}, without cohort {}", names.join(", ")) }
}

/// A share with its interval: `86.1% [85.0, 87.2]`.
#[must_use]
pub fn percent(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(
        || "no data".to_owned(),
        |Estimate { value, interval: [low, high], .. }| {
            format!("{:.1} [{:.1}, {:.1}]", Percent(value), low * 100.0, high * 100.0)
        },
    )
}

pub(super) fn kappa(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(
        || "no data".to_owned(),
        |Estimate { value, interval: [low, high], .. }| format!("{value:.3} [{low:.3}, {high:.3}]"),
    )
}

pub(super) fn ratio(report: &Report) -> String {
    let Some(ratio) = &report.ratio else { return "no data".to_owned() };
    let [rule, model] = ratio.users;
    let split = if ratio.mismatch { "MISMATCH, the arms cannot be compared" } else { "as expected" };
    format!(
        "{split}: {:.2} of users in the candidate arm, {:.2} expected ({model} candidate, {rule} baseline)",
        Percent(ratio.seen),
        Percent(ratio.wanted)
    )
}

fn rates(accept: &Accept, out: &mut String) {
    let [rule, model] = accept.feedbacks;
    let users = |estimate: Option<Estimate>| estimate.map_or(0.0, |estimate| estimate.units);
    line(
        out,
        format!("baseline       {}  {rule} feedback events of {} users", percent(accept.rule), users(accept.rule)),
    );
    line(
        out,
        format!("candidate      {}  {model} feedback events of {} users", percent(accept.model), users(accept.model)),
    );
    line(out, format!("effect         {}", effect(accept)));
}

pub(super) fn effect(accept: &Accept) -> String {
    let Some(effect) = accept.effect else {
        return "no data (each arm needs feedback of at least two users)".to_owned();
    };
    let ([low, high], [lowest, highest]) = (effect.interval, effect.anytime_ci);
    let difference = if low > 0.0 {
        "the candidate is accepted more often"
    } else if high < 0.0 {
        "the baseline is accepted more often"
    } else {
        "no difference is shown"
    };
    format!(
        "{:+.1} points [{:+.1}, {:+.1}], anytime-valid [{:+.1}, {:+.1}]: {difference}",
        effect.value * 100.0,
        low * 100.0,
        high * 100.0,
        lowest * 100.0,
        highest * 100.0
    )
}

/// `baseline 10, candidate 30`.
#[must_use]
pub fn accepted(choices: Choices) -> String {
    if choices.sum() == 0 {
        return "no data".to_owned();
    }
    let parts = [
        ("baseline", choices.rule),
        ("candidate", choices.model),
        ("another", choices.another),
        ("rejected", choices.nothing),
    ];
    let some: Vec<String> =
        parts.iter().filter(|(_, times)| *times > 0).map(|(name, times)| format!("{name} {times}")).collect();
    some.join(", ")
}

fn more(all: usize, thing: &str, out: &mut String) {
    if all > LINES {
        line(out, format!("… and {} more {thing}s: --csv or --json has them", all - LINES));
    } else if all == 0 {
        line(out, "no data");
    }
}

fn short(label: &str) -> String {
    if label.chars().count() <= 20 { label.to_owned() } else { label.chars().take(19).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::analysis;
    use super::*;
    use contract::analysis::Analysis;
    use contract::evidence::{Clusters, Feedback};

    #[test]
    fn the_text_states_the_figures() {
        let text = render(&Report::of(analysis(), Some(0.2)), str::to_owned);
        for expected in [
            "1000 compared: 860 agree, 140 disagree",
            "without cohort beta",
            "MISMATCH",
            "+20.0 points",
            "the candidate is accepted more often",
            "baseline served   baseline 10, candidate 30",
            "e.g. 88",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn without_data_nothing_is_zero_percent() {
        let empty = Analysis {
            pairs: vec![],
            agreement: Clusters::default(),
            users: None,
            feedback: Feedback::default(),
            disputed: Feedback::default(),
            taken: vec![],
            samples: vec![],
            ..analysis()
        };
        let text = render(&Report::of(empty, Some(0.1)), str::to_owned);
        assert!(text.contains("agreement      no data") && text.contains("kappa          no data"), "{text}");
        assert!(!text.contains("0.0%") && !text.contains("NaN"), "{text}");
    }
}
