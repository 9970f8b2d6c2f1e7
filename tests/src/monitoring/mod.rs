//! The files in `prometheus/` and `grafana/` as data: every query in them, what each reads, and whether a real
//! Prometheus responds to it.
//!
//! | module | what it gives a test |
//! |---|---|
//! | [`queries`] | the queries of rules and dashboards, each with the place it stands in |
//! | [`selectors`] | the series that a query reads |
//! | [`shorten`] | rules whose hours are seconds, so that alerts can be watched for real |
//! | [`server`] | a Prometheus of the test's own, and questions to any |

pub mod queries;
pub mod selectors;
pub mod server;
pub mod shorten;
