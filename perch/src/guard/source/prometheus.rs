//! Counters from Prometheus: one instant query for all of them, so that they are of one moment and of one server.
//!
//! A target that Prometheus can no longer scrape has no samples from the next scrape on, so what is missing here is
//! missing there. An instant query answers with the moment of the query; when a target was scraped is what `timestamp()`
//! says, which is asked for in the same query (see [`SCRAPED_AT`]).

use std::collections::BTreeMap;

use contract::series;
use serde::Deserialize;
use stack::scrape::Sample;

use super::reading::{COUNTERS, GAUGES, histogram};
use super::{SCRAPED_AT, SourceError, get};

/// Largest answer that is read, in bytes.
const LIMIT: usize = 32 * 1024 * 1024;
/// Most warnings that are passed on.
const MOST_WARNINGS: usize = 4;
/// The label that tells times from counters in the answer.
const MARK: &str = "perch_read";

/// A Prometheus server.
#[derive(Debug, Clone)]
pub struct Prometheus {
    http: reqwest::Client,
    url: String,
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
    /// What keeps the answer from being whole, e.g. a store that did not answer in time.
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Data {
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

    /// The samples that the guard reads; why they are not all, in `doubts`.
    ///
    /// # Errors
    /// When Prometheus does not answer, or not with a vector.
    pub async fn samples(&self, doubts: &mut Vec<String>) -> Result<Vec<Sample>, SourceError> {
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/query", self.url)).map_err(|error| {
            SourceError::Answer { url: self.url.clone(), what: format!("nothing, since its address is wrong: {error}") }
        })?;
        url.query_pairs_mut().append_pair("query", &query());
        let text = get(&self.http, url.as_str(), LIMIT).await?;
        let answer: Answer = serde_json::from_str(&text)
            .map_err(|error| SourceError::Answer { url: self.url.clone(), what: format!("no vector: {error}") })?;
        let warnings = answer.warnings.iter().take(MOST_WARNINGS);
        doubts.extend(warnings.map(|warning| format!("{} warns: {warning}", self.url)));
        Ok(answer.data.result.into_iter().filter_map(sample).collect())
    }
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

fn sample(series: Series) -> Option<Sample> {
    let mut labels = series.metric;
    let name = labels.remove(MARK).or_else(|| labels.remove("__name__"))?;
    Some(Sample { name, labels, value: series.value.1.parse().ok()? })
}
