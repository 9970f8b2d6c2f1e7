//! What Perch's parts agree on, in one place: a name, port or byte layout that two programs share is defined here
//! and nowhere else.
//!
//! | module | what it fixes |
//! |---|---|
//! | [`ports`] | addresses, from `ports.env`, overridable by environment |
//! | [`headers`] | request and response headers that Perch writes |
//! | [`names`] | metric names, label names and the closed sets of label values |
//! | [`series`] | every series that alerts, dashboards or the guard read, by program |
//! | [`switch`] | the canary share: `SUGGEST_USE_MODEL_CANARY`, Envoy's runtime key, and who is in at a share |
//! | [`bucket`] | identity → salted pseudonym, the value that Envoy hashes |
//! | [`alerts`] | where alerts are posted, and which of them ask for a rollback |
//! | [`analysis`] | what `perch analyse` asks the scorer |
//! | [`answer`] | where items, ids and labels stand in an answer, and how to read them |
//! | [`evidence`] | what the guard asks the scorer, counted by user |
//! | [`frame`] | the observation batch on the wire |
//! | [`log_text`] | how a field's value stands in a log line that is text |
//! | [`trace`] | the trace context that requests carry (`traceparent`, `tracestate`) |
//! | [`batch_result`] | what the scorer answers to a batch |
//! | `token` (where files have an owner) | the operator's token: reading, comparing, rotating |

pub mod alerts;
pub mod analysis;
pub mod answer;
pub mod batch_result;
pub mod bucket;
pub mod evidence;
pub mod frame;
pub mod headers;
pub mod log_text;
pub mod names;
mod picked;
pub mod ports;
pub mod series;
pub mod switch;
#[cfg(unix)]
pub mod token;
pub mod trace;
