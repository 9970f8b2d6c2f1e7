//! The checked plan: every field within its range, durations in milliseconds.

use contract::series::ANSWER_LATENCY_EDGES;
use contract::switch::Share;

use super::TimeSpan;
use super::raw::{RawOnBreach, RawPlan, RawStep};

/// Parts of the plan's probability of a false rollback for each check that can roll back; they add up to 1.
const AGREEMENT_PART: f64 = 0.5;
const ACCEPT_PART: f64 = 0.3;
const FALLBACK_PART: f64 = 0.1;
const LATENCY_PART: f64 = 0.1;

/// A checked rollout plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    raw: RawPlan,
    /// The steps in rising order of share; at least one.
    pub steps: Vec<Step>,
    /// Time after a change of the share during which arms are not compared, in milliseconds.
    pub settle_ms: u64,
    /// The measurement before the first step.
    pub baseline: Baseline,
    /// The check of agreement, unless off.
    pub agreement: Option<Agreement>,
    /// The check of accept rates, unless off.
    pub accept_rate: Option<AcceptRate>,
    /// The check of the split between the arms.
    pub sample_ratio: SampleRatio,
    /// The check of fallbacks, unless off.
    pub fallback: Option<Fallback>,
    /// The check of slow responses, unless off.
    pub latency: Option<Latency>,
    /// Limits of the signals.
    pub signals: Signals,
}

/// A step of the plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The canary share, higher than that of the step before.
    pub share: Share,
    /// Shortest time at this step, in milliseconds.
    pub minimum_ms: u64,
    /// Fewest requests at this step.
    pub minimum_requests: f64,
    /// Leaving this step requires an operator's approval.
    pub manual: bool,
}

/// The measurement at 0 % before the first step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Baseline {
    /// Known agreement, 0..1, instead of a measured one.
    pub agreement: Option<f64>,
    /// Shortest time, in milliseconds.
    pub minimum_ms: u64,
    /// Fewest compared requests.
    pub minimum_requests: f64,
}

/// The action on a breach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBreach {
    /// Set the share to 0 % and keep it there until an operator resumes.
    Rollback,
    /// Keep the share.
    Hold,
}

/// The check of agreement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// The action on a breach.
    pub on_breach: OnBreach,
    /// Tolerated drop below the baseline, 0..1.
    pub tolerated_drop: f64,
    /// Lowest allowed agreement, 0..1.
    pub floor: Option<f64>,
    /// Probability of a false breach over the rollout, 0..1.
    pub alpha: f64,
}

/// The check of accept rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AcceptRate {
    /// The action on a breach.
    pub on_breach: OnBreach,
    /// Tolerated drop below the baseline's rate, 0..1.
    pub tolerated_drop: f64,
    /// Fewest users with feedback in each arm, at least 30.
    pub minimum_users: f64,
    /// If `true`, each advance requires proof that the candidate is not worse.
    pub required: bool,
    /// Probability of a false breach over the rollout, 0..1.
    pub alpha: f64,
}

/// The check of the split between the arms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRatio {
    /// Probability of a false freeze over the rollout, 0..1.
    pub alpha: f64,
    /// Most requests of one user in one step, at least 1.
    pub requests_per_user: f64,
}

/// The check of fallbacks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fallback {
    /// The action on a breach.
    pub on_breach: OnBreach,
    /// Highest allowed share of canary requests that fall back, 0..1.
    pub at_most: f64,
    /// Probability of a false breach over the rollout, 0..1.
    pub alpha: f64,
}

/// The check of slow responses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// The action on a breach.
    pub on_breach: OnBreach,
    /// Longest time of a response that is not slow, in seconds: one of [`ANSWER_LATENCY_EDGES`].
    pub budget_seconds: f64,
    /// Highest allowed share of slow responses, 0..1.
    pub slow_at_most: f64,
    /// Probability of a false breach over the rollout, 0..1.
    pub alpha: f64,
}

/// Limits of the signals, 0..1 except for drift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signals {
    /// Lowest allowed availability.
    pub availability: Option<f64>,
    /// Highest allowed share of dropped observations.
    pub dropped: Option<f64>,
    /// Highest allowed noise.
    pub noise: Option<f64>,
    /// Lowest allowed macro F1.
    pub f1: Option<f64>,
    /// Highest allowed drift.
    pub drift: Option<f64>,
}

/// A plan that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file is not YAML or JSON, or has unknown fields.
    #[error("cannot parse the plan: {0}")]
    Unreadable(#[from] serde_yaml_ng::Error),
    /// A field breaks a rule.
    #[error("{field} in the plan is {value}: {rule}")]
    Rule {
        /// Path of the field in the file.
        field: String,
        /// Its value.
        value: String,
        /// The rule, and how to fix the field.
        rule: &'static str,
    },
}

