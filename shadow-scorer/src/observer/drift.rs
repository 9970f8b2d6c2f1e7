//! Compares the champion's inputs with those of its training.
//!
//! Every row that observation work encodes is added to the champion's [`Watch`], with the predicted class, whichever
//! arm was served: drift must be visible at a canary share of 0% as well as at 100%. A new champion starts a new
//! watch, since its training data differ. The rows are in memory only: after a restart the state is "collecting" again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use serde_json::{Value, json};

use crate::features::drift::{MOVED, NoReference, Patience, Reference, Report, Watch};
use crate::metrics::{self, Metrics};
use crate::model::{LoadedModel, Registry};

/// Drift of the champion.
#[derive(Debug)]
pub struct Drift {
    registry: Arc<Registry>,
    patience: Patience,
    current: ArcSwapOption<WatchedModel>,
    /// Features that have a gauge at present.
    exposed: Mutex<HashSet<String>>,
}

/// The champion's watch, or why there is none.
#[derive(Debug)]
pub(super) struct WatchedModel {
    version: String,
    watch: Result<Watch, NoReference>,
}

impl Drift {
    pub(super) fn new(registry: Arc<Registry>, patience: Patience) -> Self {
        Self { registry, patience, current: ArcSwapOption::empty(), exposed: Mutex::default() }
    }

    /// The watch of `champion`; a new one if the champion has changed.
    pub(super) fn watch(&self, champion: &LoadedModel) -> Arc<WatchedModel> {
        if let Some(current) = self.current.load_full().filter(|current| current.version == champion.version()) {
            return current;
        }
        let watched = Arc::new(WatchedModel::new(champion, self.patience));
        self.current.store(Some(Arc::clone(&watched)));
        watched
    }

    fn champion(&self) -> Option<Arc<WatchedModel>> {
        self.registry.champion().map(|champion| self.watch(&champion))
    }

    /// The drift report at `now` (seconds since 1970), based on `users` distinct users if known; `None` without a
    /// champion, or if its manifest has no training distribution.
    #[must_use]
    pub fn report(&self, now: u64, users: Option<u64>) -> Option<Report> {
        Some(self.champion()?.watch.as_ref().ok()?.report(now, users))
    }

    /// Updates the gauges with the report at `now`. Unknown values have no gauge.
    pub fn expose(&self, metrics: &Metrics, now: u64, users: Option<u64>) {
        let report = self.report(now, users);
        let psi = report.as_ref().map_or(&[][..], |report| &report.psi);
        let mut exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
        exposed.retain(|name| {
            let known = psi.iter().any(|(feature, _)| feature == name);
            if !known && let Err(error) = metrics.drift.remove_label_values(&[name]) {
                tracing::debug!(%error, "gauge_not_removed");
            }
            known
        });
        for (feature, psi) in psi {
            metrics.drift.with_label_values(&[feature]).set(*psi);
            exposed.insert(feature.clone());
        }
        let agreement = |of: fn(&Report) -> Option<f64>| report.as_ref().and_then(of);
        metrics::set_or_remove(&metrics.agreement_ratio, "window", agreement(|report| report.agreement));
        metrics::set_or_remove(&metrics.agreement_ratio, "training", agreement(|report| report.agreement_baseline));
    }

    /// The report for the model status, with a summary for people.
    #[must_use]
    pub fn status(&self, now: u64, users: Option<u64>) -> Value {
        let not_watched = |why: String| json!({ "state": "not_watched", "summary": why });
        let Some(watched) = self.champion() else { return not_watched("no model is loaded".into()) };
        match &watched.watch {
            Err(reason) => not_watched(reason.to_string()),
            Ok(watch) => {
                let report = watch.report(now, users);
                json!({ "state": state(&report), "summary": summary(&report, self.patience), "report": report })
            }
        }
    }
}

impl WatchedModel {
    fn new(champion: &LoadedModel, patience: Patience) -> Self {
        let manifest = &champion.manifest;
        let drift = manifest.rest.get("drift").unwrap_or(&Value::Null);
        let agreement = manifest.metrics.rest.get("agreement_with_rules").and_then(Value::as_f64);
        let watch = Reference::of(&champion.schema, drift, agreement, manifest.classes.len())
            .map(|reference| Watch::new(reference, patience))
            .inspect_err(|error| tracing::warn!(version = champion.version(), %error, "drift_not_watched"));
        Self { version: champion.version().to_owned(), watch }
    }

    /// Adds feature rows and the class that the champion predicts for each.
    pub(super) fn add(&self, rows: &[f32], classes: &[usize], now: u64) {
        if let Ok(watch) = &self.watch {
            watch.add(rows, classes.iter().copied(), now);
        }
    }

    /// Adds items on which both arms had an opinion.
    pub(super) fn add_agreement(&self, agreed: u32, differed: u32, now: u64) {
        if let Ok(watch) = &self.watch {
            watch.add_agreement(agreed.into(), differed.into(), now);
        }
    }
}

fn state(report: &Report) -> &'static str {
    match report {
        Report { collecting: true, .. } => "collecting",
        _ if report.needs_training() => "moved",
        _ => "stable",
    }
}

/// One line: which features drifted, and by how much.
fn summary(report: &Report, patience: Patience) -> String {
    if report.collecting {
        let users = report.users.map_or_else(String::new, |users| format!(" of {users} of {} users", patience.users));
        return format!(
            "collecting: {} of {} rows{users} over {:.1} of {:.1} hours",
            report.rows,
            patience.rows,
            hours(report.span_seconds),
            hours(patience.span),
        );
    }
    let mut parts: Vec<String> = report
        .psi
        .iter()
        .filter(|(_, psi)| *psi >= MOVED)
        .map(|(name, psi)| format!("{name} moved (PSI {psi:.2})"))
        .collect();
    if let (true, Some(now), Some(then)) = (report.agreement_fell, report.agreement, report.agreement_baseline) {
        parts.push(format!("agreement with the baseline fell to {:.1}% from {:.1}%", 100.0 * now, 100.0 * then));
    }
    if parts.is_empty() {
        let worst =
            report.psi.first().map_or_else(String::new, |(name, psi)| format!(", most of all {name} (PSI {psi:.2})"));
        return format!("nothing moved{worst}");
    }
    parts.join(", ")
}

#[allow(clippy::cast_precision_loss)] // for people
fn hours(seconds: u64) -> f64 {
    seconds as f64 / 3_600.0
}
