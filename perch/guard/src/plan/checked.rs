//! A plan that keeps the rules.

use contract::series::ANSWER_LATENCY_EDGES;
use contract::share::Share;

use super::TimeSpan;
use super::raw::{Raw, RawOnBreach, RawStep};

/// Parts of the plan's chance of a false rollback for each check that can roll back; they add up to 1.
const AGREEMENT_PART: f64 = 0.5;
const ACCEPT_PART: f64 = 0.3;
const FALLBACK_PART: f64 = 0.1;
const LATENCY_PART: f64 = 0.1;

/// A checked ramp plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    raw: Raw,
    /// In rising order of share; at least one.
    pub steps: Vec<Step>,
    /// Time after a change of the share in which arms are not yet compared, in milliseconds.
    pub settle_ms: u64,
    /// The time before the first step.
    pub baseline: Baseline,
    /// Agreement, unless off.
    pub agreement: Option<Agreement>,
    /// Accept rates, unless off.
    pub accept_rate: Option<AcceptRate>,
    /// Split of the users.
    pub sample_ratio: SampleRatio,
    /// Fallbacks, unless off.
    pub fallback: Option<Fallback>,
    /// Slow answers, unless off.
    pub latency: Option<Latency>,
    /// Limits of signals.
    pub signals: Signals,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// More than the step before, at most all.
    pub share: Share,
    /// Shortest time, in milliseconds.
    pub minimum_ms: u64,
    /// Fewest requests.
    pub minimum_requests: f64,
    /// Wait for a human before leaving it.
    pub manual: bool,
}

/// The time at 0%.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Baseline {
    /// Given agreement, 0..1, instead of a learnt one.
    pub agreement: Option<f64>,
    /// Shortest time, in milliseconds.
    pub minimum_ms: u64,
    /// Fewest judged requests.
    pub minimum_requests: f64,
}

/// What a breach does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBreach {
    /// Back to 0%, latched.
    Rollback,
    /// Stay.
    Hold,
}

/// Agreement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// What a breach does.
    pub on_breach: OnBreach,
    /// 0..1.
    pub tolerated_drop: f64,
    /// 0..1.
    pub floor: Option<f64>,
    /// Chance of a false breach over the ramp, 0..1.
    pub alpha: f64,
}

/// Accept rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AcceptRate {
    /// What a breach does.
    pub on_breach: OnBreach,
    /// 0..1.
    pub tolerated_drop: f64,
    /// At least 2.
    pub minimum_users: f64,
    /// Must it be shown to be no worse?
    pub required: bool,
    /// Chance of a false breach over the ramp, 0..1.
    pub alpha: f64,
}

/// Split of the users.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRatio {
    /// Chance of a false freeze over the ramp, 0..1.
    pub alpha: f64,
    /// At least 1.
    pub requests_per_user: f64,
}

/// Fallbacks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fallback {
    /// What a breach does.
    pub on_breach: OnBreach,
    /// 0..1.
    pub at_most: f64,
    /// Chance of a false breach over the ramp, 0..1.
    pub alpha: f64,
}

/// Slow answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// What a breach does.
    pub on_breach: OnBreach,
    /// One of [`ANSWER_LATENCY_EDGES`], in seconds.
    pub budget_seconds: f64,
    /// 0..1.
    pub slow_at_most: f64,
    /// Chance of a false breach over the ramp, 0..1.
    pub alpha: f64,
}

/// Limits of signals, 0..1 but for drift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signals {
    /// Least availability.
    pub availability: Option<f64>,
    /// Most dropped observations.
    pub dropped: Option<f64>,
    /// Most noise.
    pub noise: Option<f64>,
    /// Least F1.
    pub f1: Option<f64>,
    /// Most drift.
    pub drift: Option<f64>,
}

/// A plan that breaks a rule.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not a plan at all.
    #[error("the plan cannot be read: {0}")]
    Unreadable(#[from] serde_yaml_ng::Error),
    /// A field breaks a rule.
    #[error("{field} in the plan is {value}: {rule}")]
    Rule {
        /// The field, as written in the file.
        field: String,
        /// What it holds.
        value: String,
        /// The rule, and how to keep it.
        rule: &'static str,
    },
}

