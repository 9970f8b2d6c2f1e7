//! From series to a snapshot of the system. This is the only place that knows what each series means.

use clients::Sample;
use contract::evidence::Evidence;
use contract::names::{Agree, IdentitySource, Outcome, Source};
use contract::series;
use guard::snapshot::{GatewayShare, ItemCounts, PartCount, ServingModel, SystemSnapshot};
use stats::moments::Moments;

use super::totals::CounterTotals;

/// Every counter that is read.
pub const COUNTERS: [&str; 12] = [
    series::COMPARE,
    series::SOURCE,
    series::FALLBACK,
    series::PREDICT_REQUESTS,
    series::OBSERVATION,
    series::IDENTITY,
    series::JUDGED_REQUESTS,
    series::AGREEMENT,
    series::AGREEMENT_SQUARES,
    series::NOISE_REQUESTS,
    series::NOISE_AGREEMENT,
    series::NOISE_AGREEMENT_SQUARES,
];
/// Every gauge that is read.
pub const GAUGES: [&str; 3] = [series::MODEL_INFO, series::MODEL_F1, series::DRIFT];

/// The two series that are read of the histogram of response times, `…_bucket` and `…_count`.
#[must_use]
pub fn histogram() -> [String; 2] {
    ["bucket", "count"].map(|part| format!("{}_{part}", series::GATEWAY_LATENCY))
}

/// Returns `true` if the guard reads samples of this name.
#[must_use]
pub fn is_read(name: &str) -> bool {
    counter_labels(name).is_some() || GAUGES.contains(&name)
}

/// The labels that a program gives to a counter of this name; `None` if the guard does not read such a counter.
#[must_use]
pub fn counter_labels(name: &str) -> Option<&'static [&'static str]> {
    match name.strip_prefix(series::GATEWAY_LATENCY) {
        Some("_bucket") => return Some(&["arm", "le"]),
        Some("_count") => return Some(&["arm"]),
        _ if !COUNTERS.contains(&name) => return None,
        _ => {}
    }
    if [series::NOISE_REQUESTS, series::NOISE_AGREEMENT, series::NOISE_AGREEMENT_SQUARES].contains(&name) {
        return Some(&["side"]);
    }
    let declared = series::GATEWAY.iter().chain(series::SCORER).find(|series| series.name == name);
    Some(declared.map_or(&[], |series| series.labels))
}

/// The snapshot for an evaluation. `totals` already includes `samples`; a response is slow if it takes longer than
/// `budget_seconds`; `data_gaps` names what is missing from `samples` or cannot be trusted.
#[must_use]
pub fn snapshot(
    share: GatewayShare,
    samples: &[Sample],
    totals: &CounterTotals,
    evidence: Option<Evidence>,
    budget_seconds: Option<f64>,
    data_gaps: Vec<String>,
) -> SystemSnapshot {
    let reader = CounterReader { samples, totals };
    let models = reader.counted(series::SOURCE, &[("source", Source::Model.as_str())]);
    let rules = reader.counted(series::SOURCE, &[("source", Source::Rule.as_str())]);
    let fallbacks = reader.counted(series::FALLBACK, &[]);
    let canary =
        models.zip(fallbacks).map(|(models, fallbacks)| PartCount { all: models + fallbacks, part: fallbacks });
    let latency = |arms: &[&str]| budget_seconds.and_then(|budget| reader.slow(arms, budget));
    SystemSnapshot {
        share,
        requests: reader.moments(series::JUDGED_REQUESTS, series::AGREEMENT, series::AGREEMENT_SQUARES),
        items: reader.items(),
        noise: reader.moments(series::NOISE_REQUESTS, series::NOISE_AGREEMENT, series::NOISE_AGREEMENT_SQUARES),
        canary,
        assigned: canary.zip(rules).map(|(canary, rules)| {
            // Fallbacks are among the responses of the baseline; users without an identity belong to no arm.
            let missing = [("source", IdentitySource::Missing.as_str())];
            let unidentified = reader.counted(series::IDENTITY, &missing).unwrap_or(0.0);
            let others = (rules - canary.part - unidentified).max(0.0);
            PartCount { all: canary.all + others, part: canary.all }
        }),
        canary_slow: latency(&["candidate", "fallback"]),
        baseline_slow: latency(&["baseline"]),
        dropped: reader.dropped(),
        unavailable: reader.share_of(series::PREDICT_REQUESTS, &[("available", "False")]),
        evidence,
        model: reader.model(),
        f1: reader.gauges(series::MODEL_F1).map(|sample| sample.value).min_by(f64::total_cmp),
        drift: reader
            .gauges(series::DRIFT)
            .max_by(|a, b| a.value.total_cmp(&b.value))
            .map(|sample| (sample.labels.get("feature").cloned().unwrap_or_default(), sample.value)),
        data_gaps,
    }
}

