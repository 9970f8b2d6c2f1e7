//! Line charts over time, as paths in an SVG of 1000 × 100 units that a template draws, with a text alternative.
//!
//! The plot is stretched to the available width; its labels are HTML beside it, so they keep their size on a phone.

use clients::prometheus::{Points, Span};
use contract::percent::Percent;
use serde::Serialize;

use super::clock;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;
/// Smallest height of a percentage scale, so that noise does not look like a change.
const SMALLEST_SPAN: f64 = 0.04;

/// A chart as the template takes it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Chart {
    id: &'static str,
    title: &'static str,
    /// `true` if it takes the whole width of the page.
    whole: bool,
    /// The reason why there is nothing to draw.
    empty: Option<String>,
    legend: Vec<LegendEntry>,
    /// Labels of the scale, from top to bottom.
    y: Vec<String>,
    /// Labels of the time, from left to right.
    x: Vec<String>,
    /// The text alternative.
    description: String,
    paths: Vec<Path>,
}

#[derive(Debug, Clone, Serialize)]
struct LegendEntry {
    class: &'static str,
    text: &'static str,
}

#[derive(Debug, Clone, Serialize)]
struct Path {
    class: &'static str,
    d: String,
}

/// Unit and scale of a chart's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// 0..=1, shown as percentages, on a scale around the values.
    Share,
    /// Events per second, on a scale from 0.
    Rate,
}

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Its style: `s0`, `s1` or `limit`.
    pub(super) class: &'static str,
    /// Its name in the legend.
    pub(super) name: &'static str,
    /// Seconds since 1970 and value, in order of time.
    pub(super) points: Points,
}

/// A chart of `lines` and, optionally, the band between two further lines.
pub(super) fn chart(
    id: &'static str,
    title: &'static str,
    scale: Scale,
    span: Span,
    lines: &[Line],
    band: Option<(&'static str, &Points, &Points)>,
) -> Chart {
    let edges = band.iter().flat_map(|(_, lower, upper)| lower.iter().chain(upper.iter()));
    let values = || lines.iter().flat_map(|line| &line.points).chain(edges.clone()).map(|(_, value)| *value);
    if lines.iter().all(|line| line.class == "limit" || line.points.is_empty()) {
        return empty(id, title, "No data for this period.".to_owned());
    }
    let axis = Axis::around(scale, values());
    let mut paths = Vec::new();
    let mut legend = Vec::new();
    if let Some((name, lower, upper)) = band {
        let d = axis.band(span, lower, upper);
        if !d.is_empty() {
            paths.push(Path { class: "band", d });
            legend.push(LegendEntry { class: "band", text: name });
        }
    }
    for line in lines.iter().filter(|line| !line.points.is_empty()) {
        paths.push(Path { class: line.class, d: axis.line(span, &line.points) });
        legend.push(LegendEntry { class: line.class, text: line.name });
    }
    let descriptions: Vec<String> = lines.iter().filter_map(|line| describe(scale, line)).collect();
    Chart {
        id,
        title,
        whole: false,
        empty: None,
        legend,
        y: [axis.high, (axis.high + axis.low) / 2.0, axis.low].map(|value| label(scale, value)).to_vec(),
        x: times(span),
        description: format!("{title}. {}", descriptions.join(" ")),
        paths,
    }
}

/// A chart without data, and the reason.
pub(super) fn empty(id: &'static str, title: &'static str, reason: String) -> Chart {
    Chart {
        id,
        title,
        whole: false,
        empty: Some(reason),
        legend: Vec::new(),
        y: Vec::new(),
        x: Vec::new(),
        description: String::new(),
        paths: Vec::new(),
    }
}

impl Chart {
    /// The same chart over the whole width of the page.
    pub(super) fn whole(mut self) -> Self {
        self.whole = true;
        self
    }
}

#[derive(Debug, Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn around(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        match scale {
            Scale::Rate => Self { low: 0.0, high: if high > 0.0 { high * 1.1 } else { 1.0 } },
            Scale::Share => {
                let middle = (low + high) / 2.0;
                let half = ((high - low) * 0.6).max(SMALLEST_SPAN / 2.0);
                let low = (middle - half).clamp(0.0, 1.0 - SMALLEST_SPAN);
                Self { low, high: (middle + half).clamp(low + SMALLEST_SPAN, 1.0) }
            }
        }
    }

    fn x(span: Span, at: f64) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 are exact")]
        let (from, to) = (span.from as f64, span.to as f64);
        ((at - from) / (to - from) * WIDTH).clamp(0.0, WIDTH)
    }

    fn y(self, value: f64) -> f64 {
        ((self.high - value) / (self.high - self.low) * HEIGHT).clamp(0.0, HEIGHT)
    }

    /// A path with a gap where points are missing.
    fn line(self, span: Span, points: &Points) -> String {
        let mut d = String::new();
        let mut last = f64::NEG_INFINITY;
        for (at, value) in points {
            let (x, y) = (Self::x(span, *at), self.y(*value));
            // A line of no length, drawn as a dot by its round ends, so that a point without neighbours is visible.
            let begins = *at - last > gap(span);
            d.push_str(&if begins { format!("M{x:.1} {y:.2}h0") } else { format!("L{x:.1} {y:.2}") });
            last = *at;
        }
        d
    }

    /// Closed paths between two lines, where both have values.
    fn band(self, span: Span, lower: &Points, upper: &Points) -> String {
        let mut d = String::new();
        let mut run: Vec<(f64, f64, f64)> = Vec::new();
        let mut close = |run: &mut Vec<(f64, f64, f64)>| {
            let there = run.iter().map(|(x, _, upper)| (x, upper));
            let back = run.iter().rev().map(|(x, lower, _)| (x, lower));
            for (index, (x, y)) in there.chain(back).enumerate() {
                d.push_str(&format!("{}{x:.1} {y:.2}", if index == 0 { 'M' } else { 'L' }));
            }
            if !run.is_empty() {
                d.push('Z');
            }
            run.clear();
        };
        let mut last = f64::NEG_INFINITY;
        for (at, low) in lower {
            let Some((_, high)) = upper.iter().find(|(time, _)| (time - at).abs() < 0.5) else { continue };
            if *at - last > gap(span) {
                close(&mut run);
            }
            run.push((Self::x(span, *at), self.y(*low), self.y(*high)));
            last = *at;
        }
        close(&mut run);
        d
    }
}

