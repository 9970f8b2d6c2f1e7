//! Counters by target, across restarts of what exports them and across gaps in what is read of them.
//!
//! A counter starts again at 0 when its program does, a target may be missing from one evaluation, one program may be
//! scraped under two jobs, and of two Prometheus servers behind one address each answers in turn. Evidence must come out
//! the same in all of these cases, so it is kept by target (the label `instance`):
//!
//! - Of several series that differ only in labels that the scrape added (`job`, a replica's name), one set is counted.
//! - A sample is taken only when it was scraped later than the last one that was taken; an older one, which the other
//!   of two servers shows, is passed over.
//! - Counters that fall together to half or less are a restart and count from 0. A smaller fall is not: nothing is
//!   taken until they are back where they were, or for a minute, after which counting begins where they are.
//! - A target that is missing keeps what it has counted, so sums never fall. When a step begins while a target is missing,
//!   what it counted up to its return is nobody's evidence.
//! - A target that appears while the guard runs starts at what it shows, since that was counted before.
//!
//! Every exception is handed back in words, and the guard does not advance on it. Stored with the guard's state, so that
//! what happened while the guard was down is counted too.

mod shown;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use clients::Sample;
use serde::{Deserialize, Serialize};

use shown::{Series, Shown, by_target};

/// A target that is missing for so long is gone for good: a pod that was scaled down.
const GONE_MS: u64 = 300_000;
/// A target whose newest sample stays the same for so long is not scraped any more.
const STALE_MS: u64 = 300_000;
/// Counters that cannot be trusted for so long are counted from where they are.
const UNTRUSTED_MS: u64 = 60_000;
/// Most series that are kept, over all targets.
const MOST_SERIES: usize = 100_000;