impl Plan {
    /// Reads and checks a plan file; JSON is YAML too.
    ///
    /// # Errors
    /// When it is not a plan, or breaks a rule; the error names field, rule and mend.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let raw = if text.trim().is_empty() { Raw::default() } else { serde_yaml_ng::from_str(text)? };
        Self::check(raw)
    }

    /// The plan as written, to be stored and checked again.
    #[must_use]
    pub const fn raw(&self) -> &Raw {
        &self.raw
    }

    /// Checks a plan.
    ///
    /// # Errors
    /// When it breaks a rule.
    pub fn check(raw: Raw) -> Result<Self, PlanError> {
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

fn steps(raw: &Raw) -> Result<Vec<Step>, PlanError> {
    let usual_ms = time("minimum_time", &raw.minimum_time)?;
    let mut steps: Vec<Step> = Vec::with_capacity(raw.steps.len());
    for (index, step) in raw.steps.iter().enumerate() {
        let (text, own_time, requests, manual) = match step {
            RawStep::Share(text) => (text, None, None, false),
            RawStep::Full(full) => (&full.share, full.minimum_time.as_ref(), full.minimum_requests, full.manual),
        };
        let fault = |rule| PlanError::Rule { field: format!("steps[{index}]"), value: text.clone(), rule };
        let share = Share::from_percent(text)
            .map_err(|_| fault("a step is a share from 0% to 100% with the sign, e.g. 10%"))?;
        if share == Share::OFF {
            return Err(fault("0% is where every ramp starts; leave it out"));
        }
        if steps.last().is_some_and(|before| share.fraction() <= before.share.fraction()) {
            return Err(fault("shares must rise from step to step; put it in order, or leave it out"));
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
        return Err(rule("steps", "[]", "a ramp needs at least one step, e.g. [10%, 100%]"));
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
    Err(rule(field, value, "it must be a share from 0 up to 1, not a percentage: write 0.05 for 5%"))
}

fn open_share(field: &str, value: f64) -> Result<f64, PlanError> {
    if value > 0.0 && value < 1.0 {
        return Ok(value);
    }
    Err(rule(field, value, "it must be a share between 0 and 1, not a percentage: write 0.05 for 5%"))
}

fn at_least(field: &str, value: f64, least: f64) -> Result<f64, PlanError> {
    if value.is_finite() && value >= least {
        return Ok(value);
    }
    let text = match field {
        "accept_rate.minimum_users" => "it must be at least 30; the comparison of two rates holds for many users only",
        "sample_ratio.requests_per_user_at_most" => "it must be at least 1",
        _ => "it must be 0 or more",
    };
    Err(rule(field, value, text))
}

fn time(field: &str, text: &str) -> Result<u64, PlanError> {
    let read: Result<TimeSpan, _> = text.parse();
    read.map(TimeSpan::as_ms)
        .map_err(|_| rule(field, text, "it must be a whole number and a unit, e.g. 30s, 15m, 6h or 2d"))
}

fn edge(field: &str, value: f64) -> Result<f64, PlanError> {
    if ANSWER_LATENCY_EDGES.contains(&value) {
        return Ok(value);
    }
    const RULE: &str = "it must be an edge of the scorer's histogram, in seconds: one of 0.001, 0.0025, 0.005, 0.01, \
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
    fn the_shortest_plan_is_the_seeds_ramp() {
        let plan = Plan::parse("").unwrap();
        let shares: Vec<String> = plan.steps.iter().map(|step| step.share.to_string()).collect();
        assert_eq!(shares, ["1%", "5%", "10%", "25%", "50%", "100%"]);
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
    fn what_breaks_a_rule_is_named_with_its_mend() {
        for (text, field, word) in [
            ("steps: [10%, 5%]", "steps[1]", "rise"),
            ("steps: [0%, 5%]", "steps[0]", "leave it out"),
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
    fn a_stored_plan_comes_back() {
        let plan = Plan::parse("steps: [0.25%, {share: 100%, manual: true}]\nagreement: {floor: 0.75}").unwrap();
        let text = serde_json::to_string(plan.raw()).unwrap();
        assert_eq!(Plan::check(serde_json::from_str(&text).unwrap()).unwrap(), plan);
    }
}
