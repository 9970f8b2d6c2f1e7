//! The rollout plan: a YAML or JSON file, read as [`raw::RawPlan`] and checked into [`Plan`]. A guard never uses a plan
//! that breaks a rule; the error names the field, the rule and the fix.

mod checked;
pub mod duration;
pub mod raw;

pub use checked::{
    AcceptRate, Agreement, Baseline, Fallback, Latency, OnBreach, Plan, PlanError, SampleRatio, Signals, Step,
};
use duration::TimeSpan;
