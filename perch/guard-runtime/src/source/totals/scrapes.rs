//! The samples of one evaluation by target, with the labels of the scrape separated from Perch's own.

use std::collections::BTreeMap;

use clients::Sample;
use serde::{Deserialize, Serialize};

use super::super::{INSTANCE, SCRAPED_AT};

/// Prefix that Prometheus gives to a label of a program (and to a federated `instance`) that its configuration sets
/// too.
const EXPORTED: &str = "exported_";

/// A counter without the labels of the scrape.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
}

impl Series {
    pub(super) fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|held| held == value))
    }
}

/// The counters of one scrape of a target.
#[derive(Debug, Default)]
pub(super) struct ScrapedCounters {
    /// Time of the scrape, in milliseconds since 1970, if Prometheus reports it.
    pub(super) scraped_ms: Option<u64>,
    pub(super) values: BTreeMap<Series, f64>,
}

/// The scrapes of one target, by the labels of the scrape.
pub(super) type Scrapes = BTreeMap<BTreeMap<String, String>, ScrapedCounters>;

/// The counters of one evaluation by target. `own` gives the labels that a program gives to a counter, and `None` for
/// other samples. Values that are not finite or below 0 are ignored.
pub(super) fn by_target(
    samples: &[Sample],
    own: impl Fn(&str) -> Option<&'static [&'static str]>,
) -> BTreeMap<String, Scrapes> {
    let mut targets: BTreeMap<String, Scrapes> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.value.is_finite() && sample.value >= 0.0) {
        let time = sample.name == SCRAPED_AT;
        let Some(own) = (if time { Some(&[][..]) } else { own(&sample.name) }) else { continue };
        let (target, own, scrape) = split(&sample.labels, own);
        let shown = targets.entry(target).or_default().entry(scrape).or_default();
        if time {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be at least 0")]
            let scraped_ms = (sample.value * 1000.0) as u64;
            shown.scraped_ms = Some(scraped_ms);
        } else {
            shown.values.insert(Series { name: sample.name.clone(), labels: own }, sample.value);
        }
    }
    for scrapes in targets.values_mut() {
        scrapes.retain(|_, shown| !shown.values.is_empty());
    }
    targets.retain(|_, scrapes| !scrapes.is_empty());
    targets
}

/// The target, the program's own labels, which are among `names`, and the labels of the scrape.
fn split(
    labels: &BTreeMap<String, String>,
    names: &[&str],
) -> (String, BTreeMap<String, String>, BTreeMap<String, String>) {
    let (mut target, mut own, mut scrape) = (String::new(), BTreeMap::new(), BTreeMap::new());
    for (name, value) in labels {
        let inner = name.strip_prefix(EXPORTED).unwrap_or(name);
        let hidden = inner == name && labels.contains_key(&format!("{EXPORTED}{name}"));
        if inner == INSTANCE && !hidden {
            target.clone_from(value);
        } else if names.contains(&inner) && !hidden {
            own.insert(inner.to_owned(), value.clone());
        } else {
            scrape.insert(name.clone(), value.clone());
        }
    }
    (target, own, scrape)
}
