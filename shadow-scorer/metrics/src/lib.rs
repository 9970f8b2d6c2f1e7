//! Every metric that the scorer exposes, declared once, with its help.
//!
//! Series that alerts, dashboards or the guard read take name and help from [`contract::series`]; the others serve to
//! inspect a single scorer. All counters of closed label sets exist, at 0, from the first scrape. Label values that
//! come from bodies (the application's own labels) are limited by [`bounded::Labels`].

pub mod bounded;
mod declare;

use std::cell::RefCell;

use contract::names::{Agree, Arm, NotCompared};
use contract::series;
use prometheus::{
    Counter, CounterVec, Encoder as _, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    Registry, TextEncoder,
};

use self::declare::Declare;
pub use self::declare::DeclaredMetric;

/// Content type of the exposition.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Buckets of a live request and of a model call, in seconds: 20 µs to 1 s.
const FAST: &[f64] =
    &[2e-5, 5e-5, 1e-4, 2e-4, 3.5e-4, 5e-4, 7.5e-4, 1e-3, 2e-3, 3.5e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0];
/// Buckets of a batch and of a response at the gateway, in seconds: 0.5 ms to 10 s.
const SLOW: &[f64] =
    &[5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 3.5e-2, 5e-2, 7.5e-2, 0.1, 0.2, 0.35, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Results of [`Metrics::live_responses`].
pub const LIVE_RESULTS: [&str; 4] = ["answered", "unavailable", "bad_request", "overloaded"];
/// Results of [`Metrics::observations`].
pub const OBSERVATION_RESULTS: [&str; 4] = ["compared", "shed", "unreadable", "abandoned"];
/// Results of [`Metrics::batches`].
pub const BATCH_RESULTS: [&str; 5] = ["answered", "shed", "refused", "malformed", "abandoned"];
/// Encodings of [`Metrics::decode_failures`].
pub const ENCODINGS: [&str; 6] = ["identity", "gzip", "br", "zstd", "deflate", "unknown"];
/// Reasons of [`Metrics::decode_failures`].
pub const DECODE_FAULTS: [&str; 3] = ["corrupt", "too_large", "unsupported"];
/// Callers of the store, in [`Metrics::store_failures`].
pub const STORE_CALLERS: [&str; 4] = ["live", "observe", "feedback", "evidence"];
/// Reasons of [`Metrics::model_refusals`].
pub const REFUSALS: [&str; 8] = ["missing", "manifest", "hash", "schema", "graph", "reference", "changed", "name"];
/// Outcomes of [`Metrics::feedback_waited`].
pub const FEEDBACK_OUTCOMES: [&str; 4] = ["waiting", "joined", "refused", "expired"];
/// What a challenger's labels are compared with, in [`Metrics::challenger`].
pub const CHALLENGED: [&str; 2] = ["champion", "baseline"];

/// Handles to all metrics. Every operation is one or two atomic additions.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    declared: Vec<DeclaredMetric>,

    /// Macro F1 of the last training.
    pub train_f1: GaugeVec,
    /// Trainings, by outcome.
    pub train_runs: IntCounterVec,
    /// Feedback on the model's suggestions, by acceptance.
    pub predictions: IntCounterVec,
    /// Time of one model call, in seconds.
    pub predict_seconds: Histogram,
    /// 1 while a champion serves.
    pub model_available: IntGauge,
    /// The models that are loaded.
    pub model_info: GaugeVec,
    /// The champion's macro F1; absent without a champion.
    pub model_f1: GaugeVec,
    /// Population stability index, by feature.
    pub drift: GaugeVec,
    /// Macro F1 on feedback, by alias.
    pub feedback_f1: GaugeVec,
    /// Agreement of candidate and baseline, by period.
    pub agreement_ratio: GaugeVec,
    /// Live responses, by result.
    pub live_responses: IntCounterVec,
    /// Time of a live request, in seconds.
    pub live_seconds: Histogram,
    /// Observations, by result.
    pub observations: IntCounterVec,
    /// Observations queued or in progress.
    pub queue: IntGauge,
    /// The limit of `queue`.
    pub queue_limit: IntGauge,
    /// Time of a response at the gateway, by arm.
    pub gateway_seconds: HistogramVec,
    /// Requests with at least one compared item.
    pub judged_requests: IntCounter,
    /// Sum of their shares of items that agree.
    pub agreement: Counter,
    /// Sum of those shares squared.
    pub agreement_squares: Counter,
    /// Requests for which the candidate was called twice, by arm.
    pub noise_requests: IntCounterVec,
    /// Sum of their shares of items on which the arm agrees with itself.
    pub noise_agreement: CounterVec,
    /// Sum of those shares squared.
    pub noise_agreement_squares: CounterVec,

    /// Items in live responses.
    pub live_items: IntCounter,
    /// Live requests in progress.
    pub live_in_flight: IntGauge,
    /// Observation batches, by result.
    pub batches: IntCounterVec,
    /// Time of a batch, from arrival to result, in seconds.
    pub batch_seconds: Histogram,
    /// Bytes of batches queued or in progress.
    pub queue_bytes: IntGauge,
    /// Observed items, by agreement.
    pub items: IntCounterVec,
    /// Items that were not compared, by reason.
    pub not_compared: IntCounterVec,
    /// Observed items, by the served label and agreement.
    pub label_items: IntCounterVec,
    /// Items with a label of both arms, by the two labels.
    pub pairs: IntCounterVec,
    /// Items with a label of the challenger, by what it is compared with and agreement.
    pub challenger: IntCounterVec,
    /// Bodies that could not be decompressed.
    pub decode_failures: IntCounterVec,
    /// Second calls of the candidate that were drawn but shed.
    pub noise_shed: IntCounter,
    /// Suggestion events that were not stored.
    pub events_dropped: IntCounter,
    /// Time of each arm's own response as the gateway measured it, in seconds.
    pub response_seconds: HistogramVec,
    /// Store lookups that failed, by caller.
    pub store_failures: IntCounterVec,
    /// Feedback that came before its suggestion was stored, by outcome.
    pub feedback_waited: IntCounterVec,
    /// 1 while the store takes writes.
    pub store_writable: IntGauge,
    /// Models loaded, by alias.
    pub model_loads: IntCounterVec,
    /// Models refused, by reason.
    pub model_refusals: IntCounterVec,
    /// Open connections.
    pub connections: IntGauge,
    /// 1 while /readyz returns 200.
    pub ready: IntGauge,
    /// HTTP responses, by route and status.
    pub http_responses: IntCounterVec,
}

