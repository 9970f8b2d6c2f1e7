//! Every metric that an alert, a dashboard or the guard reads: name, kind, labels and help text.
//!
//! This is the only place where such a name is written. The program that exports a metric takes name and help text from
//! here, and a test checks the files in `prometheus/` and `grafana/` against this list: a metric that is renamed in one
//! place only would leave an alert silent for ever. Envoy exports [`GATEWAY`], the shadow-scorer [`SCORER`], `perch guard`
//! [`GUARD`]; a program may export more. `docs/names.md` says where the `lm_*` names come from.
//!
//! In Envoy a counter of the filter is called `NAME.label.value[.label.value…]`, and a stats tag turns it into
//! `NAME{label="value"}`.

/// The type of a metric, which decides the functions that make sense on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows until its program restarts.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// A distribution: `NAME_bucket`, `NAME_sum` and `NAME_count`.
    Histogram,
}

/// The declaration of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// Its name; of a histogram without suffix.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its label names, without those that Prometheus adds.
    pub labels: &'static [&'static str],
    /// Its help text.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Series {
    Series { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Series {
    Series { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Series {
    Series { name, kind: Kind::Histogram, labels, help }
}

/// Agreement of baseline and candidate, per item: label `agree` is a [`crate::names::Agree`].
pub const COMPARE: &str = "lm_suggest_compare_total";
/// Responses by the arm that gave them: label `source` is a [`crate::names::Source`].
pub const SOURCE: &str = "lm_suggest_source_total";
/// Requests for which the scorer was called, without those that were passed through: label `available` is `True` or
/// `False`.
pub const PREDICT_REQUESTS: &str = "lm_ml_predict_requests_total";
/// Canary requests that were given the baseline since the candidate failed: label `reason` is a
/// [`crate::names::FallbackReason`].
pub const FALLBACK: &str = "lm_ml_fallback_total";
/// Canary requests that were given the baseline though the candidate did not fail: label `reason` is a
/// [`crate::names::PassedThrough`].
pub const PASSED_THROUGH: &str = "perch_passed_through_total";
/// Requests of users who would be in the canary by a copy of the shares that was too old: they were given the baseline.
pub const SHARE_STALE: &str = "perch_share_stale_total";
/// Callbacks of the native module that panicked: their requests were given the baseline, and their worker's filter was
/// started anew. A failure of the WebAssembly module is a trap, which Envoy counts as a reload of the VM.
pub const FAILURES: &str = "perch_filter_failures_total";
/// Intercepted requests. Equals the sum of [`OBSERVATION`] once nothing is in flight.
pub const INTERCEPTED: &str = "perch_intercepted_total";
/// Intercepted requests by how they ended as observations: label `outcome` is a [`crate::names::Outcome`].
pub const OBSERVATION: &str = "perch_observation_total";
/// Items counted as `agree="None"`: label `reason` is a [`crate::names::NotCompared`].
pub const NOT_COMPARED: &str = "perch_not_compared_total";
/// Items on which baseline or candidate abstains, which [`COMPARE`] leaves out: label `arm` is the [`crate::names::Arm`]
/// that the client was given.
pub const ABSTAINED: &str = "perch_compare_abstained_total";
/// Agreement by the label that the client was given: labels `label` (of the configured set, else `other`) and `agree`.
pub const LABEL_COMPARE: &str = "perch_label_compare_total";
/// Intercepted requests by where the identity was found: label `source` is a [`crate::names::IdentitySource`].
pub const IDENTITY: &str = "perch_identity_total";
/// Observation batches by how they ended: label `result` is a [`crate::names::BatchOutcome`].
pub const BATCH: &str = "perch_batch_total";

/// Macro F1 of the last training on its temporal validation split, 0 to 1; after a start, the champion's. Absent before
/// there is a model.
pub const TRAIN_F1: &str = "lm_ml_train_val_f1_macro";
/// Trainings by how they ended: label `status` is `deployed`, `rejected` or `failed`.
pub const TRAIN_RUNS: &str = "lm_ml_train_runs_total";
/// Feedback on the model's suggestions: label `accepted` is `True` or `False`.
pub const PREDICTIONS: &str = "lm_ml_predictions_total";
/// Time of one model call (a batch of rows counts once), in seconds.
pub const PREDICT_LATENCY: &str = "lm_ml_predict_latency_seconds";
/// 1 while a model that passed its checks is served, else 0.
pub const MODEL_AVAILABLE: &str = "perch_scorer_model_available";
/// Always 1; labels `alias` (`champion`, `challenger`) and `version` identify the loaded models.
pub const MODEL_INFO: &str = "perch_scorer_model_info";
/// Macro F1 of the serving model, from its manifest, 0 to 1. Absent without a model.
pub const MODEL_F1: &str = "perch_scorer_model_f1_macro";
/// Population stability index against the training distribution: label `feature`, `label` for the predicted labels.
/// Absent until enough rows have arrived.
pub const DRIFT: &str = "perch_scorer_drift_psi";
/// 1 while the store accepts writes, 0 while it does not (a full disk, a read-only file or server): events and feedback
/// are lost then.
pub const STORE_WRITABLE: &str = "perch_scorer_store_writable";
/// Live responses by result: label `result` is `answered`, `unavailable`, `bad_request` or `overloaded`.
pub const LIVE_ANSWERS: &str = "perch_scorer_live_answers_total";
/// Time of a live response in the scorer, from the whole request to the whole response, in seconds.
pub const LIVE_LATENCY: &str = "perch_scorer_live_latency_seconds";
/// Received observations by how they ended: label `result` is `compared`, `shed` or `unreadable`.
pub const SCORER_OBSERVATIONS: &str = "perch_scorer_observations_total";
/// Observations that wait for a thread.
pub const QUEUE: &str = "perch_scorer_queue_observations";
/// Queue limit: observations that may wait before more are shed.
pub const QUEUE_LIMIT: &str = "perch_scorer_queue_limit_observations";
/// Time from the request's first byte at the gateway to the response's last, in seconds, as the filter measured it: label
/// `arm` is `baseline`, `candidate` or `fallback` (a canary user whose candidate failed). On a busy worker a sample: its
/// percentiles hold for all responses, its count does not.
pub const ANSWER_LATENCY: &str = "perch_scorer_answer_latency_seconds";
/// Time of each response at the gateway, in seconds, as the filter measured it: label `side` is `baseline` (from the
/// request's first byte) or `candidate` (from the call to the scorer; canary users only).
pub const RESPONSE_LATENCY: &str = "perch_scorer_response_latency_seconds";
/// Upper edges of the buckets of [`ANSWER_LATENCY`], in seconds. The guard's latency budget must be one of them, since
/// a histogram knows only there how many responses were slower.
pub const ANSWER_LATENCY_EDGES: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Compared requests with at least one item on which both responses have an opinion. The items of one request are not
/// independent, so the guard's unit is the request: with [`AGREEMENT`] and [`AGREEMENT_SQUARES`] it knows mean and
/// variance by request.
pub const JUDGED_REQUESTS: &str = "perch_scorer_judged_requests_total";
/// Sum over those requests of the fraction of their compared items that agree, True / (True + False), 0 to 1 each.
pub const AGREEMENT: &str = "perch_scorer_request_agreement_total";
/// Sum over those requests of that fraction squared.
pub const AGREEMENT_SQUARES: &str = "perch_scorer_request_agreement_squares_total";
/// The noise of the system itself: requests of a small sample whose missing response was requested twice and compared
/// with itself. Label `side` names the response, `rule` or `model`. Counted like [`JUDGED_REQUESTS`].
pub const NOISE_REQUESTS: &str = "perch_scorer_noise_requests_total";
/// Sum over those requests of the fraction of items on which the two copies agree, 0 to 1 each.
pub const NOISE_AGREEMENT: &str = "perch_scorer_noise_agreement_total";
/// Sum over those requests of that fraction squared.
pub const NOISE_AGREEMENT_SQUARES: &str = "perch_scorer_noise_agreement_squares_total";
/// Store lookups that failed, timed out or were skipped while the store was down: label `user` is the caller, `live`,
/// `observe`, `feedback` or `evidence`.
pub const STORE_FAILURES: &str = "perch_scorer_store_failures_total";
/// Suggestion events that were not stored.
pub const EVENTS_DROPPED: &str = "perch_scorer_events_dropped_total";
/// Models refused at load: label `reason`.
pub const MODEL_REFUSALS: &str = "perch_scorer_model_refusals_total";

/// Time of the guard's last decision, hold included, in seconds since 1970.
pub const GUARD_LAST_DECISION: &str = "perch_guard_last_decision_timestamp_seconds";
/// The guard's decisions: label `decision` is `advance`, `hold`, `freeze` or `rollback`.
pub const GUARD_DECISIONS: &str = "perch_guard_decisions_total";
/// The canary share in Envoy's runtime, 0 to 1, at the last evaluation. Absent when it could not be read, or when gateways
/// disagree.
pub const GUARD_SHARE_WANTED: &str = "perch_guard_share_wanted_ratio";
/// 1 after a rollback, until an operator resumes the rollout, else 0.
pub const GUARD_LATCHED: &str = "perch_guard_latched";
/// 1 while a manual override or a pause keeps the guard from acting, else 0.
pub const GUARD_PAUSED: &str = "perch_guard_paused";
/// Bounds of the guard's confidence sequence for agreement, 0 to 1: label `bound` is `lower` or `upper`. Absent until
/// there is data.
pub const GUARD_AGREEMENT: &str = "perch_guard_agreement_bound_ratio";
/// 1 while the guard keeps a rollout frozen, until an operator resumes it, else 0.
pub const GUARD_FROZEN: &str = "perch_guard_frozen";
/// 1 while this guard holds the lease and may act, 0 while it only watches another guard's work.
pub const GUARD_LEADER: &str = "perch_guard_leader";
/// Value of each check at the last evaluation: label `check`. Absent while it has no data.
pub const GUARD_CHECK_VALUE: &str = "perch_guard_check_value";
/// The bound that the check compared with its threshold: label `check`. Absent while it has no data.
pub const GUARD_CHECK_BOUND: &str = "perch_guard_check_bound";
/// The check's threshold: label `check`. Absent while it has none.
pub const GUARD_CHECK_THRESHOLD: &str = "perch_guard_check_threshold";
/// Sample size behind the check's value, in requests, users or evaluations: label `check`.
pub const GUARD_CHECK_SAMPLE: &str = "perch_guard_check_sample";
/// 1 for the result of each check at the last evaluation, else 0: labels `check` and `verdict` (`pass`, `breach`, `open`,
/// `no_data`).
pub const GUARD_CHECK_VERDICT: &str = "perch_guard_check_verdict";

/// Exported by Envoy, written by the filter.
pub const GATEWAY: &[Series] = &[
    counter(COMPARE, &["agree"], "Agreement of baseline and candidate, per item."),
    counter(SOURCE, &["source"], "Responses by the arm that gave them."),
    counter(
        PREDICT_REQUESTS,
        &["available"],
        "Requests for which the scorer was called, by whether there was a candidate response.",
    ),
    counter(FALLBACK, &["reason"], "Canary requests given the baseline since the candidate failed, by reason."),
    counter(
        PASSED_THROUGH,
        &["reason"],
        "Canary requests given the baseline though the candidate did not fail, by reason.",
    ),
    counter(SHARE_STALE, &[], "Requests given the baseline since the copy of the shares was too old."),
    counter(INTERCEPTED, &[], "Intercepted requests."),
    counter(FAILURES, &[], "Callbacks of the filter that failed; their requests were given the baseline."),
    counter(OBSERVATION, &["outcome"], "Intercepted requests, by how they ended as observations."),
    counter(NOT_COMPARED, &["reason"], "Items that could not be compared, by reason."),
    counter(ABSTAINED, &["arm"], "Items on which baseline or candidate abstains, by the arm that was given."),
    counter(LABEL_COMPARE, &["label", "agree"], "Agreement by the label that the client was given, per item."),
    counter(IDENTITY, &["source"], "Intercepted requests, by where the user's identity was found."),
    counter(BATCH, &["result"], "Observation batches, by result."),
];

/// Exported by the shadow-scorer.
pub const SCORER: &[Series] = &[
    gauge(TRAIN_F1, &[], "Macro F1 of the last training on its validation split."),
    counter(TRAIN_RUNS, &["status"], "Trainings, by how they ended."),
    counter(PREDICTIONS, &["accepted"], "Feedback on the model's suggestions."),
    histogram(PREDICT_LATENCY, &[], "Time of one model call, in seconds."),
    gauge(MODEL_AVAILABLE, &[], "1 while a model that passed its checks is served."),
    gauge(MODEL_INFO, &["alias", "version"], "Always 1; its labels identify the loaded models."),
    gauge(MODEL_F1, &[], "Macro F1 of the serving model, from its manifest."),
    gauge(DRIFT, &["feature"], "Population stability index against the training distribution."),
    gauge(STORE_WRITABLE, &[], "1 while the store accepts writes."),
    counter(LIVE_ANSWERS, &["result"], "Live responses, by result."),
    histogram(LIVE_LATENCY, &[], "Time of a live response in the scorer, in seconds."),
    counter(SCORER_OBSERVATIONS, &["result"], "Received observations, by how they ended."),
    gauge(QUEUE, &[], "Observations that wait for a thread."),
    gauge(QUEUE_LIMIT, &[], "Observations that may wait before more are shed."),
    histogram(ANSWER_LATENCY, &["arm"], "Time of the client's response at the gateway, in seconds, by arm."),
    histogram(
        RESPONSE_LATENCY,
        &["side"],
        "Time of the baseline's and the candidate's response at the gateway, in seconds.",
    ),
    counter(JUDGED_REQUESTS, &[], "Compared requests with an item on which both responses have an opinion."),
    counter(AGREEMENT, &[], "Sum over those requests of the fraction of their compared items that agree."),
    counter(AGREEMENT_SQUARES, &[], "Sum over those requests of that fraction squared."),
    counter(NOISE_REQUESTS, &["side"], "Requests whose missing response was requested twice and compared with itself."),
    counter(
        NOISE_AGREEMENT,
        &["side"],
        "Sum over those requests of the fraction of items on which the two copies agree.",
    ),
    counter(NOISE_AGREEMENT_SQUARES, &["side"], "Sum over those requests of that fraction squared."),
    counter(
        STORE_FAILURES,
        &["user"],
        "Store lookups that failed, timed out or were skipped while the store was down, by caller.",
    ),
    counter(
        EVENTS_DROPPED,
        &[],
        "Suggestion events that were not stored, so that feedback on them counts for neither arm.",
    ),
    counter(MODEL_REFUSALS, &["reason"], "Models refused at load, by reason."),
];

/// Exported by `perch guard`.
pub const GUARD: &[Series] = &[
    gauge(GUARD_LAST_DECISION, &[], "Time of the guard's last decision, in seconds since 1970."),
    counter(GUARD_DECISIONS, &["decision"], "The guard's decisions."),
    gauge(GUARD_SHARE_WANTED, &[], "Canary share in Envoy's runtime, 0 to 1."),
    gauge(GUARD_LATCHED, &[], "1 after a rollback, until an operator resumes the rollout."),
    gauge(GUARD_PAUSED, &[], "1 while a manual override or a pause keeps the guard from acting."),
    gauge(GUARD_AGREEMENT, &["bound"], "Bounds of the guard's confidence sequence for agreement, 0 to 1."),
    gauge(GUARD_FROZEN, &[], "1 while the guard keeps a rollout frozen, until an operator resumes it."),
    gauge(GUARD_LEADER, &[], "1 while this guard holds the lease and may act."),
    gauge(GUARD_CHECK_VALUE, &["check"], "Value of each check at the last evaluation."),
    gauge(GUARD_CHECK_BOUND, &["check"], "The bound that the check compared with its threshold."),
    gauge(GUARD_CHECK_THRESHOLD, &["check"], "The check's threshold."),
    gauge(GUARD_CHECK_SAMPLE, &["check"], "Requests, users or evaluations behind the check's value."),
    gauge(GUARD_CHECK_VERDICT, &["check", "verdict"], "1 for the result of the check at the last evaluation."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_comes_from_two_programs_since_every_query_would_add_them_up() {
        let mut names: Vec<_> = [GATEWAY, SCORER, GUARD].concat().iter().map(|series| series.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
