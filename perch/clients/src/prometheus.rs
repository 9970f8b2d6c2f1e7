//! The HTTP API of Prometheus: samples of one moment, lines over time, alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contract::alerts::is_news;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::ClientError;
use crate::http::Http;
use crate::scrape::Sample;

/// Longest wait for a response.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest response that is read, in bytes: samples of all targets of a deployment at once.
const LIMIT: usize = 32 * 1024 * 1024;

/// Seconds since 1970 and value, in order of time; only finite values.
pub type Points = Vec<(f64, f64)>;

/// The times of a query over time.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Seconds since 1970.
    pub from: u64,
    /// Seconds since 1970, after `from`.
    pub to: u64,
    /// Seconds between two points.
    pub step: u64,
}

/// The result of a query at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vector {
    /// Its samples. One that has no name, as after an aggregation, has an empty one.
    pub samples: Vec<Sample>,
    /// Reasons why it may be incomplete, e.g. a store that did not respond in time.
    pub warnings: Vec<String>,
}

/// An alert whose condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// Its severity, empty where it has none.
    pub severity: String,
    /// `true` if it fires, `false` while it is pending.
    pub firing: bool,
    /// Its summary, in a sentence.
    pub summary: String,
}

/// A Prometheus server.
#[derive(Debug, Clone)]
pub struct Prometheus {
    http: Http,
}

#[derive(Deserialize)]
struct Document<T> {
    data: T,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct QueryResult<T> {
    result: Vec<T>,
}

/// A series at one moment.
#[derive(Deserialize)]
struct SampleDocument {
    metric: BTreeMap<String, String>,
    /// Seconds since 1970, and the value as text.
    value: (f64, String),
}

/// A series over time.
#[derive(Deserialize)]
struct LineDocument {
    values: Vec<(f64, String)>,
}

#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<AlertDocument>,
}

#[derive(Deserialize)]
struct AlertDocument {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    state: String,
}

impl Prometheus {
    /// The server at `url`, e.g. `http://127.0.0.1:9090`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Ok(Self { http: Http::new(url, TIMEOUT)? })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        self.http.url()
    }

    /// The samples of `query` now.
    ///
    /// # Errors
    /// When Prometheus does not respond, or not with a vector.
    pub async fn vector(&self, query: &str) -> Result<Vector, ClientError> {
        let found: Document<QueryResult<SampleDocument>> = self.get("/api/v1/query", &[("query", query)]).await?;
        let samples = found.data.result.into_iter().filter_map(|SampleDocument { metric: mut labels, value }| {
            let name = labels.remove("__name__").unwrap_or_default();
            Some(Sample { name, labels, value: value.1.parse().ok()? })
        });
        Ok(Vector { samples: samples.collect(), warnings: found.warnings })
    }

    /// The one figure of `query` now; `None` when there is none.
    ///
    /// # Errors
    /// When Prometheus does not respond, or not with a vector.
    pub async fn figure(&self, query: &str) -> Result<Option<f64>, ClientError> {
        let first = self.vector(query).await?.samples.into_iter().next();
        Ok(first.map(|sample| sample.value).filter(|value| value.is_finite()))
    }

    /// The one line of `query`; empty when there is none.
    ///
    /// # Errors
    /// When Prometheus does not respond, or not with a matrix.
    pub async fn line(&self, query: &str, span: Span) -> Result<Points, ClientError> {
        let (from, to, step) = (span.from.to_string(), span.to.to_string(), span.step.to_string());
        let parameters = [("query", query), ("start", &from), ("end", &to), ("step", &step)];
        let found: Document<QueryResult<LineDocument>> = self.get("/api/v1/query_range", &parameters).await?;
        let points = found.data.result.into_iter().next().map(|line| line.values).unwrap_or_default();
        let finite = |text: &str| text.parse().ok().filter(|value: &f64| value.is_finite());
        Ok(points.into_iter().filter_map(|(at, value)| Some((at, finite(&value)?))).collect())
    }

    /// The alerts whose condition holds and that are not inhibited, as Alertmanager would pass them on.
    ///
    /// # Errors
    /// When Prometheus does not respond, or not with alerts.
    pub async fn alerts(&self) -> Result<Vec<Alert>, ClientError> {
        let found: Document<Alerts> = self.get("/api/v1/alerts", &[]).await?;
        let alert = |mut of: AlertDocument| {
            Some(Alert {
                name: of.labels.remove("alertname")?,
                severity: of.labels.remove("severity").unwrap_or_default(),
                firing: of.state == "firing",
                summary: of.annotations.remove("summary").unwrap_or_default(),
            })
        };
        let mut alerts: Vec<Alert> = found.data.alerts.into_iter().filter_map(alert).collect();
        let firing: BTreeSet<String> =
            alerts.iter().filter(|alert| alert.firing).map(|alert| alert.name.clone()).collect();
        alerts.retain(|alert| is_news(&alert.name, &alert.severity, firing.iter().map(String::as_str)));
        Ok(alerts)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, parameters: &[(&str, &str)]) -> Result<T, ClientError> {
        let text = self.http.text(self.http.request(Method::GET, path).query(parameters), LIMIT).await?;
        serde_json::from_str(&text).map_err(|error| ClientError::Response {
            url: format!("{}{path}", self.url()),
            what: format!("with something else than a result ({error}): check that it is Prometheus"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::serve;

    async fn prometheus(json: &str) -> Prometheus {
        let response = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{json}");
        Prometheus::new(&serve(response).await).unwrap()
    }

    #[tokio::test]
    async fn a_vector_has_names_labels_and_warnings() {
        let json = r#"{"data": {"result": [
            {"metric": {"__name__": "a", "x": "1"}, "value": [1.5, "2"]}, {"metric": {}, "value": [1.5, "NaN"]}
        ]}, "warnings": ["slow"]}"#;
        let found = prometheus(json).await.vector("a").await.unwrap();
        let labels = BTreeMap::from([("x".to_owned(), "1".to_owned())]);
        assert_eq!(found.samples[0], Sample { name: "a".into(), labels, value: 2.0 });
        assert_eq!((found.samples[1].name.as_str(), found.samples.len()), ("", 2));
        assert_eq!(found.warnings, ["slow"]);
    }

    #[tokio::test]
    async fn what_is_not_finite_is_not_a_figure() {
        let json = |value: &str| format!(r#"{{"data": {{"result": [{{"metric": {{}}, "value": [1, "{value}"]}}]}}}}"#);
        assert_eq!(prometheus(&json("0.5")).await.figure("a").await.unwrap(), Some(0.5));
        assert_eq!(prometheus(&json("+Inf")).await.figure("a").await.unwrap(), None);
        assert_eq!(prometheus(r#"{"data": {"result": []}}"#).await.figure("a").await.unwrap(), None);
    }

    #[tokio::test]
    async fn another_program_is_not_taken_for_prometheus() {
        let error = prometheus("<html>").await.figure("a").await.unwrap_err().to_string();
        assert!(error.contains("/api/v1/query responded with something else than a result"), "{error}");
    }
}
