//! Counters from Prometheus: one instant query for all of them, so that they are of one moment.
//!
//! A target that Prometheus can no longer scrape has no samples from the next scrape on, so what is missing here is
//! missing there.

use std::collections::BTreeMap;

use serde::Deserialize;
use stack::scrape::Sample;

use super::reading::{COUNTERS, GAUGES, histogram};
use super::{SourceError, get};

/// Largest answer that is read, in bytes.
const LIMIT: usize = 32 * 1024 * 1024;

/// A Prometheus server.
#[derive(Debug, Clone)]
pub struct Prometheus {
    http: reqwest::Client,
    url: String,
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
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

    /// The samples that the guard reads.
    ///
    /// # Errors
    /// When Prometheus does not answer, or not with a vector.
    pub async fn samples(&self) -> Result<Vec<Sample>, SourceError> {
        let histogram = histogram();
        let names: Vec<&str> = COUNTERS.into_iter().chain(GAUGES).chain(histogram.iter().map(String::as_str)).collect();
        let query = format!("{{__name__=~\"{}\"}}", names.join("|"));
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/query", self.url)).map_err(|error| {
            SourceError::Answer { url: self.url.clone(), what: format!("nothing, since its address is wrong: {error}") }
        })?;
        url.query_pairs_mut().append_pair("query", &query);
        let text = get(&self.http, url.as_str(), LIMIT).await?;
        let answer: Answer = serde_json::from_str(&text)
            .map_err(|error| SourceError::Answer { url: self.url.clone(), what: format!("no vector: {error}") })?;
        Ok(answer.data.result.into_iter().filter_map(sample).collect())
    }
}

fn sample(series: Series) -> Option<Sample> {
    let mut labels = series.metric;
    let name = labels.remove("__name__")?;
    Some(Sample { name, labels, value: series.value.1.parse().ok()? })
}