impl Metrics {
    /// Declares all metrics, at 0.
    ///
    /// # Errors
    /// If two declarations have one name, which a test excludes.
    pub fn new() -> prometheus::Result<Self> {
        let declare = Declare { registry: Registry::new(), declared: RefCell::default() };
        let metrics = Self {
            train_f1: declare.gauges_of(series::TRAIN_F1)?,
            train_runs: declare.counters_of(series::TRAIN_RUNS)?,
            predictions: declare.counters_of(series::PREDICTIONS)?,
            predict_seconds: declare.histogram_of(series::PREDICT_LATENCY, FAST)?,
            model_available: declare.gauge_of(series::MODEL_AVAILABLE)?,
            model_info: declare.gauges_of(series::MODEL_INFO)?,
            model_f1: declare.gauges_of(series::MODEL_F1)?,
            drift: declare.gauges_of(series::DRIFT)?,
            feedback_f1: declare.gauges(
                "perch_scorer_feedback_f1_macro",
                "Macro F1 on the labels that users gave as feedback since the models were trained, by alias.",
                &["alias"],
            )?,
            agreement_ratio: declare.gauges(
                "perch_scorer_agreement_ratio",
                "Share of items on which candidate and baseline agree, 0 to 1: in the last seven days, in training.",
                &["over"],
            )?,
            live_responses: declare.counters_of(series::LIVE_RESPONSES)?,
            live_seconds: declare.histogram_of(series::LIVE_LATENCY, FAST)?,
            observations: declare.counters_of(series::SCORER_OBSERVATIONS)?,
            queue: declare.gauge_of(series::QUEUE)?,
            queue_limit: declare.gauge_of(series::QUEUE_LIMIT)?,
            gateway_seconds: declare.histograms_of(series::GATEWAY_LATENCY, &series::GATEWAY_LATENCY_EDGES)?,
            judged_requests: declare.counter_of(series::JUDGED_REQUESTS)?,
            agreement: declare.sum_of(series::AGREEMENT)?,
            agreement_squares: declare.sum_of(series::AGREEMENT_SQUARES)?,
            noise_requests: declare.counters_of(series::NOISE_REQUESTS)?,
            noise_agreement: declare.sums_of(series::NOISE_AGREEMENT)?,
            noise_agreement_squares: declare.sums_of(series::NOISE_AGREEMENT_SQUARES)?,
            live_items: declare.counter("perch_scorer_live_items_total", "Items in live responses.")?,
            live_in_flight: declare.gauge("perch_scorer_live_in_flight", "Live requests in progress.")?,
            batches: declare.counters(
                "perch_scorer_batches_total",
                "Observation batches that arrived, by result.",
                &["result"],
            )?,
            batch_seconds: declare.histogram(
                "perch_scorer_batch_latency_seconds",
                "Time of an observation batch from its arrival to its result, in seconds.",
                SLOW,
            )?,
            queue_bytes: declare
                .gauge("perch_scorer_queue_bytes", "Bytes of observation batches queued or in progress.")?,
            items: declare.counters("perch_scorer_items_total", "Observed items, by agreement.", &["agree"])?,
            not_compared: declare.counters(
                "perch_scorer_not_compared_items_total",
                "Observed items that were not compared, by reason.",
                &["reason"],
            )?,
            label_items: declare.counters(
                "perch_scorer_label_items_total",
                "Observed items, by the served label and agreement.",
                &["label", "agree"],
            )?,
            pairs: declare.counters(
                "perch_scorer_pair_items_total",
                "Observed items with a label of both arms, by the label of each.",
                &["baseline", "candidate"],
            )?,
            challenger: declare.counters(
                "perch_scorer_challenger_items_total",
                "Observed items that the challenger and another have labels for, by the other and agreement.",
                &["against", "agree"],
            )?,
            decode_failures: declare.counters(
                "perch_scorer_decode_failures_total",
                "Bodies that could not be decompressed, by encoding and reason.",
                &["encoding", "reason"],
            )?,
            noise_shed: declare.counter(
                "perch_scorer_noise_shed_total",
                "Observations drawn for a second call of the candidate that was shed because of other work.",
            )?,
            events_dropped: declare.counter_of(series::EVENTS_DROPPED)?,
            response_seconds: declare.histograms_of(series::RESPONSE_LATENCY, SLOW)?,
            store_failures: declare.counters_of(series::STORE_FAILURES)?,
            feedback_waited: declare.counters(
                "perch_scorer_feedback_waited_total",
                "Feedback that came before its suggestion was stored, by outcome: waiting at first, then joined, \
                 refused (it does not fit its suggestion) or expired (the suggestion was never stored).",
                &["outcome"],
            )?,
            store_writable: declare.gauge_of(series::STORE_WRITABLE)?,
            model_loads: declare.counters(
                "perch_scorer_model_loads_total",
                "Models that passed their checks and were loaded, by alias.",
                &["alias"],
            )?,
            model_refusals: declare.counters_of(series::MODEL_REFUSALS)?,
            connections: declare.gauge("perch_scorer_connections", "Open connections.")?,
            ready: declare.gauge("perch_scorer_ready", "1 while /readyz returns 200.")?,
            http_responses: declare.counters(
                "perch_scorer_http_responses_total",
                "HTTP responses, by route and status.",
                &["route", "status"],
            )?,
            registry: declare.registry,
            declared: declare.declared.into_inner(),
        };
        metrics.prime();
        Ok(metrics)
    }

