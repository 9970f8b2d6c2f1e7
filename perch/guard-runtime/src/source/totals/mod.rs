//! Counters by target, across restarts of the programs that export them and across gaps in the readings.
//!
//! A counter restarts at 0 with its program, a target may be missing from one evaluation, one program may be scraped
//! under two jobs, and two Prometheus servers behind one address may respond in turn. Evidence must be the same in all
//! of these cases, so totals are kept by target (the label `instance`):
//!
//! - Of several series that differ only in labels that the scrape added (`job`, a replica's name), one set is counted.
//! - A sample counts only if it was scraped later than the last one that counted; an older one, from the other of two
//!   servers, is ignored.
//! - Counters that fall together to half or less have restarted and count from 0. After a smaller fall nothing counts
//!   until they are back at their old values, or for a minute, after which counting restarts from their present values.
//! - A target that is missing keeps its totals, so sums never fall. If a step begins while a target is missing, its
//!   counts up to its return are ignored.
//! - A target that appears while the guard runs starts at its present values, which were counted before.
//!
//! Every exception is returned as text, and the guard does not advance while there is one. The totals are stored with
//! the guard's state, so that requests that came while the guard was down count too.

mod scrapes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use clients::Sample;
use serde::{Deserialize, Serialize};

use scrapes::{ScrapedCounters, Series, by_target};

/// A target that is missing for longer is removed: a pod that was scaled down.
const GONE_MS: u64 = 300_000;
/// A target whose newest sample stays the same for longer is no longer scraped.
const STALE_MS: u64 = 300_000;
/// When counters could not be trusted for longer, counting restarts from their present values.
const UNTRUSTED_MS: u64 = 60_000;
/// Most series, over all targets.
const MAX_SERIES: usize = 100_000;

/// Totals of counters by target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CounterTotals {
    targets: BTreeMap<String, Target>,
    /// Totals of removed targets.
    #[serde(with = "as_pairs")]
    gone: BTreeMap<Series, f64>,
    /// The series in the last evaluation.
    #[serde(skip)]
    shown: BTreeSet<Series>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Target {
    /// The labels that the scrape gave to the series that are counted.
    scrape: BTreeMap<String, String>,
    /// Time of the newest scrape, in milliseconds since 1970, if Prometheus reports it.
    scraped_ms: Option<u64>,
    /// Time of its last reading, by the guard's clock.
    seen_ms: u64,
    /// When its newest sample last changed.
    moved_ms: u64,
    /// When its counters were last consistent with the earlier ones.
    trusted_ms: u64,
    /// The next sample is where counting restarts.
    restart_counting: bool,
    #[serde(with = "as_pairs")]
    counters: BTreeMap<Series, Counter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Counter {
    last: f64,
    total: f64,
}

/// The counters of a scrape compared with the last ones.
#[derive(Debug, PartialEq, Eq)]
enum CounterChange {
    /// It is the same scrape again.
    SameScrape,
    /// No counter fell.
    Grown,
    /// The counters restarted at 0 in between.
    Restarted,
    /// The scrape is older than the last one.
    OlderScrape,
    /// Some counters fell, but not as in a restart.
    Fallen,
}

impl CounterTotals {
    /// Adds the samples of one evaluation. Returns what is missing or cannot be trusted. `own` gives the labels that a
    /// program gives to a counter, and `None` for other samples.
    pub fn update(
        &mut self,
        now_ms: u64,
        samples: &[Sample],
        own: impl Fn(&str) -> Option<&'static [&'static str]>,
    ) -> Vec<String> {
        let mut data_gaps = Vec::new();
        let offered = by_target(samples, own);
        if offered.is_empty() {
            // Without any sample nothing is known about any target.
            self.shown.clear();
            return data_gaps;
        }
        for target in self.targets.values_mut() {
            target.clamp_to_clock(now_ms);
        }
        self.shown = offered
            .values()
            .flat_map(BTreeMap::values)
            .flat_map(|shown| shown.values.keys().cloned())
            .take(MAX_SERIES)
            .collect();
        let mut kept: usize = self.targets.values().map(|target| target.counters.len()).sum();
        for (name, mut scrapes) in offered {
            let known = self.targets.get(&name).filter(|target| scrapes.contains_key(&target.scrape));
            let chosen = known.map(|target| target.scrape.clone()).or_else(|| scrapes.keys().next().cloned());
            let Some((scrape, shown)) = chosen.and_then(|chosen| scrapes.remove_entry(&chosen)) else { continue };
            let before = self.targets.get(&name).map_or(0, |target| target.counters.len());
            if kept - before + before.max(shown.values.len()) > MAX_SERIES {
                data_gaps.push(format!("{name} is not counted: there are more than {MAX_SERIES} counters in all"));
                continue;
            }
            let target = self.targets.entry(name.clone()).or_insert_with(|| Target::new(now_ms));
            data_gaps.extend(target.take(now_ms, scrape, shown).map(|what| format!("{name} {what}")));
            kept = kept - before + target.counters.len();
        }
        data_gaps.extend(self.missing(now_ms));
        data_gaps
    }

    /// Begins a step: counts of targets that are not up to date are ignored until they are.
    pub fn begin_step(&mut self, now_ms: u64) {
        for target in self.targets.values_mut().filter(|target| target.trusted_ms != now_ms) {
            target.restart_counting = true;
        }
    }

    /// The sum of the counters of `name` with `labels` over all targets; `None` when the last evaluation had none,
    /// which is not 0.
    #[must_use]
    pub fn counted(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted = |series: &Series| series.name == name && series.has(labels);
        self.shown.iter().any(wanted).then(|| self.sum(wanted))
    }

    /// As [`CounterTotals::counted`], over the buckets of a histogram that end at `edge`.
    #[must_use]
    pub fn bucket(&self, bucket: &str, labels: &[(&str, &str)], edge: f64) -> Option<f64> {
        let wanted = |series: &Series| {
            let end: Option<f64> = series.labels.get("le").and_then(|text| text.parse().ok());
            series.name == bucket && series.has(labels) && end.is_some_and(|end| (end - edge).abs() < 1e-9)
        };
        self.shown.iter().any(wanted).then(|| self.sum(wanted))
    }

    fn sum(&self, wanted: impl Fn(&Series) -> bool) -> f64 {
        let counters = self.targets.values().flat_map(|target| &target.counters);
        let here: f64 = counters.filter(|(series, _)| wanted(series)).map(|(_, counter)| counter.total).sum();
        let gone: f64 = self.gone.iter().filter(|(series, _)| wanted(series)).map(|(_, total)| total).sum();
        here + gone
    }

    /// Names the targets that are missing, and removes those that have been missing for too long.
    fn missing(&mut self, now_ms: u64) -> Vec<String> {
        let mut data_gaps = Vec::new();
        let gone = &mut self.gone;
        self.targets.retain(|name, target| {
            if now_ms.saturating_sub(target.seen_ms) > GONE_MS {
                for (series, counter) in std::mem::take(&mut target.counters) {
                    // Bounded as the targets' own series are; a series beyond that is dropped.
                    if gone.len() < MAX_SERIES || gone.contains_key(&series) {
                        *gone.entry(series).or_default() += counter.total;
                    }
                }
                return false;
            }
            if target.seen_ms != now_ms {
                data_gaps.push(format!("{name} is missing"));
            } else if now_ms.saturating_sub(target.moved_ms) > STALE_MS {
                data_gaps.push(format!("{name} has had the same sample for more than {} min", STALE_MS / 60_000));
            }
            true
        });
        data_gaps
    }
}

