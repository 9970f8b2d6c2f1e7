//! The console's Prometheus client: series over time, single values, alerts.

use std::collections::{BTreeMap, BTreeSet};

use contract::alerts::is_news;
use reqwest::Url;
use serde::Deserialize;

use super::chart::Span;
use crate::guard::source::{SourceError, get};

/// Largest response that is read, in bytes.
const LIMIT: usize = 4 * 1024 * 1024;

/// Seconds since 1970 and value, in order of time; only finite values.
pub(super) type Points = Vec<(f64, f64)>;

/// A Prometheus server.
#[derive(Debug)]
pub(super) struct Prometheus {
    http: reqwest::Client,
    url: String,
}

/// An alert that is pending or firing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alert {
    /// Its name.
    pub(super) name: String,
    /// `true` if it is firing, `false` if it is pending.
    pub(super) firing: bool,
    /// Its summary.
    pub(super) summary: String,
}

#[derive(Deserialize)]
struct Response<T> {
    data: T,
}

#[derive(Deserialize)]
struct RangeResult {
    result: Vec<RangeSeries>,
}

#[derive(Deserialize)]
struct RangeSeries {
    values: Vec<(f64, String)>,
}

#[derive(Deserialize)]
struct InstantResult {
    result: Vec<InstantSeries>,
}

#[derive(Deserialize)]
struct InstantSeries {
    value: (f64, String),
}

#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<RawAlert>,
}

#[derive(Deserialize)]
struct RawAlert {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    state: String,
}

impl Prometheus {
    pub(super) fn new(http: reqwest::Client, url: &str) -> Self {
        Self { http, url: url.trim_end_matches('/').to_owned() }
    }

    /// The first series of `query` over `span`; empty if there is none.
    pub(super) async fn line(&self, query: &str, span: Span) -> Result<Points, SourceError> {
        let (from, to, step) = (span.from.to_string(), span.to.to_string(), span.step.to_string());
        let parameters = [("query", query), ("start", &from), ("end", &to), ("step", &step)];
        let response: Response<RangeResult> = self.get("/api/v1/query_range", &parameters).await?;
        let points = response.data.result.into_iter().next().map(|line| line.values).unwrap_or_default();
        Ok(points.into_iter().filter_map(|(at, value)| Some((at, finite(&value)?))).collect())
    }

    /// The current value of `query`; `None` if there is none.
    pub(super) async fn value(&self, query: &str) -> Result<Option<f64>, SourceError> {
        let response: Response<InstantResult> = self.get("/api/v1/query", &[("query", query)]).await?;
        Ok(response.data.result.first().and_then(|figure| finite(&figure.value.1)))
    }

    /// The pending and firing alerts that Alertmanager would not inhibit, the firing ones first.
    pub(super) async fn alerts(&self) -> Result<Vec<Alert>, SourceError> {
        let response: Response<Alerts> = self.get("/api/v1/alerts", &[]).await?;
        let all = response.data.alerts;
        let fires: BTreeSet<String> = all
            .iter()
            .filter(|alert| alert.state == "firing")
            .filter_map(|alert| alert.labels.get("alertname").cloned())
            .collect();
        let news = |of: &RawAlert| {
            let label = |name: &str| of.labels.get(name).map_or("", String::as_str);
            is_news(label("alertname"), label("severity"), fires.iter().map(String::as_str))
        };
        let alert = |mut of: RawAlert| {
            let summary = of.annotations.remove("summary").unwrap_or_default();
            Some(Alert { name: of.labels.remove("alertname")?, firing: of.state == "firing", summary })
        };
        let mut alerts: Vec<Alert> = all.into_iter().filter(news).filter_map(alert).collect();
        alerts.sort_by(|a, b| b.firing.cmp(&a.firing).then_with(|| a.name.cmp(&b.name)));
        alerts.dedup();
        Ok(alerts)
    }

    async fn get<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<T, SourceError> {
        let wrong = |what: String| SourceError::Answer { url: self.url.clone(), what };
        let url = Url::parse_with_params(&format!("{}{path}", self.url), parameters)
            .map_err(|error| wrong(format!("nothing, because its URL is invalid: {error}")))?;
        let text = get(&self.http, url.as_str(), LIMIT).await?;
        serde_json::from_str(&text).map_err(|error| wrong(format!("unexpected JSON: {error}")))
    }
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}
