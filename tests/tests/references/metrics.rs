//! Every metric of filter, scorer and guard: kind, labels, help.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use contract::series::{self, Kind, Series};
use shadow_scorer::metrics::Metrics;

/// The values that a label has from the start, by metric and label; a label with open values is not there.
type Values = BTreeMap<(String, String), BTreeSet<String>>;

pub(crate) fn reference() -> String {
    let mut text = "# Metrics\n\n\
        Generated from the declarations in the code by `make references`; a test fails when it is stale. Values are listed \
        for labels whose set of values is closed. Where the `lm_*` names come from: [names.md](names.md).\n\n\
        A metric with no data has no sample; it is never 0 instead.\n"
        .to_owned();
    filter(&mut text);
    scorer(&mut text);
    section(&mut text, "Guard", "`perch guard` serves them on the console's port at `/metrics`.");
    for series in series::GUARD {
        row(&mut text, series.name, series.kind, series.labels, series.help, &Values::new());
    }
    text
}

fn section(text: &mut String, title: &str, lead: &str) {
    let _ = write!(text, "\n## {title}\n\n{lead}\n\n| metric | type | labels | help |\n|---|---|---|---|\n");
}

fn row(text: &mut String, name: &str, kind: Kind, labels: &[impl AsRef<str>], help: &str, values: &Values) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let label = |label: &str| match values.get(&(name.to_owned(), label.to_owned())) {
        Some(values) => {
            let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            format!("`{label}`: {}", values.join(", "))
        }
        None => format!("`{label}`"),
    };
    let labels: Vec<String> = labels.iter().map(|name| label(name.as_ref())).collect();
    let _ = writeln!(text, "| `{name}` | {kind} | {} | {} |", labels.join("; "), help.replace('|', "\\|"));
}

fn filter(text: &mut String) {
    let mut values = Values::new();
    let mut written = BTreeSet::new();
    for stat in filter::metrics::names(&[]) {
        let series = series::GATEWAY.iter().find(|series| stat.split('.').next() == Some(series.name));
        let Series { name, labels, .. } = series.unwrap_or_else(|| panic!("{stat} is not in series::GATEWAY"));
        written.insert(*name);
        let parts: Vec<&str> = stat.split('.').skip(1).collect();
        for pair in parts.chunks(2).filter(|pair| labels.contains(&pair[0]) && pair[0] != "label") {
            values.entry(((*name).to_owned(), pair[0].to_owned())).or_default().insert(pair[1].to_owned());
        }
    }
    section(text, "Filter", "Envoy serves them at `/stats/prometheus` of its admin interface.");
    for series in series::GATEWAY {
        assert!(written.contains(series.name), "{} is declared, and the filter does not write it", series.name);
        row(text, series.name, series.kind, series.labels, series.help, &values);
    }
}

fn scorer(text: &mut String) {
    let metrics = Metrics::new().unwrap();
    let mut values = Values::new();
    for line in String::from_utf8(metrics.render()).unwrap().lines().filter(|line| !line.starts_with('#')) {
        let Some((name, labels)) = line.split_once('{') else { continue };
        let labels = labels.split('}').next().unwrap_or_default();
        for (label, value) in
            labels.split(',').filter_map(|pair| pair.split_once('=')).filter(|(name, _)| *name != "le")
        {
            let key = (name.trim_end_matches("_bucket").to_owned(), label.to_owned());
            values.entry(key).or_default().insert(value.trim_matches('"').to_owned());
        }
    }
    section(text, "Scorer", "The shadow-scorer serves them at `/metrics`.");
    for metric in metrics.declared() {
        row(text, &metric.name, metric.kind, &metric.labels, &metric.help, &values);
    }
}
