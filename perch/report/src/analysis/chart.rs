//! The report's charts, as marks that the page's template draws as SVG; colours come from the page's style sheet.

use contract::percent::Percent;
use serde::Serialize;

use super::pairs::LabelPairs;
use super::report::{Accept, Choices, Estimate, Report};

/// Width of every chart, in its own units; the page scales it.
const WIDTH: f64 = 720.0;
/// Left end of the marks; labels are to the left of it.
const LEFT: f64 = 170.0;
/// Room for the last of the heat map's slanted labels, to the right of its column.
const OVERHANG: f64 = 76.0;
/// Labels in the heat map, and lines in the bars.
const LABELS: usize = 14;
/// Height of a line.
const LINE: f64 = 26.0;

/// A chart as the template draws it; without marks it shows that there is no data.
#[derive(Debug, Default, Serialize)]
pub(super) struct Chart {
    title: &'static str,
    width: f64,
    height: f64,
    marks: Vec<Mark>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Mark {
    Text { x: f64, y: f64, class: &'static str, slanted: bool, text: String },
    Bar { x: f64, y: f64, width: f64, height: f64, class: &'static str, opacity: f64, title: String },
    Line { x1: f64, x2: f64, y1: f64, y2: f64, class: String },
    Point { x: f64, y: f64, class: &'static str },
}

/// As many decimals as a screen can show.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

impl Chart {
    fn new(title: &'static str) -> Self {
        Self { title, width: WIDTH, ..Self::default() }
    }

    fn text(&mut self, x: f64, y: f64, class: &'static str, text: impl Into<String>) {
        self.marks.push(Mark::Text { x: rounded(x), y: rounded(y), class, slanted: false, text: text.into() });
    }

    fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &'static str, title: String) {
        self.shaded_bar((x, y), (width, height), class, 1.0, title);
    }

    fn shaded_bar(
        &mut self,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        class: &'static str,
        opacity: f64,
        title: String,
    ) {
        let [x, y, width, height, opacity] = [x, y, width.max(0.0), height, opacity].map(rounded);
        self.marks.push(Mark::Bar { x, y, width, height, class, opacity, title });
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: impl Into<String>) {
        let [x1, x2, y1, y2] = [x1, x2, y1, y2].map(rounded);
        self.marks.push(Mark::Line { x1, x2, y1, y2, class: class.into() });
    }

    fn whisker(&mut self, estimate: Estimate, x: impl Fn(f64) -> f64, y: f64, class: &'static str) {
        let [low, high] = estimate.interval.map(&x);
        self.line((low, y), (high, y), format!("whisker {class}"));
        self.marks.push(Mark::Point { x: rounded(x(estimate.value)), y: rounded(y), class });
        self.text(high + 10.0, y + 4.0, "tick", format!("{:.1}", Percent(estimate.value)));
    }

    fn high(mut self, height: f64) -> Self {
        self.height = height.round();
        self
    }
}

/// Accept rates as points with their intervals, on one axis from 0 to 100%.
pub(super) fn accept(report: &Report) -> Chart {
    let mut chart = Chart::new("Accept rates by arm with 95% intervals");
    let end = WIDTH - 60.0;
    let x = |share: f64| LEFT + share.clamp(0.0, 1.0) * (end - LEFT);
    let lines: [(&str, &Accept); 2] = [("all responses", &report.accept), ("disputed", &report.disputed)];
    let bottom = 4.0 * LINE + 14.0;
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        chart.line((x(share), 6.0), (x(share), bottom), "grid");
        chart.text(x(share), bottom + 16.0, "tick middle", format!("{:.0}", Percent(share)));
    }
    let mut y = 22.0;
    for (name, accept) in lines {
        for (arm, estimate) in [("baseline", accept.rule), ("candidate", accept.model)] {
            chart.text(LEFT - 12.0, y + 4.0, "label end", format!("{arm}, {name}"));
            match estimate {
                None => chart.text(LEFT + 8.0, y + 4.0, "tick", "no data"),
                Some(estimate) => chart.whisker(estimate, x, y, arm),
            }
            y += LINE;
        }
    }
    chart.high(bottom + 24.0)
}

/// The baseline's label (down) against the candidate's (across), darker for more items.
pub(super) fn heat_map(report: &Report) -> Chart {
    let mut chart = Chart::new("Items by the label of the baseline (down) and of the candidate (across)");
    let pairs = LabelPairs::of(&report.pairs);
    let mut labels = pairs.labels();
    labels.truncate(LABELS);
    let name = |label: Option<&str>| label.unwrap_or("no label").to_owned();
    let most = pairs.iter().map(|(_, _, items)| items).max().unwrap_or(1);
    #[allow(clippy::cast_precision_loss)]
    let side = (WIDTH - LEFT - OVERHANG) / labels.len().max(1) as f64;
    let (top, height) = (112.0, side.min(34.0));
    for (column, candidate) in (0_u32..).zip(&labels) {
        let (x, y) = (rounded(LEFT + f64::from(column) * side + side / 2.0), top - 8.0);
        chart.marks.push(Mark::Text { x, y, class: "tick", slanted: true, text: name(*candidate) });
    }
    let mut y = top;
    for baseline in &labels {
        chart.text(LEFT - 12.0, y + height / 2.0 + 4.0, "label end", name(*baseline));
        for (column, candidate) in (0_u32..).zip(&labels) {
            let items = pairs.items(*baseline, *candidate);
            if items == 0 {
                continue;
            }
            let at = (LEFT + f64::from(column) * side + 1.0, y + 1.0);
            let class = if baseline == candidate { "agree" } else { "differ" };
            let title = format!("baseline {}, candidate {}: {items} items", name(*baseline), name(*candidate));
            chart.shaded_bar(at, (side - 2.0, height - 2.0), class, shade(items, most), title);
        }
        y += height;
    }
    chart.high(y + 8.0)
}

/// Logarithmic, since a few cells have most of the items.
#[allow(clippy::cast_precision_loss)]
fn shade(items: u64, most: u64) -> f64 {
    0.12 + 0.88 * (items as f64).ln_1p() / (most as f64).ln_1p()
}

/// Items by label, and by the arms that gave it.
pub(super) fn labels(report: &Report) -> Chart {
    let lines: Vec<(String, Parts)> = report
        .labels
        .iter()
        .take(LABELS)
        .map(|label| {
            let parts = [
                ("both", "agree", label.both),
                ("only baseline", "baseline", label.only_rule),
                ("only candidate", "candidate", label.only_model),
            ];
            (label.label.clone(), parts.to_vec())
        })
        .collect();
    bars("Items by label and by the arms that gave it", &lines)
}

/// Labels that users accepted where the arms disagree.
pub(super) fn accepted(report: &Report) -> Chart {
    let parts = |choices: Choices| {
        vec![
            ("baseline's", "baseline", choices.rule),
            ("candidate's", "candidate", choices.model),
            ("another", "another", choices.another),
            ("rejected", "nothing", choices.nothing),
        ]
    };
    let [baseline, candidate] = report.taken;
    let lines = [("baseline served".to_owned(), parts(baseline)), ("candidate served".to_owned(), parts(candidate))];
    bars("Labels that users accepted where the arms disagree", &lines)
}

/// Name, style and size of the parts of a bar.
type Parts = Vec<(&'static str, &'static str, u64)>;

fn bars(title: &'static str, lines: &[(String, Parts)]) -> Chart {
    let mut chart = Chart::new(title);
    let sum = |parts: &Parts| parts.iter().map(|(_, _, items)| items).sum::<u64>();
    let most = lines.iter().map(|(_, parts)| sum(parts)).max().unwrap_or(0);
    if most == 0 {
        return chart;
    }
    let mut at = LEFT;
    for (name, class, _) in lines.first().map(|(_, parts)| parts.as_slice()).unwrap_or_default() {
        chart.bar((at, 4.0), (12.0, 12.0), class, (*name).to_owned());
        chart.text(at + 18.0, 14.0, "tick", *name);
        at += 126.0;
    }
    let mut y = 28.0;
    for (label, parts) in lines {
        chart.text(LEFT - 12.0, y + 14.0, "label end", label);
        let mut x = LEFT;
        for (name, class, items) in parts {
            #[allow(clippy::cast_precision_loss)]
            let width = (WIDTH - LEFT - 70.0) * *items as f64 / most as f64;
            if *items > 0 {
                // A gap of two units keeps neighbours apart without relying on colour.
                chart.bar((x, y), (width - 2.0, LINE - 7.0), class, format!("{label}, {name}: {items}"));
            }
            x += width;
        }
        chart.text(x + 6.0, y + 14.0, "tick", sum(parts).to_string());
        y += LINE;
    }
    chart.high(y + 6.0)
}