#[allow(clippy::cast_precision_loss, reason = "steps are small")]
fn gap(span: Span) -> f64 {
    span.step as f64 * 1.5
}

fn label(scale: Scale, value: f64) -> String {
    match scale {
        Scale::Share => format!("{:.0}", Percent(value)),
        Scale::Rate if value >= 10.0 => format!("{value:.0}"),
        Scale::Rate => format!("{value:.1}"),
    }
}

fn times(span: Span) -> Vec<String> {
    let at = |seconds: u64| {
        let ms = seconds.saturating_mul(1_000);
        if span.to - span.from > 2 * 86_400 { clock::day(ms) } else { clock::time_of_day(ms) }
    };
    vec![at(span.from), at(span.from.midpoint(span.to)), at(span.to)]
}

/// `Agreement: 90.1% at the end, between 88.9% and 91.0%.`
fn describe(scale: Scale, line: &Line) -> Option<String> {
    let exact = |value: f64| match scale {
        Scale::Share => format!("{:.1}", Percent(value)),
        Scale::Rate => format!("{value:.1}"),
    };
    let (_, last) = line.points.last()?;
    let low = line.points.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    let high = line.points.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    let range =
        if low == high { "throughout".to_owned() } else { format!("between {} and {}", exact(low), exact(high)) };
    Some(format!("{}: {} at the end, {range}.", line.name, exact(*last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { from: 0, to: 100, step: 10 };

    fn line(points: &[(f64, f64)]) -> Line {
        Line { class: "s0", name: "Agreement", points: points.to_vec() }
    }

    #[test]
    fn a_gap_stays_a_gap() {
        let drawn = chart("a", "T", Scale::Share, SPAN, &[line(&[(0.0, 0.8), (10.0, 0.9), (50.0, 0.9)])], None);
        assert_eq!(drawn.paths[0].d.matches('M').count(), 2, "{}", drawn.paths[0].d);
        assert!(
            drawn.description.contains("Agreement: 90.0% at the end, between 80.0% and 90.0%."),
            "{}",
            drawn.description
        );
    }

    #[test]
    fn a_band_is_drawn_only_where_both_ends_have_values() {
        let lower = vec![(0.0, 0.7), (10.0, 0.7), (20.0, 0.7), (60.0, 0.7)];
        let upper = vec![(0.0, 0.9), (10.0, 0.9), (60.0, 0.9)];
        let band = Some(("interval", &lower, &upper));
        let drawn = chart("a", "T", Scale::Share, SPAN, &[line(&[(0.0, 0.8)])], band);
        assert_eq!(drawn.paths[0].d.matches('Z').count(), 2, "{}", drawn.paths[0].d);
    }

    #[test]
    fn no_data_is_stated_and_not_drawn_as_zero() {
        let limit = Line { class: "limit", name: "limit", points: vec![(0.0, 0.8)] };
        let drawn = chart("a", "T", Scale::Share, SPAN, &[line(&[]), limit], None);
        assert!(drawn.empty.is_some() && drawn.paths.is_empty());
    }

    #[test]
    fn a_share_keeps_within_its_scale() {
        for values in [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.98, 1.0]] {
            let axis = Axis::around(Scale::Share, values.into_iter());
            assert!(axis.low >= 0.0 && axis.high <= 1.0 && axis.high - axis.low >= SMALLEST_SPAN - 1e-9, "{axis:?}");
        }
    }
}
