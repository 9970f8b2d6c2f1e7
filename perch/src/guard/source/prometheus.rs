//! Counters from Prometheus: one instant query for all of them, so that they belong to one time and one server.
//!
//! A target that Prometheus can no longer scrape has no samples from the next scrape on, so a missing sample means a
//! missing target. The samples of an instant query carry the time of the query; the time of the scrape comes from
//! `timestamp()`, which is part of the same query (see [`SCRAPED_AT`]).

use std::collections::BTreeMap;

use contract::names;
use contract::series;
use serde::Deserialize;
use stack::scrape::Sample;

use super::series::{COUNTERS, GAUGES, histogram};
use super::{SCRAPED_AT, SourceError, get};

/// Largest response, in bytes.
const LIMIT: usize = 32 * 1024 * 1024;
/// Most warnings of Prometheus that are reported.
const MOST_WARNINGS: usize = 4;
/// The label that marks times of scrapes in the response.
const MARK: &str = "perch_read";

/// A Prometheus server.
#[derive(Debug, Clone)]
pub struct Prometheus {
    http: reqwest::Client,
    url: String,
}

#[derive(Deserialize)]
struct QueryResponse {
    data: QueryData,
    /// Why the result may be incomplete, e.g. a store that did not respond in time.
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct QueryData {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    /// Seconds since 1970, and the value as text.
    value: (f64, String),
}

impl Prometheus {
    /// The server at `url`, e.g. `http://127.0.0.1:9090`.
    #[must_use]
    pub fn new(http: reqwest::Client, url: &str) -> Self {
        Self { http, url: url.trim_end_matches('/').to_owned() }
    }

    /// The samples that the guard reads; adds to `data_gaps` why some may be missing.
    ///
    /// # Errors
    /// When Prometheus does not respond, or not with a vector.
    pub async fn samples(&self, data_gaps: &mut Vec<String>) -> Result<Vec<Sample>, SourceError> {
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/query", self.url)).map_err(|error| {
            SourceError::Response { url: self.url.clone(), what: format!("none, since the URL is not valid: {error}") }
        })?;
        url.query_pairs_mut().append_pair("query", &query());
        let text = get(&self.http, url.as_str(), LIMIT).await?;
        let response: QueryResponse = serde_json::from_str(&text)
            .map_err(|error| SourceError::Response { url: self.url.clone(), what: format!("not a vector: {error}") })?;
        let warnings = response.warnings.iter().take(MOST_WARNINGS);
        data_gaps.extend(warnings.map(|warning| format!("{} warns: {warning}", self.url)));
        Ok(response.data.result.into_iter().filter_map(sample).collect())
    }
}

/// The query for all series that are read and for the time of each target's scrape. That time is taken from one series
/// without labels of its own that every gateway has, and one that every scorer has.
fn query() -> String {
    let histogram = histogram();
    let read: Vec<&str> = COUNTERS.into_iter().chain(GAUGES).chain(histogram.iter().map(String::as_str)).collect();
    let times = [names::INTERCEPTED, series::JUDGED_REQUESTS]
        .map(|series| format!("label_replace(timestamp({series}), \"{MARK}\", \"{SCRAPED_AT}\", \"\", \"\")"));
    format!("{{__name__=~\"{}\"}} or {}", read.join("|"), times.join(" or "))
}

fn sample(series: Series) -> Option<Sample> {
    let mut labels = series.metric;
    let name = labels.remove(MARK).or_else(|| labels.remove("__name__"))?;
    Some(Sample { name, labels, value: series.value.1.parse().ok()? })
}
