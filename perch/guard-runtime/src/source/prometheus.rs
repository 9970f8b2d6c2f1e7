//! Counters from Prometheus: one instant query for all of them, so that they are of one moment and of one server.
//!
//! A target that Prometheus can no longer scrape has no samples from the next scrape on, so a target that is missing here
//! is missing there. The samples of an instant query carry the time of the query; the time of a target's scrape comes
//! from `timestamp()` in the same query (see [`SCRAPED_AT`]).

use clients::prometheus::{Prometheus, Vector};
use clients::{ClientError, Sample};
use contract::series;

use super::SCRAPED_AT;
use super::series::{COUNTERS, GAUGES, histogram};

/// Most warnings that are passed on.
const MOST_WARNINGS: usize = 4;
/// The label that distinguishes times from counters in the response.
const MARK: &str = "perch_read";

/// The samples that the guard reads; the reasons for missing ones go to `data_gaps`.
///
/// # Errors
/// When Prometheus does not respond, or not with a vector.
pub async fn samples(prometheus: &Prometheus, data_gaps: &mut Vec<String>) -> Result<Vec<Sample>, ClientError> {
    let Vector { samples, warnings } = prometheus.vector(&query()).await?;
    let warnings = warnings.iter().take(MOST_WARNINGS);
    data_gaps.extend(warnings.map(|warning| format!("{} warns: {warning}", prometheus.url())));
    Ok(samples.into_iter().filter_map(named).collect())
}

/// All series that are read, and when each target was scraped, by a series without labels of its own that each gateway
/// has, and one that each scorer has.
fn query() -> String {
    let histogram = histogram();
    let read: Vec<&str> = COUNTERS.into_iter().chain(GAUGES).chain(histogram.iter().map(String::as_str)).collect();
    let times = [series::INTERCEPTED, series::JUDGED_REQUESTS]
        .map(|series| format!("label_replace(timestamp({series}), \"{MARK}\", \"{SCRAPED_AT}\", \"\", \"\")"));
    format!("{{__name__=~\"{}\"}} or {}", read.join("|"), times.join(" or "))
}

/// A sample by its mark, where it has one, or else by its own name.
fn named(mut sample: Sample) -> Option<Sample> {
    if let Some(name) = sample.labels.remove(MARK) {
        sample.name = name;
    }
    (!sample.name.is_empty()).then_some(sample)
}