impl Plan {
    /// Reads and checks a plan file; JSON is YAML too.
    ///
    /// # Errors
    /// When it is not a plan, or breaks a rule; the error names field, rule and fix.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let raw = if text.trim().is_empty() { RawPlan::default() } else { serde_yaml_ng::from_str(text)? };
        Self::check(raw)
    }

    /// The plan as written, to be stored and checked again.
    #[must_use]
    pub const fn raw(&self) -> &RawPlan {
        &self.raw
    }

    /// Checks a plan.
    ///
    /// # Errors
    /// When it breaks a rule.
    pub fn check(raw: RawPlan) -> Result<Self, PlanError> {
        let alpha = open_share("false_rollback_at_most", raw.false_rollback_at_most)?;
        let on_breach = |raw| match raw {
            RawOnBreach::Rollback => Some(OnBreach::Rollback),
            RawOnBreach::Hold => Some(OnBreach::Hold),
            RawOnBreach::Off => None,
        };
        let agreement = match on_breach(raw.agreement.on_breach) {
            None => None,
            Some(on_breach) => Some(Agreement {
                on_breach,
                tolerated_drop: share("agreement.tolerated_drop", raw.agreement.tolerated_drop)?,
                floor: raw.agreement.floor.map(|floor| open_share("agreement.floor", floor)).transpose()?,
                alpha: alpha * AGREEMENT_PART,
            }),
        };
        let accept_rate = match on_breach(raw.accept_rate.on_breach) {
            None => None,
            Some(on_breach) => Some(AcceptRate {
                on_breach,
                tolerated_drop: share("accept_rate.tolerated_drop", raw.accept_rate.tolerated_drop)?,
                minimum_users: at_least("accept_rate.minimum_users", count(raw.accept_rate.minimum_users), 30.0)?,
                required: raw.accept_rate.required,
                alpha: alpha * ACCEPT_PART,
            }),
        };
        let fallback = match on_breach(raw.fallback.on_breach) {
            None => None,
            Some(on_breach) => Some(Fallback {
                on_breach,
                at_most: open_share("fallback.at_most", raw.fallback.at_most)?,
                alpha: alpha * FALLBACK_PART,
            }),
        };
        let latency = match on_breach(raw.latency.on_breach) {
            None => None,
            Some(on_breach) => Some(Latency {
                on_breach,
                budget_seconds: edge("latency.budget_seconds", raw.latency.budget_seconds)?,
                slow_at_most: open_share("latency.slow_at_most", raw.latency.slow_at_most)?,
                alpha: alpha * LATENCY_PART,
            }),
        };
        let limit = |field, value: Option<f64>| value.map(|value| share(field, value)).transpose();
        Ok(Self {
            steps: steps(&raw)?,
            settle_ms: time("settle_time", &raw.settle_time)?,
            baseline: Baseline {
                agreement: raw.baseline.agreement.map(|known| open_share("baseline.agreement", known)).transpose()?,
                minimum_ms: time("baseline.minimum_time", &raw.baseline.minimum_time)?,
                minimum_requests: count(raw.baseline.minimum_requests),
            },
            agreement,
            accept_rate,
            sample_ratio: SampleRatio {
                alpha: open_share("sample_ratio.false_freeze_at_most", raw.sample_ratio.false_freeze_at_most)?,
                requests_per_user: at_least(
                    "sample_ratio.requests_per_user_at_most",
                    raw.sample_ratio.requests_per_user_at_most,
                    1.0,
                )?,
            },
            fallback,
            latency,
            signals: Signals {
                availability: limit("signals.availability_at_least", raw.signals.availability_at_least)?,
                dropped: limit("signals.dropped_at_most", raw.signals.dropped_at_most)?,
                noise: limit("signals.noise_at_most", raw.signals.noise_at_most)?,
                f1: limit("signals.f1_at_least", raw.signals.f1_at_least)?,
                drift: raw
                    .signals
                    .drift_at_most
                    .map(|drift| at_least("signals.drift_at_most", drift, 0.0))
                    .transpose()?,
            },
            raw,
        })
    }
}

fn steps(raw: &RawPlan) -> Result<Vec<Step>, PlanError> {
    let usual_ms = time("minimum_time", &raw.minimum_time)?;
    let mut steps: Vec<Step> = Vec::with_capacity(raw.steps.len());
    for (index, step) in raw.steps.iter().enumerate() {
        let (text, own_time, requests, manual) = match step {
            RawStep::Share(text) => (text, None, None, false),
            RawStep::Full(full) => (&full.share, full.minimum_time.as_ref(), full.minimum_requests, full.manual),
        };
        let fault = |rule| PlanError::Rule { field: format!("steps[{index}]"), value: text.clone(), rule };
        let share = Share::from_percent(text)
            .map_err(|_| fault("a step is a share above 0% up to 100%, written with the percent sign, e.g. 10%"))?;
        if share == Share::OFF {
            return Err(fault("every rollout starts at 0%; leave this step out"));
        }
        if steps.last().is_some_and(|before| share.fraction() <= before.share.fraction()) {
            return Err(fault("shares must rise from step to step; reorder the steps, or leave this one out"));
        }
        let minimum_ms = match own_time {
            Some(text) => time(&format!("steps[{index}].minimum_time"), text)?,
            None => usual_ms,
        };
        steps.push(Step {
            share,
            minimum_ms,
            minimum_requests: count(requests.unwrap_or(raw.minimum_requests)).max(1.0),
            manual,
        });
    }
    if steps.is_empty() {
        return Err(rule("steps", "[]", "a plan needs at least one step, e.g. [10%, 100%]"));
    }
    Ok(steps)
}