/// What was counted, by target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    targets: BTreeMap<String, Target>,
    /// What targets had counted that are gone for good.
    #[serde(with = "as_pairs")]
    gone: BTreeMap<Series, f64>,
    /// The series that the last evaluation showed.
    #[serde(skip)]
    shown: BTreeSet<Series>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Target {
    /// The scrape's labels of the series that are counted.
    scrape: BTreeMap<String, String>,
    /// When the newest sample was scraped, in milliseconds since 1970, where Prometheus says so.
    scraped_ms: Option<u64>,
    /// When it was last in an answer, by the guard's clock.
    seen_ms: u64,
    /// When its newest sample was last another one.
    moved_ms: u64,
    /// When it last agreed with what is known of it.
    trusted_ms: u64,
    /// What it shows next is where counting begins.
    begin_there: bool,
    #[serde(with = "as_pairs")]
    counters: BTreeMap<Series, Counter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Counter {
    last: f64,
    total: f64,
}

/// How the counters of a scrape stand to the last ones.
#[derive(Debug, PartialEq, Eq)]
enum Course {
    /// The same scrape again.
    Same,
    /// None fell.
    Grown,
    /// They began at 0 in between.
    Restarted,
    /// Scraped before the last one.
    Older,
    /// Some fell, but not as a restart makes them fall.
    Fallen,
}

impl Totals {
    /// Takes in the samples of one evaluation; what cannot be trusted, in words. `own` says which labels a counter has from
    /// its program, and `None` for what is not a counter.
    pub fn take(
        &mut self,
        now_ms: u64,
        samples: &[Sample],
        own: impl Fn(&str) -> Option<&'static [&'static str]>,
    ) -> Vec<String> {
        let mut doubts = Vec::new();
        let offered = by_target(samples, own);
        if offered.is_empty() {
            // Nothing was answered, so nothing is known about any target.
            self.shown.clear();
            return doubts;
        }
        for target in self.targets.values_mut() {
            target.not_after(now_ms);
        }
        self.shown = offered
            .values()
            .flat_map(BTreeMap::values)
            .flat_map(|shown| shown.values.keys().cloned())
            .take(MOST_SERIES)
            .collect();
        let mut kept: usize = self.targets.values().map(|target| target.counters.len()).sum();
        for (name, mut scrapes) in offered {
            let known = self.targets.get(&name).filter(|target| scrapes.contains_key(&target.scrape));
            let chosen = known.map(|target| target.scrape.clone()).or_else(|| scrapes.keys().next().cloned());
            let Some((scrape, shown)) = chosen.and_then(|chosen| scrapes.remove_entry(&chosen)) else { continue };
            let before = self.targets.get(&name).map_or(0, |target| target.counters.len());
            if kept - before + before.max(shown.values.len()) > MOST_SERIES {
                doubts.push(format!("{name} is not read: its counters would be more than {MOST_SERIES} in all"));
                continue;
            }
            let target = self.targets.entry(name.clone()).or_insert_with(|| Target::new(now_ms));
            doubts.extend(target.take(now_ms, scrape, shown).map(|what| format!("{name} {what}")));
            kept = kept - before + target.counters.len();
        }
        doubts.extend(self.missing(now_ms));
        doubts
    }

    /// A step begins: what targets that are not up to date count until they are is not this step's.
    pub fn step_begins(&mut self, now_ms: u64) {
        for target in self.targets.values_mut().filter(|target| target.trusted_ms != now_ms) {
            target.begin_there = true;
        }
    }

    /// What the counters of `name` with `labels` have counted, over all targets; `None` when none was there at the last
    /// evaluation, which is not 0.
    #[must_use]
    pub fn counted(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted = |series: &Series| series.name == name && series.has(labels);
        self.shown.iter().any(wanted).then(|| self.sum(wanted))
    }

    /// As [`Totals::counted`], over the buckets of a histogram that end at `edge`.
    #[must_use]
    pub fn within(&self, bucket: &str, labels: &[(&str, &str)], edge: f64) -> Option<f64> {
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

    /// Names the targets that are missing, and lets go of those that are gone for good.
    fn missing(&mut self, now_ms: u64) -> Vec<String> {
        let mut doubts = Vec::new();
        let gone = &mut self.gone;
        self.targets.retain(|name, target| {
            if now_ms.saturating_sub(target.seen_ms) > GONE_MS {
                for (series, counter) in std::mem::take(&mut target.counters) {
                    // A series that finds no room here is small: all of them together are bounded as targets' are.
                    if gone.len() < MOST_SERIES || gone.contains_key(&series) {
                        *gone.entry(series).or_default() += counter.total;
                    }
                }
                return false;
            }
            if target.seen_ms != now_ms {
                doubts.push(format!("{name} is missing"));
            } else if now_ms.saturating_sub(target.moved_ms) > STALE_MS {
                doubts.push(format!("{name} shows the same sample for more than {} min", STALE_MS / 60_000));
            }
            true
        });
        doubts
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
            begin_there: true,
            counters: BTreeMap::new(),
        }
    }

    /// After the guard's clock was set back nothing has happened in the future: just before now.
    fn not_after(&mut self, now_ms: u64) {
        for at_ms in [&mut self.seen_ms, &mut self.moved_ms, &mut self.trusted_ms] {
            *at_ms = (*at_ms).min(now_ms.saturating_sub(1));
        }
    }

    /// Takes in a scrape; in words why not.
    fn take(&mut self, now_ms: u64, scrape: BTreeMap<String, String>, shown: Shown) -> Option<String> {
        self.seen_ms = now_ms;
        // Another scrape configuration may show the same program, or another one under the same name.
        let begin_there = std::mem::take(&mut self.begin_there) || scrape != self.scrape;
        self.scrape = scrape;
        let mut doubt = None;
        match self.course(&shown) {
            _ if begin_there => self.begin_at(&shown),
            Course::Same => {
                self.trusted_ms = now_ms;
                return None;
            }
            Course::Grown => self.add(&shown, |last, value| value - last),
            Course::Restarted => self.add(&shown, |_, value| value),
            course @ (Course::Older | Course::Fallen) => {
                let fallen = (course == Course::Fallen)
                    .then(|| "shows counters that fell without a restart: they are not counted".to_owned());
                if now_ms.saturating_sub(self.trusted_ms) <= UNTRUSTED_MS {
                    return fallen;
                }
                doubt = fallen.or_else(|| Some("shows only samples from before those that were counted".to_owned()));
                self.begin_at(&shown);
            }
        }
        self.scraped_ms = shown.scraped_ms;
        (self.moved_ms, self.trusted_ms) = (now_ms, now_ms);
        doubt
    }

    fn course(&self, shown: &Shown) -> Course {
        match shown.scraped_ms.zip(self.scraped_ms) {
            Some((now, last)) if now == last => return Course::Same,
            Some((now, last)) if now < last => return Course::Older,
            _ => {}
        }
        let both = || self.counters.iter().filter_map(|(series, held)| Some((held.last, *shown.values.get(series)?)));
        if both().all(|(last, value)| value >= last) {
            return Course::Grown;
        }
        let (last, value) = both().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
        if value * 2.0 <= last { Course::Restarted } else { Course::Fallen }
    }

    fn add(&mut self, shown: &Shown, new: impl Fn(f64, f64) -> f64) {
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

    fn begin_at(&mut self, shown: &Shown) {
        self.add(shown, |_, _| 0.0);
    }
}

/// A map whose keys are not text, which JSON wants: as a list of pairs.
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
