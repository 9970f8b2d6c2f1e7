//! A scrape, parsed: the text exposition of Prometheus as Envoy and the scorer write it.

use std::collections::BTreeMap;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// All samples of one scrape, in its order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape {
    samples: Vec<Sample>,
}

impl Scrape {
    /// Parses the text format; lines that are no samples are left out (`promtool check metrics` is the judge of form).
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { samples: text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect() }
    }

    /// The samples.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The samples of `name` that carry all of `labels`.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> + 'a {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|held| held == value))
        })
    }

    /// The sum over the samples of `name` that carry all of `labels`; `None` when there is none, which is not 0.
    #[must_use]
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = None;
        for sample in self.matching(name, labels) {
            found = Some(found.unwrap_or(0.0) + sample.value);
        }
        found
    }

    /// As [`Scrape::get`], 0 when there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels).unwrap_or(0.0)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    let name_end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
    let (name, rest) = line.split_at(name_end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// `a="x",b="y"} 1` → the labels, and what follows the bracket.
fn parse_labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (key, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        loop {
            match chars.next()? {
                (at, '"') => {
                    rest = after.get(at + 1..)?;
                    break;
                }
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        }
        labels.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# TYPE lm_suggest_compare_total counter
lm_suggest_compare_total{agree="True"} 3
lm_suggest_compare_total{agree="None"} 0
perch_label_compare_total{label="transportation.fuel",agree="True"} 2
odd{text="a\"b\\c,d}"} 1.5e3 1700000000
plain 7
"#;

    #[test]
    fn samples_are_found_by_name_and_labels() {
        let scrape = Scrape::parse(TEXT);
        assert_eq!(scrape.get("lm_suggest_compare_total", &[("agree", "True")]), Some(3.0));
        assert_eq!(scrape.get("lm_suggest_compare_total", &[]), Some(3.0));
        assert_eq!(scrape.get("perch_label_compare_total", &[("label", "transportation.fuel")]), Some(2.0));
        assert_eq!(scrape.get("odd", &[("text", "a\"b\\c,d}")]), Some(1500.0));
        assert_eq!(scrape.get("plain", &[]), Some(7.0));
    }

    #[test]
    fn absent_is_not_zero() {
        let scrape = Scrape::parse(TEXT);
        assert_eq!(scrape.get("lm_suggest_compare_total", &[("agree", "None")]), Some(0.0));
        assert_eq!(scrape.get("lm_suggest_compare_total", &[("agree", "False")]), None);
    }
}