impl Target {
    fn new(now_ms: u64) -> Self {
        Self {
            scrape: BTreeMap::new(),
            scraped_ms: None,
            seen_ms: now_ms,
            moved_ms: now_ms,
            trusted_ms: now_ms,
            restart_counting: true,
            counters: BTreeMap::new(),
        }
    }

    /// Moves times that lie in the future, after the guard's clock was set back, to just before now.
    fn clamp_to_clock(&mut self, now_ms: u64) {
        for at_ms in [&mut self.seen_ms, &mut self.moved_ms, &mut self.trusted_ms] {
            *at_ms = (*at_ms).min(now_ms.saturating_sub(1));
        }
    }

    /// Adds a scrape. Returns why it does not count, if so.
    fn take(&mut self, now_ms: u64, scrape: BTreeMap<String, String>, shown: ScrapedCounters) -> Option<String> {
        self.seen_ms = now_ms;
        // Another scrape configuration may show the same program or another one under the same name.
        let restart_counting = std::mem::take(&mut self.restart_counting) || scrape != self.scrape;
        self.scrape = scrape;
        let mut data_gap = None;
        match self.change(&shown) {
            _ if restart_counting => self.begin_at(&shown),
            CounterChange::SameScrape => {
                self.trusted_ms = now_ms;
                return None;
            }
            CounterChange::Grown => self.add(&shown, |last, value| value - last),
            CounterChange::Restarted => self.add(&shown, |_, value| value),
            change @ (CounterChange::OlderScrape | CounterChange::Fallen) => {
                let fallen = (change == CounterChange::Fallen)
                    .then(|| "has counters that fell without a restart: they are not counted".to_owned());
                if now_ms.saturating_sub(self.trusted_ms) <= UNTRUSTED_MS {
                    return fallen;
                }
                data_gap =
                    fallen.or_else(|| Some("has only samples that are older than those already counted".to_owned()));
                self.begin_at(&shown);
            }
        }
        self.scraped_ms = shown.scraped_ms;
        (self.moved_ms, self.trusted_ms) = (now_ms, now_ms);
        data_gap
    }

    fn change(&self, shown: &ScrapedCounters) -> CounterChange {
        match shown.scraped_ms.zip(self.scraped_ms) {
            Some((now, last)) if now == last => return CounterChange::SameScrape,
            Some((now, last)) if now < last => return CounterChange::OlderScrape,
            _ => {}
        }
        let both = || self.counters.iter().filter_map(|(series, held)| Some((held.last, *shown.values.get(series)?)));
        if both().all(|(last, value)| value >= last) {
            return CounterChange::Grown;
        }
        let (last, value) = both().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
        if value * 2.0 <= last { CounterChange::Restarted } else { CounterChange::Fallen }
    }

    fn add(&mut self, shown: &ScrapedCounters, new: impl Fn(f64, f64) -> f64) {
        for (series, &value) in &shown.values {
            match self.counters.get_mut(series) {
                Some(counter) => {
                    counter.total += new(counter.last, value);
                    counter.last = value;
                }
                None => {
                    self.counters.insert(series.clone(), Counter { last: value, total: 0.0 });
                }
            }
        }
    }

    fn begin_at(&mut self, shown: &ScrapedCounters) {
        self.add(shown, |_, _| 0.0);
    }
}

/// A map as a list of pairs, since JSON allows only text as keys.
mod as_pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K, V, D>(from: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}
