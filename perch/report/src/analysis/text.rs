//! The figures as tables for a terminal.

use contract::names::Cohort;

use super::report::{Accept, Choices, Estimate, Report};

/// Labels and pairs shown; CSV and JSON have them all.
const LINES: usize = 12;

/// The whole report. `bold` marks headings, e.g. for a terminal.
#[must_use]
pub fn render(report: &Report, bold: impl Fn(&str) -> String) -> String {
    let mut out = format!("{}  {}\n", bold("Analysis"), span(report));
    overview(report, &mut out);
    line(&mut out, format!("sample ratio   {}", ratio(report)));
    heading(&mut out, &bold, "Accept rate by source");
    rates(&report.accept, &mut out);
    heading(&mut out, &bold, "Accept rate where the sides disagree");
    rates(&report.disputed, &mut out);
    heading(&mut out, &bold, "Whose answer people took where the sides disagree");
    for (served, choices) in ["rules answered", "model answered"].iter().zip(report.taken) {
        line(&mut out, format!("{served}  {}", taken(choices)));
    }
    if report.disputes_dropped > 0 {
        let dropped = report.disputes_dropped;
        line(&mut out, format!("({dropped} disagreements were not stored, so their feedback is not in here)"));
    }
    by_label(report, &bold, &mut out);
    out
}

/// What the two sides say of the same items, without what people said to it.
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
    let judged = items.agree + items.differ;
    line(out, format!("items          {judged} judged: {} agree, {} differ", items.agree, items.differ));
    let (model, rules, both) = (items.only_rule, items.only_model, items.neither);
    line(out, format!("               no opinion: model {model}, rules {rules}, both {both}"));
    line(out, format!("agreement      {}", percent(report.agreement)));
    line(out, format!("kappa          {}", kappa(report.kappa)));
}

fn by_label(report: &Report, bold: &impl Fn(&str) -> String, out: &mut String) {
    heading(out, bold, "Agreement by label");
    line(out, format!("{:<24} {:>9} {:>9} {:>10} {:>9}", "label", "both", "only rule", "only model", "neither"));
    for label in report.labels.iter().take(LINES) {
        let (both, rule, model, neither) = (label.both, label.only_rule, label.only_model, label.neither);
        line(out, format!("{:<24} {both:>9} {rule:>9} {model:>10} {neither:>9}", short(&label.label)));
    }
    more(report.labels.len(), "label", out);

    heading(out, bold, "Pairs that disagree most");
    line(out, format!("{:<20} {:<20} {:>8} {:>7}  taken, and samples", "rules say", "model says", "items", "share"));
    for pair in report.disagreements.iter().take(LINES) {
        let samples: Vec<&str> = pair.samples.iter().map(|sample| sample.item.as_str()).collect();
        let samples = if samples.is_empty() { String::new() } else { format!("  e.g. {}", samples.join(", ")) };
        let (rule, model) = (short(&pair.rule), short(&pair.model));
        let (share, taken) = (pair.share * 100.0, taken(pair.taken));
        line(out, format!("{rule:<20} {model:<20} {:>8} {share:>5.1} %  {taken}{samples}", pair.items));
    }
    more(report.disagreements.len(), "pair", out);
}

/// From when to when, and who is left out.
pub(super) fn span(report: &Report) -> String {
    let minutes = report.until_ms.saturating_sub(report.since_ms) / 60_000;
    let length = match minutes {
        _ if report.since_ms == 0 => "everything that is kept".to_owned(),
        0..120 => format!("the last {minutes} min"),
        120..2_880 => format!("the last {} h {} min", minutes / 60, minutes % 60),
        _ => format!("the last {} d {} h", minutes / 1_440, minutes % 1_440 / 60),
    };
    let names: Vec<&str> = report.left_out.iter().map(|cohort| Cohort::as_str(*cohort)).collect();
    if names.is_empty() { length } else { format!("{length}, without cohort {}", names.join(", ")) }
}

/// A share with its interval: `86.1 % [85.0, 87.2]`.
#[must_use]
pub fn percent(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(
        || "no data".to_owned(),
        |Estimate { value, interval: [low, high], .. }| {
            format!("{:.1} % [{:.1}, {:.1}]", value * 100.0, low * 100.0, high * 100.0)
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
    let verdict = if ratio.mismatch { "MISMATCH: the sides cannot be compared" } else { "as wanted" };
    format!(
        "{verdict}: {:.2} % of users on the model, {:.2} % wanted ({model} and {rule} users)",
        ratio.seen * 100.0,
        ratio.wanted * 100.0
    )
}

fn rates(accept: &Accept, out: &mut String) {
    let [rule, model] = accept.feedbacks;
    let users = |estimate: Option<Estimate>| estimate.map_or(0.0, |estimate| estimate.units);
    line(out, format!("rules          {}  {rule} feedbacks of {} users", percent(accept.rule), users(accept.rule)));
    line(out, format!("model          {}  {model} feedbacks of {} users", percent(accept.model), users(accept.model)));
    line(out, format!("effect         {}", effect(accept)));
}

pub(super) fn effect(accept: &Accept) -> String {
    let Some(effect) = accept.effect else {
        return "no data (each side needs feedback of at least two users)".to_owned();
    };
    let ([low, high], [always_low, always_high]) = (effect.interval, effect.always);
    let verdict = if low > 0.0 {
        "the model's answers are taken more often"
    } else if high < 0.0 {
        "the rules' answers are taken more often"
    } else {
        "no difference shown"
    };
    format!(
        "{:+.1} points [{:+.1}, {:+.1}]; however often one looks [{:+.1}, {:+.1}]: {verdict}",
        effect.value * 100.0,
        low * 100.0,
        high * 100.0,
        always_low * 100.0,
        always_high * 100.0
    )
}

/// `model 30, rules 10 of 41`.
pub(super) fn taken(choices: Choices) -> String {
    if choices.sum() == 0 {
        return "no data".to_owned();
    }
    let parts = [
        ("rules", choices.rule),
        ("model", choices.model),
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
    fn the_words_say_what_the_figures_say() {
        let text = render(&Report::of(analysis(), Some(0.2)), str::to_owned);
        for expected in [
            "1000 judged: 860 agree, 140 differ",
            "without cohort beta",
            "MISMATCH",
            "+20.0 points",
            "the model's answers are taken more often",
            "rules answered  rules 10, model 30",
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
        assert!(!text.contains("0.0 %") && !text.contains("NaN"), "{text}");
    }
}