    /// Creates every counter of a closed label set.
    fn prime(&self) {
        let each = |counters: &IntCounterVec, values: &[&str]| {
            for value in values {
                counters.with_label_values(&[value]);
            }
        };
        each(&self.train_runs, &["deployed", "rejected", "failed"]);
        each(&self.predictions, &["True", "False"]);
        each(&self.live_responses, &LIVE_RESULTS);
        each(&self.observations, &OBSERVATION_RESULTS);
        each(&self.batches, &BATCH_RESULTS);
        each(&self.store_failures, &STORE_CALLERS);
        each(&self.feedback_waited, &FEEDBACK_OUTCOMES);
        self.store_writable.set(1);
        each(&self.model_loads, &["champion", "challenger"]);
        each(&self.model_refusals, &REFUSALS);
        for agree in Agree::ALL {
            self.items.with_label_values(&[agree.as_str()]);
        }
        for reason in NotCompared::ALL {
            self.not_compared.with_label_values(&[reason.as_str()]);
        }
        for against in CHALLENGED {
            for agree in [Agree::True, Agree::False] {
                self.challenger.with_label_values(&[against, agree.as_str()]);
            }
        }
        for encoding in ENCODINGS {
            for fault in DECODE_FAULTS {
                self.decode_failures.with_label_values(&[encoding, fault]);
            }
        }
        let candidate = &[Arm::Candidate.as_str()];
        self.noise_requests.with_label_values(candidate);
        self.noise_agreement.with_label_values(candidate);
        self.noise_agreement_squares.with_label_values(candidate);
        for arm in Arm::ALL {
            self.response_seconds.with_label_values(&[arm.as_str()]);
        }
        for arm in [Arm::Baseline.as_str(), Arm::Candidate.as_str(), "fallback"] {
            self.gateway_seconds.with_label_values(&[arm]);
        }
    }

