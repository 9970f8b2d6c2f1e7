//! The report's charts: SVG that takes its colours from the page's style sheet.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::html::escape;
use super::report::{Accept, Choices, Estimate, Report};

/// Width of every chart, in its own units; the page scales it.
const WIDTH: f64 = 720.0;
/// Where marks begin: labels stand to the left of it.
const LEFT: f64 = 170.0;
/// Room for the last of the heat map's slanted labels, to the right of its column.
const OVERHANG: f64 = 76.0;
/// Labels in the heat map, and lines in the bars.
const LABELS: usize = 14;
/// Height of a line.
const LINE: f64 = 26.0;

fn svg(title: &str, height: f64, body: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>{body}</svg>",
        title = escape(title)
    )
}

fn text(out: &mut String, x: f64, y: f64, class: &str, text: &str) {
    // Writing to a String cannot fail.
    let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>", escape(text));
}

fn rect(out: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), class: &str, title: &str) {
    let _ = write!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" class=\"{class}\"><title>{}</title></rect>",
        width.max(0.0),
        escape(title)
    );
}

/// Accept rates as points with their intervals, on one axis from 0 to 100 %.
pub(super) fn accept(report: &Report) -> String {
    let mut out = String::new();
    let end = WIDTH - 60.0;
    let x = |share: f64| LEFT + share.clamp(0.0, 1.0) * (end - LEFT);
    let lines: [(&str, &Accept); 2] = [("all answers", &report.accept), ("disputed", &report.disputed)];
    let bottom = 4.0 * LINE + 14.0;
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        let _ = write!(out, "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"6\" y2=\"{bottom:.1}\" class=\"grid\"/>", x(share));
        text(&mut out, x(share), bottom + 16.0, "tick middle", &format!("{:.0} %", share * 100.0));
    }
    let mut y = 22.0;
    for (name, accept) in lines {
        for (source, estimate) in [("rules", accept.rule), ("model", accept.model)] {
            text(&mut out, LEFT - 12.0, y + 4.0, "label end", &format!("{source}, {name}"));
            match estimate {
                None => text(&mut out, LEFT + 8.0, y + 4.0, "tick", "no data"),
                Some(estimate) => whisker(&mut out, estimate, x, y, source),
            }
            y += LINE;
        }
    }
    svg("Accept rates by source with 95 % intervals", bottom + 24.0, &out)
}

fn whisker(out: &mut String, estimate: Estimate, x: impl Fn(f64) -> f64, y: f64, class: &str) {
    let [low, high] = estimate.interval;
    let _ = write!(
        out,
        "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"whisker {class}\"/>",
        x(low),
        x(high)
    );
    let _ = write!(out, "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"6\" class=\"{class}\"/>", x(estimate.value));
    text(out, x(high) + 10.0, y + 4.0, "tick", &format!("{:.1} %", estimate.value * 100.0));
}

/// What the rules say (down) against what the model says (across), darker for more.
pub(super) fn heat_map(report: &Report) -> String {
    let opinion = |label: &Option<String>| label.clone().unwrap_or_else(|| "no opinion".to_owned());
    let mut cells: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for pair in &report.pairs {
        let (rule, model) = (opinion(&pair.rule), opinion(&pair.model));
        *sums.entry(rule.clone()).or_default() += pair.items;
        *sums.entry(model.clone()).or_default() += pair.items;
        *cells.entry((rule, model)).or_default() += pair.items;
    }
    let mut labels: Vec<(String, u64)> = sums.into_iter().collect();
    labels.sort_by_key(|(label, items)| (std::cmp::Reverse(*items), label.clone()));
    labels.truncate(LABELS);
    let labels: Vec<String> = labels.into_iter().map(|(label, _)| label).collect();
    if labels.is_empty() {
        return none();
    }
    let most = cells.values().max().copied().unwrap_or(1);
    #[allow(clippy::cast_precision_loss)]
    let side = (WIDTH - LEFT - OVERHANG) / labels.len() as f64;
    let (top, height) = (112.0, side.min(34.0));
    let mut out = String::new();
    for (column, model) in (0_u32..).zip(&labels) {
        let (x, y) = (LEFT + f64::from(column) * side + side / 2.0, top - 8.0);
        let _ = write!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"tick\" transform=\"rotate(-40 {x:.1} {y:.1})\">{}</text>",
            escape(model)
        );
    }
    for (row, rule) in (0_u32..).zip(&labels) {
        let y = top + f64::from(row) * height;
        text(&mut out, LEFT - 12.0, y + height / 2.0 + 4.0, "label end", rule);
        for (column, model) in (0_u32..).zip(&labels) {
            let items = cells.get(&(rule.clone(), model.clone())).copied().unwrap_or(0);
            if items == 0 {
                continue;
            }
            let at = (LEFT + f64::from(column) * side + 1.0, y + 1.0);
            let class = if rule == model { "agree" } else { "differ" };
            let title = format!("rules {rule}, model {model}: {items} items");
            let shade = shade(items, most);
            let mut cell = String::new();
            rect(&mut cell, at, (side - 2.0, height - 2.0), class, &title);
            let _ = write!(out, "<g fill-opacity=\"{shade:.2}\">{cell}</g>");
        }
    }
    #[allow(clippy::cast_precision_loss)]
    let height = top + labels.len() as f64 * height + 8.0;
    svg("Items by what the rules say (down) and what the model says (across)", height, &out)
}

