//! The ramp plan: a YAML or JSON file, read as [`raw::Raw`], checked into [`Plan`]. A guard never works from a plan
//! that breaks a rule, and the error names the field, the rule and the mend.

mod checked;
pub mod duration;
pub mod raw;

pub use checked::{
    AcceptRate, Agreement, Baseline, Fallback, Latency, OnBreach, Plan, PlanError, SampleRatio, Signals, Step,
};
use duration::TimeSpan;