    /// Every metric that is declared, with or without a value.
    #[must_use]
    pub fn declared(&self) -> &[DeclaredMetric] {
        &self.declared
    }

    /// The whole exposition, as text.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 * 1024);
        // Writing to a Vec cannot fail, and a family without samples is left out by gather().
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "exposition_failed");
        }
        text
    }
}

/// Sets a gauge without labels that is absent until then.
pub fn set(gauge: &GaugeVec, value: f64) {
    let cell: Gauge = gauge.with_label_values::<&str>(&[]);
    cell.set(value);
}

/// Sets the gauge of `label`, or removes it if there is no value.
pub fn set_or_remove(gauges: &GaugeVec, label: &str, value: Option<f64>) {
    match value {
        Some(value) => gauges.with_label_values(&[label]).set(value),
        // It fails if there was none, which is fine.
        None => drop(gauges.remove_label_values(&[label])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render()).unwrap()
    }

    #[test]
    fn closed_sets_are_there_at_zero_from_the_first_scrape() {
        let text = text(&Metrics::new().unwrap());
        for line in [
            "perch_scorer_live_responses_total{result=\"answered\"} 0",
            "perch_scorer_items_total{agree=\"None\"} 0",
            "perch_scorer_not_compared_items_total{reason=\"shed\"} 0",
            "lm_ml_predictions_total{accepted=\"True\"} 0",
            "lm_ml_train_runs_total{status=\"failed\"} 0",
            "perch_scorer_model_available 0",
            "perch_scorer_judged_requests_total 0",
            "perch_scorer_request_agreement_total 0",
            "perch_scorer_noise_requests_total{side=\"candidate\"} 0",
            "perch_scorer_noise_agreement_squares_total{side=\"candidate\"} 0",
            "perch_scorer_decode_failures_total{encoding=\"zstd\",reason=\"too_large\"} 0",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_has_no_value_yet_is_absent_and_not_zero() {
        let metrics = Metrics::new().unwrap();
        assert!(!text(&metrics).contains("lm_ml_train_val_f1_macro"));
        set(&metrics.train_f1, 0.81);
        assert!(text(&metrics).contains("lm_ml_train_val_f1_macro 0.81"));
    }

    #[test]
    fn every_shared_series_of_the_scorer_is_declared() {
        let metrics = Metrics::new().unwrap();
        metrics.model_info.with_label_values(&["champion", "v"]).set(1.0);
        metrics.drift.with_label_values(&["amount"]).set(0.0);
        set(&metrics.train_f1, 0.0);
        set(&metrics.model_f1, 0.0);
        let text = text(&metrics);
        for series in series::SCORER {
            assert!(text.contains(&format!("# HELP {} {}", series.name, series.help)), "{} is missing", series.name);
        }
    }
}
