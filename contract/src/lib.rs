//! What Perch's programs agree on: a name, port or byte layout that two of them share is defined here and nowhere else.
//!
//! | module | what it defines |
//! |---|---|
//! | [`ports`] | addresses, from `ports.env`, overridable by environment |
//! | [`headers`] | names of the request and response headers that Perch writes |
//! | [`names`] | names of parts, and the closed sets of label values |
//! | [`series`] | every metric that alerts, dashboards or the guard read: name, kind, labels, help |
//! | [`share`] | the canary share: its runtime keys, its notations, and which users are in the canary |
//! | [`percent`] | how percentages are written |
//! | [`bucket`] | from a user's identity to the bucket, also called pseudonym |
//! | [`cohorts`] | the cohorts of the filter's configuration |
//! | [`alerts`] | where Alertmanager posts, and which alerts request a rollback |
//! | [`analysis`] | the scorer's response to `perch analyse` |
//! | [`evidence`] | the scorer's response to the guard, counted by user |
//! | [`response`] | where items, ids and labels stand in a response, and how they are read |
//! | [`json_select`] | values of a JSON text, selected by JSON pointers |
//! | [`frame`] | the observation batch on the wire |
//! | [`batch_result`] | the scorer's response to a batch |
//! | [`log_text`] | how a field's value stands in a log line that is text |
//! | [`trace`] | the trace context that requests carry (`traceparent`, `tracestate`) |
//! | `token` (where files have an owner) | the operator's token: reading, comparing, rotating |

pub mod alerts;
pub mod analysis;
pub mod batch_result;
pub mod bucket;
pub mod cohorts;
pub mod evidence;
pub mod frame;
pub mod headers;
pub mod json_select;
pub mod log_text;
pub mod names;
pub mod percent;
pub mod ports;
pub mod response;
pub mod series;
pub mod share;
#[cfg(unix)]
pub mod token;
pub mod trace;
