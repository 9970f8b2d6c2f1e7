//! What moved between two scrapes, compared with what a test expects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use stack::Scrape;

/// A series: a name and its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    name: String,
    labels: BTreeMap<String, String>,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<String> = self.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        write!(f, "{}{{{}}}", self.name, labels.join(","))
    }
}

/// An expected change: name, labels, by how much.
pub type Change<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

/// What moved from `before` to `after` in the series whose names start with one of `prefixes`. A series that was not
/// there counts from 0.
#[must_use]
pub fn changes(before: &Scrape, after: &Scrape, prefixes: &[&str]) -> BTreeMap<Series, f64> {
    let mut moved = series(after, prefixes);
    for (series, value) in series(before, prefixes) {
        *moved.entry(series).or_insert(0.0) -= value;
    }
    moved.retain(|_, change| *change != 0.0);
    moved
}

/// Succeeds if exactly `expected` changed from `before` to `after` under `prefixes`, and nothing else.
///
/// # Errors
/// Shows every series on which the two differ, with both sides.
pub fn expect(before: &Scrape, after: &Scrape, prefixes: &[&str], expected: &[Change<'_>]) -> anyhow::Result<()> {
    let expected = expected
        .iter()
        .map(|(name, labels, change)| {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            (Series { name: (*name).to_owned(), labels }, *change)
        })
        .collect();
    match differences(&expected, &changes(before, after, prefixes)) {
        None => Ok(()),
        Some(text) => anyhow::bail!("the counters did not move as they should:\n{text}"),
    }
}

fn series(scrape: &Scrape, prefixes: &[&str]) -> BTreeMap<Series, f64> {
    scrape
        .samples()
        .iter()
        .filter(|sample| prefixes.iter().any(|prefix| sample.name.starts_with(prefix)))
        .map(|sample| (Series { name: sample.name.clone(), labels: sample.labels.clone() }, sample.value))
        .collect()
}

fn differences(expected: &BTreeMap<Series, f64>, seen: &BTreeMap<Series, f64>) -> Option<String> {
    let mut text = String::new();
    let value = |side: &BTreeMap<Series, f64>, series: &Series| {
        side.get(series).map_or_else(|| "nothing".to_owned(), ToString::to_string)
    };
    let all: BTreeSet<&Series> = expected.keys().chain(seen.keys()).collect();
    for series in all.into_iter().filter(|series| expected.get(series) != seen.get(series)) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {series}: expected {}, seen {}", value(expected, series), value(seen, series));
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_both_sides_and_only_what_differs() {
        let before = Scrape::parse("x{a=\"1\"} 5\nx{a=\"2\"} 5\nother 1\n");
        let after = Scrape::parse("x{a=\"1\"} 6\nx{a=\"2\"} 7\nother 9\n");
        let text = expect(&before, &after, &["x"], &[("x", &[("a", "1")], 1.0), ("x", &[("a", "3")], 1.0)]);
        let text = text.unwrap_err().to_string();
        assert!(text.contains(r#"x{a="2"}: expected nothing, seen 2"#), "{text}");
        assert!(text.contains(r#"x{a="3"}: expected 1, seen nothing"#), "{text}");
        assert!(!text.contains(r#"x{a="1"}"#) && !text.contains("other"), "{text}");
        expect(&before, &after, &["x"], &[("x", &[("a", "1")], 1.0), ("x", &[("a", "2")], 2.0)]).unwrap();
    }

    #[test]
    fn a_counter_that_went_backwards_is_a_change() {
        let (before, after) = (Scrape::parse("x 5\n"), Scrape::parse("x 1\n"));
        expect(&before, &after, &["x"], &[("x", &[], -4.0)]).unwrap();
    }
}