/// Logarithmic, since a few cells have most of the items.
#[allow(clippy::cast_precision_loss)]
fn shade(items: u64, most: u64) -> f64 {
    0.12 + 0.88 * (items as f64).ln_1p() / (most as f64).ln_1p()
}

/// By label, who gives it.
pub(super) fn labels(report: &Report) -> String {
    let lines: Vec<(String, Parts)> = report
        .labels
        .iter()
        .take(LABELS)
        .map(|label| {
            let parts = [
                ("both", "agree", label.both),
                ("only rules", "rules", label.only_rule),
                ("only model", "model", label.only_model),
            ];
            (label.label.clone(), parts.to_vec())
        })
        .collect();
    bars("Items by label and by who gives it", &lines)
}

/// Whose answer people took where the sides disagree.
pub(super) fn taken(report: &Report) -> String {
    let parts = |choices: Choices| {
        vec![
            ("rules'", "rules", choices.rule),
            ("model's", "model", choices.model),
            ("another", "another", choices.another),
            ("rejected", "nothing", choices.nothing),
        ]
    };
    let [rule, model] = report.taken;
    let lines = [("rules answered".to_owned(), parts(rule)), ("model answered".to_owned(), parts(model))];
    if rule.sum() + model.sum() == 0 {
        none()
    } else {
        bars("Whose answer people took where the sides disagree", &lines)
    }
}

/// Name, style and size of the parts of a bar.
type Parts = Vec<(&'static str, &'static str, u64)>;

fn bars(title: &str, lines: &[(String, Parts)]) -> String {
    let sum = |parts: &Parts| parts.iter().map(|(_, _, items)| items).sum::<u64>();
    let most = lines.iter().map(|(_, parts)| sum(parts)).max().unwrap_or(0);
    if most == 0 {
        return none();
    }
    let mut out = String::new();
    let mut at = LEFT;
    for (name, class, _) in lines.first().map(|(_, parts)| parts.as_slice()).unwrap_or_default() {
        rect(&mut out, (at, 4.0), (12.0, 12.0), class, name);
        text(&mut out, at + 18.0, 14.0, "tick", name);
        at += 110.0;
    }
    let mut y = 28.0;
    for (label, parts) in lines {
        text(&mut out, LEFT - 12.0, y + 14.0, "label end", label);
        let mut x = LEFT;
        for (name, class, items) in parts {
            #[allow(clippy::cast_precision_loss)]
            let width = (WIDTH - LEFT - 70.0) * *items as f64 / most as f64;
            if *items > 0 {
                // A gap of two units keeps neighbours apart without relying on colour.
                rect(&mut out, (x, y), (width - 2.0, LINE - 7.0), class, &format!("{label}, {name}: {items}"));
            }
            x += width;
        }
        text(&mut out, x + 6.0, y + 14.0, "tick", &sum(parts).to_string());
        y += LINE;
    }
    svg(title, y + 6.0, &out)
}

fn none() -> String {
    "<p class=\"none\">no data</p>".to_owned()
}