fn rule(field: &str, value: impl ToString, rule: &'static str) -> PlanError {
    PlanError::Rule { field: field.to_owned(), value: value.to_string(), rule }
}

fn share(field: &str, value: f64) -> Result<f64, PlanError> {
    if (0.0..1.0).contains(&value) {
        return Ok(value);
    }
    Err(rule(field, value, "it must be a share from 0 up to 1, not a percentage: write 0.05 for 5 %"))
}

fn open_share(field: &str, value: f64) -> Result<f64, PlanError> {
    if value > 0.0 && value < 1.0 {
        return Ok(value);
    }
    Err(rule(field, value, "it must be a share between 0 and 1, not a percentage: write 0.05 for 5 %"))
}

fn at_least(field: &str, value: f64, least: f64) -> Result<f64, PlanError> {
    if value.is_finite() && value >= least {
        return Ok(value);
    }
    let text = match field {
        "accept_rate.minimum_users" => {
            "it must be at least 30, since the comparison of two rates is valid for many users only"
        }
        "sample_ratio.requests_per_user_at_most" => "it must be at least 1",
        _ => "it must be 0 or more",
    };
    Err(rule(field, value, text))
}

fn time(field: &str, text: &str) -> Result<u64, PlanError> {
    let span: Result<TimeSpan, _> = text.parse();
    span.map(TimeSpan::as_ms).map_err(|_| rule(field, text, super::duration::RULE))
}

fn edge(field: &str, value: f64) -> Result<f64, PlanError> {
    if ANSWER_LATENCY_EDGES.contains(&value) {
        return Ok(value);
    }
    const RULE: &str = "it must be a bucket bound of the scorer's histogram, in seconds: one of 0.001, 0.0025, 0.005, 0.01, \
                        0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10";
    Err(rule(field, value, RULE))
}

#[allow(clippy::cast_precision_loss)]
fn count(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_plan_has_six_steps_of_two_days() {
        let plan = Plan::parse("").unwrap();
        let shares: Vec<String> = plan.steps.iter().map(|step| step.share.to_string()).collect();
        assert_eq!(shares, ["1 %", "5 %", "10 %", "25 %", "50 %", "100 %"]);
        assert_eq!(plan.steps[0].minimum_ms, 172_800_000);
        assert_eq!(Plan::parse("{}").unwrap(), plan);
    }

    #[test]
    fn a_step_may_differ_and_json_is_read_too() {
        let text =
            r#"{"steps": ["0.5%", {"share": "50%", "manual": true, "minimum_time": "10m"}], "minimum_time": "1h"}"#;
        let plan = Plan::parse(text).unwrap();
        assert_eq!((plan.steps[0].minimum_ms, plan.steps[1].minimum_ms), (3_600_000, 600_000));
        assert!(plan.steps[1].manual && !plan.steps[0].manual);
    }

    #[test]
    fn an_error_names_the_field_and_the_fix() {
        for (text, field, word) in [
            ("steps: [10%, 5%]", "steps[1]", "rise"),
            ("steps: [0%, 5%]", "steps[0]", "leave this step out"),
            ("steps: ['10']", "steps[0]", "10%"),
            ("steps: []", "steps", "at least one"),
            ("agreement: {tolerated_drop: 5}", "agreement.tolerated_drop", "0.05"),
            ("fallback: {at_most: 0}", "fallback.at_most", "between"),
            ("latency: {budget_seconds: 0.3}", "latency.budget_seconds", "0.25"),
            ("accept_rate: {minimum_users: 5}", "accept_rate.minimum_users", "30"),
            ("minimum_time: '5'", "minimum_time", "unit"),
            ("agreemnt: {}", "agreemnt", "unknown field"),
            ("false_rollback_at_most: .nan", "false_rollback_at_most", "between"),
        ] {
            let error = Plan::parse(text).unwrap_err().to_string();
            assert!(error.contains(field) && error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_plan_survives_being_stored() {
        let plan = Plan::parse("steps: [0.25%, {share: 100%, manual: true}]\nagreement: {floor: 0.75}").unwrap();
        let text = serde_json::to_string(plan.raw()).unwrap();
        assert_eq!(Plan::check(serde_json::from_str(&text).unwrap()).unwrap(), plan);
    }
}