struct CounterReader<'a> {
    samples: &'a [Sample],
    totals: &'a CounterTotals,
}

impl CounterReader<'_> {
    fn gauges(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.name == name && sample.value.is_finite())
    }

    fn counted(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.totals.counted(name, labels)
    }

    fn share_of(&self, name: &str, labels: &[(&str, &str)]) -> Option<PartCount> {
        Some(PartCount { all: self.counted(name, &[])?, part: self.counted(name, labels)? })
    }

    fn moments(&self, count: &str, sum: &str, squares: &str) -> Option<Moments> {
        Some(Moments {
            count: self.counted(count, &[])?,
            sum: self.counted(sum, &[])?,
            squares: self.counted(squares, &[])?,
        })
    }

    fn items(&self) -> Option<ItemCounts> {
        let of = |agree: Agree| self.counted(series::COMPARE, &[("agree", agree.as_str())]);
        Some(ItemCounts { agree: of(Agree::True)?, disagree: of(Agree::False)? })
    }

    /// Observations that should have reached the scorer: without skipped requests, and without those whose client
    /// disconnected, which clients could cause at will.
    fn dropped(&self) -> Option<PartCount> {
        let of = |outcome: Outcome| self.counted(series::OBSERVATION, &[("outcome", outcome.as_str())]);
        let observed = of(Outcome::Observed)?;
        let dropped: f64 = Outcome::DROPPED.into_iter().filter_map(of).sum();
        Some(PartCount { all: observed + dropped, part: dropped })
    }

    fn slow(&self, arms: &[&str], budget_seconds: f64) -> Option<PartCount> {
        let [bucket, count] = histogram();
        let mut found = None;
        for arm in arms {
            let all = self.counted(&count, &[("arm", arm)]);
            let within = self.totals.bucket(&bucket, &[("arm", arm)], budget_seconds);
            if let (Some(all), Some(within)) = (all, within) {
                let held: PartCount = found.unwrap_or_default();
                found = Some(PartCount { all: held.all + all, part: held.part + (all - within).max(0.0) });
            }
        }
        found
    }

    fn model(&self) -> ServingModel {
        let mut versions: Vec<&str> = self
            .gauges(series::MODEL_INFO)
            .filter(|sample| sample.value == 1.0 && has(sample, &[("alias", "champion")]))
            .filter_map(|sample| sample.labels.get("version").map(String::as_str))
            .collect();
        versions.sort_unstable();
        versions.dedup();
        match versions.as_slice() {
            [] => ServingModel::Unknown,
            [version] => ServingModel::Known((*version).to_owned()),
            several => ServingModel::Differs(several.join(", ")),
        }
    }
}

