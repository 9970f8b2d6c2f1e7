//! From series to an observation. The only place that knows which series says what.

use clients::Sample;
use contract::evidence::Evidence;
use contract::names::{Agree, IdentitySource, Outcome, Source};
use contract::series;
use guard::observation::{Items, Observation, Part, SeenModel, SeenShare};
use stats::moments::Moments;

use super::totals::Totals;

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

/// The two series of the histogram of answers that are read, `…_bucket` and `…_count`.
#[must_use]
pub fn histogram() -> [String; 2] {
    ["bucket", "count"].map(|part| format!("{}_{part}", series::ANSWER_LATENCY))
}

/// Returns `true` if the guard reads samples of this name.
#[must_use]
pub fn is_read(name: &str) -> bool {
    counter_labels(name).is_some() || GAUGES.contains(&name)
}

/// The labels that a counter of this name has from its program; `None` for what is not a counter that is read.
#[must_use]
pub fn counter_labels(name: &str) -> Option<&'static [&'static str]> {
    match name.strip_prefix(series::ANSWER_LATENCY) {
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

/// The observation of an evaluation. `totals` has taken in `samples`; `budget_seconds` is the edge from which on an
/// answer is slow; `doubts` says what is missing from `samples` or cannot be trusted.
#[must_use]
pub fn observation(
    share: SeenShare,
    samples: &[Sample],
    totals: &Totals,
    evidence: Option<Evidence>,
    budget_seconds: Option<f64>,
    doubts: Vec<String>,
) -> Observation {
    let seen = Seen { samples, totals };
    let models = seen.counted(series::SOURCE, &[("source", Source::Model.as_str())]);
    let rules = seen.counted(series::SOURCE, &[("source", Source::Rule.as_str())]);
    let fallbacks = seen.counted(series::FALLBACK, &[]);
    let canary = models.zip(fallbacks).map(|(models, fallbacks)| Part { all: models + fallbacks, part: fallbacks });
    let latency = |arms: &[&str]| budget_seconds.and_then(|budget| seen.slow(arms, budget));
    Observation {
        share,
        requests: seen.moments(series::JUDGED_REQUESTS, series::AGREEMENT, series::AGREEMENT_SQUARES),
        items: seen.items(),
        noise: seen.moments(series::NOISE_REQUESTS, series::NOISE_AGREEMENT, series::NOISE_AGREEMENT_SQUARES),
        canary,
        assigned: canary.zip(rules).map(|(canary, rules)| {
            // The rules' answers to canary users are among `rules`; users without an identity are in no arm.
            let nobody = [("source", IdentitySource::Missing.as_str())];
            let unidentified = seen.counted(series::IDENTITY, &nobody).unwrap_or(0.0);
            let others = (rules - canary.part - unidentified).max(0.0);
            Part { all: canary.all + others, part: canary.all }
        }),
        canary_slow: latency(&["candidate", "fallback"]),
        rule_slow: latency(&["baseline"]),
        dropped: seen.dropped(),
        unavailable: seen.share_of(series::PREDICT_REQUESTS, &[("available", "False")]),
        evidence,
        model: seen.model(),
        f1: seen.gauges(series::MODEL_F1).map(|sample| sample.value).min_by(f64::total_cmp),
        drift: seen
            .gauges(series::DRIFT)
            .max_by(|a, b| a.value.total_cmp(&b.value))
            .map(|sample| (sample.labels.get("feature").cloned().unwrap_or_default(), sample.value)),
        doubts,
    }
}

struct Seen<'a> {
    samples: &'a [Sample],
    totals: &'a Totals,
}

impl Seen<'_> {
    fn gauges(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.name == name && sample.value.is_finite())
    }

    fn counted(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.totals.counted(name, labels)
    }

    fn share_of(&self, name: &str, labels: &[(&str, &str)]) -> Option<Part> {
        Some(Part { all: self.counted(name, &[])?, part: self.counted(name, labels)? })
    }

    fn moments(&self, count: &str, sum: &str, squares: &str) -> Option<Moments> {
        Some(Moments {
            count: self.counted(count, &[])?,
            sum: self.counted(sum, &[])?,
            squares: self.counted(squares, &[])?,
        })
    }

    fn items(&self) -> Option<Items> {
        let of = |agree: Agree| self.counted(series::COMPARE, &[("agree", agree.as_str())]);
        Some(Items { agree: of(Agree::True)?, differ: of(Agree::False)? })
    }

    /// Observations due: neither skipped requests nor those whose client left, which clients could cause at will.
    fn dropped(&self) -> Option<Part> {
        let of = |outcome: Outcome| self.counted(series::OBSERVATION, &[("outcome", outcome.as_str())]);
        let observed = of(Outcome::Observed)?;
        let dropped: f64 = Outcome::DROPPED.into_iter().filter_map(of).sum();
        Some(Part { all: observed + dropped, part: dropped })
    }

    fn slow(&self, arms: &[&str], budget_seconds: f64) -> Option<Part> {
        let [bucket, count] = histogram();
        let mut found = None;
        for arm in arms {
            let all = self.counted(&count, &[("arm", arm)]);
            let within = self.totals.within(&bucket, &[("arm", arm)], budget_seconds);
            if let (Some(all), Some(within)) = (all, within) {
                let held: Part = found.unwrap_or_default();
                found = Some(Part { all: held.all + all, part: held.part + (all - within).max(0.0) });
            }
        }
        found
    }

    fn model(&self) -> SeenModel {
        let mut versions: Vec<&str> = self
            .gauges(series::MODEL_INFO)
            .filter(|sample| sample.value == 1.0 && has(sample, &[("alias", "champion")]))
            .filter_map(|sample| sample.labels.get("version").map(String::as_str))
            .collect();
        versions.sort_unstable();
        versions.dedup();
        match versions.as_slice() {
            [] => SeenModel::Unknown,
            [version] => SeenModel::Is((*version).to_owned()),
            several => SeenModel::Differs(several.join(", ")),
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
perch_scorer_answer_latency_seconds_bucket{arm="candidate",le="0.25"} 39
perch_scorer_answer_latency_seconds_bucket{arm="candidate",le="+Inf"} 40
perch_scorer_answer_latency_seconds_count{arm="candidate"} 40
perch_scorer_answer_latency_seconds_bucket{arm="fallback",le="0.25"} 4
perch_scorer_answer_latency_seconds_count{arm="fallback"} 10
perch_scorer_answer_latency_seconds_bucket{arm="baseline",le="0.25"} 50
perch_scorer_answer_latency_seconds_count{arm="baseline"} 50
perch_scorer_model_info{alias="champion",version="v7"} 1
perch_scorer_model_info{alias="challenger",version="v8"} 1
perch_scorer_model_f1_macro 0.81
perch_scorer_drift_psi{feature="amount"} 0.4
perch_scorer_drift_psi{feature="label"} 0.1
"#;

    fn look(before: &str, after: &str) -> Observation {
        let (zeroed, after) = (zero(before, after), Scrape::parse(after));
        let mut totals = Totals::default();
        totals.take(0, zeroed.samples(), counter_labels);
        totals.take(5_000, after.samples(), counter_labels);
        observation(SeenShare::Unknown, after.samples(), &totals, None, Some(0.25), Vec::new())
    }

    /// The first look: everything at 0.
    fn zero(before: &str, after: &str) -> Scrape {
        if !before.is_empty() {
            return Scrape::parse(before);
        }
        let zeroed = after.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| format!("{name} 0\n"));
        Scrape::parse(&zeroed.collect::<String>())
    }

    #[test]
    fn every_part_of_an_observation_is_read() {
        let seen = look(BEFORE, AFTER);
        assert_eq!(seen.items, Some(Items { agree: 80.0, differ: 20.0 }));
        assert_eq!(seen.requests, Some(Moments { count: 50.0, sum: 40.5, squares: 39.25 }));
        assert_eq!(seen.noise, None, "no noise was counted, which is not a noise of 0");
        assert_eq!(seen.canary, Some(Part { all: 50.0, part: 10.0 }));
        assert_eq!(seen.assigned, Some(Part { all: 90.0, part: 50.0 }));
        assert_eq!(seen.canary_slow, Some(Part { all: 50.0, part: 7.0 }));
        assert_eq!(seen.rule_slow, Some(Part { all: 50.0, part: 0.0 }));
        assert_eq!(seen.dropped, Some(Part { all: 100.0, part: 2.0 }));
        assert_eq!(seen.unavailable, Some(Part { all: 100.0, part: 5.0 }));
        assert_eq!(seen.model, SeenModel::Is("v7".into()));
        assert_eq!(seen.f1, Some(0.81));
        assert_eq!(seen.drift, Some(("amount".into(), 0.4)));
    }

    #[test]
    fn what_is_not_there_is_not_zero() {
        let seen = observation(SeenShare::Unknown, &[], &Totals::default(), None, Some(0.25), Vec::new());
        assert_eq!(seen, Observation::default());
    }

    #[test]
    fn what_is_read_is_declared() {
        let exposed = [series::GATEWAY, series::SCORER].concat();
        let mut declared: Vec<&str> = exposed.iter().map(|series| series.name).collect();
        // Declared by name, and exposed once the scorer counts by request.
        declared.extend([series::JUDGED_REQUESTS, series::AGREEMENT, series::AGREEMENT_SQUARES]);
        declared.extend([series::NOISE_REQUESTS, series::NOISE_AGREEMENT, series::NOISE_AGREEMENT_SQUARES]);
        for name in COUNTERS.iter().chain(&GAUGES).chain([&series::ANSWER_LATENCY]) {
            assert!(declared.contains(name), "{name}");
        }
        assert!(
            is_read("perch_scorer_answer_latency_seconds_bucket") && !is_read("perch_scorer_answer_latency_seconds")
        );
    }
}