fn has(sample: &Sample, labels: &[(&str, &str)]) -> bool {
    labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|held| held == value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clients::Scrape;

    const BEFORE: &str = "";
    const AFTER: &str = r#"
lm_suggest_compare_total{agree="True"} 80
lm_suggest_compare_total{agree="False"} 20
lm_suggest_compare_total{agree="None"} 7
lm_suggest_source_total{source="rule"} 60
lm_suggest_source_total{source="model"} 40
lm_ml_fallback_total{reason="deadline"} 8
lm_ml_fallback_total{reason="reset"} 2
lm_ml_predict_requests_total{available="True"} 95
lm_ml_predict_requests_total{available="False"} 5
perch_observation_total{outcome="observed"} 98
perch_observation_total{outcome="dropped_buffer_full"} 2
perch_observation_total{outcome="skipped_sampling"} 50
perch_observation_total{outcome="incomplete"} 900
perch_identity_total{source="header"} 90
perch_identity_total{source="none"} 10
perch_scorer_judged_requests_total 50
perch_scorer_request_agreement_total 40.5
perch_scorer_request_agreement_squares_total 39.25
perch_scorer_gateway_latency_seconds_bucket{arm="candidate",le="0.25"} 39
perch_scorer_gateway_latency_seconds_bucket{arm="candidate",le="+Inf"} 40
perch_scorer_gateway_latency_seconds_count{arm="candidate"} 40
perch_scorer_gateway_latency_seconds_bucket{arm="fallback",le="0.25"} 4
perch_scorer_gateway_latency_seconds_count{arm="fallback"} 10
perch_scorer_gateway_latency_seconds_bucket{arm="baseline",le="0.25"} 50
perch_scorer_gateway_latency_seconds_count{arm="baseline"} 50
perch_scorer_model_info{alias="champion",version="v7"} 1
perch_scorer_model_info{alias="challenger",version="v8"} 1
perch_scorer_model_f1_macro 0.81
perch_scorer_drift_psi{feature="amount"} 0.4
perch_scorer_drift_psi{feature="label"} 0.1
"#;

    fn snapshot_of(before: &str, after: &str) -> SystemSnapshot {
        let (zeroed, after) = (zero(before, after), Scrape::parse(after));
        let mut totals = CounterTotals::default();
        totals.update(0, zeroed.samples(), counter_labels);
        totals.update(5_000, after.samples(), counter_labels);
        snapshot(GatewayShare::Unknown, after.samples(), &totals, None, Some(0.25), Vec::new())
    }

    /// The first scrape: every counter at 0.
    fn zero(before: &str, after: &str) -> Scrape {
        if !before.is_empty() {
            return Scrape::parse(before);
        }
        let zeroed = after.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| format!("{name} 0\n"));
        Scrape::parse(&zeroed.collect::<String>())
    }

    #[test]
    fn every_field_of_a_snapshot_is_read() {
        let snapshot = snapshot_of(BEFORE, AFTER);
        assert_eq!(snapshot.items, Some(ItemCounts { agree: 80.0, disagree: 20.0 }));
        assert_eq!(snapshot.requests, Some(Moments { count: 50.0, sum: 40.5, squares: 39.25 }));
        assert_eq!(snapshot.noise, None, "no noise was counted, which is not a noise of 0");
        assert_eq!(snapshot.canary, Some(PartCount { all: 50.0, part: 10.0 }));
        assert_eq!(snapshot.assigned, Some(PartCount { all: 90.0, part: 50.0 }));
        assert_eq!(snapshot.canary_slow, Some(PartCount { all: 50.0, part: 7.0 }));
        assert_eq!(snapshot.baseline_slow, Some(PartCount { all: 50.0, part: 0.0 }));
        assert_eq!(snapshot.dropped, Some(PartCount { all: 100.0, part: 2.0 }));
        assert_eq!(snapshot.unavailable, Some(PartCount { all: 100.0, part: 5.0 }));
        assert_eq!(snapshot.model, ServingModel::Known("v7".into()));
        assert_eq!(snapshot.f1, Some(0.81));
        assert_eq!(snapshot.drift, Some(("amount".into(), 0.4)));
    }

    #[test]
    fn a_missing_series_is_not_zero() {
        let snapshot = snapshot(GatewayShare::Unknown, &[], &CounterTotals::default(), None, Some(0.25), Vec::new());
        assert_eq!(snapshot, SystemSnapshot::default());
    }

    #[test]
    fn every_series_that_is_read_is_declared() {
        let exposed = [series::GATEWAY, series::SCORER].concat();
        let mut declared: Vec<&str> = exposed.iter().map(|series| series.name).collect();
        // Declared by name, and exposed once the scorer counts by request.
        declared.extend([series::JUDGED_REQUESTS, series::AGREEMENT, series::AGREEMENT_SQUARES]);
        declared.extend([series::NOISE_REQUESTS, series::NOISE_AGREEMENT, series::NOISE_AGREEMENT_SQUARES]);
        for name in COUNTERS.iter().chain(&GAUGES).chain([&series::GATEWAY_LATENCY]) {
            assert!(declared.contains(name), "{name}");
        }
        assert!(
            is_read("perch_scorer_gateway_latency_seconds_bucket") && !is_read("perch_scorer_gateway_latency_seconds")
        );
    }
}
